#include "cuda/device/launch.h"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <string>

namespace rrnn::cuda {
namespace {

// What is known of a kernel on a device.
struct KernelState {
  int architecture = 0;
  size_t allowed_shared_bytes = 48 << 10;
  int carveout = 0;                                       // percent of the cache that it asked for
  std::map<std::pair<int, size_t>, int> resident_blocks;  // by threads and bytes of dynamic shared memory
};

void set(const void* kernel, cudaFuncAttribute attribute, int value) {
  check_cuda(cudaFuncSetAttribute(kernel, attribute, value), "shared memory of a kernel");
}

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
  // Twice a clock, of so many 1000 Hz; some devices do not tell.
  const double bits = 2e3 * get(cudaDevAttrMemoryClockRate) * get(cudaDevAttrGlobalMemoryBusWidth);
  return known[device] = {device,
                          get(cudaDevAttrComputeCapabilityMajor),
                          get(cudaDevAttrComputeCapabilityMinor),
                          get(cudaDevAttrMultiProcessorCount),
                          get(cudaDevAttrMaxSharedMemoryPerBlockOptin),
                          get(cudaDevAttrMaxSharedMemoryPerMultiprocessor),
                          get(cudaDevAttrL2CacheSize),
                          bits > 0 ? bits / 8 : 1e12};
}

int compiled_for(const void* kernel) { return kernel_state(kernel).architecture; }

int resident_blocks(const void* kernel, int threads, size_t shared_bytes) {
  KernelState& state = kernel_state(kernel);
  const auto known = state.resident_blocks.find({threads, shared_bytes});
  if (known != state.resident_blocks.end()) return known->second;
  const DeviceProperties& device = device_properties();
  if (shared_bytes > state.allowed_shared_bytes) {
    // All there is: the limit belongs to the function, and a smaller one set by another thread would lower it.
    set(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, device.shared_per_block);
    state.allowed_shared_bytes = device.shared_per_block;
  }
  int blocks;
  check_cuda(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, shared_bytes), "occupancy");
  // The query supposes that all of the cache is shared memory; the driver's own choice may leave room for fewer blocks.
  constexpr size_t kOfSystem = 1 << 10, kAnyChoiceHas = 32 << 10;
  const size_t wanted = blocks * (shared_bytes + kOfSystem);
  const int percent = static_cast<int>(std::min<size_t>(100, wanted * 100 / device.shared_per_multiprocessor + 1));
  if (wanted > kAnyChoiceHas && percent > state.carveout) {
    set(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, percent);
    state.carveout = percent;
  }
  constexpr size_t kMost = 64;
  if (state.resident_blocks.size() == kMost) state.resident_blocks.clear();
  return state.resident_blocks[{threads, shared_bytes}] = blocks;
}

LaunchConfig::LaunchConfig(const void* kernel, const LaunchShape& shape, cudaStream_t stream) {
  const auto count = [](const dim3& of) { return static_cast<int64_t>(of.x) * of.y * of.z; };
  if (const int most = device_properties().shared_per_block; shape.shared_bytes > static_cast<size_t>(most))
    throw std::runtime_error("rrnn_ext: a block of a kernel needs " + std::to_string(shape.shared_bytes) +
                             " bytes of shared memory, and the CUDA device has " + std::to_string(most) +
                             "; there are too many units for it");
  const int resident = resident_blocks(kernel, static_cast<int>(count(shape.block)), shape.shared_bytes);
  config_.gridDim = shape.grid;
  config_.blockDim = shape.block;
  config_.dynamicSmemBytes = shape.shared_bytes;
  config_.stream = stream;
  config_.attrs = attributes_;
  if (shape.cooperative) {
    const int64_t at_once = static_cast<int64_t>(resident) * device_properties().multiprocessors;
    if (count(shape.grid) > at_once)
      throw std::runtime_error("rrnn_ext: " + std::to_string(count(shape.grid)) +
                               " blocks of a kernel have to run at once, and the CUDA device has room for " +
                               std::to_string(at_once));
    cudaLaunchAttribute& attribute = attributes_[config_.numAttrs++];
    attribute.id = cudaLaunchAttributeCooperative;
    attribute.val.cooperative = 1;
  }
  if (shape.cluster > 1) {
    cudaLaunchAttribute& attribute = attributes_[config_.numAttrs++];
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim.x = static_cast<unsigned>(shape.cluster);
    attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
  }
}

}  // namespace rrnn::cuda
