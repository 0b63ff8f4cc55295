// A stand-in for the CUDA runtime that executes kernels on the CPU: .cu files compile against it as plain C++,
// unchanged.
//
// Every thread of a block is a fiber. A fiber runs until it meets a barrier that others have yet to reach; then another
// one runs, in an order shuffled anew for every launch, so that a missing barrier shows. Shared memory starts as NaNs,
// and a write past its end, a barrier that some threads never reach, or a grid that would not fit the device end the
// process with a message. Blocks of a cooperative launch, or of one cluster, run side by side, others one by one.
//
// EMULATED_MULTIPROCESSORS and EMULATED_SHARED_BYTES (a multiprocessor's shared memory) set the size of the device.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) alignas(bytes)

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline double2 make_double2(double x, double y) { return {x, y}; }

// ------------------------------------------------------------------------------------------------------ host side

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInvalidDeviceFunction = 98,
  cudaErrorNoKernelImageForDevice = 209,
  cudaErrorUnsupportedPtxVersion = 222,
  cudaErrorCooperativeLaunchTooLarge = 720
};
using cudaStream_t = void*;
enum cudaDeviceAttr {
  cudaDevAttrMaxSharedMemoryPerBlockOptin,
  cudaDevAttrMaxSharedMemoryPerMultiprocessor,
  cudaDevAttrMultiProcessorCount,
  cudaDevAttrL2CacheSize,
  cudaDevAttrComputeCapabilityMajor,
  cudaDevAttrComputeCapabilityMinor,
  cudaDevAttrCooperativeLaunch
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize, cudaFuncAttributeNonPortableClusterSizeAllowed };
struct cudaFuncAttributes {
  int maxThreadsPerBlock, numRegs, binaryVersion, ptxVersion;
  size_t sharedSizeBytes, localSizeBytes;
};
enum cudaLaunchAttributeID { cudaLaunchAttributeCooperative, cudaLaunchAttributeClusterDimension };
struct cudaLaunchAttributeValue {
  int cooperative;
  struct {
    unsigned x, y, z;
  } clusterDim;
};
struct cudaLaunchAttribute {
  cudaLaunchAttributeID id;
  cudaLaunchAttributeValue val;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
  cudaLaunchAttribute* attrs;
  unsigned numAttrs;
};

inline dim3 gridDim, blockDim;

namespace emulation {

[[noreturn]] inline void fail(const char* what) {
  std::fprintf(stderr, "emulated kernel: %s\n", what);
  std::abort();
}

inline int setting(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text ? std::atoi(text) : otherwise;
}
inline int multiprocessors() { return setting("EMULATED_MULTIPROCESSORS", 4); }
inline int shared_bytes() { return setting("EMULATED_SHARED_BYTES", 99 << 10); }
constexpr int kMaxThreads = 1024, kMaxThreadsOfMultiprocessor = 2048, kMaxCluster = 8;

struct Barrier {
  int size = 0, arrived = 0;
  uint64_t generation = 0;
};

struct Warp {
  Barrier barrier{32};
  alignas(16) unsigned char slots[32][16];
};

struct Block {
  static constexpr size_t kGuard = 256;
  uint3 index;
  Barrier barrier;
  Barrier *cluster, *grid;
  unsigned cluster_rank;
  std::vector<Warp> warps;
  std::unique_ptr<unsigned char[]> memory;
  unsigned char* shared;
};

struct Fiber {
  ucontext_t start;
  jmp_buf context;
  Block* block;
  uint3 index;
  unsigned rank;
  bool started = false, done = false;
  Barrier* waits_for = nullptr;
  uint64_t waits_since = 0;
  std::vector<std::vector<std::array<uintptr_t, 4>>> copies;  // asynchronous ones, by group; the last is open
};

inline std::mutex machine;
inline Fiber* current = nullptr;
inline jmp_buf scheduler;
inline const std::function<void()>* body = nullptr;

inline Fiber& self() {
  if (!current) fail("a device function was called on the host");
  return *current;
}

inline void wait(Barrier& barrier) {
  Fiber& fiber = self();
  if (++barrier.arrived == barrier.size) {
    barrier.arrived = 0;
    ++barrier.generation;
    return;
  }
  fiber.waits_for = &barrier;
  fiber.waits_since = barrier.generation;
  if (!_setjmp(fiber.context)) _longjmp(scheduler, 1);
  fiber.waits_for = nullptr;
}

inline void run_fiber() {
  (*body)();
  current->done = true;
  _longjmp(scheduler, 1);
}

// Until it waits or ends. ucontext starts it on a stack of its own; from then on, long jumps switch without system
// calls.
inline void resume(Fiber& fiber) {
  current = &fiber;
  if (_setjmp(scheduler)) return;
  if (std::exchange(fiber.started, true)) _longjmp(fiber.context, 1);
  setcontext(&fiber.start);
}

// A function of its own, as what calls getcontext may not keep its variables in registers.
inline void give_stack(Fiber& fiber, unsigned char* stack, size_t size) {
  getcontext(&fiber.start);
  fiber.start.uc_stack.ss_sp = stack;
  fiber.start.uc_stack.ss_size = size;
  fiber.start.uc_link = nullptr;
  makecontext(&fiber.start, run_fiber, 0);
}

inline void run_together(std::vector<Block>& blocks, size_t shared, std::mt19937& random) {
  constexpr size_t kStack = 64 << 10;
  const size_t threads = size_t(blockDim.x) * blockDim.y * blockDim.z, count = blocks.size() * threads;
  std::vector<Fiber> fibers(count);
  static std::unique_ptr<unsigned char[]> stacks;
  static size_t room = 0;
  if (room < count * kStack) stacks.reset(new unsigned char[room = count * kStack]);
  for (size_t i = 0; i < count; ++i) {
    Fiber& fiber = fibers[i];
    const unsigned t = i % threads;
    fiber.block = &blocks[i / threads];
    fiber.rank = t;
    fiber.index = {t % blockDim.x, t / blockDim.x % blockDim.y, t / (blockDim.x * blockDim.y)};
    give_stack(fiber, stacks.get() + i * kStack, kStack);
  }
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), random);
  for (size_t left = count; left > 0;) {
    bool progress = false;
    for (const size_t i : order) {
      Fiber& fiber = fibers[i];
      if (fiber.done || (fiber.waits_for && fiber.waits_for->generation == fiber.waits_since)) continue;
      resume(fiber);
      progress = true;
      if (!fiber.done) continue;
      --left;
      for (const auto& group : fiber.copies)
        if (!group.empty()) fail("a thread ended with asynchronous copies under way");
    }
    if (!progress) fail("some threads wait at a barrier that others never reach");
  }
  current = nullptr;
  for (const Block& block : blocks)
    for (size_t i = 0; i < Block::kGuard; ++i)
      if (block.shared[shared + i] != 0xa5) fail("a write past the end of shared memory");
}

