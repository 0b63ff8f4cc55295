// Numbers that are none.
#pragma once

#include "cuda/device/device.h"

namespace rrnn::cuda {

template <typename T>
__device__ __forceinline__ bool is_finite(T value) {
  return value - value == 0;
}

// A quiet NaN, without the host's <limits>.
template <typename T>
__device__ __forceinline__ T not_a_number() {
  return T(__builtin_nanf(""));
}

}  // namespace rrnn::cuda
