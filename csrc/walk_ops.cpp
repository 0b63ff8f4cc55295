// The ops of finite walks on CPU tensors: checks, memory, the loop over a batch.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <tuple>

#include "checks.h"
#include "cpu/penalty.h"
#include "cpu/scratch.h"
#include "cpu/walks.h"
#include "graphs.h"
#include "pair_weights.h"
#include "tensors.h"

namespace rrnn {
namespace {

template <typename T>
Walks<T> problem(const Graphs& graphs, int64_t index) {
  const int64_t n = graphs.n;
  return {n,
          graphs.inputs,
          graphs.outputs,
          graphs.hops,
          static_cast<const T*>(graphs.weight_hh.const_data_ptr()) + index * n * n,
          Graphs::data<T>(graphs.weight_in, index, n * graphs.inputs),
          Graphs::data<T>(graphs.weight_out, index, graphs.outputs * n),
          static_cast<T>(graphs.alpha),
          graphs.rectify,
          graphs.per_hop,
          graphs.per_hop ? nullptr : graphs.hop_weights_of<T>(index)};
}

std::tuple<Tensor, Tensor> forward(const Graphs& graphs, bool keep_chain) {
  Tensor walks = graphs.empty({graphs.terms(), graphs.outputs, graphs.inputs});
  Tensor chain = dispatch(graphs.weight_hh, [&](auto zero) {
    using T = decltype(zero);
    const Walks<T> any = problem<T>(graphs, 0);
    const int64_t chain_size = keep_chain ? any.chain_size() : 0;
    Tensor chain = graphs.empty({chain_size});
    const bool single = keep_chain && any.single_pathway();
    const int64_t scratch_size =
        single ? single_pathway_scratch(any, torch::stable::get_num_threads()) : walk_forward_scratch(any, keep_chain);
    run_batch<T>(graphs.count(), any.flops(), scratch_size, [&](int64_t index, Team& team, T* shared) {
      const Walks<T> walk = problem<T>(graphs, index);
      T* to = at<T>(walks, index, graphs.terms() * graphs.pairs());
      T* kept = at<T>(chain, index, chain_size);
      if (single)
        single_pathway_forward(walk, to, kept, team, shared);
      else
        walk_forward(walk, to, kept, team, shared);
    });
    return chain;
  });
  return {walks, chain};
}

// The gradients of a given grad_walks(index, T* to), which may be made on the fly.
template <typename T, typename F>
std::tuple<Tensor, Tensor, Tensor> backward(const Graphs& graphs, const Tensor& chain, const F& grad_walks) {
  const int64_t n = graphs.n;
  Tensor grad_hh = graphs.empty({n, n});
  Tensor grad_in = graphs.weight_in ? graphs.empty({n, graphs.inputs}) : graphs.empty({0, 0});
  Tensor grad_out = graphs.weight_out ? graphs.empty({graphs.outputs, n}) : graphs.empty({0, 0});
  const Walks<T> any = problem<T>(graphs, 0);
  const Tensor kept = dense(chain);
  const int64_t walks_size = graphs.terms() * graphs.pairs();
  const bool single = any.single_pathway();
  const int64_t scratch_size = single ? single_pathway_scratch(any, 1) : walk_backward_scratch(any);
  check_like("chain", chain, graphs.weight_hh);
  STD_TORCH_CHECK(chain.numel() == graphs.count() * any.chain_size(),
                  "chain must come from the forward op with keep_chain");
  run_batch<T>(graphs.count(), 2 * any.flops(), scratch_size + walks_size, [&](int64_t index, Team& team, T* shared) {
    T* gradient = shared + scratch_size;
    if (team.leads()) grad_walks(index, gradient);
    team.wait();
    const auto gradients = single ? single_pathway_backward<T> : walk_backward<T>;
    gradients(problem<T>(graphs, index), gradient, at<T>(kept, index, any.chain_size()), at<T>(grad_hh, index, n * n),
              graphs.weight_in ? at<T>(grad_in, index, n * graphs.inputs) : nullptr,
              graphs.weight_out ? at<T>(grad_out, index, graphs.outputs * n) : nullptr, team, shared);
  });
  return {grad_hh, grad_in, grad_out};
}

std::tuple<Tensor, Tensor> walk_sums(Tensor weight_hh, std::optional<Tensor> weight_in,
                                     std::optional<Tensor> weight_out, std::optional<Tensor> hop_weights, double alpha,
                                     int64_t hops, bool rectify, bool per_hop, bool keep_chain) {
  return forward({weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop}, keep_chain);
}

std::tuple<Tensor, Tensor, Tensor> walk_sums_backward(Tensor grad_walks, Tensor chain, Tensor weight_hh,
                                                      std::optional<Tensor> weight_in, std::optional<Tensor> weight_out,
                                                      std::optional<Tensor> hop_weights, double alpha, int64_t hops,
                                                      bool rectify, bool per_hop) {
  const Graphs graphs(weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop);
  const int64_t walks_size = graphs.terms() * graphs.pairs();
  check_grad_walks(grad_walks, graphs);
  const Tensor gradients = dense(grad_walks);
  return dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    return backward<T>(graphs, chain, [&](int64_t index, T* to) {
      std::copy_n(static_cast<const T*>(gradients.const_data_ptr()) + index * walks_size, walks_size, to);
    });
  });
}

