#include "cpu/algorithms/wide_walks.h"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "common/edge.h"
#include "cpu/algorithms/finite_walks.h"
#include "cpu/algorithms/overflow.h"
#include "cpu/algorithms/scratch.h"

namespace rrnn::cpu {
namespace {

// ----------------------------------------------------------------------------------------------------- in float64

// A float32 problem in float64.
class Doubled {
 public:
  Doubled(const WalkProblem<float>& from, const float* weight_hh, double alpha)
      : weight_hh_(weight_hh, weight_hh + from.n * from.n),
        weight_in_(copy(from.weight_in, from.n * from.inputs)),
        weight_out_(copy(from.weight_out, from.outputs * from.n)),
        hop_weights_(copy(from.hop_weights, from.hops)),
        walks_{from.n,
               from.inputs,
               from.outputs,
               from.hops,
               from.weight_in ? weight_in_.data() : nullptr,
               from.weight_out ? weight_out_.data() : nullptr,
               alpha,
               from.rectify,
               from.per_hop,
               from.hop_weights ? hop_weights_.data() : nullptr},
        a_(weight_hh_.data(), from.n, alpha, from.rectify, flops()) {}

  // The results: one after another, and whether all of them are numbers.
  bool forward(Wide* walks) const {
    std::vector<double> results(walks_.terms() * walks_.outputs * walks_.inputs);
    run(nullptr, results.data());
    std::copy(results.begin(), results.end(), walks);
    return all_finite(results.data(), results.size());
  }

  bool backward(const Wide* grad_walks, float* grad_hh, float* grad_in, float* grad_out) const {
    const int64_t n = walks_.n, walks_size = walks_.terms() * walks_.outputs * walks_.inputs;
    const std::vector<double> given(grad_walks, grad_walks + walks_size);
    // The chain of the narrower side, as of walks by hop: both sides' are for single pathways in a pass of their own.
    std::vector<double> chain(walks_.hops * walks_.width() * n), walks(walks_size);
    run(chain.data(), walks.data());
    std::vector<double> hh(n * n), in(n * walks_.inputs), out(walks_.outputs * n);
    const Scratch<double> memory = scratch<double>(walk_backward_scratch(walks_, false));
    run_team(2 * flops(), [&](Team& team) {
      walk_backward(walks_, a_, given.data(), chain.data(),
                    {{hh.data(), n},
                     {walks_.weight_in ? in.data() : nullptr, walks_.inputs},
                     {walks_.weight_out ? out.data() : nullptr, n}},
                    team, memory.get());
    });
    const auto give = [](const std::vector<double>& from, float* to) {
      if (to) std::transform(from.begin(), from.end(), to, [](double number) { return static_cast<float>(number); });
      return !to || all_finite(from.data(), from.size());
    };
    const bool hh_is_finite = give(hh, grad_hh), in_is_finite = give(in, grad_in), out_is_finite = give(out, grad_out);
    return hh_is_finite && in_is_finite && out_is_finite;
  }

 private:
  static std::vector<double> copy(const float* from, int64_t count) {
    return from ? std::vector<double>(from, from + count) : std::vector<double>();
  }

  double flops() const { return flops_of(walks_, static_cast<double>(walks_.n) * static_cast<double>(walks_.n)); }

  void run(double* chain, double* walks) const {
    const Scratch<double> memory = scratch<double>(walk_forward_scratch(walks_, chain != nullptr));
    run_team(flops(), [&](Team& team) { walk_forward(walks_, a_, walks, chain, team, memory.get()); });
  }

  std::vector<double> weight_hh_, weight_in_, weight_out_, hop_weights_;
  WalkProblem<double> walks_;
  DenseOperand<double> a_;
};

// --------------------------------------------------------------------------------------------------------- in Wide

using Numbers = std::vector<Wide>;

// Bundles are stored unit by unit here: vector c of unit r at [r * width + c].
template <typename T>
class Widened {
 public:
  Widened(const WalkProblem<T>& problem, const T* weight_hh, double alpha)
      : problem_(problem),
        weight_hh_(weight_hh),
        n_(problem.n),
        width_(problem.width()),
        others_(problem.other_width()),
        alpha_(alpha) {}

  Wide edges() const { return problem_.weight_in && problem_.weight_out ? alpha_ * alpha_ : alpha_; }

