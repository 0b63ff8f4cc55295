// The penalty of a graph's walks and its gradient, one after the other by one team.
#pragma once

#include <cstdint>

#include "common/edge.h"
#include "cpu/algorithms/finite_walks.h"

namespace rrnn::cpu {

// How large walks are, all together.
template <typename T>
struct WalkPenalty {
  Norm norm;
  const T* term_weights;  // (terms), or null: ones
  const T* pair_weights;  // (outputs, inputs), or null: ones
};

// *value = the penalty; strength times its gradient is written or added. Tells each member whether both can be relied
// on. If not, numbers have left the range of T on the way, and nothing has been added.
template <typename Operand, typename T = typename Operand::Number>
bool walk_value_and_gradient(const WalkProblem<T>& problem, const Operand& a, const WalkPenalty<T>& penalty, T strength,
                             T* value, const WalkGradients<T>& to, Team& team, T* shared);
template <typename T>
int64_t walk_value_and_gradient_scratch(const WalkProblem<T>& problem, bool adds, int64_t members);

}  // namespace rrnn::cpu
