// The graphs that the ops of finite walks are given, as the algorithms know them.
#pragma once

#include <cstdint>
#include <vector>

#include "common/walk_arguments.h"
#include "cpu/algorithms/dense_operand.h"
#include "cpu/algorithms/finite_walks.h"
#include "cpu/algorithms/wide_walks.h"

namespace rrnn::cpu {

// Without the hops at the end that no weight is given to; `terms_are_weighted` where that holds of each P_m too.
template <typename T>
WalkProblem<T> problem(const WalkArguments& graphs, int64_t index, bool terms_are_weighted = false) {
  WalkProblem<T> walk = graphs.problem<T>(index);
  if (!graphs.per_hop || terms_are_weighted) walk.hops = graphs.weighted_hops<T>(index);
  return walk;
}

template <typename T>
double dense_flops(const WalkProblem<T>& walk) {
  return flops_of(walk, static_cast<double>(walk.n) * static_cast<double>(walk.n));
}

template <typename T>
DenseOperand<T> operand(const WalkArguments& graphs, const WalkProblem<T>& walk, int64_t index) {
  return {graphs.matrix<T>(index), walk.n, walk.alpha, walk.rectify, dense_flops(walk)};
}

// Graph by graph, redo(index) where the result is no number though the graph is made of numbers.
template <typename T, typename Finite, typename Redo>
void redo_overflowed(const WalkArguments& graphs, const Finite& finite, const Redo& redo) {
  for (int64_t index = 0; index < graphs.count(); ++index)
    if (!finite(index) && is_finite(problem<T>(graphs, index), graphs.matrix<T>(index), graphs.alpha)) redo(index);
}

template <typename T>
std::vector<Wide> redone_walks(const WalkArguments& graphs, int64_t index, bool terms_are_weighted) {
  std::vector<Wide> walks(graphs.terms() * graphs.pairs());
  wide_walks(problem<T>(graphs, index, terms_are_weighted), graphs.matrix<T>(index), graphs.alpha, walks.data());
  return walks;
}

}  // namespace rrnn::cpu
