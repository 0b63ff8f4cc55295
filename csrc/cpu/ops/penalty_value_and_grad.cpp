// The penalty of finite walks and its gradient, on CPU tensors.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include "common/gradient_target.h"
#include "common/one_pathway.h"
#include "common/pair_weights.h"
#include "common/walk_arguments.h"
#include "cpu/algorithms/overflow.h"
#include "cpu/algorithms/penalty.h"
#include "cpu/algorithms/walk_value_and_gradient.h"
#include "cpu/algorithms/wide_walks.h"
#include "cpu/ops/walk_graphs.h"

namespace rrnn::cpu {
namespace {

template <typename T>
void give(const std::vector<T>& gradient, int64_t columns, const GradientRows<T>& to) {
  if (!to.data) return;
  for (size_t i = 0; i < gradient.size(); ++i) {
    T& element = to.data[static_cast<int64_t>(i) / columns * to.stride + static_cast<int64_t>(i) % columns];
    element = to.adds ? element + gradient[i] : gradient[i];
  }
}

template <typename T>
class ValueAndGradient {
 public:
  ValueAndGradient(const WalkArguments& graphs, const PairWeights& pairs, Norm norm, double strength,
                   const GradientTargets& to, bool adds, const Tensor& value)
      : graphs_(graphs), pairs_(pairs), norm_(norm), strength_(strength), to_(to), adds_(adds), value_(value) {}

  void run() {
    const int64_t count = graphs_.count(), n = graphs_.n;
    if (to_.in.is_shared()) in_of_each_.resize(count * n * graphs_.inputs);
    if (to_.out.is_shared()) out_of_each_.resize(count * graphs_.outputs * n);
    std::vector<char> is_settled(count);
    run_batch<T>(count, flops(), scratch_size(adds_), [&](int64_t index, Team& team, T* shared) {
      const bool settled = make(index, gradients(index), team, shared);
      if (team.leads()) is_settled[index] = settled;
    });
    for (int64_t index = 0; index < count; ++index)
      if (!is_settled[index]) settle(index);
    add_up(in_of_each_, graphs_.inputs, {to_.in.of<T>(0), to_.in.row_stride(), true});
    add_up(out_of_each_, n, {to_.out.of<T>(0), to_.out.row_stride(), true});
  }

 private:
  double flops() const { return 3 * dense_flops(graphs_.problem<T>(0)); }
  int64_t scratch_size(bool adds) const {
    return walk_value_and_gradient_scratch(graphs_.problem<T>(0), adds, torch::stable::get_num_threads());
  }

  // Of a side that a batch shares, each graph's own for now.
  WalkGradients<T> gradients(int64_t index) {
    const auto rows = [&](const GradientTarget& target, std::vector<T>& of_each, int64_t size, int64_t columns) {
      if (target.is_shared()) return GradientRows<T>{of_each.data() + index * size, columns, false};
      return GradientRows<T>{target.of<T>(index), target.row_stride(), adds_ && target.is_wanted()};
    };
    const int64_t n = graphs_.n, inputs = graphs_.inputs;
    return {{to_.hh.of<T>(index), to_.hh.row_stride(), adds_ && to_.hh.is_wanted()},
            rows(to_.in, in_of_each_, n * inputs, inputs),
            rows(to_.out, out_of_each_, graphs_.outputs * n, n)};
  }

  bool make(int64_t index, const WalkGradients<T>& to, Team& team, T* shared) {
    const WalkProblem<T> walk = problem<T>(graphs_, index, true);
    const DenseOperand<T> a(graphs_.matrix<T>(index), walk.n, walk.alpha, walk.rectify, flops());
    return walk_value_and_gradient(walk, a, {norm_, term_weights(index), pairs_.of<T>(index)},
                                   static_cast<T>(strength_), value(index), to, team, shared);
  }

