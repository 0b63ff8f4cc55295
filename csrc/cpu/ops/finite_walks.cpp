// The ops of finite walks on CPU tensors: checks, memory, the loop over a batch.
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
#include "common/graphs.h"
#include "common/pair_weights.h"
#include "common/tensors.h"
#include "cpu/algorithms/overflow.h"
#include "cpu/algorithms/penalty.h"
#include "cpu/algorithms/scratch.h"
#include "cpu/algorithms/walks.h"
#include "cpu/algorithms/wide_walks.h"

namespace rrnn {
namespace {

// Without the hops at the end that no weight is given to; `terms_are_weighted` where that holds of each P_m too.
template <typename T>
Walks<T> problem(const Graphs& graphs, int64_t index, bool terms_are_weighted = false) {
  const int64_t n = graphs.n;
  return {n,
          graphs.inputs,
          graphs.outputs,
          graphs.per_hop && !terms_are_weighted ? graphs.hops : graphs.weighted_hops<T>(index),
          static_cast<const T*>(graphs.weight_hh.const_data_ptr()) + index * n * n,
          Graphs::data<T>(graphs.weight_in, index, n * graphs.inputs),
          Graphs::data<T>(graphs.weight_out, index, graphs.outputs * n),
          static_cast<T>(graphs.alpha),
          graphs.rectify,
          graphs.per_hop,
          graphs.per_hop ? nullptr : graphs.hop_weights_of<T>(index)};
}

// The largest that a graph of these has.
template <typename T>
Walks<T> largest_problem(const Graphs& graphs) {
  Walks<T> walk = problem<T>(graphs, 0);
  walk.hops = graphs.hops;
  return walk;
}

// Graph by graph, redo(index) where the result is no number though the graph is made of numbers.
template <typename T, typename Finite, typename Redo>
void redo_overflowed(const Graphs& graphs, const Finite& finite, const Redo& redo) {
  for (int64_t index = 0; index < graphs.count(); ++index)
    if (!finite(index) && is_finite(problem<T>(graphs, index), graphs.alpha)) redo(index);
}

template <typename T>
std::vector<Wide> redone_walks(const Graphs& graphs, int64_t index, bool terms_are_weighted) {
  std::vector<Wide> walks(graphs.terms() * graphs.pairs());
  wide_walks(problem<T>(graphs, index, terms_are_weighted), graphs.alpha, walks.data());
  return walks;
}

std::tuple<Tensor, Tensor> forward(const Graphs& graphs, bool keep_chain, bool terms_are_weighted = false) {
  const int64_t walks_size = graphs.terms() * graphs.pairs();
  Tensor walks = graphs.empty({graphs.terms(), graphs.outputs, graphs.inputs});
  Tensor chain = dispatch(graphs.weight_hh, [&](auto zero) {
    using T = decltype(zero);
    const Walks<T> any = largest_problem<T>(graphs);
    const int64_t chain_size = keep_chain ? any.chain_size() : 0;
    Tensor chain = graphs.empty({chain_size});
    const bool single = keep_chain && any.single_pathway();
    const int64_t scratch_size =
        single ? single_pathway_scratch(any, torch::stable::get_num_threads()) : walk_forward_scratch(any, keep_chain);
    std::atomic<bool> overflowed{!std::isfinite(any.edges())};
    run_batch<T>(graphs.count(), any.flops(), scratch_size, [&](int64_t index, Team& team, T* shared) {
      const Walks<T> walk = problem<T>(graphs, index, terms_are_weighted);
      T* to = at<T>(walks, index, walks_size);
      T* kept = at<T>(chain, index, chain_size);
      const OverflowWatch watch;
      if (single)
        single_pathway_forward(walk, to, kept, team, shared);
      else
        walk_forward(walk, to, kept, team, shared);
      if (watch.overflowed()) overflowed.store(true, std::memory_order_relaxed);
      if (team.leads() && walk.hops < any.hops) {  // what comes after the last hop that has a weight
        std::fill(to + walk.terms() * graphs.pairs(), to + walks_size, T(0));
        if (kept) std::fill(kept + walk.chain_size(), kept + chain_size, T(0));
      }
    });
    if (overflowed)
      redo_overflowed<T>(
          graphs, [&](int64_t index) { return all_finite(at<T>(walks, index, walks_size), walks_size); },
          [&](int64_t index) {
            const std::vector<Wide> wide = redone_walks<T>(graphs, index, terms_are_weighted);
            std::copy(wide.begin(), wide.end(), at<T>(walks, index, walks_size));
          });
    return chain;
  });
  return {walks, chain};
}

// Whether the chain left the range of T: what has overflowed spreads to every element from hop to hop.
template <typename T>
bool chain_is_finite(const Walks<T>& walk, const T* chain, const Team& team) {
  const int64_t bundle = walk.width() * walk.n, bundles = walk.chain_size() / std::max<int64_t>(1, bundle);
  const Range part = team.share(bundle);
  const auto is_finite = [&](int64_t hop) {
    return all_finite(chain + hop * bundle + part.begin, part.end - part.begin);
  };
  return is_finite(walk.hops - 1) && is_finite(bundles - 1);
}

// The gradients of grad_walks(index, to), which may be made on the fly, in T or, where that overflows, in Wide.
template <typename T, typename F>
std::tuple<Tensor, Tensor, Tensor> backward(const Graphs& graphs, const Tensor& chain, const F& grad_walks) {
  const int64_t n = graphs.n;
  Tensor grad_hh = graphs.empty({n, n});
  Tensor grad_in = graphs.weight_in ? graphs.empty({n, graphs.inputs}) : graphs.empty({0, 0});
  Tensor grad_out = graphs.weight_out ? graphs.empty({graphs.outputs, n}) : graphs.empty({0, 0});
  const auto to_hh = [&](int64_t index) { return at<T>(grad_hh, index, n * n); };
  const auto to_in = [&](int64_t index) {
    return graphs.weight_in ? at<T>(grad_in, index, n * graphs.inputs) : nullptr;
  };
  const auto to_out = [&](int64_t index) {
    return graphs.weight_out ? at<T>(grad_out, index, graphs.outputs * n) : nullptr;
  };
  const Walks<T> any = largest_problem<T>(graphs);
  const Tensor kept = dense(chain);
  const int64_t walks_size = graphs.terms() * graphs.pairs();
  const bool single = any.single_pathway();
  const int64_t scratch_size = single ? single_pathway_scratch(any, 1) : walk_backward_scratch(any);
  check_like("chain", chain, graphs.weight_hh);
  STD_TORCH_CHECK(chain.numel() == graphs.count() * any.chain_size(),
                  "chain must come from the forward op with keep_chain");
  // Hops whose walks have a gradient.
  const auto walk_of = [&](int64_t index, const auto* gradient) {
    Walks<T> walk = problem<T>(graphs, index);
    if (graphs.per_hop)
      while (walk.hops > 1 && std::all_of(gradient + (walk.hops - 1) * graphs.pairs(),
                                          gradient + walk.hops * graphs.pairs(), [](auto g) { return g == 0; }))
        --walk.hops;
    return walk;
  };
  std::atomic<bool> overflowed{!std::isfinite(any.edges())};
  run_batch<T>(graphs.count(), 2 * any.flops(), scratch_size + walks_size, [&](int64_t index, Team& team, T* shared) {
    T* gradient = shared + scratch_size;
    const OverflowWatch watch;
    if (team.leads()) grad_walks(index, gradient);
    team.wait();
    const Walks<T> walk = walk_of(index, gradient);
    const T* links = at<T>(kept, index, any.chain_size());
    bool finite = chain_is_finite(walk, links, team);
    const auto gradients = single ? single_pathway_backward<T> : walk_backward<T>;
    gradients(walk, gradient, links, to_hh(index), to_in(index), to_out(index), team, shared);
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
        wide_gradients(walk_of(index, gradient.data()), graphs.alpha, gradient.data(), to_hh(index), to_in(index),
                       to_out(index));
    });
  return {grad_hh, grad_in, grad_out};
}

std::tuple<Tensor, Tensor> finite_walks(Tensor weight_hh, std::optional<Tensor> weight_in,
                                        std::optional<Tensor> weight_out, std::optional<Tensor> hop_weights,
                                        double alpha, int64_t hops, bool rectify, bool per_hop, bool keep_chain) {
  return forward({weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop}, keep_chain);
}

std::tuple<Tensor, Tensor, Tensor> finite_walks_backward(Tensor grad_walks, Tensor chain, Tensor weight_hh,
                                                         std::optional<Tensor> weight_in,
                                                         std::optional<Tensor> weight_out,
                                                         std::optional<Tensor> hop_weights, double alpha, int64_t hops,
                                                         bool rectify, bool per_hop) {
  const Graphs graphs(weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop);
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
                                                        bool rectify, bool per_hop, int64_t norm, bool keep_chain) {
  const Graphs graphs(weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop);
  const PairWeights pairs(pair_weights, graphs.weight_hh, graphs.batch, graphs.outputs, graphs.inputs);
  const Norm kind = norm_of(norm);
  auto [walks, chain] = forward(graphs, keep_chain, true);
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
  const Graphs graphs(weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop);
  const PairWeights pairs(pair_weights, graphs.weight_hh, graphs.batch, graphs.outputs, graphs.inputs);
  const Norm kind = norm_of(norm);
  check_grad_value(grad_value, graphs);
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
}  // namespace rrnn

STABLE_TORCH_LIBRARY_IMPL(rrnn_ext, CPU, m) {
  m.impl("finite_walks", TORCH_BOX(&rrnn::finite_walks));
  m.impl("finite_walks_backward", TORCH_BOX(&rrnn::finite_walks_backward));
  m.impl("finite_walks_penalty", TORCH_BOX(&rrnn::finite_walks_penalty));
  m.impl("finite_walks_penalty_backward", TORCH_BOX(&rrnn::finite_walks_penalty_backward));
}
