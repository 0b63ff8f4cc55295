// Working memory of a kernel: uninitialised, aligned to a cache line, gone with its scope.
#pragma once

#include <cstdint>
#include <memory>
#include <new>

namespace rrnn::cpu {

inline constexpr std::align_val_t kCacheLine{64};

struct FreeAligned {
  void operator()(void* memory) const { ::operator delete(memory, kCacheLine); }
};

template <typename T>
using Scratch = std::unique_ptr<T[], FreeAligned>;

template <typename T>
Scratch<T> scratch(int64_t count) {
  return Scratch<T>(static_cast<T*>(::operator new(static_cast<size_t>(count) * sizeof(T) + 64, kCacheLine)));
}

}  // namespace rrnn::cpu
