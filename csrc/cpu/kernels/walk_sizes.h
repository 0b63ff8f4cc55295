// The sizes of many walks, added up, and their derivatives.
#pragma once

#include "common/edge.h"
#include "cpu/kernels/kernels.h"
#include "cpu/kernels/simd.h"

namespace RRNN_ISA {

using rrnn::Norm;

// In blocks, which keep the rounding of a long sum small.
template <typename T, Norm NORM>
double walk_sizes_of(int64_t count, const T* walks) {
  constexpr int V = kLanes<T>, kAtOnce = 4;
  constexpr int64_t kBlock = 1024;
  double total = 0;
  for (int64_t k = 0; k < count;) {
    const int64_t end = count - k < kBlock ? count : k + kBlock;
    Vector<T> sum[kAtOnce] = {};
    const auto add = [&](int i, Vector<T> walk) {
      sum[i] += NORM == Norm::kL2 ? walk * walk : rectified<true, T>(walk);
    };
    for (; k + kAtOnce * V <= end; k += kAtOnce * V)
#pragma GCC unroll 4
      for (int i = 0; i < kAtOnce; ++i) add(i, load(walks + k + i * V));
    for (; k < end; k += V) add(0, end - k < V ? load_first(walks + k, static_cast<int>(end - k)) : load(walks + k));
    const Vector<T> of_block = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    for (int lane = 0; lane < V; ++lane) total += static_cast<double>(of_block[lane]);
  }
  return total;
}

template <typename T>
double walk_sizes(Norm norm, int64_t count, const T* walks) {
  return (norm == Norm::kL2 ? walk_sizes_of<T, Norm::kL2> : walk_sizes_of<T, Norm::kL1>)(count, walks);
}

template <typename T>
void walk_slopes(Norm norm, int64_t count, const T* walks, T grad, T* slopes) {
  constexpr int V = kLanes<T>;
  const Vector<T> once = broadcast(grad), twice = broadcast(2 * grad);
  const auto slope = [&](Vector<T> walk) { return norm == Norm::kL2 ? twice * walk : rrnn::times_sign(once, walk); };
  int64_t k = 0;
  for (; k + V <= count; k += V) store(slopes + k, slope(load(walks + k)));
  if (k < count) {
    const int rest = static_cast<int>(count - k);
    store_first(slopes + k, slope(load_first(walks + k, rest)), rest);
  }
}

}  // namespace RRNN_ISA
