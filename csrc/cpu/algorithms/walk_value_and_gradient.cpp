#include "cpu/algorithms/walk_value_and_gradient.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "cpu/algorithms/overflow.h"
#include "cpu/algorithms/penalty.h"
#include "cpu/algorithms/power_walks.h"

namespace rrnn::cpu {
namespace {

// One vector on either side: the chain of both takes one pass over W.
template <typename T>
bool is_single_pathway(const WalkProblem<T>& problem) {
  return problem.weight_in && problem.weight_out && problem.inputs == 1 && problem.outputs == 1 && !problem.per_hop &&
         !problem.hop_weights;
}

template <typename T>
int64_t chain_bundle(const WalkProblem<T>& problem) {
  return (is_single_pathway(problem) ? 2 : problem.width()) * problem.n;
}

}  // namespace

template <typename T>
int64_t walk_value_and_gradient_scratch(const WalkProblem<T>& problem, bool adds, int64_t members) {
  const int64_t walks_size = problem.terms() * problem.pairs();
  if constexpr (std::is_same_v<T, float>)
    if (const PowerPlan plan(problem); plan.pays()) return 2 * walks_size + power_walk_scratch(problem, plan);
  const int64_t within = is_single_pathway(problem)
                             ? single_pathway_scratch(problem, members)
                             : std::max(walk_forward_scratch(problem, true), walk_backward_scratch(problem, adds));
  return 2 * walks_size + problem.hops * chain_bundle(problem) + within;
}

template <typename Operand, typename T>
bool walk_value_and_gradient(const WalkProblem<T>& problem, const Operand& a, const WalkPenalty<T>& of, T strength,
                             T* value, const WalkGradients<T>& to, Team& team, T* shared) {
  const int64_t walks_size = problem.terms() * problem.pairs();
  T* walks = shared;
  T* gradient = walks + walks_size;
  T* within = gradient + walks_size;
  // Whether the walks can be relied on, as far as this member tells.
  const auto differentiate = [&] {
    if (team.leads()) {
      *value = penalty(of.norm, walks, problem.terms(), problem.pairs(), of.term_weights, of.pair_weights);
      penalty_backward(of.norm, walks, problem.terms(), problem.pairs(), of.term_weights, of.pair_weights, strength,
                       gradient);
    }
    team.wait();
    return std::isfinite(*value);
  };
  const OverflowWatch watch;
  const auto outcome = [&](bool finite, bool added) {
    return to.adds() ? added : team.agrees(finite && all_finite(gradient, walks_size) && !watch.overflowed());
  };
  if constexpr (std::is_same_v<T, float>)
    if (const PowerPlan plan(problem); plan.pays()) {
      power_walk_forward(problem, a, plan, walks, team, within);
      if (!differentiate() && to.adds()) return false;
      return outcome(true, power_walk_backward(problem, a, plan, gradient, to, team, within));
    }
  const bool single = is_single_pathway(problem);
  const int64_t bundle = chain_bundle(problem);
  T* chain = within;
  within += problem.hops * bundle;
  if (single)
    single_pathway_forward(problem, a, walks, chain, team, within);
  else
    walk_forward(problem, a, walks, chain, team, within);
  if (!differentiate() && to.adds()) return false;
  const WalkProblem<T> counted = without_idle_hops(problem, gradient);
  const bool finite = chain_is_finite(chain, counted.hops, bundle, team);
  return outcome(finite, single ? single_pathway_backward(counted, a, gradient, chain, to, team, within)
                                : walk_backward(counted, a, gradient, chain, to, team, within));
}

#define RRNN_INSTANTIATE(T)                                                                                          \
  template int64_t walk_value_and_gradient_scratch(const WalkProblem<T>&, bool, int64_t);                            \
  template bool walk_value_and_gradient(const WalkProblem<T>&, const DenseOperand<T>&, const WalkPenalty<T>&, T, T*, \
                                        const WalkGradients<T>&, Team&, T*);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn::cpu
