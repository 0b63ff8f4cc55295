// The proof of convergence of graphs of any size: their powers by squarings, in one launch.
#pragma once

#include <algorithm>
#include <type_traits>

#include "common/edge.h"
#include "cuda/algorithms/all_pairs.h"
#include "cuda/device/device.h"
#include "cuda/kernels/product.h"

namespace rrnn::cuda {

// The powers of `group` graphs at a time, computed in T.
template <typename T>
struct Squaring {
  int64_t count;
  int n;
  const float* singles;   // weight_hh in float32,
  const double* doubles;  // or in float64; the other one is null
  T alpha;
  bool rectify;
  bool only_open;  // the graphs that `proofs` calls so
  int* proofs;     // (count)
  int group;
  // A power and the next one take turns.
  T* powers;        // (2, group, n, n)
  double* squares;  // (2, group, tiles): the sum of squares of each tile
  int* open;        // (2, group): whether a graph is neither settled nor beyond hope

  __device__ T edge_at(int64_t e) const {
    return edge(singles ? static_cast<T>(singles[e]) : static_cast<T>(doubles[e]), alpha, rectify);
  }
};

// How many graphs' powers are computed at once: enough to fill the device, few enough to stay in the L2 cache.
template <typename T>
int squaring_group(int64_t count, int n) {
  const int64_t tiles_at_once = sizeof(T) == sizeof(float) ? 1024 : 512;
  const int64_t group = tiles_at_once / std::max<int64_t>(1, tiles_across(n) * tiles_across(n));
  return static_cast<int>(std::min(count, std::max<int64_t>(1, group)));
}

template <typename T, typename Weight>
Squaring<T> squaring(const AllPairs<Weight>& graphs, bool only_open, int* proofs, SharedPieces& scratch) {
  const int group = squaring_group<T>(graphs.count, graphs.n);
  Squaring<T> run{graphs.count,   graphs.n,  nullptr, nullptr, static_cast<T>(graphs.alpha),
                  graphs.rectify, only_open, proofs,  group,   nullptr,
                  nullptr,        nullptr};
  if constexpr (std::is_same_v<Weight, float>)
    run.singles = graphs.weight_hh;
  else
    run.doubles = graphs.weight_hh;
  run.powers = scratch.take<T>(2 * static_cast<int64_t>(group) * graphs.n * graphs.n);
  run.squares = scratch.take<double>(2 * group * tiles_across(graphs.n) * tiles_across(graphs.n));
  run.open = scratch.take<int>(2 * group);
  return run;
}

template <typename T>
void launch_squaring(const Squaring<T>& run, cudaStream_t stream);

}  // namespace rrnn::cuda
