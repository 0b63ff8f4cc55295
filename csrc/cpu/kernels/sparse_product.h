// A sparse matrix times vectors that are stored unit by unit: each stored value multiplies whole vectors over columns.
// What it looks up for that makes a dot product with a vector of the row too, where gradients of the values are wanted.
#pragma once

#include <algorithm>

#include "common/edge.h"
#include "cpu/kernels/kernels.h"
#include "cpu/kernels/simd.h"
#include "cpu/kernels/sparse_dots.h"
#include "cpu/kernels/sparse_far.h"

namespace RRNN_ISA {

using rrnn::cpu::SparseProduct;

// `COUNT` numbers of a unit, in as few registers as they fit in.
template <typename T, int COUNT>
struct UnitOf {
  static constexpr int kBytes =
      COUNT * static_cast<int>(sizeof(T)) < kVectorBytes ? COUNT * static_cast<int>(sizeof(T)) : kVectorBytes;
  static constexpr int kPieces = COUNT * static_cast<int>(sizeof(T)) / kBytes;
  using Word = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
  typedef T Piece __attribute__((vector_size(kBytes)));
  typedef Word Bits __attribute__((vector_size(kBytes)));
};

// A row's values are taken kEdgesTogether at a time, the first time what is left of its length by that: with one loop
// alone, a processor cannot guess wrong twice a row, and that would take longer than the row.

// All bits from here on for as many values as there are before the middle.
template <typename Word>
inline constexpr Word kKeep[2 * kEdgesTogether] = {-1, -1, -1, -1, 0, 0, 0, 0};

// What becomes of a row's sum, from column `at` of the vectors on.
template <typename T, typename Piece>
inline void finish(const SparseProduct<T>& p, int64_t r, int64_t at, Piece total) {
  total = p.scale * total;
  Piece other;
  if (p.add) {
    std::memcpy(&other, p.add + r * p.ldadd + at, sizeof other);
    total += p.add_scale * other;
  }
  std::memcpy(p.y + r * p.ldy + at, &total, sizeof total);
  if (p.sum) {
    std::memcpy(&other, p.sum + r * p.ldsum + at, sizeof other);
    other += p.sum_scale * total;
    std::memcpy(p.sum + r * p.ldsum + at, &other, sizeof other);
  }
}

// scale * left[r], in N pieces.
template <typename T, typename Piece, int N>
inline void scaled_left(const SparseProduct<T>& p, int64_t r, Piece (&pieces)[N]) {
  std::memcpy(pieces, p.left + r * p.ldleft, sizeof pieces);
  for (int i = 0; i < N; ++i) pieces[i] = p.scale * pieces[i];
}

template <typename T, int COUNT, bool Rectify, bool Gradient>
void sparse_product_of(const SparseProduct<T>& p, int64_t first) {
  using Unit = UnitOf<T, COUNT>;
  using Piece = typename Unit::Piece;
  using Bits = typename Unit::Bits;
  constexpr int N = Unit::kPieces, kStep = COUNT / N;
  constexpr int kSums = N > 2 ? 1 : 4 / N;  // a sum at a time would wait for its own last addition
  const T* x = p.x + first;
  const bool far = is_far(p);
  for (int64_t r = p.begin; r < p.end; ++r) {
    Piece sum[kSums][N] = {}, left[N] = {};
    if constexpr (Gradient) scaled_left<T>(p, r, left);
    const auto take = [&](int64_t k, int64_t valid, const auto& kept) {
      Piece products[kEdgesTogether] = {};
#pragma GCC unroll 4
      for (int64_t e = 0; e < kEdgesTogether; ++e) {
        const int64_t at = k + std::min(e, valid - 1);
        const T* from = x + static_cast<int64_t>(p.columns[at]) * p.ldx;
        const T weight = rrnn::phi(p.values[at], Rectify);
#pragma GCC unroll 8
        for (int i = 0; i < N; ++i) {
          Piece piece;
          std::memcpy(&piece, from + i * kStep, sizeof piece);
          sum[e % kSums][i] += kept(e, weight * piece);
          if constexpr (Gradient) products[e] += piece * left[i];
        }
      }
      if constexpr (Gradient) {
        Four<T> dots;
        sums_of_four<T>(products, dots);
        add_to_gradient(p.grad + k, valid, dots);
      }
    };
    int64_t k = p.crow[r];
    const int64_t end = p.crow[r + 1];
    if (k < end) {
      const int64_t valid = (end - k - 1) % kEdgesTogether + 1;
      const auto* keep = kKeep<typename Unit::Word> + kEdgesTogether - valid;
      take(k, valid, [&](int64_t e, const Piece& term) { return (Piece)((Bits)term & (Bits{} + keep[e])); });
      k += valid;
    }
    for (; k < end; k += kEdgesTogether) {
      if (far) ask_for_edges(p, k);
      take(k, kEdgesTogether, [](int64_t, const Piece& term) { return term; });
    }
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) {
      Piece total = sum[0][i];
#pragma GCC unroll 8
      for (int which = 1; which < kSums; ++which) total += sum[which][i];
      finish(p, r, first + i * kStep, total);
    }
  }
}

