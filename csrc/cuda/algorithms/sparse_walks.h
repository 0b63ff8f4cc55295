// Walks of finite length through a sparse matrix, their penalty and the gradients of both.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "common/sparse_walk_problem.h"

namespace rrnn::cuda {

// Bytes of working memory.
template <typename T>
int64_t sparse_walks_scratch(const SparseWalksCall<T>& call);

template <typename T>
void sparse_walks(const SparseWalksCall<T>& call, void* memory, cudaStream_t stream);

}  // namespace rrnn::cuda
