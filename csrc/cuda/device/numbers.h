// Numbers that are none, or not finite.
#pragma once

#include <cmath>

#include "cuda/device/device.h"

namespace rrnn::cuda {

// Not value - value == 0: where value is a product, a compiler may contract that into one fused operation, which gives
// the product's rounding error.
template <typename T>
__device__ __forceinline__ bool is_finite(T value) {
  return std::isfinite(value);
}

// A quiet NaN, without the host's <limits>.
template <typename T>
__device__ __forceinline__ T not_a_number() {
  return T(__builtin_nanf(""));
}

}  // namespace rrnn::cuda