#if defined(__AVX512F__)
// Eight numbers of two units in a vector, so that a value takes fewer instructions.
template <bool Rectify, bool Gradient>
void sparse_product_of_eight(const SparseProduct<float>& p, int64_t first) {
  const float* x = p.x + first;
  const int64_t ldx = p.ldx;
  const int32_t* columns = p.columns;
  const float* values = p.values;
  float* grad = p.grad;
  const bool far = is_far(p);
  const __m512i even = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2);
  const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
  const auto both = [](__m256 a, __m256 b) {
    return (Vector<float>)_mm512_insertf32x8(_mm512_castps256_ps512(a), b, 1);
  };
  const auto of_pair = [](__m128 weights, __m512i which) {
    return (Vector<float>)_mm512_permutexvar_ps(which, _mm512_castps128_ps512(weights));
  };
  const auto phi_of = [](__m128 weights) { return Rectify ? _mm_andnot_ps(_mm_set1_ps(-0.0f), weights) : weights; };
  for (int64_t r = p.begin; r < p.end; ++r) {
    Vector<float> sum[2] = {}, left[1] = {};
    if constexpr (Gradient) {
      UnitOf<float, 8>::Piece once[1];
      scaled_left<float>(p, r, once);
      left[0] = both((__m256)once[0], (__m256)once[0]);
    }
    // Of kEdgesTogether values from k on, those of the mask; unit(e): what is looked up for each.
    const auto take = [&](int64_t k, __mmask8 valid, const auto& unit) {
      const __m128 weights = phi_of(_mm_maskz_loadu_ps(valid, values + k));
      const Vector<float> evens = both(unit(0), unit(2)), odds = both(unit(1), unit(3));
      sum[0] += of_pair(weights, even) * evens;
      sum[1] += of_pair(weights, odd) * odds;
      if constexpr (Gradient) {
        Four<float> dots;
        sums_of_halves<float>(Vector<float>(evens * left[0]), Vector<float>(odds * left[0]), dots);
        const __m128 before = _mm_maskz_loadu_ps(valid, grad + k);
        _mm_mask_storeu_ps(grad + k, valid, _mm_add_ps(before, (__m128)dots));
      }
    };
    int64_t k = p.crow[r];
    const int64_t end = p.crow[r + 1];
    const auto unit_at = [&](int64_t at) { return x + columns[at] * ldx; };
    if (k < end) {
      const int64_t valid = (end - k - 1) % kEdgesTogether + 1;
      const auto keep = static_cast<uint32_t>((uint64_t{1} << (8 * valid)) - 1);
      take(k, static_cast<__mmask8>((1 << valid) - 1), [&](int64_t e) {
        return _mm256_maskz_loadu_ps(static_cast<__mmask8>(keep >> (8 * e)), unit_at(k + std::min(e, valid - 1)));
      });
      k += valid;
    }
    for (; k < end; k += kEdgesTogether) {
      if (far) ask_for_edges(p, k);
      take(k, 0xf, [&](int64_t e) { return _mm256_loadu_ps(unit_at(k + e)); });
    }
    const auto pairs = (__m512)(sum[0] + sum[1]);
    const __m256 total = _mm256_add_ps(_mm512_castps512_ps256(pairs), _mm512_extractf32x8_ps(pairs, 1));
    finish(p, r, first, (UnitOf<float, 8>::Piece)total);
  }
}
#endif

