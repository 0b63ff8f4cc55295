// Both ends of walks: the vectors that a chain starts from, the walks that its links yield, and their gradients. What
// lies between is the chain's affair.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/edge.h"
#include "cpu/algorithms/finite_walks.h"
#include "cpu/algorithms/team.h"
#include "cpu/kernels/kernels.h"

namespace rrnn::cpu {

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

// copy (other_width, n) = phi(other)', this member's part.
template <typename T>
void copy_other(const WalkProblem<T>& problem, const Kernels<T>& k, T* copy, const Team& team) {
  k.transpose(team.share(problem.n, 16), problem.other_width(), problem.other(), problem.other_width(), copy, problem.n,
              problem.rectify);
}

// bundle = c phi(other)' gradient, this member's part. `copy` is of copy_other where lifts_a_copy.
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

}  // namespace rrnn::cpu