  // Where numbers left the range of T: beside what it is to be added to, in wider numbers where that helps.
  void settle(int64_t index) {
    const int64_t n = graphs_.n;
    std::vector<T> hh(n * n), in(graphs_.weight_in ? n * graphs_.inputs : 0);
    std::vector<T> out(graphs_.weight_out ? graphs_.outputs * n : 0);
    const Scratch<T> memory = scratch<T>(scratch_size(false));
    run_team(flops(), [&](Team& team) {
      make(index,
           {{hh.data(), n},
            {graphs_.weight_in ? in.data() : nullptr, graphs_.inputs},
            {graphs_.weight_out ? out.data() : nullptr, n}},
           team, memory.get());
    });
    const auto finite = [](const std::vector<T>& numbers) { return all_finite(numbers.data(), numbers.size()); };
    const bool value_is_finite = std::isfinite(*value(index));
    const bool all_are_finite = value_is_finite && finite(hh) && finite(in) && finite(out);
    const WalkProblem<T> walk = problem<T>(graphs_, index, true);
    if (!all_are_finite && is_finite(walk, graphs_.matrix<T>(index), graphs_.alpha)) {
      const std::vector<Wide> walks = redone_walks<T>(graphs_, index, true);
      if (!value_is_finite)
        *value(index) = static_cast<T>(
            penalty(norm_, walks.data(), walk.terms(), walk.pairs(), term_weights(index), pairs_.of<T>(index)));
      std::vector<Wide> gradient(walks.size());
      penalty_backward(norm_, walks.data(), walk.terms(), walk.pairs(), term_weights(index), pairs_.of<T>(index),
                       static_cast<Wide>(strength_), gradient.data());
      if (std::all_of(gradient.begin(), gradient.end(), [](Wide number) { return std::isfinite(number); }))
        wide_gradients(without_idle_hops(walk, gradient.data()), graphs_.matrix<T>(index), graphs_.alpha,
                       gradient.data(), hh.data(), in.data(), out.data());
    }
    const WalkGradients<T> to = gradients(index);
    give(hh, n, to.hh);
    give(in, graphs_.inputs, to.in);
    give(out, n, to.out);
  }

  // The sum over graphs, always in the same order.
  void add_up(const std::vector<T>& of_each, int64_t columns, const GradientRows<T>& to) {
    if (of_each.empty()) return;
    const int64_t size = static_cast<int64_t>(of_each.size()) / graphs_.count();
    std::vector<T> sum(of_each.begin(), of_each.begin() + size);
    for (int64_t index = 1; index < graphs_.count(); ++index)
      for (int64_t i = 0; i < size; ++i) sum[i] += of_each[index * size + i];
    give(sum, columns, to);
  }

  const T* term_weights(int64_t index) const { return graphs_.per_hop ? graphs_.hop_weights_of<T>(index) : nullptr; }
  T* value(int64_t index) const { return at<T>(value_, index, 1); }

  const WalkArguments& graphs_;
  const PairWeights& pairs_;
  const Norm norm_;
  const double strength_;
  const GradientTargets& to_;
  const bool adds_;
  const Tensor value_;
  std::vector<T> in_of_each_, out_of_each_;
};

// Where walks cannot cancel.
template <typename T>
class PathwayValueAndGradient {
 public:
  PathwayValueAndGradient(const WalkArguments& graphs, double strength, const GradientTargets& to, bool adds,
                          const Tensor& value)
      : graphs_(graphs), strength_(strength), to_(to), adds_(adds), value_(value), one_(graphs) {}

  void run() {
    const int64_t count = graphs_.count(), n = graphs_.n;
    for (int64_t index = 0; index < count; ++index) add_up_sides(index);
    T *sources = at<T>(one_.grad_sources, 0, n), *targets = at<T>(one_.grad_targets, 0, n);
    std::fill_n(sources, count * n, T(0));
    std::fill_n(targets, count * n, T(0));
    ValueAndGradient<T>(one_.graphs, PairWeights(std::nullopt, graphs_, 1, 1), Norm::kL1, strength_,
                        GradientTargets(one_.graphs, to_.hh, one_.grad_sources, one_.grad_targets), adds_, value_)
        .run();
    for (int64_t index = 0; index < count; ++index) spread_over_sides(index);
  }

