// Both chains of a single pathway in one pass over the weights: a dot product and an update per row.
#pragma once

#include "cpu/kernels/kernels.h"
#include "cpu/kernels/simd.h"

namespace RRNN_ISA {

using rrnn::cpu::Range;

template <typename T, int ROWS, bool Rectify>
inline void two_sided_tile(int64_t cols, const T* w, int64_t ldw, const T* x, const T* y, T scale, T* x_next,
                           T* y_next) {
  constexpr int V = kLanes<T>;
  Vector<T> sum[ROWS] = {}, factor[ROWS];
  for (int r = 0; r < ROWS; ++r) factor[r] = broadcast(scale * y[r]);
  int64_t k = 0;
  for (; k + V <= cols; k += V) {
    const Vector<T> source = load(x + k);
    Vector<T> target = load(y_next + k);
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
      Vector<T> row = rectified<Rectify, T>(load(w + r * ldw + k));
      hold<T>(row);
      sum[r] += row * source;
      target += row * factor[r];
    }
    store(y_next + k, target);
  }
  if (k < cols) {
    const int rest = static_cast<int>(cols - k);
    const Vector<T> source = load_first(x + k, rest);
    Vector<T> target = load_first(y_next + k, rest);
    for (int r = 0; r < ROWS; ++r) {
      const Vector<T> row = rectified<Rectify, T>(load_first(w + r * ldw + k, rest));
      sum[r] += row * source;
      target += row * factor[r];
    }
    store_first(y_next + k, target, rest);
  }
  T sums[ROWS];
  horizontal_sums<T, ROWS>(sum, sums);
  for (int r = 0; r < ROWS; ++r) x_next[r] = scale * sums[r];
}

template <typename T, bool Rectify>
void two_sided_product_phi(Range rows, int64_t cols, const T* w, int64_t ldw, const T* x, const T* y, T scale,
                           T* x_next, T* y_next) {
  constexpr int ROWS = 8;
  int64_t r = rows.begin;
  for (; r + ROWS <= rows.end; r += ROWS)
    two_sided_tile<T, ROWS, Rectify>(cols, w + r * ldw, ldw, x, y + r, scale, x_next + r, y_next);
  for (; r < rows.end; ++r) two_sided_tile<T, 1, Rectify>(cols, w + r * ldw, ldw, x, y + r, scale, x_next + r, y_next);
}

template <typename T>
void two_sided_product(Range rows, int64_t cols, const T* w, int64_t ldw, const T* x, const T* y, T scale, T* x_next,
                       T* y_next, bool rectify) {
  (rectify ? two_sided_product_phi<T, true> : two_sided_product_phi<T, false>)(rows, cols, w, ldw, x, y, scale, x_next,
                                                                               y_next);
}

}  // namespace RRNN_ISA
