// The ops of finite walks on CPU tensors: checks, memory, the loop over a batch.
#include "cpu/algorithms/finite_walks.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <tuple>
#include <type_traits>
#include <vector>

#include "common/checks.h"
#include "common/gradient_target.h"
#include "common/pair_weights.h"
#include "common/tensors.h"
#include "common/walk_arguments.h"
#include "cpu/algorithms/dense_operand.h"
#include "cpu/algorithms/overflow.h"
#include "cpu/algorithms/penalty.h"
#include "cpu/algorithms/team.h"
#include "cpu/algorithms/wide_walks.h"
#include "cpu/ops/walk_graphs.h"

namespace rrnn::cpu {
namespace {

// The chain of both sides takes one pass over W where each side is one vector.
bool is_single_pathway(const WalkArguments& graphs, ChainKind kind) {
  if (kind != ChainKind::kBoth) return false;
  STD_TORCH_CHECK(graphs.inputs == 1 && graphs.outputs == 1,
                  "chain_kind 2 (both) is for one input and one output on the CPU, got ", graphs.inputs, " and ",
                  graphs.outputs);
  return true;
}

std::tuple<Tensor, Tensor> forward(const WalkArguments& graphs, ChainKind kind, bool terms_are_weighted = false) {
  const int64_t walks_size = graphs.terms() * graphs.pairs(), bundle = graphs.chain_width(kind) * graphs.n;
  const bool keeps_chain = kind != ChainKind::kNone, single = is_single_pathway(graphs, kind);
  Tensor walks = graphs.empty({graphs.terms(), graphs.outputs, graphs.inputs});
  Tensor chain = graphs.empty({graphs.hops, graphs.chain_width(kind), graphs.n});
  dispatch(graphs.weight_hh, [&](auto zero) {
    using T = decltype(zero);
    const WalkProblem<T> any = graphs.problem<T>(0);
    const int64_t scratch_size =
        single ? single_pathway_scratch(any, torch::stable::get_num_threads()) : walk_forward_scratch(any, keeps_chain);
    std::atomic<bool> overflowed{!std::isfinite(any.edges())};
    run_batch<T>(graphs.count(), dense_flops(any), scratch_size, [&](int64_t index, Team& team, T* shared) {
      const WalkProblem<T> walk = problem<T>(graphs, index, terms_are_weighted);
      const DenseOperand<T> a = operand(graphs, walk, index);
      T* to = at<T>(walks, index, walks_size);
      T* kept = keeps_chain ? at<T>(chain, index, graphs.hops * bundle) : nullptr;
      const OverflowWatch watch;
      if (single)
        single_pathway_forward(walk, a, to, kept, team, shared);
      else
        walk_forward(walk, a, to, kept, team, shared);
      if (watch.overflowed()) overflowed.store(true, std::memory_order_relaxed);
      if (team.leads() && walk.hops < graphs.hops) {  // what comes after the last hop that has a weight
        std::fill(to + walk.terms() * graphs.pairs(), to + walks_size, T(0));
        if (kept) std::fill(kept + walk.hops * bundle, kept + graphs.hops * bundle, T(0));
      }
    });
    if (overflowed)
      redo_overflowed<T>(
          graphs, [&](int64_t index) { return all_finite(at<T>(walks, index, walks_size), walks_size); },
          [&](int64_t index) {
            const std::vector<Wide> wide = redone_walks<T>(graphs, index, terms_are_weighted);
            std::copy(wide.begin(), wide.end(), at<T>(walks, index, walks_size));
          });
  });
  return {walks, chain};
}

// The gradients of grad_walks(index, to), which may be made on the fly, in T or, where that overflows, in Wide.
template <typename T, typename F>
std::tuple<Tensor, Tensor, Tensor> backward(const WalkArguments& graphs, const Tensor& chain, const F& grad_walks) {
  const int64_t n = graphs.n;
  const OwnGradients own(graphs);
  const auto to_hh = [&](int64_t index) { return at<T>(own.hh, index, n * n); };
  const auto to_in = [&](int64_t index) {
    return graphs.weight_in ? at<T>(own.in, index, n * graphs.inputs) : nullptr;
  };
  const auto to_out = [&](int64_t index) {
    return graphs.weight_out ? at<T>(own.out, index, graphs.outputs * n) : nullptr;
  };
  const ChainKind kind = graphs.kind_of(chain);
  const bool single = is_single_pathway(graphs, kind);
  const Tensor kept = dense(chain);
  const int64_t walks_size = graphs.terms() * graphs.pairs(), bundle = graphs.chain_width(kind) * n;
  const WalkProblem<T> any = graphs.problem<T>(0);
  const int64_t scratch_size = single ? single_pathway_scratch(any, 1) : walk_backward_scratch(any, false);
  std::atomic<bool> overflowed{!std::isfinite(any.edges())};
  run_batch<T>(
      graphs.count(), 2 * dense_flops(any), scratch_size + walks_size, [&](int64_t index, Team& team, T* shared) {
        T* gradient = shared + scratch_size;
        const OverflowWatch watch;
        if (team.leads()) grad_walks(index, gradient);
        team.wait();
        const WalkProblem<T> walk = without_idle_hops(problem<T>(graphs, index), gradient);
        const DenseOperand<T> a = operand(graphs, walk, index);
        const T* links = at<T>(kept, index, graphs.hops * bundle);
        bool finite = chain_is_finite(links, walk.hops, bundle, team);
        const auto gradients = single ? single_pathway_backward<DenseOperand<T>> : walk_backward<DenseOperand<T>>;
        gradients(walk, a, gradient, links, {{to_hh(index), n}, {to_in(index), graphs.inputs}, {to_out(index), n}},
                  team, shared);
        team.wait();
        // An infinite gradient of walks has spread to here.
        const T* start = walk.from_inputs() ? to_in(index) : to_out(index);
        finite = finite && (!team.leads() || all_finite(start, walk.width() * n));
        if (!finite || watch.overflowed()) overflowed.store(true, std::memory_order_relaxed);
      });
  const auto all_are_finite = [&](int64_t index) {
    return all_finite(to_hh(index), n * n) && (!graphs.weight_in || all_finite(to_in(index), n * graphs.inputs)) &&
           (!graphs.weight_out || all_finite(to_out(index), graphs.outputs * n));
  };
  if (overflowed)
    redo_overflowed<T>(graphs, all_are_finite, [&](int64_t index) {
      std::vector<Wide> gradient(walks_size);
      grad_walks(index, gradient.data());
      if (std::all_of(gradient.begin(), gradient.end(), [](Wide g) { return std::isfinite(g); }))
        wide_gradients(without_idle_hops(problem<T>(graphs, index), gradient.data()), graphs.matrix<T>(index),
                       graphs.alpha, gradient.data(), to_hh(index), to_in(index), to_out(index));
    });
  return {own.hh, own.in, own.out};
}

std::tuple<Tensor, Tensor> finite_walks(Tensor weight_hh, std::optional<Tensor> weight_in,
                                        std::optional<Tensor> weight_out, std::optional<Tensor> hop_weights,
                                        double alpha, int64_t hops, bool rectify, bool per_hop, int64_t chain_kind) {
  const WalkArguments graphs(weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop);
  return forward(graphs, graphs.chain_kind(chain_kind));
}

std::tuple<Tensor, Tensor, Tensor> finite_walks_backward(Tensor grad_walks, Tensor chain, Tensor weight_hh,
                                                         std::optional<Tensor> weight_in,
                                                         std::optional<Tensor> weight_out,
                                                         std::optional<Tensor> hop_weights, double alpha, int64_t hops,
                                                         bool rectify, bool per_hop) {
  const WalkArguments graphs(weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop);
  const int64_t walks_size = graphs.terms() * graphs.pairs();
  check_grad_walks(grad_walks, graphs);
  const Tensor gradients = dense(grad_walks);
  return dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    return backward<T>(graphs, chain, [&](int64_t index, auto* to) {
      std::copy_n(static_cast<const T*>(gradients.const_data_ptr()) + index * walks_size, walks_size, to);
    });
  });
}

