// The reverse chain and the gradients it yields:
//   L_{hops-1} = c phi(V)' G_{hops-1},  L_m = c phi(V)' G_m + A' L_{m+1}
//   grad phi(W) = alpha [L_1 .. L_{hops-1}] [X_0 .. X_{hops-2}]'   grad phi(U) = L_0   grad phi(V) = c sum_m G_m X_m'
// or the mirror image. L is made and used up in blocks of hops: beyond the chain, memory does not grow with hops.
#include <algorithm>

#include "cpu/algorithms/finite_walks.h"
#include "cpu/algorithms/walk_ends.h"

namespace rrnn::cpu {
namespace {

// How many hops of the reverse chain are made before a product takes them. What is added in the end is looked at
// before, all of it.
template <typename T>
int64_t block_hops(const WalkProblem<T>& problem, bool adds) {
  return adds ? std::max<int64_t>(2, problem.hops) : hops_of_block(problem.n, problem.width(), problem.hops);
}

}  // namespace

template <typename T>
int64_t walk_backward_scratch(const WalkProblem<T>& problem, bool adds) {
  const int64_t bundle = problem.width() * problem.n;
  return bundle * (block_hops(problem, adds) + 3) + problem.terms() * problem.inputs * problem.outputs +
         (lifts_a_copy(problem) ? problem.other_width() * problem.n : 0) +
         DenseOperand<T>::copy_size(problem.n, problem.n);
}

template <typename Operand, typename T>
bool walk_backward(const WalkProblem<T>& problem, const Operand& weights, const T* grad_walks, const T* chain,
                   const WalkGradients<T>& to, Team& team, T* shared) {
  const int64_t n = problem.n, width = problem.width(), bundle = width * n, hops = problem.hops;
  const int64_t term = width * problem.other_width(), block = block_hops(problem, to.adds());
  const Operand a = prepared(width * (hops - 1), weights, !problem.from_inputs(), team, shared);
  T* reverse = shared + Operand::copy_size(n, n);  // (block, width, n)
  T* lifted = reverse + block * bundle;            // c phi(other)' G
  T* weighted = lifted + bundle;                   // the same times a hop weight; at last the sum of the chain
  T* first = weighted + bundle;                    // L_0
  T* gradient = first + bundle;                    // (terms, width, other_width)
  T* copy = gradient + problem.terms() * term;     // phi(other)', where lifts_a_copy
  const ChainPart part = chain_part(width, n, a, team);
  const Range rows = team.share(n, 8);

  arrange_gradient(problem, grad_walks, gradient, team);
  if (lifts_a_copy(problem)) copy_other(problem, a.kernels(), copy, team);
  team.wait();
  if (!problem.per_hop) lift(problem, a.kernels(), gradient, copy, part, lifted);
  const auto inflow = [&](int64_t m) -> const T* {
    if (problem.per_hop) {
      lift(problem, a.kernels(), gradient + m * term, copy, part, lifted);
      return lifted;
    }
    if (!problem.hop_weights) return lifted;
    const T weight = problem.hop_weights[m];
    for (int64_t c = part.vectors.begin; c < part.vectors.end; ++c)
      for (int64_t r = part.units.begin; r < part.units.end; ++r)
        weighted[c * n + r] = weight == 0 ? T(0) : weight * lifted[c * n + r];
    return weighted;
  };
  const T* next = nullptr;  // L_{m+1}, unless m is the last hop
  const auto advance = [&](int64_t m, T* to) {
    const T* in = inflow(m);
    if (next)
      advance_chain(n, a, next, in, to, !problem.from_inputs(), m % 2, part);
    else
      for (int64_t c = part.vectors.begin; c < part.vectors.end; ++c)
        std::copy(in + c * n + part.units.begin, in + c * n + part.units.end, to + c * n + part.units.begin);
    if (!part.alone) team.wait();
    next = to;
  };

  const auto product = [&](int64_t begin, int64_t depth, bool adds) {
    const T* left = problem.from_inputs() ? reverse : chain + begin * bundle;
    const T* right = problem.from_inputs() ? chain + begin * bundle : reverse;
    a.gradient(rows, depth, left, n, right, n, T(1), adds, to.hh.data, to.hh.stride);
  };
  const GradientRows<T>& to_start = problem.from_inputs() ? to.in : to.out;
  const GradientRows<T>& to_other = problem.from_inputs() ? to.out : to.in;
  bool begun = false;
  for (int64_t end = hops - 1; end > 0;) {
    // The short block comes first: a full one never writes over the L_{m+1} it starts from, which is in its first slot.
    const int64_t begin = end - (end % block ? end % block : block);
    for (int64_t m = end; m > begin; --m) advance(m, reverse + (m - 1 - begin) * bundle);
    if (part.alone) team.wait();
    if (to.hh.data && !to.adds()) product(begin, (end - begin) * width, begun);
    begun = true;
    end = begin;
    team.wait();
  }
  advance(0, first);
  if (!problem.per_hop && to_other.data) add_links(problem, a.kernels(), {0, hops}, chain, part, weighted);
  if (to.adds()) {
    const auto moderate = [&](const T* numbers, int64_t count) {
      const Range own = team.share(count);
      return a.kernels().all_within(own.end - own.begin, numbers + own.begin, kModerate<T>);
    };
    team.wait();
    if (!team.agrees(scales_moderately(problem) && moderate(reverse, (hops - 1) * bundle) &&
                     moderate(chain, hops * bundle) && moderate(first, bundle) &&
                     moderate(gradient, problem.terms() * term) &&
                     (problem.per_hop || !to_other.data || moderate(weighted, bundle))))
      return false;
    if (to.hh.data && hops > 1) product(0, (hops - 1) * width, to.hh.adds);
  }
  if (to.hh.data && !to.hh.adds && hops == 1)
    for (int64_t r = rows.begin; r < rows.end; ++r) std::fill_n(to.hh.data + r * to.hh.stride, n, T(0));
  if (to_start.data) grad_start(problem, first, part, to_start);
  if (!to_other.data) return true;
  if (problem.per_hop) {
    grad_other(problem, a.kernels(), gradient, chain, hops * width, to_other, team);
  } else {
    team.wait();
    grad_other(problem, a.kernels(), gradient, weighted, width, to_other, team);
  }
  return true;
}

#define RRNN_INSTANTIATE(T)                                                                      \
  template int64_t walk_backward_scratch(const WalkProblem<T>&, bool);                           \
  template bool walk_backward(const WalkProblem<T>&, const DenseOperand<T>&, const T*, const T*, \
                              const WalkGradients<T>&, Team&, T*);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn::cpu