 private:
  // In float64, as walks of thousands of edges are to count as exactly.
  void add_up_sides(int64_t index) {
    const int64_t n = graphs_.n, inputs = graphs_.inputs;
    const WalkProblem<T> all = graphs_.problem<T>(index);
    const double left_out = OnePathway::left_out(graphs_);
    std::vector<double> sums(n, all.weight_out ? 0.0 : left_out);
    for (int64_t q = 0; all.weight_out && q < graphs_.outputs; ++q)
      for (int64_t unit = 0; unit < n; ++unit) sums[unit] += magnitude(all.weight_out[q * n + unit]);
    std::copy(sums.begin(), sums.end(), at<T>(one_.targets, index, n));
    for (int64_t unit = 0; unit < n; ++unit) {
      double sum = all.weight_in ? 0.0 : left_out;
      for (int64_t i = 0; all.weight_in && i < inputs; ++i) sum += magnitude(all.weight_in[unit * inputs + i]);
      at<T>(one_.sources, index, n)[unit] = static_cast<T>(sum);
    }
  }

  void spread_over_sides(int64_t index) {
    const int64_t n = graphs_.n;
    const WalkProblem<T> all = graphs_.problem<T>(index);
    const auto spread = [&](const GradientTarget& target, const T* weights, int64_t rows, int64_t columns,
                            const auto& gradient) {
      T* to = target.of<T>(index);
      for (int64_t row = 0; to && row < rows; ++row)
        for (int64_t column = 0; column < columns; ++column) {
          const T given = times_sign(gradient(row, column), weights[row * columns + column]);
          T& element = to[row * target.row_stride() + column];
          element = adds_ ? element + given : given;
        }
    };
    const T *sources = at<T>(one_.grad_sources, index, n), *targets = at<T>(one_.grad_targets, index, n);
    spread(to_.in, all.weight_in, n, graphs_.inputs, [&](int64_t row, int64_t) { return sources[row]; });
    spread(to_.out, all.weight_out, graphs_.outputs, n, [&](int64_t, int64_t column) { return targets[column]; });
  }

  const WalkArguments& graphs_;
  const double strength_;
  const GradientTargets& to_;
  const bool adds_;
  const Tensor value_;
  OnePathway one_;
};

void run(const WalkArguments& graphs, const PairWeights& pairs, Norm norm, double strength, const GradientTargets& to,
         bool adds, const Tensor& value) {
  dispatch(graphs.weight_hh, [&](auto zero) {
    using T = decltype(zero);
    if (is_one_pathway(graphs, pairs, norm))
      PathwayValueAndGradient<T>(graphs, strength, to, adds, value).run();
    else
      ValueAndGradient<T>(graphs, pairs, norm, strength, to, adds, value).run();
  });
}

std::tuple<Tensor, Tensor, Tensor, Tensor> penalty_value_and_grad(
    double strength, Tensor weight_hh, std::optional<Tensor> weight_in, std::optional<Tensor> weight_out,
    std::optional<Tensor> hop_weights, std::optional<Tensor> pair_weights, double alpha, int64_t hops, bool rectify,
    bool per_hop, int64_t norm) {
  const WalkArguments graphs(weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop);
  const PairWeights pairs(pair_weights, graphs, graphs.outputs, graphs.inputs);
  const Norm kind = norm_of(norm);
  const OwnGradients own(graphs);
  Tensor value = graphs.empty({});
  run(graphs, pairs, kind, strength, own.targets(graphs), false, value);
  return {value, own.hh, own.in, own.out};
}

Tensor penalty_value_and_grad_accumulate(std::optional<Tensor> grad_hh, std::optional<Tensor> grad_in,
                                         std::optional<Tensor> grad_out, double strength, Tensor weight_hh,
                                         std::optional<Tensor> weight_in, std::optional<Tensor> weight_out,
                                         std::optional<Tensor> hop_weights, std::optional<Tensor> pair_weights,
                                         double alpha, int64_t hops, bool rectify, bool per_hop, int64_t norm) {
  const WalkArguments graphs(weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop);
  const PairWeights pairs(pair_weights, graphs, graphs.outputs, graphs.inputs);
  const Norm kind = norm_of(norm);
  const GradientTargets to(graphs, grad_hh, grad_in, grad_out);
  Tensor value = graphs.empty({});
  run(graphs, pairs, kind, strength, to, true, value);
  return value;
}

}  // namespace
}  // namespace rrnn::cpu

STABLE_TORCH_LIBRARY_IMPL(rrnn_ext, CPU, m) {
  m.impl("penalty_value_and_grad", TORCH_BOX(&rrnn::cpu::penalty_value_and_grad));
  m.impl("penalty_value_and_grad_accumulate", TORCH_BOX(&rrnn::cpu::penalty_value_and_grad_accumulate));
}
