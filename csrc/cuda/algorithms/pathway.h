// Sums over all walks from one source to one target, where they converge.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "common/convergence.h"

namespace rrnn::cuda {

// x = (I - A)^{-1} u and y = (I - A')^{-1} v for A = alpha |W|, u, v >= 0, of a batch.
template <typename T>
struct Pathways {
  int64_t count;
  int n;
  const T* weight_hh;  // (count, n, n)
  const T* sources;    // u, (count, n)
  const T* targets;    // v, (count, n)
  T alpha;
};

// found[b] = kProved, or kOpen and NaN. Uses `scratch` of solve_pathway_scratch bytes.
template <typename T>
void solve_pathway(const Pathways<T>& problem, T* x, T* y, T* found, void* scratch, cudaStream_t stream);
template <typename T>
int64_t solve_pathway_scratch(const Pathways<T>& problem);

// grad_hh[b] = scale[b] alpha y x' sign(W)
template <typename T>
void solve_pathway_backward(const Pathways<T>& problem, const T* scale, const T* x, const T* y, T* grad_hh,
                            cudaStream_t stream);

}  // namespace rrnn::cuda
