// The inverse of a matrix in cache, in place, with row pivoting.
#pragma once

#include "kernels.h"
#include "simd.h"

namespace RRNN_ISA {

// m[i] -= factors[i] * row for every row, VECTORS vectors of columns that stay in registers.
template <typename T, int VECTORS>
inline void subtract_multiples(int64_t n, const T* factors, const T* row, T* m) {
  constexpr int V = kLanes<T>;
  Vector<T> pivot[VECTORS];
#pragma GCC unroll 4
  for (int v = 0; v < VECTORS; ++v) pivot[v] = load(row + v * V);
  for (int64_t i = 0; i < n; ++i) {
    const Vector<T> factor = broadcast(factors[i]);
    T* to = m + i * n;
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) store(to + v * V, load(to + v * V) - factor * pivot[v]);
  }
}

template <typename T>
inline void eliminate(int64_t n, const T* factors, const T* row, T* m) {
  constexpr int V = kLanes<T>;
  int64_t j = 0;
  for (; j + 4 * V <= n; j += 4 * V) subtract_multiples<T, 4>(n, factors, row + j, m + j);
  for (; j + V <= n; j += V) subtract_multiples<T, 1>(n, factors, row + j, m + j);
  for (; j < n; ++j)
    for (int64_t i = 0; i < n; ++i) m[i * n + j] -= factors[i] * row[j];
}

// A singular matrix ends in infinities and NaN, as in LAPACK without its status.
template <typename T>
void gauss_jordan(int64_t n, T* m, T* factors, int64_t* pivots) {
  T* pivot_row = factors + n;
  for (int64_t k = 0; k < n; ++k) {
    int64_t pivot = k;
    for (int64_t i = k + 1; i < n; ++i)
      if (__builtin_fabs(m[i * n + k]) > __builtin_fabs(m[pivot * n + k])) pivot = i;
    pivots[k] = pivot;
    T* row = m + k * n;
    if (pivot != k)
      for (int64_t j = 0; j < n; ++j) {
        const T swapped = row[j];
        row[j] = m[pivot * n + j];
        m[pivot * n + j] = swapped;
      }
    const T scale = 1 / row[k];
    row[k] = 1;
    for (int64_t j = 0; j < n; ++j) pivot_row[j] = row[j] *= scale;
    for (int64_t i = 0; i < n; ++i) factors[i] = m[i * n + k];
    factors[k] = 0;  // leaves the pivot's row as it is
    eliminate(n, factors, pivot_row, m);
    // The column of the inverse, last: a number stored just before the vector around it is loaded holds the load up.
    for (int64_t i = 0; i < n; ++i)
      if (i != k) m[i * n + k] = -factors[i] * scale;
  }
  for (int64_t k = n; k-- > 0;)
    if (pivots[k] != k)
      for (int64_t i = 0; i < n; ++i) {
        const T swapped = m[i * n + k];
        m[i * n + k] = m[i * n + pivots[k]];
        m[i * n + pivots[k]] = swapped;
      }
}

}  // namespace RRNN_ISA
