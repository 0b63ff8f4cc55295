// The gradient of the recurrent matrix.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/kernels/gradient_rows.h"

namespace rrnn::cuda {

// Vectors of n numbers. Those of a hop lie one after another.
template <typename T>
struct HopVectors {
  const T* data;
  int64_t graph_stride;  // numbers from graph to graph
  int64_t hop_stride;    // and from hop to hop
};

// out[r][k] = scale * sum_d left[d][r] right[d][k], times the derivative of |w| at sign_of[r][k] where it is given,
// plus what is there where it adds; for each graph. sign_of is (graphs, n, n).
template <typename T>
struct OuterProduct {
  int64_t graphs, n;
  int64_t depth;      // vectors on either side,
  int64_t vectors;    // so many of a hop
  const int* depths;  // each graph's own depth (graphs), at most depth; or null
  HopVectors<T> left, right;
  T scale;
  const T* sign_of;
  GradientRows<T> out;
};

template <typename T>
void outer_product(const OuterProduct<T>& product, cudaStream_t stream);

}  // namespace rrnn::cuda
