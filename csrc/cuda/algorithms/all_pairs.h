// Sums over all walks between all pairs of units, where they converge.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "common/convergence.h"
#include "common/edge.h"

namespace rrnn::cuda {

// A batch of graphs, all pairs of each.
template <typename T>
struct AllPairs {
  int64_t count;
  int n;
  const T* weight_hh;     // (count, n, n)
  const T* pair_weights;  // (n, n), or (count, n, n), or null: ones
  bool own_pair_weights;  // the latter
  double alpha;
  bool rectify;
  Norm norm;

  // The element of A that is made of this weight, in the precision that is computed in.
  template <typename In>
  __device__ __forceinline__ In edge_of(T weight) const {
    return edge(static_cast<In>(weight), static_cast<In>(alpha), rectify);
  }
};

// value[b] = penalty of walks[b] = (I - A)^{-1} - I for A = alpha phi(W), converges[b] = kProved; or NaN and kOpen.
// Uses `scratch` of all_pairs_scratch bytes.
template <typename T>
void all_pairs_forward(const AllPairs<T>& graphs, T* value, T* walks, T* converges, void* scratch, cudaStream_t stream);
template <typename T>
int64_t all_pairs_scratch(const AllPairs<T>& graphs);

// grad_hh = alpha phi'(W) Q' G Q' for Q = I + walks and G = grad_value[b] times the derivative of the penalty.
template <typename T>
void all_pairs_backward(const AllPairs<T>& graphs, const T* grad_value, const T* walks, T* grad_hh, void* scratch,
                        cudaStream_t stream);
template <typename T>
int64_t all_pairs_backward_scratch(const AllPairs<T>& graphs);

// The same for graphs that a block keeps on chip; n at most small_all_pairs_limit on the current device.
template <typename T>
int small_all_pairs_limit();
template <typename T>
void small_all_pairs_forward(const AllPairs<T>& graphs, T* value, T* walks, T* converges, cudaStream_t stream);
template <typename T>
void small_all_pairs_backward(const AllPairs<T>& graphs, const T* grad_value, const T* walks, T* grad_hh,
                              cudaStream_t stream);

}  // namespace rrnn::cuda
