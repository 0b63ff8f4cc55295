#include "cpu/algorithms/power_walks.h"

#include "cpu/algorithms/overflow.h"
#include "cpu/algorithms/walk_ends.h"

namespace rrnn::cpu {
namespace {

// Members have vectors of their own, and need nothing of one another from hop to hop.
ChainPart own_vectors(const WalkProblem<float>& problem, const Team& team) {
  return {team.share(problem.width()), {0, problem.n}, true};
}

PowerSum power_sum(const WalkProblem<float>& problem, const DenseOperand<float>& a, const PowerPlan& plan,
                   float* shared) {
  return {plan, a.kernels(), problem.n, problem.width(), problem.from_inputs(), shared};
}

}  // namespace

int64_t power_walk_scratch(const WalkProblem<float>& problem, const PowerPlan& plan) {
  return PowerSum::scratch_size(plan, problem.n, problem.width()) + problem.pairs() +
         (lifts_a_copy(problem) ? problem.other_width() * problem.n : 0);
}

void power_walk_forward(const WalkProblem<float>& problem, const DenseOperand<float>& a, const PowerPlan& plan,
                        float* walks, Team& team, float* shared) {
  const ChainPart part = own_vectors(problem, team);
  PowerSum sum = power_sum(problem, a, plan, shared);
  float* buffer = shared + PowerSum::scratch_size(plan, problem.n, problem.width());
  begin_chain(problem, part, sum.start());
  sum.prepare(a, team);
  sum.add_up(part.vectors);
  read_out(problem, a.kernels(), sum.sum(), walks, part.vectors, {0, problem.other_width()}, buffer);
  team.wait();
}

bool power_walk_backward(const WalkProblem<float>& problem, const DenseOperand<float>& a, const PowerPlan& plan,
                         const float* grad_walks, const WalkGradients<float>& to, Team& team, float* shared) {
  const int64_t n = problem.n, width = problem.width();
  const ChainPart part = own_vectors(problem, team);
  PowerSum sum = power_sum(problem, a, plan, shared);
  float* gradient = shared + PowerSum::scratch_size(plan, n, width);  // (1, width, other_width)
  float* copy = gradient + problem.pairs();                           // phi(other)', where lifts_a_copy
  arrange_gradient(problem, grad_walks, gradient, team);
  if (lifts_a_copy(problem)) copy_other(problem, a.kernels(), copy, team);
  team.wait();
  lift(problem, a.kernels(), gradient, copy, part, sum.grad_sum());
  sum.add_up_gradients(part.vectors);
  sum.differentiate_powers(team);
  const auto moderate = [&] {
    return scales_moderately(problem) && sum.is_moderate(team) &&
           a.kernels().all_within(problem.pairs(), gradient, kModerate<float>);
  };
  if (to.adds() && !team.agrees(moderate())) return false;
  if (to.hh.data) sum.gradient(a, to.hh, team);
  const GradientRows<float>& to_start = problem.from_inputs() ? to.in : to.out;
  const GradientRows<float>& to_other = problem.from_inputs() ? to.out : to.in;
  if (to_start.data) grad_start(problem, sum.grad_start(), part, to_start);
  if (to_other.data) grad_other(problem, a.kernels(), gradient, sum.sum(), width, to_other, team);
  return true;
}

}  // namespace rrnn::cpu
