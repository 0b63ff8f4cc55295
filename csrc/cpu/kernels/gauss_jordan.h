// The inverse of a matrix in cache, by exchanges of a unit's input for its output.
#pragma once

#include <cmath>
#include <utility>
#include <vector>

#include "common/edge.h"
#include "cpu/kernels/dense_product.h"
#include "cpu/kernels/kernels.h"
#include "cpu/kernels/simd.h"

namespace RRNN_ISA {

// Rows exchanged before the others hear of it, in one product.
inline constexpr int64_t kPanel = 16;

// The column of the largest size in a row among those still open (1; else 0); an open one where none is a number above
// zero.
template <typename T>
inline int64_t largest_open(int64_t n, const T* row, const T* open) {
  constexpr int V = kLanes<T>;
  Vector<T> best{}, at{}, here;
  for (int lane = 0; lane < V; ++lane) here[lane] = static_cast<T>(lane);
  int64_t j = 0;
  for (; j + V <= n; j += V) {
    const Vector<T> size = rectified<true, T>(load(row + j)) * load(open + j);
    at = size > best ? here : at;
    best = size > best ? size : best;
    here += broadcast(static_cast<T>(V));
  }
  T sizes[V], columns[V], largest = 0;
  store(sizes, best);
  store(columns, at);
  for (const T size : sizes) largest = size > largest ? size : largest;
  T found = -1;
  for (int lane = 0; lane < V; ++lane) found = sizes[lane] == largest ? columns[lane] : found;
  for (; j < n; ++j) {
    const T size = rrnn::magnitude(row[j]) * open[j];
    found = size > largest ? static_cast<T>(j) : found;
    largest = size > largest ? size : largest;
  }
  if (largest > 0) return static_cast<int64_t>(found);
  for (j = 0; open[j] == 0;) ++j;
  return j;
}

// to[s] += factors[s] * row for `rows` rows; VECTORS vectors of the row stay in registers.
template <typename T, int VECTORS>
inline void add_multiples(int64_t rows, int64_t n, const T* factors, const T* row, T* to) {
  constexpr int V = kLanes<T>;
  Vector<T> pivot[VECTORS];
#pragma GCC unroll 4
  for (int v = 0; v < VECTORS; ++v) pivot[v] = load(row + v * V);
  for (int64_t s = 0; s < rows; ++s) {
    const Vector<T> factor = broadcast(factors[s]);
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) store(to + s * n + v * V, load(to + s * n + v * V) + factor * pivot[v]);
  }
}

// For y = M x, each step solves one equation for the input that it depends on most and puts that into the others:
// Gauss-Jordan elimination with pivoting, without a row or column moved until the end. A singular matrix ends in
// infinities and NaN, as in LAPACK without its status. Overwrites m; scratch is room for kPanel + 1 rows.
template <typename T>
void gauss_jordan(int64_t n, T* m, T* inverse, T* scratch) {
  constexpr int V = kLanes<T>;
  T* open = scratch;
  T* factors = scratch + n;
  std::vector<int32_t> pivots(n);
  for (int64_t j = 0; j < n; ++j) open[j] = 1;
  for (int64_t begin = 0; begin < n; begin += kPanel) {
    const int64_t end = n - begin < kPanel ? n : begin + kPanel, panel = end - begin;
    for (int64_t t = begin; t < end; ++t) {
      T* row = m + t * n;
      const int64_t p = largest_open(n, row, open);
      pivots[t] = static_cast<int32_t>(p);
      open[p] = 0;
      const T scale = 1 / row[p];
      for (int64_t j = 0; j < n; ++j) row[j] *= -scale;
      row[p] = scale;
      for (int64_t s = begin; s < end; ++s) factors[s - begin] = m[s * n + p];
      factors[t - begin] = 0;
      T* others = m + begin * n;
      int64_t j = 0;
      for (; j + 4 * V <= n; j += 4 * V) add_multiples<T, 4>(panel, n, factors, row + j, others + j);
      for (; j + V <= n; j += V) add_multiples<T, 1>(panel, n, factors, row + j, others + j);
      for (; j < n; ++j)
        for (int64_t s = 0; s < panel; ++s) others[s * n + j] += factors[s] * row[j];
      // Last: a number stored just before the vector around it is loaded holds that up.
      for (int64_t s = 0; s < panel; ++s)
        if (s != t - begin) others[s * n + p] = factors[s] * scale;
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
