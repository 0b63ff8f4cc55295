// What a walk adds to the norm of walks.
#pragma once

#include "common/edge.h"
#include "cuda/algorithms/finite_walks.h"

namespace rrnn::cuda {

// Of walk `at` of (terms, outputs, inputs) of a graph. Long sums of them are in float64, as they are on the CPU.
template <typename T>
__device__ __forceinline__ double weighted_size(const WalkNorm<T>& norm, int64_t graph, int64_t at, T walk) {
  const int64_t term = at / norm.pairs, pair = at % norm.pairs;
  double size = walk_size(walk, norm.norm);
  if (norm.pair_weights) size = weighed(norm.pair_weights[graph * norm.pair_weights_stride + pair], size);
  if (norm.term_weights) size = weighed(norm.term_weights[graph * norm.term_weights_stride + term], size);
  return size;
}

}  // namespace rrnn::cuda
