// Inverses that came out inaccurate, in float64 by products alone: Newton's iteration X <- X + X (I - M X) for
// M = I - A, which squares what I - M X is.
//
// It goes on from the inverse it is given where that is near enough, and otherwise begins with X = I: then I - M X is
// A^(2^k) after k steps and X is the sum of the first 2^k walks, S_2m = S_m + A^m S_m, which needs no pivot and ends
// wherever the spectral radius is below 1.
#pragma once

#include <algorithm>

#include "cuda/algorithms/all_pairs.h"
#include "cuda/device/device.h"
#include "cuda/kernels/product.h"

namespace rrnn::cuda {

// `group` graphs at a time, of n units.
template <typename Given>
struct Newton {
  AllPairs<Given> graphs;
  int* states;   // (count): kInaccurate becomes kMended, or kOpen and NaN; others are left alone
  Given* walks;  // (count, n, n): the inverses
  int group;
  double *edges, *residuals;  // (group, n, n): A, and I - M X
  double* inverses;           // (2, group, n, n): an X and the next one take turns
  double* squares;            // (2, group, tiles): the sum of squares of each tile of I - M X, and of the one before
  int* open;                  // (2, group): whether a graph takes another step, and whether it took this one
};

template <typename Given>
Newton<Given> newton(const AllPairs<Given>& graphs, int* states, Given* walks, SharedPieces& scratch) {
  const int64_t tiles = tiles_across(graphs.n) * tiles_across(graphs.n),
                size = static_cast<int64_t>(graphs.n) * graphs.n;
  // A few hundred tiles keep a device busy, and it is rare.
  const int64_t group = std::min(graphs.count, std::max<int64_t>(1, 256 / std::max<int64_t>(1, tiles)));
  Newton<Given> run{graphs, states, walks, static_cast<int>(group), nullptr, nullptr, nullptr, nullptr, nullptr};
  run.edges = scratch.take<double>(group * size);
  run.residuals = scratch.take<double>(group * size);
  run.inverses = scratch.take<double>(2 * group * size);
  run.squares = scratch.take<double>(2 * group * tiles);
  run.open = scratch.take<int>(2 * group);
  return run;
}

template <typename Given>
void launch_newton(const Newton<Given>& run, cudaStream_t stream);

}  // namespace rrnn::cuda
