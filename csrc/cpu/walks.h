// Walks of finite length from inputs to outputs through one recurrent matrix, and the gradient of their sum.
#pragma once

#include <cstdint>

#include "kernels.h"
#include "team.h"

namespace rrnn {

// P_m = alpha^e phi(V) (alpha phi(W))^m phi(U), m < hops; e counts the given ones of U and V. All row-major and dense.
template <typename T>
struct Walks {
  int64_t n, inputs, outputs, hops;
  const T* weight_hh;   // (n, n)
  const T* weight_in;   // (n, inputs), or null: the identity
  const T* weight_out;  // (outputs, n), or null: the identity; one of the two is given
  T alpha;
  bool rectify;
  bool per_hop;          // each P_m for itself rather than their sum
  const T* hop_weights;  // (hops) factors of the sum, or null: ones

  // The chain carries the narrower side's vectors through W (from the inputs) or its transpose (from the outputs).
  bool from_inputs() const { return !weight_out || (weight_in && inputs <= outputs); }
  int64_t width() const { return from_inputs() ? inputs : outputs; }
  int64_t other_width() const { return from_inputs() ? outputs : inputs; }
  const T* start() const { return from_inputs() ? weight_in : weight_out; }
  const T* other() const { return from_inputs() ? weight_out : weight_in; }
  T edges() const { return weight_in && weight_out ? alpha * alpha : alpha; }
  T hop_weight(int64_t m) const { return hop_weights ? hop_weights[m] : T(1); }
  int64_t terms() const { return per_hop ? hops : 1; }
  // A single pathway needs one pass over W for both of its chains.
  bool single_pathway() const {
    return weight_in && weight_out && inputs == 1 && outputs == 1 && hops > 1 && !per_hop && !hop_weights;
  }
  double flops() const { return 2.0 * static_cast<double>(n) * n * width() * hops; }
  int64_t chain_size() const { return (single_pathway() ? 2 : 1) * hops * width() * n; }
};

// to = A from (+ add), or A' from, for this member's hidden units; bundles of width() vectors.
template <typename T>
void advance_chain(const Walks<T>& problem, const T* from, const T* add, T* to, bool forwards, bool reverse,
                   Range units) {
  const int64_t n = problem.n, width = problem.width();
  const auto& k = kernels<T>(problem.flops());
  const int64_t step = 480;  // a multiple of the kernels' tiles
  if (forwards) {
    sweep(units, step, reverse, [&](Range rows) {
      k.apply(rows, n, problem.weight_hh, n, from, n, width, problem.alpha, add, n, to, n, problem.rectify);
    });
  } else {
    // Every row of W adds to all of these units: by pieces of rows, each upon what the ones before it left.
    bool first = true;
    sweep({0, n}, step, reverse, [&](Range rows) {
      k.apply_transposed(units, rows.end - rows.begin, problem.weight_hh + rows.begin * n, n, from + rows.begin, n,
                         width, problem.alpha, first ? add : to, n, to, n, problem.rectify);
      first = false;
    });
  }
}

// Fills walks (terms, outputs, inputs). `chain`, unless null, receives what the gradient needs (chain_size elements).
template <typename T>
void walk_forward(const Walks<T>& problem, T* walks, T* chain, Team& team, T* shared);
template <typename T>
int64_t walk_forward_scratch(const Walks<T>& problem, bool keeps_chain);

// From grad_walks (terms, outputs, inputs): the gradients of weight_hh, weight_in and weight_out (null: not given).
template <typename T>
void walk_backward(const Walks<T>& problem, const T* grad_walks, const T* chain, T* grad_hh, T* grad_in, T* grad_out,
                   Team& team, T* shared);
template <typename T>
int64_t walk_backward_scratch(const Walks<T>& problem);

// The same for a single pathway (see Walks::single_pathway), both chains at once.
template <typename T>
int64_t single_pathway_scratch(const Walks<T>& problem, int64_t members);
template <typename T>
void single_pathway_forward(const Walks<T>& problem, T* walks, T* chain, Team& team, T* shared);
template <typename T>
void single_pathway_backward(const Walks<T>& problem, const T* grad_walks, const T* chain, T* grad_hh, T* grad_in,
                             T* grad_out, Team& team, T* shared);

// grad * d|M|: the sign of M where rectified.
template <typename T>
inline T times_phi_derivative(T grad, T weight, bool rectify) {
  return !rectify || weight > 0 ? grad : weight < 0 ? -grad : grad * weight;
}

}  // namespace rrnn
