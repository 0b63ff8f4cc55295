// The chain X_0 = phi(U), X_{m+1} = A X_m, and the walks P_m = c phi(V) X_m that it yields; or the mirror image.
#include <algorithm>

#include "cpu/algorithms/finite_walks.h"
#include "cpu/algorithms/walk_ends.h"

namespace rrnn::cpu {

template <typename T>
int64_t walk_forward_scratch(const WalkProblem<T>& problem, bool keeps_chain) {
  const int64_t bundle = problem.width() * problem.n;
  return bundle * (keeps_chain ? 1 : 3) + problem.width() * problem.other_width() +
         DenseOperand<T>::copy_size(problem.n, problem.n);
}

template <typename Operand, typename T>
void walk_forward(const WalkProblem<T>& problem, const Operand& weights, T* walks, T* chain, Team& team, T* shared) {
  const int64_t n = problem.n, width = problem.width(), bundle = width * n;
  const Operand a = prepared(width * (problem.hops - 1), weights, problem.from_inputs(), team, shared);
  T* sum = shared + Operand::copy_size(n, n);
  T* buffer = sum + bundle;
  T* ring = buffer + width * problem.other_width();  // two bundles in turn where no chain is kept
  const auto step = [&](int64_t m) { return chain ? chain + m * bundle : ring + m % 2 * bundle; };
  const ChainPart part = chain_part(width, n, a, team);
  const Range others = part.alone ? Range{0, problem.other_width()} : team.share(problem.other_width());
  const auto exchange = [&] {
    if (!part.alone) team.wait();
  };
  begin_chain(problem, part, step(0));
  team.wait();
  for (int64_t m = 0; m < problem.hops; ++m) {
    const T* x = step(m);
    if (problem.per_hop) {
      read_out(problem, a.kernels(), x, walks + m * problem.outputs * problem.inputs, part.vectors, others, buffer);
    } else if (!chain) {
      add_links(problem, a.kernels(), {m, m + 1}, x, part, sum);
    }
    if (m + 1 == problem.hops) break;
    advance_chain<Operand, T>(n, a, x, nullptr, step(m + 1), problem.from_inputs(), m % 2, part);
    exchange();
  }
  if (!problem.per_hop) {
    if (chain) add_links(problem, a.kernels(), {0, problem.hops}, chain, part, sum);
    exchange();
    read_out(problem, a.kernels(), sum, walks, part.vectors, others, buffer);
  }
  team.wait();
}

#define RRNN_INSTANTIATE(T)                                           \
  template int64_t walk_forward_scratch(const WalkProblem<T>&, bool); \
  template void walk_forward(const WalkProblem<T>&, const DenseOperand<T>&, T*, T*, Team&, T*);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn::cpu
