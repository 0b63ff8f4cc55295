// The inverses of matrices of any size.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/kernels/product.h"

namespace rrnn::cuda {

// to = (I - a)^{-1} for (n, n) of each graph. Without pivoting between the halves, so look at the result.
template <typename T>
void invert_by_halves(int64_t count, Matrix<const T> a, Matrix<T> to, int n, T* scratch, cudaStream_t stream);
int64_t halves_scratch(int64_t count, int64_t n);  // numbers

}  // namespace rrnn::cuda
