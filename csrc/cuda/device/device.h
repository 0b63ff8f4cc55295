// What kernels use of the device beyond plain CUDA C++.
#pragma once

#include <cuda_pipeline.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace rrnn::cuda {

constexpr int kWarp = 32;
constexpr unsigned kWholeWarp = 0xffffffffu;

// The launch's shared memory: all shared memory is dynamic, and begins on 128 bytes.
__device__ __forceinline__ unsigned char* shared_memory() {
#ifdef __CUDACC__
  extern __shared__ __align__(128) unsigned char memory[];
  return memory;
#else
  return emulation::self().block->shared;
#endif
}

// Hands out pieces of shared memory, 16-byte aligned, in the same order on the host, which counts the bytes
// (SharedPieces from(nullptr)), and on the device.
class SharedPieces {
 public:
  __host__ __device__ explicit SharedPieces(unsigned char* memory) : memory_(memory) {}

  template <typename T>
  __host__ __device__ T* take(int64_t count) {
    T* piece = reinterpret_cast<T*>(memory_ + bytes_);
    bytes_ += (count * static_cast<int64_t>(sizeof(T)) + 15) / 16 * 16;
    return piece;
  }
  __host__ __device__ int64_t bytes() const { return bytes_; }

 private:
  unsigned char* memory_;
  int64_t bytes_ = 0;
};

// The sum over a warp, the same bits in every lane.
template <typename T>
__device__ __forceinline__ T warp_sum(T value) {
  for (int with = kWarp / 2; with > 0; with /= 2) value += __shfl_xor_sync(kWholeWarp, value, with);
  return value;
}

// The sum over a block, for all of its threads; `pieces` is room for one T a warp and may be used again at once.
template <typename T>
__device__ __forceinline__ T block_sum(T value, T* pieces) {
  const int thread = threadIdx.x, warps = blockDim.x / kWarp;
  value = warp_sum(value);
  if (thread % kWarp == 0) pieces[thread / kWarp] = value;
  __syncthreads();
  T total = pieces[0];
  for (int warp = 1; warp < warps; ++warp) total += pieces[warp];
  __syncthreads();
  return total;
}

// Whether this block is the last of `blocks` to come here, for all of its threads, which then see what the others wrote
// before, past the first-level cache. `arrived` was zero before the launch.
__device__ __forceinline__ bool arrives_last(unsigned* arrived, unsigned blocks) {
  __threadfence();
  __syncthreads();
  const bool last = threadIdx.x == 0 && atomicAdd(arrived, 1u) + 1 == blocks;
  if (!__syncthreads_or(last)) return false;
  __threadfence();
  return true;
}

}  // namespace rrnn::cuda
