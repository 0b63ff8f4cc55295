// Walks of finite length from inputs to outputs through one recurrent matrix, and the gradient of their sum.
#pragma once

#include <cstdint>

#include "common/edge.h"
#include "cpu/algorithms/team.h"
#include "cpu/kernels/kernels.h"

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

// A member's part of the chain: some of its vectors, or some of the hidden units of all of them. Members with vectors
// of their own need nothing of one another from hop to hop, but each of them reads all of W.
struct ChainPart {
  Range vectors, units;
  bool alone;  // no need to wait for the others after a hop
};

template <typename T>
ChainPart chain_part(const Walks<T>& problem, const Team& team) {
  // Eight vectors make full use of a weight that is loaded, and W is to stay in each core's own cache.
  constexpr int64_t kFullPanel = 8, kOwnCache = 1 << 20;
  const bool fits = problem.n * problem.n * static_cast<int64_t>(sizeof(T)) <= kOwnCache;
  if (team.items() == 1 || (fits && problem.width() / team.items() >= kFullPanel))
    return {team.share(problem.width()), {0, problem.n}, true};
  return {{0, problem.width()}, team.share(problem.n, 16), false};
}

// to = A from (+ add), or A' from, for this member's part; bundles of width() vectors.
template <typename T>
void advance_chain(const Walks<T>& problem, const T* from, const T* add, T* to, bool forwards, bool reverse,
                   const ChainPart& part) {
  const int64_t n = problem.n, own = part.vectors.begin * n, width = part.vectors.end - part.vectors.begin;
  const auto& k = kernels<T>(problem.flops());
  const int64_t step = 480;  // a multiple of the kernels' tiles
  from += own;
  to += own;
  if (add) add += own;
  if (!part.alone)  // what the others wrote is in their caches: ask for all of it at once
    for (int64_t c = 0; c < width; ++c)
      for (int64_t r = 0; r < n; r += 64 / sizeof(T))
        if (r < part.units.begin || r >= part.units.end) __builtin_prefetch(from + c * n + r);
  if (forwards) {
    sweep(part.units, step, reverse, [&](Range rows) {
      k.apply(rows, n, problem.weight_hh, n, from, n, width, problem.alpha, add, n, to, n, problem.rectify);
    });
  } else {
    // Every row of W adds to all of these units: by pieces of rows, each upon what the ones before it left.
    bool first = true;
    sweep({0, n}, step, reverse, [&](Range rows) {
      k.apply_transposed(part.units, rows.end - rows.begin, problem.weight_hh + rows.begin * n, n, from + rows.begin, n,
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

}  // namespace rrnn
