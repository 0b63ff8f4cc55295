// The gradient of the recurrent matrix.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace rrnn::cuda {

// out[r][k] = scale * sum_d left[d][r] right[d][k], times the derivative of |w| at sign_of[r][k] where it is given;
// for each graph. out and sign_of are (graphs, n, n), the others (depth, n) with so many numbers from graph to graph.
template <typename T>
struct OuterProduct {
  int64_t graphs, n, depth;
  const int* depths;  // each graph's own (graphs), at most depth; or null
  const T *left, *right;
  int64_t left_stride, right_stride;
  T scale;
  const T* sign_of;
  T* out;
};

template <typename T>
void outer_product(const OuterProduct<T>& product, cudaStream_t stream);

}  // namespace rrnn::cuda
