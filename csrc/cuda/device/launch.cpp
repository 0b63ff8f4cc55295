#include "cuda/device/launch.h"

#include <map>
#include <stdexcept>
#include <string>

namespace rrnn::cuda {
namespace {

// What is known of a kernel on a device.
struct KernelState {
  int architecture = 0;
  size_t allowed_shared_bytes = 48 << 10;
};

KernelState& kernel_state(const void* kernel) {
  static thread_local std::map<std::pair<const void*, int>, KernelState> known;
  const DeviceProperties& device = device_properties();
  KernelState& state = known[{kernel, device.device}];
  if (state.architecture) return state;
  cudaFuncAttributes attributes;
  const cudaError_t error = cudaFuncGetAttributes(&attributes, kernel);
  if (error == cudaErrorNoKernelImageForDevice || error == cudaErrorInvalidDeviceFunction ||
      error == cudaErrorUnsupportedPtxVersion) {
    cudaGetLastError();  // it is reported here, so it must not turn up again elsewhere
    throw std::runtime_error("rrnn_ext: CUDA device " + std::to_string(device.device) + " has compute capability " +
                             std::to_string(device.major) + "." + std::to_string(device.minor) +
                             ", and this library was built for " RRNN_CUDA_ARCHS " (" + cudaGetErrorString(error) +
                             "); set RRNN_CUDA_ARCHS and build it again");
  }
  check_cuda(error, "attributes of a kernel");
  state.architecture = attributes.ptxVersion;
  return state;
}

}  // namespace

void check_cuda(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  cudaGetLastError();
  throw std::runtime_error(std::string("rrnn_ext: ") + what + ": " + cudaGetErrorString(error));
}

const DeviceProperties& device_properties() {
  static thread_local std::map<int, DeviceProperties> known;
  int device;
  check_cuda(cudaGetDevice(&device), "cudaGetDevice");
  const auto found = known.find(device);
  if (found != known.end()) return found->second;
  const auto get = [&](cudaDeviceAttr attribute) {
    int value;
    check_cuda(cudaDeviceGetAttribute(&value, attribute, device), "cudaDeviceGetAttribute");
    return value;
  };
  return known[device] = {device,
                          get(cudaDevAttrComputeCapabilityMajor),
                          get(cudaDevAttrComputeCapabilityMinor),
                          get(cudaDevAttrMultiProcessorCount),
                          get(cudaDevAttrMaxSharedMemoryPerBlockOptin),
                          get(cudaDevAttrMaxSharedMemoryPerMultiprocessor),
                          get(cudaDevAttrL2CacheSize)};
}

int compiled_for(const void* kernel) { return kernel_state(kernel).architecture; }

void allow_shared_bytes(const void* kernel, size_t bytes) {
  KernelState& state = kernel_state(kernel);
  if (bytes <= state.allowed_shared_bytes) return;
  // All there is: the limit belongs to the function, and a smaller one set by another thread would lower it.
  const int most = device_properties().shared_per_block;
  check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most),
             "shared memory of a kernel");
  state.allowed_shared_bytes = most;
}

}  // namespace rrnn::cuda
