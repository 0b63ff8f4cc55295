// A matrix with its rows as columns, by blocks in registers.
#pragma once

#include <utility>

#include "common/edge.h"
#include "cpu/kernels/kernels.h"
#include "cpu/kernels/simd.h"

namespace RRNN_ISA {

using rrnn::cpu::Range;

// Which lane of two vectors comes to a lane in a step: of pairs of vectors that lie STEP apart, the first takes the
// lanes without the bit STEP of both, the second those with it.
template <typename T, int STEP, bool Second>
constexpr int exchanged(int lane) {
  if (Second) return lane & STEP ? kLanes<T> + lane : lane + STEP;
  return lane & STEP ? kLanes<T> + lane - STEP : lane;
}

template <typename T, int STEP, bool Second, int... Lane>
inline Vector<T> shuffled(const Vector<T>& a, const Vector<T>& b, std::integer_sequence<int, Lane...>) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, exchanged<T, STEP, Second>(Lane)...);
#else  // GCC has that from version 12 on only
  return __builtin_shuffle(a, b, typename VectorOf<T>::bits{exchanged<T, STEP, Second>(Lane)...});
#endif
}

template <typename T, int STEP>
inline void exchange(Vector<T>* block) {
  if constexpr (STEP < kLanes<T>) {
#pragma GCC unroll 16
    for (int i = 0; i < kLanes<T>; ++i)
      if (!(i & STEP)) {
        const Vector<T> a = block[i], b = block[i + STEP];
        constexpr auto lanes = std::make_integer_sequence<int, kLanes<T>>();
        block[i] = shuffled<T, STEP, false>(a, b, lanes);
        block[i + STEP] = shuffled<T, STEP, true>(a, b, lanes);
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
