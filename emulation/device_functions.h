// What kernels call on the device. See cuda_runtime.h.
#pragma once

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "machine.h"

#define threadIdx (emulation::self().index)
#define blockIdx (emulation::self().block->index)

inline void __syncthreads() { emulation::wait(emulation::self().block->barrier); }
inline void __syncwarp(unsigned mask = 0xffffffffu) {
  emulation::exchange(mask, 0, 0);
  ++emulation::self().warp_barriers;
}
inline void __threadfence() { emulation::self().fenced = true; }
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
  const emulation::Unwatched own;
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
template <typename T, typename F>
T atomically(T* at, const F& operation) {
  emulation::note_atomic();
  const emulation::Unwatched own;
  return std::exchange(*at, operation(*at));
}
template <typename T>
T atomicAdd(T* at, std::type_identity_t<T> value) {
  return atomically(at, [=](T before) { return before + value; });
}
template <typename T>
T atomicMax(T* at, std::type_identity_t<T> value) {
  return atomically(at, [=](T before) { return std::max(before, value); });
}
template <typename T>
T atomicMin(T* at, std::type_identity_t<T> value) {
  return atomically(at, [=](T before) { return std::min(before, value); });
}
template <typename T>
T atomicOr(T* at, std::type_identity_t<T> value) {
  return atomically(at, [=](T before) { return before | value; });
}
template <typename T>
T atomicAnd(T* at, std::type_identity_t<T> value) {
  return atomically(at, [=](T before) { return before & value; });
}
template <typename T>
T atomicExch(T* at, std::type_identity_t<T> value) {
  return atomically(at, [=](T) { return value; });
}

template <typename T>
T min(T a, std::type_identity_t<T> b) {
  return b < a ? b : a;
}
template <typename T>
T max(T a, std::type_identity_t<T> b) {
  return a < b ? b : a;
}
