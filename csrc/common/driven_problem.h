// Walks through a network that ran: at each hop other gains scale the rows of the weights. All row-major and dense.
#pragma once

#include <cstdint>

#include "common/edge.h"

namespace rrnn {

// Of several networks that share their weights, such as one on several sequences; a bundle is what reads all of them,
// so many vectors of n units. Going back from the outputs, with a state of one or more parts, X_0 = B_0,
//   P_m = scale (u_m X_m) U,   X_{m+1} = alpha (W' (d_m X_m) + k_m X_m) + B_{m+1},
// where d_m and u_m scale the rows of all gates' weights, k_m is what the state carries, and B_m, of the first part,
// what enters: the read-out at the first hop, or of a lower layer what the one above it reads at each.
template <typename T>
struct DrivenProblem {
  int64_t n, gates, parts, inputs, networks, width, hops;
  const T* weight_hh;    // (gates, n, n)
  const T* weight_ih;    // (gates, n, inputs)
  const T* entering;     // (width, n), of each network at the first hop; or (hops, networks, width, n)
  bool enters_each_hop;  // which of the two
  const T* gains;        // d (hops, networks, parts, gates, n)
  const T* input_gains;  // u, likewise; may be the gains
  const T* carries;      // k (hops, networks, parts after the step, parts before it, n), or null: zeros
  T alpha, scale;
  bool per_hop;          // each P_m for itself rather than their sum
  const T* hop_weights;  // (hops) factors of the sum, or per hop of the norms, or null: ones

  RRNN_INLINE int64_t vectors() const { return networks * width; }
  RRNN_INLINE int64_t bundle() const { return vectors() * n; }
  RRNN_INLINE int64_t link() const { return parts * bundle(); }  // of the chain (hops, parts, networks, width, n)
  RRNN_INLINE int64_t rows() const { return gates * n; }
  RRNN_INLINE int64_t terms() const { return per_hop ? hops : 1; }
  // Of the sum.
  RRNN_INLINE T hop_weight(int64_t hop) const { return hop_weights && !per_hop ? hop_weights[hop] : T(1); }
  // Up to the last hop that has a weight; at least one. Those after it take no part.
  RRNN_INLINE int64_t weighted_hops() const {
    int64_t last = hops;
    while (hop_weights && last > 1 && hop_weights[last - 1] == 0) --last;
    return last;
  }
  // Where the gains of a hop, a network and a part begin, (gates, n), and its carries to each part before, (parts, n).
  RRNN_INLINE int64_t gains_at(int64_t hop, int64_t network, int64_t part) const {
    return ((hop * networks + network) * parts + part) * rows();
  }
  RRNN_INLINE int64_t carries_at(int64_t hop, int64_t network, int64_t after) const {
    return ((hop * networks + network) * parts + after) * parts * n;
  }
  RRNN_INLINE const T* enters(int64_t hop) const {  // (networks, width, n), or null
    return enters_each_hop ? entering + hop * bundle() : nullptr;
  }
};

// Where its gradients go, each of the shape of what it is of; null: not wanted.
template <typename T>
struct DrivenGradients {
  T *weight_hh, *weight_ih, *entering;
  T *gains, *input_gains, *carries;  // input_gains are null too where they are the gains, which then have both
  bool of_gains() const { return gains != nullptr; }
};

// sum over terms of w_term times the mean over the networks of ||P||; null weights are ones.
template <typename T>
struct DrivenNorm {
  Norm norm;
  int64_t terms, networks, pairs;
  const T* walks;         // (terms, networks, pairs)
  const T* term_weights;  // (terms)
  const T* pair_weights;  // (pairs)
};

}  // namespace rrnn
