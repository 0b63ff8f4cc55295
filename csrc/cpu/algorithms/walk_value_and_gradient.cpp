#include "cpu/algorithms/walk_value_and_gradient.h"

#include <algorithm>
#include <cmath>

#include "cpu/algorithms/overflow.h"
#include "cpu/algorithms/penalty.h"

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
  const int64_t within = is_single_pathway(problem)
                             ? single_pathway_scratch(problem, members)
                             : std::max(walk_forward_scratch(problem, true), walk_backward_scratch(problem, adds));
  return problem.hops * chain_bundle(problem) + 2 * problem.terms() * problem.pairs() + within;
}

template <typename Operand, typename T>
bool walk_value_and_gradient(const WalkProblem<T>& problem, const Operand& a, const WalkPenalty<T>& of, T strength,
                             T* value, const WalkGradients<T>& to, Team& team, T* shared) {
  const bool single = is_single_pathway(problem);
  const int64_t bundle = chain_bundle(problem), walks_size = problem.terms() * problem.pairs();
  T* chain = shared;
  T* walks = chain + problem.hops * bundle;
  T* gradient = walks + walks_size;
  T* within = gradient + walks_size;
  const OverflowWatch watch;
  if (single)
    single_pathway_forward(problem, a, walks, chain, team, within);
  else
    walk_forward(problem, a, walks, chain, team, within);
  if (team.leads()) {
    *value = penalty(of.norm, walks, problem.terms(), problem.pairs(), of.term_weights, of.pair_weights);
    penalty_backward(of.norm, walks, problem.terms(), problem.pairs(), of.term_weights, of.pair_weights, strength,
                     gradient);
  }
  team.wait();
  if (to.adds() && !std::isfinite(*value)) return false;
  const WalkProblem<T> counted = without_idle_hops(problem, gradient);
  const bool finite = chain_is_finite(chain, counted.hops, bundle, team) && all_finite(gradient, walks_size);
  const bool added = single ? single_pathway_backward(counted, a, gradient, chain, to, team, within)
                            : walk_backward(counted, a, gradient, chain, to, team, within);
  return to.adds() ? added : team.agrees(finite && !watch.overflowed());
}

#define RRNN_INSTANTIATE(T)                                                                                          \
  template int64_t walk_value_and_gradient_scratch(const WalkProblem<T>&, bool, int64_t);                            \
  template bool walk_value_and_gradient(const WalkProblem<T>&, const DenseOperand<T>&, const WalkPenalty<T>&, T, T*, \
                                        const WalkGradients<T>&, Team&, T*);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn::cpu
