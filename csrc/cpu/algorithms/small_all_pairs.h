// The sums over all walks between all pairs of units of a graph that fits the cache, where they converge.
#pragma once

#include <cstdint>

namespace rrnn::cpu {

template <typename T>
struct SmallGraph {
  int64_t n;
  const T* weight_hh;  // (n, n)
  T alpha;
  bool rectify;
  double flops;  // of all the graphs of a call
};

// walks = (I - A)^{-1} - I for A = alpha phi(W). True where the powers of A are seen to shrink, which proves that the
// walks have this sum, and where the inverse is seen to be within kTolerance of it; false says nothing.
template <typename T>
bool small_all_pairs(const SmallGraph<T>& graph, T* walks, T* scratch);

// grad_hh = alpha phi'(W) Q' G Q' for Q = I + walks and G = grad_walks.
template <typename T>
void small_all_pairs_backward(const SmallGraph<T>& graph, const T* walks, const T* grad_walks, T* grad_hh, T* scratch);

template <typename T>
int64_t small_graph_scratch(int64_t n) {
  return 2 * n * n + 17 * n;  // of which the last 17 n serve the inverse, the look at it and the proof, in turn
}

}  // namespace rrnn::cpu
