// Biconjugate gradients for M = I - A and its transpose at once. With nonnegative A the solution is also the proof that
// the sum of walks converges: x > 0 and A x < x in every unit bound the spectral radius below 1 (Collatz-Wielandt).
#include <algorithm>
#include <cmath>
#include <limits>

#include "common/convergence.h"
#include "cpu/algorithms/pathway.h"

namespace rrnn::cpu {

template <typename T>
int64_t solve_pathway_scratch(const Pathway<T>& problem, int64_t members) {
  // Shared: A p and the members' parts of A' q, for even and odd steps. Each member's own: r, s, p, q, A p, A' q, x, y.
  return std::max<int64_t>(1, problem.n) * (2 * (1 + members) + 8 * members);
}

template <typename Operand, typename T>
bool solve_pathway(const Pathway<T>& problem, const Operand& operand, T* x, T* y, Team& team, T* shared) {
  const int64_t n = problem.n;
  const Range rows = team.share(n, 8), own = team.own_items();
  T* mine = shared + 2 * (1 + team.items()) * n + own.begin * 8 * n;
  T *r = mine, *s = r + n, *p = s + n, *q = p + n, *ap = q + n, *aq = ap + n, *solution = aq + n, *dual = solution + n;

  const auto dot = [&](const T* a, const T* b) {
    T product = 0;
    operand.kernels().product({0, 1}, n, a, n, b, n, 1, T(1), nullptr, 0, &product, 1, false);
    return product;
  };
  int64_t step = 0;
  // ap = A from, aq = A' back, whole in every member: each goes on by itself to the same numbers, and a step has one
  // barrier, because the next one writes to the other half of what is shared.
  const auto products = [&](const T* from, const T* back) {
    T* image = shared + step % 2 * (1 + team.items()) * n;
    T* partial = image + n;
    ++step;
    std::fill(partial + own.begin * n, partial + own.end * n, T(0));
    operand.two_sided_product(rows, from, back, image, partial + own.begin * n, step % 2);
    team.wait();
    std::copy_n(image, n, ap);
    std::copy_n(partial, n, aq);
    for (int64_t item = 1; item < team.items(); ++item)
      for (int64_t i = 0; i < n; ++i) aq[i] += partial[item * n + i];
  };

  std::copy_n(problem.sources, n, r);
  std::copy_n(problem.targets, n, s);
  std::copy_n(r, n, p);
  std::copy_n(s, n, q);
  std::fill_n(solution, n, T(0));
  std::fill_n(dual, n, T(0));
  const T rounding = std::numeric_limits<T>::epsilon();
  const auto is_small = [&](const T* residual, const T* of, T factor) {
    return dot(residual, residual) <= factor * factor * rounding * rounding * dot(of, of);
  };
  T rho = dot(s, r);
  bool found = false;
  for (int i = 0; i < kMostPathwaySteps && !found; ++i) {
    products(p, q);
    for (int64_t j = 0; j < n; ++j) ap[j] = p[j] - ap[j];
    for (int64_t j = 0; j < n; ++j) aq[j] = q[j] - aq[j];
    const T length = rho / dot(q, ap);
    if (!std::isfinite(length)) break;
    for (int64_t j = 0; j < n; ++j) solution[j] += length * p[j];
    for (int64_t j = 0; j < n; ++j) dual[j] += length * q[j];
    for (int64_t j = 0; j < n; ++j) r[j] -= length * ap[j];
    for (int64_t j = 0; j < n; ++j) s[j] -= length * aq[j];
    found = is_small(r, solution, kResidual) && is_small(s, dual, kResidual);
    const T next = dot(s, r), turn = next / rho;
    rho = next;
    for (int64_t j = 0; j < n; ++j) p[j] = r[j] + turn * p[j];
    for (int64_t j = 0; j < n; ++j) q[j] = s[j] + turn * q[j];
  }
  if (!found) return false;

  // The recurrences drift: look at the true residuals, and at the proof of convergence.
  //
  // And at the condition (see pathway_roundings). The bound takes y as it was found; a y that is itself far off comes
  // with a bound far above the tolerance.
  products(solution, dual);
  bool proof = true, dual_proof = true;
  double sum = 0, reached = 0, error = 0;
  const T margin = proof_margin(rounding, n);
  for (int64_t j = 0; j < n; ++j) {
    const T gain = solution[j] - ap[j], dual_gain = dual[j] - aq[j];
    proof = proof && solution[j] > 0 && gain > margin * solution[j];
    dual_proof = dual_proof && dual[j] > 0 && dual_gain > margin * dual[j];
    r[j] = gain - problem.sources[j];
    s[j] = dual_gain - problem.targets[j];
    sum += static_cast<double>(problem.targets[j]) * solution[j];
    reached += std::abs(static_cast<double>(dual[j]) * solution[j]);
    error += std::abs(static_cast<double>(dual[j]) * r[j]);
  }
  if (team.leads()) {
    std::copy_n(solution, n, x);
    std::copy_n(dual, n, y);
  }
  error += pathway_roundings(n) * static_cast<double>(rounding) * reached;
  return (proof || dual_proof) && is_small(r, solution, kTrueResidual) && is_small(s, dual, kTrueResidual) &&
         error <= kTolerance * sum;
}

#define RRNN_INSTANTIATE(T)                                           \
  template int64_t solve_pathway_scratch(const Pathway<T>&, int64_t); \
  template bool solve_pathway(const Pathway<T>&, const DenseOperand<T>&, T*, T*, Team&, T*);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn::cpu
