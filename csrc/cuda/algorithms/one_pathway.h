// From a graph's sides to those of the graph with all inputs as one and all outputs as one, and back.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/kernels/gradient_rows.h"

namespace rrnn::cuda {

template <typename T>
struct Sides {
  int64_t graphs, n, inputs, outputs;
  const T* weight_in;   // (graphs, n, inputs), or null
  const T* weight_out;  // (graphs, outputs, n), or null
  T left_out;           // what stands for the sum of a side that is null
};

// sources and targets (graphs, n): for each unit the sum of the sizes of its edges.
template <typename T>
void add_up_sides(const Sides<T>& sides, T* sources, T* targets, cudaStream_t stream);

// The gradients by the sides from those by their sums.
template <typename T>
void spread_over_sides(const Sides<T>& sides, const T* grad_sources, const T* grad_targets, const GradientRows<T>& in,
                       const GradientRows<T>& out, cudaStream_t stream);

}  // namespace rrnn::cuda
