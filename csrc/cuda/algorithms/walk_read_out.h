// The walks that a chain yields, and their norm.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/algorithms/finite_walks.h"

namespace rrnn::cuda {

template <typename T>
struct ReadOut {
  WalkBatch<T> problem;
  const T* chain;                    // of the narrower side
  int64_t chain_stride, hop_stride;  // from graph to graph, and from hop to hop
  T* walks;                          // (graphs, terms, outputs, inputs)
  const WalkNorm<T>* norm;           // or null: it is not wanted
  T* value;                          // (graphs)
  unsigned* arrived;                 // (graphs) zeros
  void* scratch;
};

template <typename T>
int64_t read_out_scratch(const WalkBatch<T>& problem, const WalkNorm<T>* norm);  // bytes
template <typename T>
void read_out(const ReadOut<T>& run, cudaStream_t stream);

}  // namespace rrnn::cuda
