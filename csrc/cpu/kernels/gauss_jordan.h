// The inverse of a matrix in cache, by exchanges of a unit's input for its output.
#pragma once

#include <bit>
#include <cstring>
#include <utility>
#include <vector>

#include "common/edge.h"
#include "cpu/kernels/dense_product.h"
#include "cpu/kernels/kernels.h"
#include "cpu/kernels/simd.h"

namespace RRNN_ISA {

// Rows exchanged before the others hear of it, in one product.
inline constexpr int64_t kPanel = 16;

// The column of the largest size in a row, to a few bits, among those that are open; NaN is larger than any. Without a
// branch: which column it is nobody can foretell. `closed` is -1 or 0.
template <typename T>
inline int64_t largest_open(int64_t n, const T* row, const Word<T>* closed) {
  using Bits = typename VectorOf<T>::bits;
  constexpr int V = kLanes<T>;
  // Sizes are ordered as their bits are, the last few of which make room for the column: the first one is the largest.
  const auto places = static_cast<Word<T>>(std::bit_ceil(static_cast<uint64_t>(n)) - 1);
  Bits best = Bits{} - 1, here;
  for (int lane = 0; lane < V; ++lane) here[lane] = places - lane;
  const auto look = [&](Vector<T> numbers, Bits shut) {
    const Bits key = (((Bits)rectified<true, T>(numbers) & ~places) | here) | shut;
    best = key > best ? key : best;
    here -= V;
  };
  const auto closed_at = [&](int64_t j, int64_t count) {
    Bits shut = Bits{} - 1;
    std::memcpy(&shut, closed + j, count * sizeof(T));
    return shut;
  };
  int64_t j = 0;
  for (; j + V <= n; j += V) look(load(row + j), closed_at(j, V));
  if (j < n) look(load_first(row + j, static_cast<int>(n - j)), closed_at(j, n - j));
  return places - (largest_lane<T>(best) & places);
}

// In VECTORS vectors of columns from `first` on: row t of the panel (rows, n) exchanges its input `at` for its output,
// and the other rows, which have `factors` there, take that in. All in vectors: a number stored just before the vector
// around it is loaded would hold that up.
template <typename T, int VECTORS>
inline void exchange(int64_t rows, int64_t n, int64_t t, int64_t at, T scale, const T* factors, int64_t first,
                     T* panel) {
  constexpr int V = kLanes<T>;
  typename VectorOf<T>::bits lanes{}, is_input[VECTORS];
#pragma GCC unroll 16
  for (int lane = 0; lane < V; ++lane) lanes[lane] = lane;
  Vector<T> pivot[VECTORS];
#pragma GCC unroll 4
  for (int v = 0; v < VECTORS; ++v) {
    is_input[v] = lanes == static_cast<decltype(lanes[0] + 0)>(at - first - v * V);
    pivot[v] = is_input[v] ? broadcast(scale) : load(panel + t * n + first + v * V) * broadcast(-scale);
  }
  for (int64_t s = 0; s < rows; ++s) {  // row t, too, which is overwritten: as many rows for each t
    const Vector<T> factor = broadcast(factors[s]);
    T* to = panel + s * n + first;
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v)
      store(to + v * V, (is_input[v] ? Vector<T>{} : load(to + v * V)) + factor * pivot[v]);
  }
#pragma GCC unroll 4
  for (int v = 0; v < VECTORS; ++v) store(panel + t * n + first + v * V, pivot[v]);
}

// For y = M x, each step solves one equation for the input that it depends on most and puts that into the others:
// Gauss-Jordan elimination with pivoting, without a row or column moved until the end. A singular matrix ends in
// infinities and NaN, as in LAPACK without its status. Overwrites m; scratch is room for kPanel + 1 rows.
template <typename T>
void gauss_jordan(int64_t n, T* m, T* inverse, T* scratch) {
  constexpr int V = kLanes<T>;
  auto* closed = reinterpret_cast<Word<T>*>(scratch);
  T* factors = scratch + n;
  std::vector<int32_t> pivots(n);
  for (int64_t j = 0; j < n; ++j) closed[j] = 0;
  for (int64_t begin = 0; begin < n; begin += kPanel) {
    const int64_t end = n - begin < kPanel ? n : begin + kPanel, panel = end - begin;
    for (int64_t t = begin; t < end; ++t) {
      T* row = m + t * n;
      const int64_t p = largest_open(n, row, closed);
      pivots[t] = static_cast<int32_t>(p);
      closed[p] = -1;
      const T scale = 1 / row[p];
      T* rows = m + begin * n;
      for (int64_t s = 0; s < panel; ++s) factors[s] = rows[s * n + p];
      int64_t j = 0;
      for (; j + 4 * V <= n; j += 4 * V) exchange<T, 4>(panel, n, t - begin, p, scale, factors, j, rows);
      for (; j + V <= n; j += V) exchange<T, 1>(panel, n, t - begin, p, scale, factors, j, rows);
      for (; j < n; ++j) {
        row[j] = j == p ? scale : row[j] * -scale;
        for (int64_t s = 0; s < panel; ++s)
          if (s != t - begin) rows[s * n + j] = (j == p ? T(0) : rows[s * n + j]) + factors[s] * row[j];
      }
    }
    const auto put_into = [&](int64_t first, int64_t last) {
      T* to = factors;
      for (int64_t s = first; s < last; ++s)
        for (int64_t t = begin; t < end; ++t) *to++ = std::exchange(m[s * n + pivots[t]], T(0));
      dense_product<T>(last - first, n,
                       {.depth = panel,
                        .left = factors,
                        .row_stride = panel,
                        .depth_stride = 1,
                        .right = m + begin * n,
                        .ldright = n,
                        .add = m + first * n,
                        .ldadd = n,
                        .out = m + first * n,
                        .ldout = n});
    };
    put_into(0, begin);
    put_into(end, n);
  }
  for (int64_t t = 0; t < n; ++t)
    for (int64_t j = 0; j < n; ++j) inverse[pivots[t] * n + j] = m[t * n + pivots[j]];
}

}  // namespace RRNN_ISA
