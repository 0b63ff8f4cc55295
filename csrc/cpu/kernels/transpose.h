// A matrix with its rows as columns, by blocks in registers.
#pragma once

#include "common/edge.h"
#include "cpu/kernels/kernels.h"
#include "cpu/kernels/shuffle.h"
#include "cpu/kernels/simd.h"

namespace RRNN_ISA {

using rrnn::cpu::Range;

// Of pairs of vectors that lie STEP apart, as of all such steps after it.
template <typename T, int STEP>
inline void exchange(Vector<T>* block) {
  if constexpr (STEP < kLanes<T>) {
#pragma GCC unroll 16
    for (int i = 0; i < kLanes<T>; ++i)
      if (!(i & STEP)) {
        const Vector<T> a = block[i], b = block[i + STEP];
        block[i] = exchange_of<STEP, false>(a, b);
        block[i + STEP] = exchange_of<STEP, true>(a, b);
      }
    exchange<T, 2 * STEP>(block);
  }
}

template <typename T, bool Rectify>
void transpose_phi(Range rows, int64_t cols, const T* from, int64_t ldfrom, T* to, int64_t ldto) {
  constexpr int V = kLanes<T>;
  for (int64_t r = rows.begin; r < rows.end; r += V) {
    const int height = static_cast<int>(rows.end - r < V ? rows.end - r : V);
    for (int64_t k = 0; k < cols; k += V) {
      const int width = static_cast<int>(cols - k < V ? cols - k : V);
      const T* source = from + r * ldfrom + k;
      T* target = to + k * ldto + r;
      Vector<T> block[V];
      if (height == V && width == V) {
#pragma GCC unroll 16
        for (int i = 0; i < V; ++i) block[i] = rectified<Rectify, T>(load(source + i * ldfrom));
        exchange<T, 1>(block);
#pragma GCC unroll 16
        for (int i = 0; i < V; ++i) store(target + i * ldto, block[i]);
      } else {
        for (int i = 0; i < height; ++i)
          for (int j = 0; j < width; ++j) target[j * ldto + i] = rrnn::phi(source[i * ldfrom + j], Rectify);
      }
    }
  }
}

template <typename T>
void transpose(Range rows, int64_t cols, const T* from, int64_t ldfrom, T* to, int64_t ldto, bool rectify) {
  (rectify ? transpose_phi<T, true> : transpose_phi<T, false>)(rows, cols, from, ldfrom, to, ldto);
}

}  // namespace RRNN_ISA
