// A sparse matrix times vectors that are stored unit by unit: each stored value multiplies whole vectors over columns.
#pragma once

#include "common/edge.h"
#include "cpu/kernels/kernels.h"
#include "cpu/kernels/simd.h"

namespace RRNN_ISA {

using rrnn::cpu::SparseProduct;

// `COUNT` numbers of a unit, in as few registers as they fit in.
template <typename T, int COUNT>
struct UnitOf {
  static constexpr int kBytes =
      COUNT * static_cast<int>(sizeof(T)) < kVectorBytes ? COUNT * static_cast<int>(sizeof(T)) : kVectorBytes;
  static constexpr int kPieces = COUNT * static_cast<int>(sizeof(T)) / kBytes;
  typedef T Piece __attribute__((vector_size(kBytes)));
};

// How many stored values ahead their vectors are asked for: they lie anywhere.
inline constexpr int64_t kAhead = 24;

template <typename T, int COUNT, bool Rectify>
void sparse_product_of(const SparseProduct<T>& p, int64_t first) {
  using Piece = typename UnitOf<T, COUNT>::Piece;
  constexpr int N = UnitOf<T, COUNT>::kPieces, kStep = COUNT / N;
  constexpr int kSums = N > 2 ? 1 : 4 / N;  // a sum at a time would wait for its own last addition
  const T* x = p.x + first;
  const int64_t last = p.crow[p.end] - 1;
  for (int64_t r = p.begin; r < p.end; ++r) {
    Piece sum[kSums][N] = {};
    const auto take = [&](int64_t k, int which) {
      const T* from = x + static_cast<int64_t>(p.columns[k]) * p.ldx;
      const T weight = rrnn::phi(p.values[k], Rectify);
#pragma GCC unroll 8
      for (int i = 0; i < N; ++i) {
        Piece piece;
        std::memcpy(&piece, from + i * kStep, sizeof piece);
        sum[which][i] += weight * piece;
      }
    };
    const auto ask = [&](int64_t k) {
      const int64_t ahead = k + kAhead < last ? k + kAhead : last;
      __builtin_prefetch(x + static_cast<int64_t>(p.columns[ahead]) * p.ldx);
    };
    int64_t k = p.crow[r];
    const int64_t end = p.crow[r + 1];
    for (; k + kSums <= end; k += kSums) {
#pragma GCC unroll 8
      for (int which = 0; which < kSums; ++which) {
        ask(k + which);
        take(k + which, which);
      }
    }
    for (; k < end; ++k) take(k, 0);
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

// One vector: several sums at a time here too.
template <typename T, bool Rectify>
void sparse_product_of_one(const SparseProduct<T>& p, int64_t first) {
  constexpr int kSums = 4;
  const T* x = p.x + first;
  for (int64_t r = p.begin; r < p.end; ++r) {
    T sum[kSums] = {};
    int64_t k = p.crow[r];
    const int64_t end = p.crow[r + 1];
    for (; k + kSums <= end; k += kSums)
#pragma GCC unroll 8
      for (int which = 0; which < kSums; ++which)
        sum[which] += rrnn::phi(p.values[k + which], Rectify) * x[static_cast<int64_t>(p.columns[k + which]) * p.ldx];
    for (; k < end; ++k) sum[0] += rrnn::phi(p.values[k], Rectify) * x[static_cast<int64_t>(p.columns[k]) * p.ldx];
    T total = p.scale * ((sum[0] + sum[1]) + (sum[2] + sum[3]));
    if (p.add) total += p.add_scale * p.add[r * p.ldadd + first];
    p.y[r * p.ldy + first] = total;
  }
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
