// How large numbers are: what a sum that must not overflow asks first.
#pragma once

#include "cpu/kernels/simd.h"

namespace RRNN_ISA {

template <typename T>
bool all_within(int64_t count, const T* x, T bound) {
  constexpr int V = kLanes<T>, kAtOnce = 4;
  const Vector<T> bounds = broadcast(bound);
  typename VectorOf<T>::bits beyond[kAtOnce] = {};
  const auto look = [&](int i, Vector<T> v) { beyond[i] |= ~(rectified<true, T>(v) <= bounds); };
  int64_t k = 0;
  for (; k + kAtOnce * V <= count; k += kAtOnce * V)
#pragma GCC unroll 4
    for (int i = 0; i < kAtOnce; ++i) look(i, load(x + k + i * V));
  for (; k < count; k += V) look(0, count - k < V ? load_first(x + k, static_cast<int>(count - k)) : load(x + k));
  for (int i = 1; i < kAtOnce; ++i) beyond[0] |= beyond[i];
  for (int lane = 0; lane < V; ++lane)
    if (beyond[0][lane]) return false;
  return true;
}

}  // namespace RRNN_ISA
