// The reverse chain and the gradients it yields:
//   L_{hops-1} = c phi(V)' G_{hops-1},  L_m = c phi(V)' G_m + A' L_{m+1}
//   grad phi(W) = alpha [L_1 .. L_{hops-1}] [X_0 .. X_{hops-2}]'   grad phi(U) = L_0   grad phi(V) = c sum_m G_m X_m'
// or the mirror image. L is made and used up in blocks of hops: beyond the chain, memory does not grow with hops.
#include <algorithm>

#include "common/edge.h"
#include "cpu/algorithms/finite_walks.h"

namespace rrnn::cpu {
namespace {

// How many hops of the reverse chain are made before a product takes them. What is added in the end is looked at
// before, all of it.
template <typename T>
int64_t block_hops(const WalkProblem<T>& problem, bool adds) {
  return adds ? std::max<int64_t>(2, problem.hops) : hops_of_block(problem.n, problem.width(), problem.hops);
}

// grad_walks as bundles of `width` vectors of the other side: (terms, width, other_width).
template <typename T>
void arrange_gradient(const WalkProblem<T>& problem, const T* grad_walks, T* arranged, Team& team) {
  const int64_t width = problem.width(), other_width = problem.other_width(), term = width * other_width;
  const Range part = team.share(problem.terms());
  for (int64_t m = part.begin; m < part.end; ++m)
    for (int64_t c = 0; c < width; ++c)
      for (int64_t q = 0; q < other_width; ++q)
        arranged[m * term + c * other_width + q] =
            grad_walks[m * term + (problem.from_inputs() ? q * width + c : c * other_width + q)];
}

// Of other' as rows, where it is not stored so: the products that lift a gradient read it as they read W.
template <typename T>
bool lifts_a_copy(const WalkProblem<T>& problem) {
  return problem.other() && !problem.from_inputs();
}

// bundle = c phi(other)' gradient, this member's part. `copy` (other_width, n) is phi(other)' where lifts_a_copy.
template <typename T>
void lift(const WalkProblem<T>& problem, const Kernels<T>& k, const T* gradient, const T* copy, const ChainPart& part,
          T* bundle) {
  const int64_t n = problem.n, other_width = problem.other_width(), first = part.vectors.begin;
  const bool copied = lifts_a_copy(problem);
  if (problem.other())
    k.product_transposed(part.units, other_width, copied ? copy : problem.other(), n, gradient + first * other_width,
                         other_width, part.vectors.end - first, problem.edges(), nullptr, 0, bundle + first * n, n,
                         problem.rectify && !copied);
  else
    for (int64_t c = first; c < part.vectors.end; ++c)
      for (int64_t r = part.units.begin; r < part.units.end; ++r)
        bundle[c * n + r] = problem.edges() * gradient[c * n + r];
}

template <typename T>
void grad_start(const WalkProblem<T>& problem, const T* bundle, const ChainPart& part, const GradientRows<T>& grad) {
  const int64_t n = problem.n, width = problem.width();
  const T* start = problem.start();
  for (int64_t c = part.vectors.begin; c < part.vectors.end; ++c)
    for (int64_t r = part.units.begin; r < part.units.end; ++r) {
      const int64_t row = problem.from_inputs() ? r : c, column = problem.from_inputs() ? c : r;
      const T weight = start[row * (problem.from_inputs() ? width : n) + column];
      const T gradient = times_phi_derivative(bundle[c * n + r], weight, problem.rectify);
      T& to = grad.data[row * grad.stride + column];
      to = grad.adds ? to + gradient : gradient;
    }
}

template <typename T>
void grad_other(const WalkProblem<T>& problem, const Kernels<T>& k, const T* gradient, const T* bundles, int64_t depth,
                const GradientRows<T>& grad, Team& team) {
  const int64_t n = problem.n, other_width = problem.other_width();
  const T* sign_of = problem.rectify ? problem.other() : nullptr;
  if (problem.from_inputs())
    k.outer_product(team.share(other_width), n, depth, gradient, other_width, bundles, n, problem.edges(), grad.adds,
                    sign_of, n, grad.data, grad.stride);
  else
    k.outer_product(team.share(n, 16), other_width, depth, bundles, n, gradient, other_width, problem.edges(),
                    grad.adds, sign_of, other_width, grad.data, grad.stride);
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
  if (lifts_a_copy(problem))
    a.kernels().transpose(team.share(n, 16), problem.other_width(), problem.other(), problem.other_width(), copy, n,
                          problem.rectify);
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
      return all_moderate(numbers + own.begin, own.end - own.begin);
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
