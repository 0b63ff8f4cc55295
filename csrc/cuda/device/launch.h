// The one way kernels are launched, and what the host has to know of the device.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace rrnn::cuda {

// A CUDA error as an exception; PyTorch turns it into a RuntimeError.
void check_cuda(cudaError_t error, const char* what);

// What the choice of a launch depends on, of the current device.
struct DeviceProperties {
  int device, major, minor;
  int multiprocessors;
  int shared_per_block, shared_per_multiprocessor;  // bytes
  int l2_bytes;
  double memory_rate;  // bytes a second, between the device and its memory
};
const DeviceProperties& device_properties();

// The architecture that the kernel was compiled for, 90 for compute capability 9.0. Code for 8.0 runs on later devices
// too, so what a kernel may use is not for the device alone to say. A clear error where there is no code for the
// device.
int compiled_for(const void* kernel);

// Blocks of so many threads and bytes of dynamic shared memory that a multiprocessor runs at once. Allows the kernel so
// much memory on the current device, and asks for a cache that leaves it to that many blocks.
int resident_blocks(const void* kernel, int threads, size_t shared_bytes);
template <typename... Parameters>
int resident_blocks(void (*kernel)(Parameters...), int threads, size_t shared_bytes) {
  return resident_blocks(reinterpret_cast<const void*>(kernel), threads, shared_bytes);
}

struct LaunchShape {
  dim3 grid, block;
  size_t shared_bytes = 0;
  bool cooperative = false;
  int cluster = 1;  // blocks of a cluster, along x
};

template <typename... Parameters>
const void* address(void (*kernel)(Parameters...)) {
  return reinterpret_cast<const void*>(kernel);
}

// A launch as the runtime wants it, once the kernel has been prepared for it. A clear error where a cooperative launch
// has more blocks than the device runs at once.
class LaunchConfig {
 public:
  LaunchConfig(const void* kernel, const LaunchShape& shape, cudaStream_t stream);
  LaunchConfig(const LaunchConfig&) = delete;  // what is below points to itself
  LaunchConfig& operator=(const LaunchConfig&) = delete;

  const cudaLaunchConfig_t* get() const { return &config_; }

 private:
  cudaLaunchAttribute attributes_[2] = {};
  cudaLaunchConfig_t config_ = {};
};

// Clusters of a launch that the device runs at once; none where it cannot run one.
template <typename... Parameters>
int resident_clusters(void (*kernel)(Parameters...), const LaunchShape& shape) {
  const LaunchConfig config(address(kernel), shape, nullptr);
  int clusters;
  check_cuda(cudaOccupancyMaxActiveClusters(&clusters, kernel, config.get()), "occupancy of clusters");
  return clusters;
}

template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), const LaunchShape& shape, cudaStream_t stream, Arguments&&... arguments) {
  const LaunchConfig config(address(kernel), shape, stream);
  check_cuda(cudaLaunchKernelEx(config.get(), kernel, std::forward<Arguments>(arguments)...), "kernel launch");
}

}  // namespace rrnn::cuda