std::tuple<Tensor, Tensor, Tensor> finite_walks_penalty(Tensor weight_hh, std::optional<Tensor> weight_in,
                                                        std::optional<Tensor> weight_out,
                                                        std::optional<Tensor> hop_weights,
                                                        std::optional<Tensor> pair_weights, double alpha, int64_t hops,
                                                        bool rectify, bool per_hop, int64_t norm, int64_t chain_kind) {
  const WalkArguments graphs(weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop);
  const PairWeights pairs(pair_weights, graphs, graphs.outputs, graphs.inputs);
  const Norm kind = norm_of(norm);
  auto [walks, chain] = forward(graphs, graphs.chain_kind(chain_kind), true);
  Tensor value = graphs.empty({});
  dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    const auto value_of = [&](int64_t index, const auto* walks) {
      return static_cast<T>(penalty(kind, walks, graphs.terms(), graphs.pairs(),
                                    per_hop ? graphs.hop_weights_of<T>(index) : nullptr, pairs.of<T>(index)));
    };
    const auto to = [&](int64_t index) { return at<T>(value, index, 1); };
    for (int64_t index = 0; index < graphs.count(); ++index)
      *to(index) = value_of(index, at<T>(walks, index, graphs.terms() * graphs.pairs()));
    // A weight may bring back what is beyond the range.
    redo_overflowed<T>(
        graphs, [&](int64_t index) { return std::isfinite(*to(index)); },
        [&](int64_t index) { *to(index) = value_of(index, redone_walks<T>(graphs, index, true).data()); });
  });
  return {value, walks, chain};
}

