// One input, one output (or their sums, where rectified walks cannot cancel): x_{m+1} = A x_m and y_{m+1} = A' y_m read
// the same W, so one pass serves both. With R = c sum_m v x_m and g = dR,
//   grad phi(W) = alpha c g sum_j y_j (x_0 + .. + x_{hops-2-j})'   grad phi(u) = c g sum_m y_m   grad phi(v) = c g
//   sum_m x_m
#include <algorithm>
#include <numeric>

#include "common/edge.h"
#include "cpu/algorithms/finite_walks.h"

namespace rrnn::cpu {

template <typename T>
int64_t single_pathway_scratch(const WalkProblem<T>& problem, int64_t members) {
  const int64_t forward = 2 * members * problem.n + problem.hops, backward = (problem.hops + 1) * problem.n;
  return std::max(forward, backward);
}

template <typename Operand, typename T>
void single_pathway_forward(const WalkProblem<T>& problem, const Operand& a, T* walks, T* chain, Team& team,
                            T* shared) {
  const int64_t n = problem.n, hops = problem.hops, hop = 2 * n;
  T* x = chain;
  T* y = chain + n;
  const Range units = team.share(n, 8), own = team.own_items();
  for (int64_t r = units.begin; r < units.end; ++r) {
    x[r] = phi(problem.weight_in[r], problem.rectify);
    y[r] = phi(problem.weight_out[r], problem.rectify);
  }
  team.wait();
  for (int64_t m = 0; m + 1 < hops; ++m) {
    // Each member adds up its own rows' part of y_{m+1}; then each takes the sum over members for its own units, which
    // are all of y that it needs. It adds up the next part elsewhere: others may still be reading this one.
    T* parts = shared + m % 2 * team.items() * n;
    std::fill(parts + own.begin * n, parts + own.end * n, T(0));
    a.two_sided_product(units, x + m * hop, y + m * hop, x + (m + 1) * hop, parts + own.begin * n, m % 2);
    team.wait();
    T* next = y + (m + 1) * hop;
    std::copy(parts + units.begin, parts + units.end, next + units.begin);
    for (int64_t item = 1; item < team.items(); ++item)
      for (int64_t r = units.begin; r < units.end; ++r) next[r] += parts[item * n + r];
  }
  if (!team.leads()) return;
  T* of_hop = shared + 2 * team.items() * n;
  a.kernels().product({0, 1}, n, y, hop, x, hop, hops, problem.edges(), nullptr, 0, of_hop, 1, false);
  walks[0] = std::accumulate(of_hop, of_hop + hops, T(0));
}

template <typename Operand, typename T>
bool single_pathway_backward(const WalkProblem<T>& problem, const Operand& a, const T* grad_walks, const T* chain,
                             const WalkGradients<T>& to, Team& team, T* shared) {
  const int64_t n = problem.n, hops = problem.hops, hop = 2 * n;
  const T* x = chain;
  const T* y = chain + n;
  const T scale = problem.edges() * grad_walks[0];
  const Range units = team.share(n, 8);
  // sums[j] = x_0 + .. + x_{hops-1-j}: what y_{j-1} meets in the gradient of W; y_{-1} stands for grad v.
  T* sums = shared;
  for (int64_t r = units.begin; r < units.end; ++r) sums[(hops - 1) * n + r] = x[r];
  for (int64_t m = 1; m < hops; ++m)
    for (int64_t r = units.begin; r < units.end; ++r)
      sums[(hops - 1 - m) * n + r] = sums[(hops - m) * n + r] + x[m * hop + r];
  if (to.adds()) {
    const auto moderate = [&](const T* numbers, int64_t count) {
      return a.kernels().all_within(count, numbers, kModerate<T>);
    };
    bool all_are = scales_moderately(problem) && moderate(&scale, 1);
    for (int64_t m = 0; m < hops; ++m)
      all_are = all_are && moderate(y + m * hop + units.begin, units.end - units.begin) &&
                moderate(sums + m * n + units.begin, units.end - units.begin);
    if (!team.agrees(all_are)) return false;
  }
  T* ends = sums + hops * n;  // sum_m y_m
  const T one = 1;
  a.kernels().dense_product(1, units.end - units.begin,
                            {.depth = hops,
                             .left = &one,
                             .row_stride = 0,
                             .depth_stride = 0,
                             .right = y + units.begin,
                             .ldright = hop,
                             .out = ends + units.begin,
                             .ldout = n});
  const auto give = [](T gradient, T* to, bool adds) { *to = adds ? *to + gradient : gradient; };
  for (int64_t r = units.begin; r < units.end; ++r) {
    if (to.in.data)
      give(times_phi_derivative(scale * ends[r], problem.weight_in[r], problem.rectify), to.in.data + r * to.in.stride,
           to.in.adds);
    if (to.out.data)
      give(times_phi_derivative(scale * sums[r], problem.weight_out[r], problem.rectify), to.out.data + r, to.out.adds);
  }
  if (!to.hh.data) return true;
  team.wait();
  a.gradient(units, hops - 1, y, hop, sums + n, n, scale, to.hh.adds, to.hh.data, to.hh.stride);
  return true;
}

#define RRNN_INSTANTIATE(T)                                                                                \
  template int64_t single_pathway_scratch(const WalkProblem<T>&, int64_t);                                 \
  template void single_pathway_forward(const WalkProblem<T>&, const DenseOperand<T>&, T*, T*, Team&, T*);  \
  template bool single_pathway_backward(const WalkProblem<T>&, const DenseOperand<T>&, const T*, const T*, \
                                        const WalkGradients<T>&, Team&, T*);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn::cpu