  Numbers start() const {
    Numbers bundle(n_ * width_);
    for (int64_t r = 0; r < n_; ++r)
      for (int64_t c = 0; c < width_; ++c)
        bundle[r * width_ + c] = phi(problem_.start()[start_at(r, c)], problem_.rectify);
    return bundle;
  }

  // to += A from, or A' from.
  void advance(const Numbers& from, bool forwards, Numbers& to) const {
    for (int64_t r = 0; r < n_; ++r)
      for (int64_t k = 0; k < n_; ++k)
        add(to, forwards ? r : k, alpha_ * phi(weight_hh_[r * n_ + k], problem_.rectify), from, forwards ? k : r);
  }

  // to (of unit r) += factor from (of unit k); nothing times an infinity is nothing.
  void add(Numbers& to, int64_t r, Wide factor, const Numbers& from, int64_t k) const {
    if (factor == 0) return;
    for (int64_t c = 0; c < width_; ++c) to[r * width_ + c] += factor * from[k * width_ + c];
  }

  // walks (outputs, inputs) += c phi(other) bundle
  void read_out(const Numbers& bundle, Wide* walks) const {
    for (int64_t r = 0; r < n_; ++r)
      for (int64_t q = 0; q < others_; ++q) {
        const Wide factor = edges() * other(r, q);
        for (int64_t c = 0; factor != 0 && c < width_; ++c)
          walks[problem_.pair(c, q)] += factor * bundle[r * width_ + c];
      }
  }

  // to += phi(other)' gradient weight for (outputs, inputs), without c
  void lift(const Wide* gradient, Wide weight, Numbers& to) const {
    for (int64_t r = 0; r < n_; ++r)
      for (int64_t q = 0; q < others_; ++q) {
        const Wide factor = weight * other(r, q);
        for (int64_t c = 0; factor != 0 && c < width_; ++c)
          to[r * width_ + c] += factor * gradient[problem_.pair(c, q)];
      }
  }

  // to (n, others) += bundle gradient' weight, without c
  void add_to_other(const Wide* gradient, Wide weight, const Numbers& bundle, Numbers& to) const {
    for (int64_t q = 0; q < others_; ++q)
      for (int64_t c = 0; c < width_; ++c) {
        const Wide factor = weight * gradient[problem_.pair(c, q)];
        for (int64_t r = 0; factor != 0 && r < n_; ++r) to[r * others_ + q] += factor * bundle[r * width_ + c];
      }
  }

  // sum (n, n) += left right'
  void add_outer(const Numbers& left, const Numbers& right, Numbers& sum) const {
    for (int64_t r = 0; r < n_; ++r)
      for (int64_t c = 0; c < width_; ++c) {
        const Wide factor = left[r * width_ + c];
        for (int64_t k = 0; factor != 0 && k < n_; ++k) sum[r * n_ + k] += factor * right[k * width_ + c];
      }
  }

  void finish_start(const Numbers& bundle, T* grad) const {
    for (int64_t r = 0; r < n_; ++r)
      for (int64_t c = 0; c < width_; ++c)
        finish(edges() * bundle[r * width_ + c], problem_.start(), start_at(r, c), grad);
  }
  void finish_other(const Numbers& sum, T* grad) const {
    for (int64_t r = 0; r < n_; ++r)
      for (int64_t q = 0; q < others_; ++q)
        finish(edges() * sum[r * others_ + q], problem_.other(), other_at(r, q), grad);
  }
  void finish_hh(const Numbers& sum, T* grad) const {
    for (int64_t at = 0; at < n_ * n_; ++at) finish(alpha_ * edges() * sum[at], weight_hh_, at, grad);
  }

 private:
  int64_t start_at(int64_t r, int64_t c) const { return problem_.from_inputs() ? r * width_ + c : c * n_ + r; }
  int64_t other_at(int64_t r, int64_t q) const { return problem_.from_inputs() ? q * n_ + r : r * others_ + q; }
  Wide other(int64_t r, int64_t q) const {
    return problem_.other() ? phi(problem_.other()[other_at(r, q)], problem_.rectify) : static_cast<Wide>(r == q);
  }
  void finish(Wide gradient, const T* weights, int64_t at, T* grad) const {
    grad[at] = static_cast<T>(times_phi_derivative<Wide>(gradient, weights[at], problem_.rectify));
  }

