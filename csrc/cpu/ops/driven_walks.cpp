// The ops of walks through a network that ran, on CPU tensors.
#include "cpu/algorithms/driven_walks.h"

#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <vector>

#include "common/driven_ops.h"
#include "cpu/algorithms/penalty.h"
#include "cpu/algorithms/scratch.h"
#include "cpu/algorithms/team.h"

namespace rrnn::cpu {
namespace {

struct DrivenOnCpu {
  template <typename T>
  static void forward(const Tensor&, DrivenProblem<T> problem, T* walks, T* chain) {
    const int64_t hops = skip_weightless(problem);
    const Scratch<T> shared = scratch<T>(driven_forward_scratch(problem));
    run_team(flops_of(problem), [&](Team& team) { driven_forward(problem, walks, chain, team, shared.get()); });
    const int64_t term = problem.vectors() * problem.inputs;
    if (problem.per_hop) std::fill(walks + problem.hops * term, walks + hops * term, T(0));
    if (chain) std::fill(chain + problem.hops * problem.link(), chain + hops * problem.link(), T(0));
  }

  template <typename T>
  static void backward(const Tensor&, DrivenProblem<T> problem, const T* grad_walks, const T* chain,
                       const DrivenGradients<T>& to) {
    const int64_t hops = skip_weightless(problem);
    const int64_t rows = problem.rows(), skipped = hops - problem.hops;
    const auto clear = [](T* numbers, int64_t begin, int64_t count) {
      if (numbers) std::fill_n(numbers + begin, count, T(0));
    };
    if (problem.vectors() * problem.inputs == 0) {
      clear(to.weight_hh, 0, rows * problem.n);
      clear(to.weight_ih, 0, rows * problem.inputs);
      clear(to.entering, 0, problem.enters_each_hop ? hops * problem.bundle() : problem.width * problem.n);
      for (T* each : {to.gains, to.input_gains}) clear(each, 0, hops * problem.gains_at(1, 0, 0));
      clear(to.carries, 0, hops * problem.carries_at(1, 0, 0));
      return;
    }
    const Scratch<T> shared = scratch<T>(driven_backward_scratch(problem));
    run_team(2 * flops_of(problem),
             [&](Team& team) { driven_backward(problem, grad_walks, chain, to, team, shared.get()); });
    for (T* each : {to.gains, to.input_gains})
      clear(each, problem.gains_at(problem.hops, 0, 0), skipped * problem.gains_at(1, 0, 0));
    clear(to.carries, problem.carries_at(problem.hops, 0, 0), skipped * problem.carries_at(1, 0, 0));
    if (problem.enters_each_hop) clear(to.entering, problem.hops * problem.bundle(), skipped * problem.bundle());
  }

  template <typename T>
  static void norm(const Tensor&, const DrivenNorm<T>& norm, T* value) {
    const std::vector<T> weights = of_each_network(norm);
    *value = penalty(norm.norm, norm.walks, norm.terms * norm.networks, norm.pairs,
                     norm.term_weights ? weights.data() : nullptr, norm.pair_weights) /
             static_cast<T>(norm.networks);
  }

  template <typename T>
  static void slope(const Tensor&, const DrivenNorm<T>& norm, const T* grad_value, T* grad_walks) {
    const std::vector<T> weights = of_each_network(norm);
    penalty_backward(norm.norm, norm.walks, norm.terms * norm.networks, norm.pairs,
                     norm.term_weights ? weights.data() : nullptr, norm.pair_weights,
                     *grad_value / static_cast<T>(norm.networks), grad_walks);
  }

 private:
  // Leaves out the hops at the end that have no weight, whose part of every result is zero. Returns how many there
  // were.
  template <typename T>
  static int64_t skip_weightless(DrivenProblem<T>& problem) {
    const int64_t hops = problem.hops;
    problem.hops = problem.weighted_hops();
    return hops;
  }

  // The weights of the terms, each as often as there are networks.
  template <typename T>
  static std::vector<T> of_each_network(const DrivenNorm<T>& norm) {
    std::vector<T> weights;
    for (int64_t m = 0; norm.term_weights && m < norm.terms; ++m)
      weights.insert(weights.end(), norm.networks, norm.term_weights[m]);
    return weights;
  }
};

}  // namespace
}  // namespace rrnn::cpu

STABLE_TORCH_LIBRARY_IMPL(rrnn_ext, CPU, m) {
  using Ops = rrnn::DrivenOps<rrnn::cpu::DrivenOnCpu>;
  m.impl("driven_walks", TORCH_BOX(&Ops::walks));
  m.impl("driven_walks_backward", TORCH_BOX(&Ops::walks_backward));
  m.impl("driven_walks_penalty", TORCH_BOX(&Ops::penalty));
  m.impl("driven_walks_penalty_backward", TORCH_BOX(&Ops::penalty_backward));
}
