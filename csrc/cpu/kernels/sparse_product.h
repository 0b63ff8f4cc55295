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

// All bits from here on for as many values as there are before the middle.
template <typename Word>
inline constexpr Word kKeep[2 * kEdgesTogether] = {-1, -1, -1, -1, 0, 0, 0, 0};

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
      total = p.scale * total;
      if (p.add) {
        Piece add;
        std::memcpy(&add, p.add + r * p.ldadd + first + i * kStep, sizeof add);
        total += p.add_scale * add;
      }
      std::memcpy(p.y + r * p.ldy + first + i * kStep, &total, sizeof total);
    }
  }
}

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
      T total = p.scale * dot(p, x, p.crow[r], p.crow[r + 1], far);
      if (p.add) total += p.add_scale * p.add[r * p.ldadd + first];
      p.y[r * p.ldy + first] = total;
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
  if (first + 8 <= p.width) sparse_product_of<T, 8, Rectify>(p, first), first += 8;
  if (first + 4 <= p.width) sparse_product_of<T, 4, Rectify>(p, first), first += 4;
  for (; first < p.width; ++first) sparse_product_of_one<T, Rectify>(p, first);
}

template <typename T>
void sparse_product(const SparseProduct<T>& p) {
  (p.rectify ? sparse_product_phi<T, true> : sparse_product_phi<T, false>)(p);
}

}  // namespace RRNN_ISA
