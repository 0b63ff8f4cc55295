// The vectors of a hop, from the parts of their sums in which the blocks of a graph know them.
#pragma once

#include "common/edge.h"
#include "cuda/device/device.h"
#include "cuda/device/vector.h"
#include "cuda/kernels/chain_layout.h"
#include "cuda/kernels/chains.h"

// Left out where a measurement is to learn what it costs.
#ifndef RRNN_HOP_GATHERS
#define RRNN_HOP_GATHERS true
#endif

namespace rrnn::cuda::chain_layout {

// What flows into unit r of vector c at this step.
template <typename T>
__device__ T inflow_of(const Chains<T>& chains, const Bundle<T>& bundle, int graph, int step, int c, int r) {
  if (!bundle.last_hop_first) {
    if (step > 0) return 0;
    const T* start = bundle.start + static_cast<int64_t>(graph) * chains.n * bundle.width;
    return edge(start[static_cast<int64_t>(r) * bundle.unit_stride + static_cast<int64_t>(c) * bundle.vector_stride],
                T(1), chains.rectify);
  }
  const int m = chains.hops - 1 - step, term = bundle.inflow_terms > 1 ? m : 0;
  const int64_t vector = (static_cast<int64_t>(graph) * bundle.inflow_terms + term) * bundle.width + c;
  const T value = bundle.inflow[vector * chains.n + r];
  return bundle.hop_weights
             ? weighed(bundle.hop_weights[static_cast<int64_t>(graph) * bundle.hop_weights_stride + m], value)
             : value;
}

// Neighbouring lanes gather different units. Where parts are many, or units few, `lanes` lanes share the parts of a
// sum, each `kWarp / lanes` apart from the next, so that a warp waits for the second-level cache as seldom as it can.
struct GatherShares {
  int lanes, rounds;  // rounds of kWarp lanes, for all sums

  __device__ GatherShares(int sums, int parts) : lanes(1) {
    while (lanes < kMostSharers && lanes < parts && (lanes * kLoads < parts || 2 * lanes * sums <= kThreads))
      lanes *= 2;
    rounds = (sums * lanes + kWarp - 1) / kWarp;
  }
  // Of this lane in a round: its sum, which may be past the last one, and which share of it.
  __device__ int sum_of(int round) const { return round * (kWarp / lanes) + threadIdx.x % (kWarp / lanes); }
  __device__ int share() const { return threadIdx.x % kWarp / (kWarp / lanes); }

  static constexpr int kLoads = 8;  // under way at once
  static constexpr int kMostSharers = 8;
};

// x of this step for the units [unit, unit + vector size) of vector c, from the parts in which blocks know it; zeros
// past the last unit and vector. For whole warps.
template <typename T>
__device__ Vector<T> gather(const Chains<T>& chains, const Bundle<T>& bundle, int graph, int step, int c, int unit,
                            const T* parts, int count, int padded_n, const GatherShares& shares) {
  constexpr int kSize = Vector<T>::kSize;
  const bool exists = c < bundle.width && unit < chains.n;
  Vector<T> inflow = {}, sum = {};
#pragma unroll
  for (int j = 0; j < kSize; ++j)
    if (exists && unit + j < chains.n) inflow.at[j] = inflow_of(chains, bundle, graph, step, c, unit + j);
  if (RRNN_HOP_GATHERS && exists && step > 0) {
    const T* at = parts + static_cast<int64_t>(c) * padded_n + unit;
    const int64_t stride = static_cast<int64_t>(bundle.width) * padded_n;
    for (int first = shares.share(); first < count; first += shares.lanes * GatherShares::kLoads) {
      Vector<T> some[GatherShares::kLoads];
#pragma unroll
      for (int load = 0; load < GatherShares::kLoads; ++load) {
        const int part = first + load * shares.lanes;
        some[load] = part < count ? Vector<T>::load_l2(at + part * stride) : Vector<T>{};
      }
#pragma unroll
      for (const Vector<T>& more : some)
#pragma unroll
        for (int j = 0; j < kSize; ++j) sum.at[j] += more.at[j];
    }
  }
  for (int with = kWarp / shares.lanes; with < kWarp; with *= 2)
#pragma unroll
    for (int j = 0; j < kSize; ++j) sum.at[j] += __shfl_xor_sync(kWholeWarp, sum.at[j], with);
#pragma unroll
  for (int j = 0; j < kSize; ++j)
    sum.at[j] = exists && unit + j < chains.n ? chains.alpha * sum.at[j] + inflow.at[j] : T(0);
  return sum;
}

template <typename T>
__device__ void keep(const Chains<T>& chains, const Bundle<T>& bundle, int graph, int step, int c, int unit,
                     const Vector<T>& x) {
  if (c >= bundle.width || unit >= chains.n) return;
  const int slot = bundle.last_hop_first ? chains.hops - 1 - step : step;
  T* to =
      bundle.chain + graph * bundle.chain_stride + slot * bundle.hop_stride + static_cast<int64_t>(c) * chains.n + unit;
  if (whole_vectors<T>(chains.n, bundle.chain)) return x.store(to);
#pragma unroll
  for (int j = 0; j < Vector<T>::kSize; ++j)
    if (unit + j < chains.n) to[j] = x.at[j];
}

}  // namespace rrnn::cuda::chain_layout
