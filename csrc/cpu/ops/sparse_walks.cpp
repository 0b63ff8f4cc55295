// The ops of finite walks through a sparse matrix on CPU tensors: memory, threads, and checks of the indices.
#include "cpu/algorithms/sparse_walks.h"

#include <torch/csrc/stable/library.h>

#include <algorithm>

#include "common/sparse_walk_ops.h"
#include "cpu/algorithms/sparse_rows.h"

namespace rrnn::cpu {
namespace {

void check_units(const char* name, const std::optional<Tensor>& side, int64_t n) {
  if (!side || side->dim() == 2) return;
  const int64_t* units = at<int64_t>(*side, 0, 0);
  for (int64_t q = 0; q < side->numel(); ++q)
    STD_TORCH_CHECK(0 <= units[q] && units[q] < n, name, " must be units from 0 to ", n - 1, ", got ", units[q]);
}

void check_indices(const SparseWalkArguments& graph) {
  check_rows("crow", graph.by_rows(), graph.edges);
  check_rows("t_crow", graph.by_columns(), graph.edges);
  check_from(graph.from(), graph.edges);
  check_units("weight_in", graph.weight_in, graph.n);
  check_units("weight_out", graph.weight_out, graph.n);
}

template <typename T>
Scratch<T> by_columns(const SparseWalksCall<T>& call) {
  Scratch<T> found = scratch<T>(call.edges);
  run_team(static_cast<double>(call.edges) * 8, [&](Team& team) {
    constexpr int64_t kAhead = 32;
    const Range part = team.share(call.edges);
    for (int64_t k = part.begin; k < part.end; ++k) {
      __builtin_prefetch(call.values + call.from[std::min(k + kAhead, part.end - 1)]);
      found[k] = call.values[call.from[k]];
    }
  });
  return found;
}

// No walk is there.
template <typename T>
void clear(const SparseWalksCall<T>& call) {
  const SparseWalkProblem<T>& problem = call.problem;
  if (call.value) *call.value = 0;
  if (call.walks) std::fill_n(call.walks, problem.terms() * problem.pairs(), T(0));
  if (call.grad_values) std::fill_n(call.grad_values, call.edges, T(0));
  if (call.grad_start) std::fill_n(call.grad_start, problem.n() * problem.start.count, T(0));
  if (call.grad_other) std::fill_n(call.grad_other, problem.n() * problem.other.count, T(0));
}

template <typename T>
void run(const SparseWalkArguments& graph, SparseWalksCall<T>& call) {
  check_indices(graph);
  SparseWalkProblem<T>& problem = call.problem;
  if (problem.start.count == 0 || problem.n() == 0) return clear(call);
  if (!problem.per_hop || call.value)  // hops at the end that no weight is given to are not made
    while (problem.hops > 1 && problem.hop_weight(problem.hops - 1) == 0) --problem.hops;
  const Scratch<T> mirrored = !problem.from_inputs || call.gradients ? by_columns(call) : Scratch<T>();
  const Scratch<T> shared = scratch<T>(sparse_walks_scratch(call));
  run_team(flops_of(call), [&](Team& team) { sparse_walks(call, mirrored.get(), team, shared.get()); });
}

using Ops = SparseWalkOps<[](const auto& graph, auto& call) { run(graph, call); }>;

}  // namespace
}  // namespace rrnn::cpu

STABLE_TORCH_LIBRARY_IMPL(rrnn_ext, CPU, m) {
  m.impl("sparse_walks", TORCH_BOX(&rrnn::cpu::Ops::walks));
  m.impl("sparse_walks_backward", TORCH_BOX(&rrnn::cpu::Ops::walks_backward));
  m.impl("sparse_walks_penalty", TORCH_BOX(&rrnn::cpu::Ops::penalty));
  m.impl("sparse_walks_penalty_backward", TORCH_BOX(&rrnn::cpu::Ops::penalty_backward));
}
