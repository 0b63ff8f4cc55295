// Walks through a network that ran, and their gradients: the loops of finite walks from the outputs, with gains between
// the products. Gains of one change no bit of what those give.
#pragma once

#include <cstdint>

#include "common/driven_problem.h"
#include "cpu/algorithms/finite_walks.h"
#include "cpu/algorithms/team.h"

namespace rrnn::cpu {

// Of carrying the vectors through all gates' weights, hop by hop.
template <typename T>
double flops_of(const DrivenProblem<T>& problem) {
  return 2.0 * static_cast<double>(problem.rows() * problem.n) * static_cast<double>(problem.vectors()) *
         static_cast<double>(problem.hops);
}

// Fills walks (terms, networks, width, inputs) and, unless it is null, chain (hops, parts, networks, width, n).
template <typename T>
void driven_forward(const DrivenProblem<T>& problem, T* walks, T* chain, Team& team, T* shared);
template <typename T>
int64_t driven_forward_scratch(const DrivenProblem<T>& problem);

// From grad_walks, of the shape of the walks.
template <typename T>
void driven_backward(const DrivenProblem<T>& problem, const T* grad_walks, const T* chain, const DrivenGradients<T>& to,
                     Team& team, T* shared);
template <typename T>
int64_t driven_backward_scratch(const DrivenProblem<T>& problem);

}  // namespace rrnn::cpu
