// 16 bytes of numbers, moved at once.
#pragma once

#include "cuda/device/device.h"

namespace rrnn::cuda {

template <typename T>
struct alignas(16) Vector {
  static constexpr int kSize = 16 / sizeof(T);
  T at[kSize];

  __device__ static __forceinline__ Vector load(const T* from) { return *reinterpret_cast<const Vector*>(from); }
  __device__ __forceinline__ void store(T* to) const { *reinterpret_cast<Vector*>(to) = *this; }

  // From the second-level cache: the first-level one may hold what was there before another multiprocessor wrote.
  __device__ static __forceinline__ Vector load_l2(const float* from) {
    const float4 four = __ldcg(reinterpret_cast<const float4*>(from));
    return {{four.x, four.y, four.z, four.w}};
  }
  __device__ static __forceinline__ Vector load_l2(const double* from) {
    const double2 two = __ldcg(reinterpret_cast<const double2*>(from));
    return {{two.x, two.y}};
  }
};

// Whether rows of n elements from these pointers on are made of whole vectors. Null is aligned.
template <typename T, typename... Pointers>
__host__ __device__ __forceinline__ bool whole_vectors(int64_t n, Pointers... rows) {
  return n % Vector<T>::kSize == 0 && ((reinterpret_cast<uintptr_t>(rows) % sizeof(Vector<T>) == 0) && ...);
}

}  // namespace rrnn::cuda
