// Finds data races of kernels: two threads that access the same number, one of them writing, where no barrier makes one
// wait for the other. Shared memory and device memory alike; what is copied asynchronously, too.
//
// Where the build's RRNN_EMULATE is races, .cu files are compiled as for ThreadSanitizer, and races.cpp stands in for
// its runtime: every access says so, which by itself takes twice as long. A block knows how often its threads waited
// for one another, so does a warp (by __syncwarp, as shuffles order nothing), a cluster and a grid; two accesses are in
// order if one of those who have both threads counts differently. Atomic operations order what blocks did before a
// fence, for the block that came later. It takes several times as long, and is done where EMULATED_RACES is 1.
#pragma once

#include <cstddef>

namespace emulation {

#ifdef RRNN_WATCH_ACCESSES
constexpr bool kWatchesAccesses = true;
#else
constexpr bool kWatchesAccesses = false;
#endif

inline bool looks_for_races = false;  // of a launch

// Forgets all accesses: a launch has ended.
void forget_accesses();
// Or those of some memory, which is somebody else's from now on.
void forget_accesses(const void* begin, size_t bytes);

// As an instruction of the current thread does.
void note_access(const void* at, size_t bytes, bool writes);
// The current thread of a block made an atomic operation.
void note_atomic();

}  // namespace emulation