inline cudaError_t launch(const cudaLaunchConfig_t& config, const std::function<void()>& kernel) {
  static std::mt19937 random(1);
  const std::lock_guard<std::mutex> lock(machine);
  const dim3 grid = config.gridDim, block = config.blockDim;
  const size_t threads = size_t(block.x) * block.y * block.z, total = size_t(grid.x) * grid.y * grid.z;
  const size_t shared = config.dynamicSmemBytes;
  bool cooperative = false;
  size_t cluster = 1;
  for (unsigned a = 0; a < config.numAttrs; ++a) {
    if (config.attrs[a].id == cudaLaunchAttributeCooperative)
      cooperative = config.attrs[a].val.cooperative;
    else
      cluster = size_t(config.attrs[a].val.clusterDim.x) * config.attrs[a].val.clusterDim.y;
  }
  if (total == 0 || threads == 0 || threads > kMaxThreads || grid.y > 65535 || grid.z > 65535 ||
      shared > size_t(shared_bytes()) || cluster > kMaxCluster || total % cluster)
    return cudaErrorInvalidConfiguration;
  if (cooperative) {
    const size_t fits =
        std::min<size_t>(kMaxThreadsOfMultiprocessor / threads, shared_bytes() / std::max<size_t>(1, shared));
    if (total > fits * multiprocessors()) return cudaErrorCooperativeLaunchTooLarge;
  }
  gridDim = grid;
  blockDim = block;
  body = &kernel;
  const size_t together = cooperative ? total : cluster;
  for (size_t first = 0; first < total; first += together) {
    Barrier whole{static_cast<int>(together * threads)};
    std::vector<Barrier> clusters(together / cluster, Barrier{static_cast<int>(cluster * threads)});
    std::vector<Block> blocks(together);
    for (size_t b = 0; b < together; ++b) {
      const unsigned at = first + b;
      Block& to = blocks[b];
      to.index = {at % grid.x, at / grid.x % grid.y, at / (grid.x * grid.y)};
      to.barrier.size = threads;
      to.cluster = &clusters[b / cluster];
      to.cluster_rank = b % cluster;
      to.grid = cooperative ? &whole : nullptr;
      to.warps.resize((threads + 31) / 32);
      to.memory.reset(new unsigned char[shared + Block::kGuard + 128]);
      to.shared = to.memory.get() + (128 - reinterpret_cast<uintptr_t>(to.memory.get()) % 128);
      std::memset(to.shared, 0xff, shared);
      std::memset(to.shared + shared, 0xa5, Block::kGuard);
    }
    run_together(blocks, shared, random);
  }
  return cudaSuccess;
}

// What a thread shows to its warp, and what it sees of another one.
template <typename T>
T exchange(unsigned mask, T value, unsigned lane) {
  static_assert(sizeof(T) <= 16);
  if (mask != 0xffffffffu) fail("a warp function with only part of the warp");
  Fiber& fiber = self();
  if (blockDim.x * blockDim.y * blockDim.z % 32) fail("a warp function in a block of incomplete warps");
  Warp& warp = fiber.block->warps[fiber.rank / 32];
  std::memcpy(warp.slots[fiber.rank % 32], &value, sizeof(T));
  wait(warp.barrier);
  T seen;
  std::memcpy(&seen, warp.slots[lane % 32], sizeof(T));
  wait(warp.barrier);
  return seen;
}

