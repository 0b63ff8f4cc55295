// Sums over all walks, where they converge.
#pragma once

#include <cstdint>

#include "cpu/algorithms/team.h"

namespace rrnn {

// The relative error that the kernels of infinite sums may leave; where it could be more they leave the sum open, for
// more precision than they have.
inline constexpr double kTolerance = 1.0 / 2048;

// x = (I - A)^{-1} u and y = (I - A')^{-1} v for A = alpha |W|, u, v >= 0.
template <typename T>
struct Pathway {
  int64_t n;
  const T* weight_hh;  // (n, n)
  const T* sources;    // u, (n)
  const T* targets;    // v, (n)
  T alpha;

  double flops() const { return 80.0 * static_cast<double>(n) * n; }  // of the twenty passes it may take
};

// By biconjugate gradients, whose two products a step share one pass over W. True, in the leader, where x and y are
// found, prove that the spectral radius is below 1, and give the sum v . x within kTolerance; false says nothing.
template <typename T>
bool solve_pathway(const Pathway<T>& problem, T* x, T* y, Team& team, T* shared);
template <typename T>
int64_t solve_pathway_scratch(const Pathway<T>& problem, int64_t members);

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
  return 2 * n * n + 17 * n;  // of which the last 17 n serve the inverse and then the look at it
}

}  // namespace rrnn
