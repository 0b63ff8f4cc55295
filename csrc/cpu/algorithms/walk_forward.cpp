// The chain X_0 = phi(U), X_{m+1} = A X_m, and the walks P_m = c phi(V) X_m that it yields; or the mirror image.
#include <algorithm>

#include "common/edge.h"
#include "cpu/algorithms/finite_walks.h"

namespace rrnn::cpu {
namespace {

// phi(start) as a bundle of vectors, this member's part.
template <typename T>
void begin_chain(const WalkProblem<T>& problem, const ChainPart& part, T* bundle) {
  const int64_t n = problem.n, width = problem.width();
  const T* start = problem.start();
  for (int64_t c = part.vectors.begin; c < part.vectors.end; ++c)
    for (int64_t r = part.units.begin; r < part.units.end; ++r) {
      const T value = problem.from_inputs() ? start[r * width + c] : start[c * n + r];
      bundle[c * n + r] = phi(value, problem.rectify);
    }
}

// walks (outputs, inputs) = c phi(other) applied to `vectors` of a bundle, for `others` of the other side.
template <typename T>
void read_out(const WalkProblem<T>& problem, const Kernels<T>& k, const T* bundle, T* walks, Range vectors,
              Range others, T* buffer) {
  const int64_t n = problem.n, width = problem.width(), other_width = problem.other_width();
  const int64_t count = vectors.end - vectors.begin;
  const T* other = problem.other();
  const T* columns = bundle;
  T scale = problem.edges();
  if (other) {
    const T* from = bundle + vectors.begin * n;
    T* to = buffer + vectors.begin * other_width;
    if (problem.from_inputs())
      k.product(others, n, other, n, from, n, count, scale, nullptr, 0, to, other_width, problem.rectify);
    else
      k.product_transposed(others, n, other, other_width, from, n, count, scale, nullptr, 0, to, other_width,
                           problem.rectify);
    columns = buffer;
    scale = 1;
  }
  for (int64_t c = vectors.begin; c < vectors.end; ++c)
    for (int64_t q = others.begin; q < others.end; ++q)
      walks[problem.from_inputs() ? q * width + c : c * other_width + q] = scale * columns[c * other_width + q];
}

}  // namespace

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
