// A stand-in for the CUDA runtime that executes kernels on the CPU: .cu files compile against it as plain C++,
// unchanged.
//
// Every thread of a block is a fiber. A fiber runs until it meets a barrier that others have yet to reach; then another
// one runs, in an order shuffled anew for every launch, so that a missing barrier shows. Shared memory starts as NaNs,
// and a write past its end, a barrier that some threads never reach, or a grid that would not fit the device end the
// process with a message; races.h looks for data races, too. Blocks of a cooperative launch, or of one cluster, run
// side by side, others one by one.
//
// EMULATED_MULTIPROCESSORS, of each EMULATED_SHARED_BYTES of shared memory and EMULATED_THREADS, and EMULATED_CLUSTER,
// the blocks of the largest cluster, set the size of the device; EMULATED_MEMORY_CLOCK, in 1000 Hz, the rate of its
// memory.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#include "device_functions.h"
#include "launch_types.h"
#include "machine.h"
#include "side_streams.h"

inline const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorCooperativeLaunchTooLarge ? "too many blocks in cooperative launch"
         : error == cudaSuccess                      ? "no error"
                                                     : "invalid configuration argument";
}
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
// Another size is another device.
inline cudaError_t cudaGetDevice(int* device) { return *device = emulation::device_number(), cudaSuccess; }
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = emulation::shared_bytes();
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = emulation::multiprocessors();
      break;
    case cudaDevAttrL2CacheSize:
      *value = 1 << 20;
      break;
    case cudaDevAttrMemoryClockRate:
      *value = emulation::memory_clock();
      break;
    case cudaDevAttrGlobalMemoryBusWidth:
      *value = 64;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = 9;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = 0;
      break;
    case cudaDevAttrCooperativeLaunch:
      *value = 1;
      break;
  }
  return cudaSuccess;
}
inline cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }
inline cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* to, const void*) {
  return *to = {emulation::kMaxThreads, 0, 90, 90, 0, 0}, cudaSuccess;
}
inline cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int threads, size_t shared) {
  return *blocks = emulation::resident_blocks(threads, shared), cudaSuccess;
}
template <typename Kernel>
cudaError_t cudaOccupancyMaxActiveClusters(int* clusters, Kernel*, const cudaLaunchConfig_t* config) {
  *clusters =
      emulation::resident_clusters(config->attrs->val.clusterDim.x, config->blockDim.x, config->dynamicSmemBytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  return emulation::clear(to, value, bytes, stream);
}
template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...), Arguments&&... given) {
  const std::tuple<std::decay_t<Parameters>...> arguments(std::forward<Arguments>(given)...);
  return emulation::launch_in_order(*config, [=] { std::apply(kernel, arguments); });
}
