// The chain of walks through left-scaled weights, other scales at each hop, and the gradient of all of its links.
#pragma once

#include <cstdint>

#include "cpu/algorithms/team.h"

namespace rrnn::cpu {

// X_{m+1} = alpha (W' (d_m X_m) + k_m X_m) + B_{m+1},  X_0 = B_0. All row-major and dense.
template <typename T>
struct DrivenChain {
  int64_t n, rows, parts, count, width, hops;
  const T* weight_hh;  // (rows, n), rows = gates x n
  const T* gains;      // (hops, count, parts, rows)
  const T* carries;    // (hops, count, parts, parts, n), or null: zeros
  T alpha;

  int64_t vectors() const { return count * width; }
  int64_t state() const { return parts * n; }           // of a vector
  int64_t link() const { return vectors() * state(); }  // of a hop
  int64_t gates() const { return rows / n; }
  const T* gains_of(int64_t hop, int64_t vector, int64_t part) const {
    return gains + ((hop * count + vector / width) * parts + part) * rows;
  }
  const T* carry_of(int64_t hop, int64_t vector, int64_t after, int64_t before) const {
    return carries + (((hop * count + vector / width) * parts + after) * parts + before) * n;
  }
  double flops() const { return 2.0 * static_cast<double>(rows) * n * vectors() * hops; }
};

// Fills chain (hops + 1, count, width, parts, n) from entering (entering_hops, count, width, n). Scratch: vectors x
// rows.
template <typename T>
void driven_chain_forward(const DrivenChain<T>& problem, const T* entering, int64_t entering_hops, T* chain, Team& team,
                          T* shared);
template <typename T>
int64_t driven_forward_scratch(const DrivenChain<T>& problem);

// From grad_chain, of the chain's shape: the gradients of weight_hh, of the gains and carries (null: not wanted) and,
// in grad_links (hops + 1, count, width, parts, n), of what enters each part at each hop.
template <typename T>
void driven_chain_backward(const DrivenChain<T>& problem, const T* grad_chain, const T* chain, T* grad_hh,
                           T* grad_gains, T* grad_carries, T* grad_links, Team& team, T* shared);
template <typename T>
int64_t driven_backward_scratch(const DrivenChain<T>& problem);

}  // namespace rrnn::cpu
