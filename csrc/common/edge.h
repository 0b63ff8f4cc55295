// What an edge weighs, how large a walk is, and the derivatives of both: the one place for host and device.
#pragma once

#include <cmath>
#include <cstdint>

// Inlined always: files of csrc/cpu/kernels are compiled for several instruction sets, and the linker must not find a
// function of one of them where another file wants it.
#if defined(__CUDACC__)
#define RRNN_INLINE __host__ __device__ __forceinline__
#else
#define RRNN_INLINE inline __attribute__((always_inline))
#endif

namespace rrnn {

template <typename T>
RRNN_INLINE T magnitude(T value) {
  return std::abs(value);
}

// phi(w)
template <typename T>
RRNN_INLINE T phi(T weight, bool rectify) {
  return rectify ? magnitude(weight) : weight;
}

// alpha phi(w)
template <typename T>
RRNN_INLINE T edge(T weight, T alpha, bool rectify) {
  return alpha * phi(weight, rectify);
}

// grad times the derivative of |w|: nothing where w is zero, NaN where it is NaN. Numbers or vectors of them.
template <typename T>
RRNN_INLINE T times_sign(T grad, T weight) {
  return weight > T{} ? grad : (weight < T{} ? -grad : grad * weight);
}

// grad phi'(w)
template <typename T>
RRNN_INLINE T times_phi_derivative(T grad, T weight, bool rectify) {
  return rectify ? times_sign(grad, weight) : grad;
}

// How large a walk is, by the numbers of Norm in rrnn_ext/_options.py: an op is told its norm as one of them.
enum class Norm : int64_t { kL1, kL2, kCount };

template <typename T>
RRNN_INLINE T walk_size(T walk, Norm norm) {
  return norm == Norm::kL2 ? walk * walk : magnitude(walk);
}

template <typename T>
RRNN_INLINE T walk_size_derivative(T walk, Norm norm) {
  return norm == Norm::kL2 ? 2 * walk : times_sign(T(1), walk);
}

// weight times number; a weight of zero takes no part, even where the number has overflowed.
template <typename Number, typename Weight>
RRNN_INLINE Number weighed(Weight weight, Number number) {
  const Number product = weight * number;  // first, so that loops over it become vectors
  return weight == 0 ? Number(0) : product;
}

}  // namespace rrnn
