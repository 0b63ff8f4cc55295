// An edge's weight and a walk's size, and their derivatives.
#pragma once

#include "cuda/device/device.h"

namespace rrnn::cuda {

template <typename T>
__device__ __forceinline__ T magnitude(T value) {
  return value < 0 ? -value : value;
}

// alpha phi(w)
template <typename T>
__device__ __forceinline__ T edge(T weight, T alpha, bool rectify) {
  return alpha * (rectify ? magnitude(weight) : weight);
}

// The sign, or NaN.
template <typename T>
__device__ __forceinline__ T sign(T value) {
  return value > 0 ? T(1) : value < 0 ? T(-1) : value;
}

// grad phi'(w)
template <typename T>
__device__ __forceinline__ T times_phi_derivative(T grad, T weight, bool rectify) {
  return !rectify || weight > 0 ? grad : weight < 0 ? -grad : grad * weight;
}

template <typename T>
__device__ __forceinline__ T walk_size(T walk, bool squared) {
  return squared ? walk * walk : magnitude(walk);
}
template <typename T>
__device__ __forceinline__ T walk_size_derivative(T walk, bool squared) {
  return squared ? 2 * walk : sign(walk);
}

// weight times number; a weight of zero takes no part, even where the number has overflowed.
template <typename T, typename Number>
__device__ __forceinline__ Number weighed(T weight, Number number) {
  return weight == 0 ? Number(0) : weight * number;
}

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
