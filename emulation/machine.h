// The machine that stands in for a GPU: threads as fibers, blocks, barriers, the launch of a kernel. See
// cuda_runtime.h.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "launch_types.h"
#include "races.h"

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
inline int threads_of_multiprocessor() { return setting("EMULATED_THREADS", 2048); }
inline int memory_clock() { return setting("EMULATED_MEMORY_CLOCK", 1000000); }  // of 1000 Hz
inline size_t largest_cluster() { return setting("EMULATED_CLUSTER", 8); }
constexpr int kMaxThreads = 1024;

// Of a device of this size, in the order in which they were first asked for.
inline int device_number() {
  static std::mutex numbering;
  static std::vector<std::array<size_t, 5>> known;
  const std::array<size_t, 5> size{size_t(multiprocessors()), size_t(shared_bytes()),
                                   size_t(threads_of_multiprocessor()), largest_cluster(), size_t(memory_clock())};
  const std::lock_guard<std::mutex> lock(numbering);
  const auto found = std::find(known.begin(), known.end(), size);
  const auto number = found - known.begin();
  if (found == known.end()) known.push_back(size);
  return static_cast<int>(number);
}

inline int resident_blocks(size_t threads, size_t shared) {
  return std::min<int>(threads_of_multiprocessor() / threads, shared_bytes() / std::max<size_t>(1, shared));
}
// Some multiprocessors of a real device may be left over; here none.
inline int resident_clusters(size_t blocks, size_t threads, size_t shared) {
  return blocks > largest_cluster() ? 0 : resident_blocks(threads, shared) * multiprocessors() / blocks;
}

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
  unsigned number, cluster_number;  // of the launch
  std::vector<Warp> warps;
  std::unique_ptr<unsigned char[]> memory;
  unsigned char* shared;
  size_t shared_bytes;
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
  unsigned warp_barriers = 0;
  bool fenced = false;  // since its last atomic operation
  int unwatched = 0;    // in how many functions of the emulation, whose accesses are not the kernel's
};

// What was launched, for tests: on which stream, so many blocks, and how often they waited for blocks of their own
// launch. The clearing of memory counts as a launch of no blocks.
struct Launched {
  cudaStream_t stream;
  size_t blocks;
  uint64_t barriers;
};
inline std::vector<Launched> launched;
inline bool records_launches = false;
inline cudaStream_t current_stream = nullptr;  // what PyTorch would say

inline std::mutex machine;
inline Fiber* current = nullptr;
inline jmp_buf scheduler;
inline const std::function<void()>* body = nullptr;
inline std::unique_ptr<unsigned char[]> stacks;
inline size_t room_of_stacks = 0;

inline Fiber& self() {
  if (!current) fail("a device function was called on the host");
  return *current;
}

// What a thread does while it lives is the emulation's.
class Unwatched {
 public:
  Unwatched() { ++fiber_.unwatched; }
  ~Unwatched() { --fiber_.unwatched; }
  Unwatched(const Unwatched&) = delete;
  Unwatched& operator=(const Unwatched&) = delete;

 private:
  Fiber& fiber_ = self();
};

inline void wait(Barrier& barrier) {
  const Unwatched own;
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
[[gnu::no_sanitize("thread")]] inline void resume(Fiber& fiber) {
  current = &fiber;
  if (_setjmp(scheduler)) {
    current = nullptr;
    return;
  }
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
  forget_accesses(fibers.data(), count * sizeof(Fiber));
  if (room_of_stacks < count * kStack) stacks.reset(new unsigned char[room_of_stacks = count * kStack]);
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
      shared > size_t(shared_bytes()) || total % cluster ||
      (cluster > 1 && resident_clusters(cluster, threads, shared) == 0))
    return cudaErrorInvalidConfiguration;
  if (cooperative && total > size_t(resident_blocks(threads, shared)) * multiprocessors())
    return cudaErrorCooperativeLaunchTooLarge;
  gridDim = grid;
  blockDim = block;
  body = &kernel;
  looks_for_races = setting("EMULATED_RACES", 0) != 0;
  if (looks_for_races && !kWatchesAccesses) fail("EMULATED_RACES is set, which needs RRNN_EMULATE=races in the build");
  forget_accesses();
  const size_t together = cooperative ? total : cluster;
  uint64_t barriers = 0;
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
      to.number = at;
      to.cluster_number = at / cluster;
      to.grid = cooperative ? &whole : nullptr;
      to.warps.resize((threads + 31) / 32);
      to.memory.reset(new unsigned char[shared + Block::kGuard + 128]);
      to.shared = to.memory.get() + (128 - reinterpret_cast<uintptr_t>(to.memory.get()) % 128);
      to.shared_bytes = shared;
      forget_accesses(to.shared, shared);
      std::memset(to.shared, 0xff, shared);
      std::memset(to.shared + shared, 0xa5, Block::kGuard);
    }
    run_together(blocks, shared, random);
    barriers = std::max(whole.generation, clusters[0].generation);
  }
  if (records_launches) launched.push_back({config.stream, total, barriers});
  return cudaSuccess;
}

inline cudaError_t clear(void* to, int value, size_t bytes, cudaStream_t stream) {
  const std::lock_guard<std::mutex> lock(machine);
  std::memset(to, value, bytes);
  if (records_launches) launched.push_back({stream, 0, 0});
  return cudaSuccess;
}

// What a thread shows to its warp, and what it sees of another one.
template <typename T>
T exchange(unsigned mask, T value, unsigned lane) {
  static_assert(sizeof(T) <= 16);
  if (mask != 0xffffffffu) fail("a warp function with only part of the warp");
  const Unwatched own;
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
