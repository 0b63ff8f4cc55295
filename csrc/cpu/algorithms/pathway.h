// The sum over all walks from one source to one target, where it converges.
#pragma once

#include <cstdint>

#include "cpu/algorithms/dense_operand.h"
#include "cpu/algorithms/team.h"

namespace rrnn::cpu {

// x = (I - A)^{-1} u and y = (I - A')^{-1} v for an operand A >= 0 and u, v >= 0.
template <typename T>
struct Pathway {
  int64_t n;
  const T* sources;  // u, (n)
  const T* targets;  // v, (n)
};

// Of the twenty passes over so many weights that it may take.
inline double flops_of_pathway(double weights) { return 80.0 * weights; }

// By biconjugate gradients, whose two products a step share one pass over W. True, in the leader, where x and y are
// found, prove that the spectral radius is below 1, and give the sum v . x within kTolerance; false says nothing.
template <typename Operand, typename T = typename Operand::Number>
bool solve_pathway(const Pathway<T>& problem, const Operand& a, T* x, T* y, Team& team, T* shared);
template <typename T>
int64_t solve_pathway_scratch(const Pathway<T>& problem, int64_t members);

}  // namespace rrnn::cpu
