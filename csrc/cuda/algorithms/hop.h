// A single hop of vectors through matrices that need not be square.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace rrnn::cuda {

// A batch of matrices, (count, rows, columns), and the vectors that meet them.
template <typename T>
struct Hop {
  int64_t count;
  int rows, columns;
  const T* weight_hh;
  T alpha;
  bool rectify;
};

// to (count, width, rows) = A from (count, width, columns), or where `transposed` the other way through A'.
template <typename T>
void hop(const Hop<T>& problem, bool transposed, int width, const T* from, T* to, cudaStream_t stream);

// grad_hh = alpha phi'(W) left' right for left (count, depth, rows) and right (count, depth, columns).
template <typename T>
void hop_gradient(const Hop<T>& problem, int depth, const T* left, const T* right, T* grad_hh, cudaStream_t stream);

}  // namespace rrnn::cuda
