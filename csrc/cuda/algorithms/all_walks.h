// Sums over all walks, where they converge: what the launchers beside this file compute.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "common/edge.h"

namespace rrnn::cuda {

// The relative error that these kernels may leave; where it could be more they leave the sum open.
inline constexpr double kTolerance = 1.0 / 2048;

// A batch of graphs, all pairs of each.
template <typename T>
struct AllPairs {
  int64_t count;
  int n;
  const T* weight_hh;     // (count, n, n)
  const T* pair_weights;  // (n, n), or (count, n, n), or null: ones
  bool own_pair_weights;  // the latter
  T alpha;
  bool rectify;
  Norm norm;
};

// What is known of a graph's sum, in the dtype of the weights: kProved that it converges and that what comes out is
// within kTolerance of it, or kOpen. Weights that are
// not finite make NaN, about which there is nothing to prove.
inline constexpr int kOpen = 0, kProved = 1;

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
