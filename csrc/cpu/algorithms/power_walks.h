// Walks of finite length and their gradient as of finite_walks.h, with the sum over hops made through powers of A.
#pragma once

#include <cstdint>

#include "cpu/algorithms/finite_walks.h"
#include "cpu/algorithms/power_sums.h"

namespace rrnn::cpu {

// What the backward reads of the forward, and room for both.
int64_t power_walk_scratch(const WalkProblem<float>& problem, const PowerPlan& plan);

// Fills walks (1, outputs, inputs).
void power_walk_forward(const WalkProblem<float>& problem, const DenseOperand<float>& a, const PowerPlan& plan,
                        float* walks, Team& team, float* shared);

// From grad_walks (1, outputs, inputs), the gradients, as walk_backward gives them.
bool power_walk_backward(const WalkProblem<float>& problem, const DenseOperand<float>& a, const PowerPlan& plan,
                         const float* grad_walks, const WalkGradients<float>& to, Team& team, float* shared);

}  // namespace rrnn::cpu