// sum_k phi(values[k]) x[columns[k] * ldx] for row r.
template <typename T, bool Rectify, bool Gradient>
inline T sparse_dot(const SparseProduct<T>& p, const T* x, int64_t r, bool far) {
  T sum[kEdgesTogether] = {}, left[1] = {};
  if constexpr (Gradient) scaled_left<T>(p, r, left);
  int64_t k = p.crow[r];
  const int64_t end = p.crow[r + 1];
  const auto look_up = [&](int64_t at) { return x[static_cast<int64_t>(p.columns[at]) * p.ldx]; };
  for (; k + kEdgesTogether <= end; k += kEdgesTogether) {
    if (far) ask_for_edges(p, k);
    Four<T> found;
#pragma GCC unroll 4
    for (int e = 0; e < kEdgesTogether; ++e) {
      found[e] = look_up(k + e);
      sum[e] += rrnn::phi(p.values[k + e], Rectify) * found[e];
    }
    if constexpr (Gradient) add_to_gradient(p.grad + k, kEdgesTogether, Four<T>(left[0] * found));
  }
  for (; k < end; ++k) {
    const T found = look_up(k);
    sum[0] += rrnn::phi(p.values[k], Rectify) * found;
    if constexpr (Gradient) p.grad[k] += left[0] * found;
  }
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

#if defined(__AVX512F__)
// The same where the units' numbers are neighbours.
template <bool Rectify, bool Gradient>
inline float gathered_dot(const SparseProduct<float>& p, const float* x, int64_t r, bool far) {
  constexpr int kLanes = 16;
  const int64_t end = p.crow[r + 1];
  Vector<float> sum{};
  float left[1] = {};
  if constexpr (Gradient) scaled_left<float>(p, r, left);
  for (int64_t k = p.crow[r]; k < end; k += kLanes) {
    if (far) ask_for_edges(p, k);
    const auto valid = static_cast<__mmask16>(end - k < kLanes ? (1u << (end - k)) - 1 : 0xffff);
    const __m512i at = _mm512_maskz_loadu_epi32(valid, p.columns + k);
    const auto weights = (Vector<float>)_mm512_maskz_loadu_ps(valid, p.values + k);
    const auto found = (Vector<float>)_mm512_mask_i32gather_ps(_mm512_setzero_ps(), valid, at, x, sizeof(float));
    sum += rectified<Rectify, float>(weights) * found;
    if constexpr (Gradient) {
      const auto before = (Vector<float>)_mm512_maskz_loadu_ps(valid, p.grad + k);
      _mm512_mask_storeu_ps(p.grad + k, valid, (__m512)(before + left[0] * found));
    }
  }
  return _mm512_reduce_add_ps((__m512)sum);
}
#endif

template <typename T, bool Rectify, bool Gradient>
void sparse_product_of_one(const SparseProduct<T>& p, int64_t first) {
  const T* x = p.x + first;
  const bool far = is_far(p);
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float>)
    if (p.ldx == 1) {
      for (int64_t r = p.begin; r < p.end; ++r) finish(p, r, first, gathered_dot<Rectify, Gradient>(p, x, r, far));
      return;
    }
#endif
  for (int64_t r = p.begin; r < p.end; ++r) finish(p, r, first, sparse_dot<T, Rectify, Gradient>(p, x, r, far));
}

template <typename T, bool Rectify, bool Gradient>
void sparse_product_phi(const SparseProduct<T>& p) {
  int64_t first = 0;
  for (; first + 16 <= p.width; first += 16) sparse_product_of<T, 16, Rectify, Gradient>(p, first);
  if (first + 8 <= p.width) {
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<T, float>)
      sparse_product_of_eight<Rectify, Gradient>(p, first);
    else
#endif
      sparse_product_of<T, 8, Rectify, Gradient>(p, first);
    first += 8;
  }
  if (first + 4 <= p.width) sparse_product_of<T, 4, Rectify, Gradient>(p, first), first += 4;
  for (; first < p.width; ++first) sparse_product_of_one<T, Rectify, Gradient>(p, first);
}

template <typename T, bool Gradient>
void sparse_product_for(const SparseProduct<T>& p) {
  (p.rectify ? sparse_product_phi<T, true, Gradient> : sparse_product_phi<T, false, Gradient>)(p);
}

template <typename T>
void sparse_product(const SparseProduct<T>& p) {
  (p.grad ? sparse_product_for<T, true> : sparse_product_for<T, false>)(p);
}

}  // namespace RRNN_ISA