std::tuple<Tensor, Tensor, Tensor> finite_walks_penalty_backward(
    Tensor grad_value, Tensor walks, Tensor chain, Tensor weight_hh, std::optional<Tensor> weight_in,
    std::optional<Tensor> weight_out, std::optional<Tensor> hop_weights, std::optional<Tensor> pair_weights,
    double alpha, int64_t hops, bool rectify, bool per_hop, int64_t norm) {
  const WalkArguments graphs(weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop);
  const PairWeights pairs(pair_weights, graphs, graphs.outputs, graphs.inputs);
  const Norm kind = norm_of(norm);
  graphs.check_factors("grad_value", grad_value);
  check_walks(walks, graphs);
  const Tensor grads = dense(grad_value), dense_walks = dense(walks);
  return dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    return backward<T>(graphs, chain, [&](int64_t index, auto* to) {
      using V = std::remove_pointer_t<decltype(to)>;
      std::vector<Wide> wide;
      if constexpr (std::is_same_v<V, Wide>) wide = redone_walks<T>(graphs, index, true);
      const V* from;
      if constexpr (std::is_same_v<V, Wide>)
        from = wide.data();
      else
        from = at<T>(dense_walks, index, graphs.terms() * graphs.pairs());
      penalty_backward(kind, from, graphs.terms(), graphs.pairs(), per_hop ? graphs.hop_weights_of<T>(index) : nullptr,
                       pairs.of<T>(index), static_cast<V>(*at<T>(grads, index, 1)), to);
    });
  });
}

}  // namespace
}  // namespace rrnn::cpu

STABLE_TORCH_LIBRARY_IMPL(rrnn_ext, CPU, m) {
  m.impl("finite_walks", TORCH_BOX(&rrnn::cpu::finite_walks));
  m.impl("finite_walks_backward", TORCH_BOX(&rrnn::cpu::finite_walks_backward));
  m.impl("finite_walks_penalty", TORCH_BOX(&rrnn::cpu::finite_walks_penalty));
  m.impl("finite_walks_penalty_backward", TORCH_BOX(&rrnn::cpu::finite_walks_penalty_backward));
}
