// A sparse matrix times vectors that are stored unit by unit: each stored value multiplies whole vectors over columns.
#pragma once

#include <algorithm>

#include "common/edge.h"
#include "cpu/kernels/kernels.h"
#include "cpu/kernels/simd.h"
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

// A row's values are taken four at a time, the first time what is left of its length by that: with one loop alone, a
// processor cannot guess wrong twice a row, and that would take longer than the row.
inline constexpr int64_t kEdgesTogether = 4;

// From how many values on a row is worth more sums at a time.
inline constexpr int64_t kLongRow = 64;

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
  if (p.copy) std::memcpy(p.copy + r * p.ldcopy + at, &total, sizeof total);
  if (p.sum) {
    std::memcpy(&other, p.sum + r * p.ldsum + at, sizeof other);
    other += p.sum_scale * total;
    std::memcpy(p.sum + r * p.ldsum + at, &other, sizeof other);
  }
}

template <typename T, int COUNT, bool Rectify>
void sparse_product_of(const SparseProduct<T>& p, int64_t first) {
  using Unit = UnitOf<T, COUNT>;
  using Piece = typename Unit::Piece;
  using Bits = typename Unit::Bits;
  constexpr int N = Unit::kPieces, kStep = COUNT / N;
  constexpr int kSums = N > 2 ? 1 : 4 / N;  // a sum at a time would wait for its own last addition
  const T* x = p.x + first;
  const bool far = is_far(p);
  for (int64_t r = p.begin; r < p.end; ++r) {
    Piece sum[kSums][N] = {};
    int64_t k = p.crow[r];
    const int64_t end = p.crow[r + 1];
    if (k < end) {
      const int64_t valid = (end - k - 1) % kEdgesTogether + 1;
      const auto* keep = kKeep<typename Unit::Word> + kEdgesTogether - valid;
#pragma GCC unroll 4
      for (int64_t e = 0; e < kEdgesTogether; ++e) {
        const int64_t at = k + std::min(e, valid - 1);
        const T* from = x + static_cast<int64_t>(p.columns[at]) * p.ldx;
        const T weight = rrnn::phi(p.values[at], Rectify);
        const Bits kept = Bits{} + keep[e];
#pragma GCC unroll 8
        for (int i = 0; i < N; ++i) {
          Piece piece;
          std::memcpy(&piece, from + i * kStep, sizeof piece);
          sum[e % kSums][i] += (Piece)((Bits)(weight * piece) & kept);
        }
      }
      k += valid;
    }
    for (; k < end; k += kEdgesTogether) {
      if (far) ask_for_edges(p.columns, p.values, k);
#pragma GCC unroll 4
      for (int64_t e = 0; e < kEdgesTogether; ++e) {
        const T* from = x + static_cast<int64_t>(p.columns[k + e]) * p.ldx;
        const T weight = rrnn::phi(p.values[k + e], Rectify);
#pragma GCC unroll 8
        for (int i = 0; i < N; ++i) {
          Piece piece;
          std::memcpy(&piece, from + i * kStep, sizeof piece);
          sum[e % kSums][i] += weight * piece;
        }
      }
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
template <bool Rectify>
void sparse_product_of_eight(const SparseProduct<float>& p, int64_t first) {
  const float* x = p.x + first;
  const bool far = is_far(p);
  const __m512i low = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(2));
  const auto unit = [&](int64_t k) { return x + static_cast<int64_t>(p.columns[k]) * p.ldx; };
  const auto both = [](__m256 a, __m256 b) {
    return (Vector<float>)_mm512_insertf32x8(_mm512_castps256_ps512(a), b, 1);
  };
  const auto of_pair = [](__m128 weights, __m512i which) {
    return (Vector<float>)_mm512_permutexvar_ps(which, _mm512_castps128_ps512(weights));
  };
  const auto phi_of = [](__m128 weights) { return Rectify ? _mm_andnot_ps(_mm_set1_ps(-0.0f), weights) : weights; };
  for (int64_t r = p.begin; r < p.end; ++r) {
    Vector<float> sum[2] = {};
    int64_t k = p.crow[r];
    const int64_t end = p.crow[r + 1];
    if (k < end) {
      const int64_t valid = (end - k - 1) % kEdgesTogether + 1;
      const uint32_t keep = static_cast<uint32_t>((uint64_t{1} << (8 * valid)) - 1);
      const __m128 weights = phi_of(_mm_maskz_loadu_ps(static_cast<__mmask8>((1 << valid) - 1), p.values + k));
      __m256 units[kEdgesTogether];
#pragma GCC unroll 4
      for (int64_t e = 0; e < kEdgesTogether; ++e)
        units[e] = _mm256_maskz_loadu_ps(static_cast<__mmask8>(keep >> (8 * e)), unit(k + std::min(e, valid - 1)));
      sum[0] = of_pair(weights, low) * both(units[0], units[1]);
      sum[1] = of_pair(weights, high) * both(units[2], units[3]);
      k += valid;
    }
    const auto take = [&](int64_t k, Vector<float>* sum) {
      if (far) ask_for_edges(p.columns, p.values, k);
      const __m128 weights = phi_of(_mm_loadu_ps(p.values + k));
      sum[0] += of_pair(weights, low) * both(_mm256_loadu_ps(unit(k)), _mm256_loadu_ps(unit(k + 1)));
      sum[1] += of_pair(weights, high) * both(_mm256_loadu_ps(unit(k + 2)), _mm256_loadu_ps(unit(k + 3)));
    };
    if (end - k >= kLongRow) {
      Vector<float> others[2] = {};
      for (; k + kEdgesTogether < end; k += 2 * kEdgesTogether) {
        take(k, sum);
        take(k + kEdgesTogether, others);
      }
      sum[0] += others[0];
      sum[1] += others[1];
    }
    for (; k < end; k += kEdgesTogether) take(k, sum);
    const auto pairs = (__m512)(sum[0] + sum[1]);
    const __m256 total = _mm256_add_ps(_mm512_castps512_ps256(pairs), _mm512_extractf32x8_ps(pairs, 1));
    finish(p, r, first, (UnitOf<float, 8>::Piece)total);
  }
}
#endif

// sum_k phi(values[k]) x[columns[k] * ldx] for k from begin to end.
template <typename T, bool Rectify>
inline T sparse_dot(const SparseProduct<T>& p, const T* x, int64_t begin, int64_t end, bool far) {
  T sum[kEdgesTogether] = {};
  int64_t k = begin;
  for (; k + kEdgesTogether <= end; k += kEdgesTogether) {
    if (far) ask_for_edges(p.columns, p.values, k);
#pragma GCC unroll 4
    for (int64_t e = 0; e < kEdgesTogether; ++e)
      sum[e] += rrnn::phi(p.values[k + e], Rectify) * x[static_cast<int64_t>(p.columns[k + e]) * p.ldx];
  }
  for (; k < end; ++k) sum[0] += rrnn::phi(p.values[k], Rectify) * x[static_cast<int64_t>(p.columns[k]) * p.ldx];
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

#if defined(__AVX512F__)
// The same where the units' numbers are neighbours.
template <bool Rectify>
inline float gathered_dot(const SparseProduct<float>& p, const float* x, int64_t begin, int64_t end, bool far) {
  constexpr int kLanes = 16;
  Vector<float> sum{};
  for (int64_t k = begin; k < end; k += kLanes) {
    if (far) ask_for_edges(p.columns, p.values, k);
    const auto valid = static_cast<__mmask16>(end - k < kLanes ? (1u << (end - k)) - 1 : 0xffff);
    const __m512i at = _mm512_maskz_loadu_epi32(valid, p.columns + k);
    const auto weights = (Vector<float>)_mm512_maskz_loadu_ps(valid, p.values + k);
    const auto found = (Vector<float>)_mm512_mask_i32gather_ps(_mm512_setzero_ps(), valid, at, x, sizeof(float));
    sum += rectified<Rectify, float>(weights) * found;
  }
  return _mm512_reduce_add_ps((__m512)sum);
}
#endif

template <typename T, bool Rectify>
void sparse_product_of_one(const SparseProduct<T>& p, int64_t first) {
  const T* x = p.x + first;
  const bool far = is_far(p);
  const auto each_row = [&](const auto& dot) {
    for (int64_t r = p.begin; r < p.end; ++r) {
      finish(p, r, first, dot(p, x, p.crow[r], p.crow[r + 1], far));
    }
  };
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float>)
    if (p.ldx == 1) return each_row(gathered_dot<Rectify>);
#endif
  each_row(sparse_dot<T, Rectify>);
}

template <typename T, bool Rectify>
void sparse_product_phi(const SparseProduct<T>& p) {
  int64_t first = 0;
  for (; first + 16 <= p.width; first += 16) sparse_product_of<T, 16, Rectify>(p, first);
  if (first + 8 <= p.width) {
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<T, float>)
      sparse_product_of_eight<Rectify>(p, first);
    else
#endif
      sparse_product_of<T, 8, Rectify>(p, first);
    first += 8;
  }
  if (first + 4 <= p.width) sparse_product_of<T, 4, Rectify>(p, first), first += 4;
  for (; first < p.width; ++first) sparse_product_of_one<T, Rectify>(p, first);
}

template <typename T>
void sparse_product(const SparseProduct<T>& p) {
  (p.rectify ? sparse_product_phi<T, true> : sparse_product_phi<T, false>)(p);
}

}  // namespace RRNN_ISA