inline unsigned lane() { return self().rank % 32; }

}  // namespace emulation

inline const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorCooperativeLaunchTooLarge ? "too many blocks in cooperative launch"
         : error == cudaSuccess                      ? "no error"
                                                     : "invalid configuration argument";
}
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
// Another size is another device.
inline cudaError_t cudaGetDevice(int* device) {
  return *device = emulation::multiprocessors() << 20 | emulation::shared_bytes(), cudaSuccess;
}
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
  *blocks = std::min<int>(emulation::kMaxThreadsOfMultiprocessor / threads,
                          emulation::shared_bytes() / std::max<size_t>(1, shared));
  return cudaSuccess;
}
template <typename Kernel>
cudaError_t cudaOccupancyMaxActiveClusters(int* clusters, Kernel*, const cudaLaunchConfig_t* config) {
  return *clusters = config->dynamicSmemBytes <= size_t(emulation::shared_bytes()) ? 1 : 0, cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  return std::memset(to, value, bytes), cudaSuccess;
}
template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...), Arguments&&... given) {
  const std::tuple<std::decay_t<Parameters>...> arguments(std::forward<Arguments>(given)...);
  return emulation::launch(*config, [&] { std::apply(kernel, arguments); });
}

// ---------------------------------------------------------------------------------------------------- device side

#define threadIdx (emulation::self().index)
#define blockIdx (emulation::self().block->index)

inline void __syncthreads() { emulation::wait(emulation::self().block->barrier); }
inline void __syncwarp(unsigned mask = 0xffffffffu) { emulation::exchange(mask, 0, 0); }
inline void __threadfence() {}
inline void __threadfence_block() {}

template <typename T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
  const unsigned own = emulation::lane();
  return emulation::exchange(mask, value, own / width * width + lane % width);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int with) {
  return emulation::exchange(mask, value, emulation::lane() ^ with);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned by) {
  const unsigned lane = emulation::lane();
  return emulation::exchange(mask, value, lane + by < 32 ? lane + by : lane);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  unsigned votes = 0;
  for (unsigned lane = 0; lane < 32; ++lane) votes |= unsigned(emulation::exchange(mask, predicate != 0, lane)) << lane;
  return votes;
}
inline unsigned __reduce_max_sync(unsigned mask, unsigned value) {
  for (unsigned with = 16; with > 0; with /= 2)
    value = std::max(value, emulation::exchange(mask, value, emulation::lane() ^ with));
  return value;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) == 0xffffffffu; }
// The number of threads of the block for which the predicate holds.
inline int __syncthreads_count(int predicate) {
  emulation::Block& block = *emulation::self().block;
  __syncthreads();
  const int warp = emulation::self().rank / 32, votes = __ballot_sync(0xffffffffu, predicate);
  if (emulation::lane() == 0) std::memcpy(block.warps[warp].slots[0], &votes, sizeof votes);
  __syncthreads();
  int count = 0;
  for (const emulation::Warp& each : block.warps) {
    unsigned seen;
    std::memcpy(&seen, each.slots[0], sizeof seen);
    count += __builtin_popcount(seen);
  }
  __syncthreads();
  return count;
}
inline int __syncthreads_or(int predicate) { return __syncthreads_count(predicate) != 0; }
inline int __syncthreads_and(int predicate) {
  return __syncthreads_count(predicate) == int(blockDim.x * blockDim.y * blockDim.z);
}

template <typename T>
T __ldcg(const T* from) {
  return *from;
}
template <typename T>
T __ldg(const T* from) {
  return *from;
}
template <typename T>
void __stcg(T* to, T value) {
  *to = value;
}
template <typename T>
void __stcs(T* to, T value) {
  *to = value;
}
template <typename T>
T __ldcs(const T* from) {
  return *from;
}

inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

// No fiber is interrupted, so every operation is atomic.
template <typename T>
T atomicAdd(T* at, std::type_identity_t<T> value) {
  return std::exchange(*at, *at + value);
}
template <typename T>
T atomicMax(T* at, std::type_identity_t<T> value) {
  return std::exchange(*at, std::max(*at, value));
}
template <typename T>
T atomicMin(T* at, std::type_identity_t<T> value) {
  return std::exchange(*at, std::min(*at, value));
}
template <typename T>
T atomicOr(T* at, std::type_identity_t<T> value) {
  return std::exchange(*at, *at | value);
}
template <typename T>
T atomicAnd(T* at, std::type_identity_t<T> value) {
  return std::exchange(*at, *at & value);
}
template <typename T>
T atomicExch(T* at, std::type_identity_t<T> value) {
  return std::exchange(*at, value);
}

template <typename T>
T min(T a, std::type_identity_t<T> b) {
  return b < a ? b : a;
}
template <typename T>
T max(T a, std::type_identity_t<T> b) {
  return a < b ? b : a;
}
