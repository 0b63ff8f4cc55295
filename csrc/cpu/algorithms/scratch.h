// Working memory of a kernel: uninitialised, aligned to a cache line, gone with its scope.
#pragma once

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace rrnn::cpu {

struct FreeAligned {
  void operator()(void* memory) const { std::free(memory); }
};

template <typename T>
using Scratch = std::unique_ptr<T[], FreeAligned>;

// What is larger than the C library keeps for the next time is asked for in large pages: to touch memory for the first
// time in small ones takes as long as a pass of some kernels over it.
template <typename T>
Scratch<T> scratch(int64_t count) {
  constexpr size_t kLine = 64, kPage = 2 << 20, kKept = 32 << 20;
  const size_t bytes = static_cast<size_t>(count) * sizeof(T) + kLine;
  const bool large = bytes > kKept;
  const size_t alignment = large ? kPage : kLine;
  const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, rounded);
  if (!memory) throw std::bad_alloc();
#if defined(__linux__)
  if (large) madvise(memory, rounded, MADV_HUGEPAGE);  // which a kernel without them may refuse
#endif
  return Scratch<T>(static_cast<T*>(memory));
}

}  // namespace rrnn::cpu