  const WalkProblem<T>& problem_;
  const T* weight_hh_;
  int64_t n_, width_, others_;
  Wide alpha_;
};

template <typename T>
void widened_walks(const WalkProblem<T>& problem, const T* weight_hh, double alpha, Wide* walks) {
  const Widened<T> graph(problem, weight_hh, alpha);
  const int64_t n = problem.n, pairs = problem.outputs * problem.inputs;
  std::fill_n(walks, problem.terms() * pairs, Wide(0));
  Numbers x = graph.start(), sum(x.size());
  for (int64_t m = 0; m < problem.hops; ++m) {
    if (m > 0) {
      Numbers next(x.size());
      graph.advance(x, problem.from_inputs(), next);
      x.swap(next);
    }
    if (problem.per_hop)
      graph.read_out(x, walks + m * pairs);
    else
      for (int64_t r = 0; r < n; ++r) graph.add(sum, r, problem.hop_weight(m), x, r);
  }
  if (!problem.per_hop) graph.read_out(sum, walks);
}

template <typename T>
void widened_gradients(const WalkProblem<T>& problem, const T* weight_hh, double alpha, const Wide* grad_walks,
                       T* grad_hh, T* grad_in, T* grad_out) {
  const Widened<T> graph(problem, weight_hh, alpha);
  const int64_t n = problem.n, hops = problem.hops, pairs = problem.outputs * problem.inputs;
  const bool from_inputs = problem.from_inputs();
  std::vector<Numbers> chain{graph.start()};
  const size_t size = chain[0].size();
  for (int64_t m = 1; m < hops; ++m) {
    chain.emplace_back(size);
    graph.advance(chain[m - 1], from_inputs, chain[m]);
  }
  const auto gradient = [&](int64_t m) { return grad_walks + (problem.per_hop ? m * pairs : 0); };
  Numbers reverse(size), outer(n * n), others(problem.other() ? n * problem.other_width() : 0);
  for (int64_t m = hops; m-- > 0;) {
    Numbers next(size);
    graph.lift(gradient(m), problem.hop_weight(m), next);
    if (m + 1 < hops) graph.advance(reverse, !from_inputs, next);
    reverse.swap(next);
    if (m > 0)
      from_inputs ? graph.add_outer(reverse, chain[m - 1], outer) : graph.add_outer(chain[m - 1], reverse, outer);
    if (problem.other()) graph.add_to_other(gradient(m), problem.hop_weight(m), chain[m], others);
  }
  graph.finish_hh(outer, grad_hh);
  graph.finish_start(reverse, from_inputs ? grad_in : grad_out);
  if (problem.other()) graph.finish_other(others, from_inputs ? grad_out : grad_in);
}

}  // namespace

template <typename T>
bool is_finite(const WalkProblem<T>& problem, const T* weight_hh, double alpha) {
  const int64_t n = problem.n;
  return std::isfinite(alpha) && all_finite(weight_hh, n * n) &&
         (!problem.weight_in || all_finite(problem.weight_in, n * problem.inputs)) &&
         (!problem.weight_out || all_finite(problem.weight_out, problem.outputs * n)) &&
         (!problem.hop_weights || all_finite(problem.hop_weights, problem.hops));
}

template <typename T>
void wide_walks(const WalkProblem<T>& problem, const T* weight_hh, double alpha, Wide* walks) {
  if constexpr (std::is_same_v<T, float>)
    if (Doubled(problem, weight_hh, alpha).forward(walks)) return;
  widened_walks(problem, weight_hh, alpha, walks);
}

template <typename T>
void wide_gradients(const WalkProblem<T>& problem, const T* weight_hh, double alpha, const Wide* grad_walks, T* grad_hh,
                    T* grad_in, T* grad_out) {
  if constexpr (std::is_same_v<T, float>)
    if (Doubled(problem, weight_hh, alpha).backward(grad_walks, grad_hh, grad_in, grad_out)) return;
  widened_gradients(problem, weight_hh, alpha, grad_walks, grad_hh, grad_in, grad_out);
}

#define RRNN_INSTANTIATE(T)                                                 \
  template bool is_finite(const WalkProblem<T>&, const T*, double);         \
  template void wide_walks(const WalkProblem<T>&, const T*, double, Wide*); \
  template void wide_gradients(const WalkProblem<T>&, const T*, double, const Wide*, T*, T*, T*);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn::cpu
