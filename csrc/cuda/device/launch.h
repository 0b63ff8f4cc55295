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
};
const DeviceProperties& device_properties();

// The architecture that the kernel was compiled for, 90 for compute capability 9.0. Code for 8.0 runs on later devices
// too, so what a kernel may use is not for the device alone to say. A clear error where there is no code for the
// device.
int compiled_for(const void* kernel);

// Allows the kernel so many bytes of dynamic shared memory on the current device.
void allow_shared_bytes(const void* kernel, size_t bytes);

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

// Blocks of this shape that a multiprocessor runs at once; of a cooperative launch all must.
template <typename... Parameters>
int resident_blocks(void (*kernel)(Parameters...), int threads, size_t shared_bytes) {
  allow_shared_bytes(address(kernel), shared_bytes);
  int blocks;
  check_cuda(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, address(kernel), threads, shared_bytes),
             "occupancy");
  return blocks;
}

template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), const LaunchShape& shape, cudaStream_t stream, Arguments&&... arguments) {
  allow_shared_bytes(address(kernel), shape.shared_bytes);
  cudaLaunchAttribute attributes[2] = {};
  unsigned count = 0;
  if (shape.cooperative) {
    attributes[count].id = cudaLaunchAttributeCooperative;
    attributes[count++].val.cooperative = 1;
  }
  if (shape.cluster > 1) {
    attributes[count].id = cudaLaunchAttributeClusterDimension;
    attributes[count].val.clusterDim.x = shape.cluster;
    attributes[count].val.clusterDim.y = 1;
    attributes[count++].val.clusterDim.z = 1;
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = count;
  check_cuda(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...), "kernel launch");
}

}  // namespace rrnn::cuda