std::tuple<Tensor, Tensor, Tensor> walk_penalty(Tensor weight_hh, std::optional<Tensor> weight_in,
                                                std::optional<Tensor> weight_out, std::optional<Tensor> hop_weights,
                                                std::optional<Tensor> pair_weights, double alpha, int64_t hops,
                                                bool rectify, bool per_hop, bool squared, bool keep_chain) {
  const Graphs graphs(weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop);
  const PairWeights pairs(pair_weights, graphs.weight_hh, graphs.batch, graphs.outputs, graphs.inputs);
  auto [walks, chain] = forward(graphs, keep_chain);
  Tensor value = graphs.empty({});
  dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t index = 0; index < graphs.count(); ++index)
      *at<T>(value, index, 1) =
          penalty<T>({squared}, at<T>(walks, index, graphs.terms() * graphs.pairs()), graphs.terms(), graphs.pairs(),
                     per_hop ? graphs.hop_weights_of<T>(index) : nullptr, pairs.of<T>(index));
  });
  return {value, walks, chain};
}

std::tuple<Tensor, Tensor, Tensor> walk_penalty_backward(Tensor grad_value, Tensor walks, Tensor chain,
                                                         Tensor weight_hh, std::optional<Tensor> weight_in,
                                                         std::optional<Tensor> weight_out,
                                                         std::optional<Tensor> hop_weights,
                                                         std::optional<Tensor> pair_weights, double alpha, int64_t hops,
                                                         bool rectify, bool per_hop, bool squared) {
  const Graphs graphs(weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop);
  const PairWeights pairs(pair_weights, graphs.weight_hh, graphs.batch, graphs.outputs, graphs.inputs);
  check_grad_value(grad_value, graphs);
  check_walks(walks, graphs);
  const Tensor grads = dense(grad_value), dense_walks = dense(walks);
  return dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    return backward<T>(graphs, chain, [&](int64_t index, T* to) {
      penalty_backward<T>({squared}, at<T>(dense_walks, index, graphs.terms() * graphs.pairs()), graphs.terms(),
                          graphs.pairs(), per_hop ? graphs.hop_weights_of<T>(index) : nullptr, pairs.of<T>(index),
                          *at<T>(grads, index, 1), to);
    });
  });
}

}  // namespace
}  // namespace rrnn

STABLE_TORCH_LIBRARY_IMPL(rrnn_ext, CPU, m) {
  m.impl("walk_sums", TORCH_BOX(&rrnn::walk_sums));
  m.impl("walk_sums_backward", TORCH_BOX(&rrnn::walk_sums_backward));
  m.impl("walk_penalty", TORCH_BOX(&rrnn::walk_penalty));
  m.impl("walk_penalty_backward", TORCH_BOX(&rrnn::walk_penalty_backward));
}
