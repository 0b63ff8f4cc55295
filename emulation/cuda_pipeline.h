// Asynchronous copies into shared memory, for cuda_runtime.h beside it. A copy is done when its group is waited for.
#pragma once

#include "cuda_runtime.h"

inline void __pipeline_memcpy_async(void* to, const void* from, size_t bytes, size_t zeros = 0) {
  const auto at = reinterpret_cast<uintptr_t>(to), source = reinterpret_cast<uintptr_t>(from);
  if ((bytes != 4 && bytes != 8 && bytes != 16) || at % bytes || source % bytes)
    emulation::fail("an asynchronous copy needs 4, 8 or 16 aligned bytes");
  emulation::note_access(to, bytes, true);  // at once at the soonest, as others may still read what was there
  const emulation::Unwatched own;
  auto& groups = emulation::self().copies;
  if (groups.empty()) groups.emplace_back();
  groups.back().push_back({at, source, bytes, zeros});
}
inline void __pipeline_commit() {
  const emulation::Unwatched own;
  auto& groups = emulation::self().copies;
  if (groups.empty()) groups.emplace_back();
  groups.emplace_back();
}
inline void __pipeline_wait_prior(size_t under_way) {
  const emulation::Unwatched own;
  auto& groups = emulation::self().copies;
  while (groups.size() > under_way + 1) {
    for (const auto& [to, from, bytes, zeros] : groups.front()) {
      emulation::note_access(reinterpret_cast<const void*>(from), bytes - zeros, false);
      emulation::note_access(reinterpret_cast<const void*>(to), bytes, true);
      std::memset(reinterpret_cast<void*>(to), 0, bytes);
      std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes - zeros);
    }
    groups.erase(groups.begin());
  }
}
