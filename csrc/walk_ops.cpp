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
#include "pair_weights.h"
#include "tensors.h"

namespace rrnn {
namespace {

// What the ops share: the graph, whole or as a batch of graphs.
struct Graphs {
  Tensor weight_hh;
  std::optional<Tensor> weight_in, weight_out, hop_weights;
  double alpha;
  int64_t hops;
  bool rectify, per_hop;
  std::optional<int64_t> batch;
  int64_t n, inputs, outputs;

  Graphs(const Tensor& hh, const std::optional<Tensor>& in, const std::optional<Tensor>& out,
         const std::optional<Tensor>& weights, double alpha, int64_t hops, bool rectify, bool per_hop)
      : weight_hh(dense(hh)), alpha(alpha), hops(hops), rectify(rectify), per_hop(per_hop) {
    check_floating(hh);
    STD_TORCH_CHECK(hh.dim() == 2 || hh.dim() == 3, "weight_hh must be (n, n) or (batch, n, n), got ", shape_of(hh));
    STD_TORCH_CHECK(hops >= 1, "hops must be at least 1, got ", hops);
    STD_TORCH_CHECK(in || out, "weight_in or weight_out must be given");
    if (hh.dim() == 3) batch = hh.size(0);
    n = hh.size(hh.dim() - 1);
    check_matrix("weight_hh", hh, batch, n, n);
    inputs = outputs = n;
    if (in) {
      check_like("weight_in", *in, hh);
      check_matrix("weight_in", *in, batch, n, -1);
      inputs = in->size(in->dim() - 1);
      weight_in = dense(*in);
    }
    if (out) {
      check_like("weight_out", *out, hh);
      check_matrix("weight_out", *out, batch, -1, n);
      outputs = out->size(out->dim() - 2);
      weight_out = dense(*out);
    }
    if (weights) {
      check_like("hop_weights", *weights, hh);
      check_vector("hop_weights", *weights, batch, hops);
      hop_weights = dense(*weights);
    }
  }

  int64_t count() const { return batch.value_or(1); }
  int64_t pairs() const { return inputs * outputs; }
  int64_t terms() const { return per_hop ? hops : 1; }

  template <typename T>
  static const T* data(const std::optional<Tensor>& tensor, int64_t index, int64_t size) {
    static const T nothing{};  // null means not given, and an empty tensor has no pointer of its own
    if (!tensor) return nullptr;
    return tensor->numel() == 0 ? &nothing : static_cast<const T*>(tensor->const_data_ptr()) + index * size;
  }

  template <typename T>
  const T* hop_weights_of(int64_t index) const {
    return data<T>(hop_weights, hop_weights && hop_weights->dim() == 2 ? index : 0, hops);
  }

  template <typename T>
  Walks<T> problem(int64_t index) const {
    return {n,
            inputs,
            outputs,
            hops,
            static_cast<const T*>(weight_hh.const_data_ptr()) + index * n * n,
            data<T>(weight_in, index, n * inputs),
            data<T>(weight_out, index, outputs * n),
            static_cast<T>(alpha),
            rectify,
            per_hop,
            per_hop ? nullptr : hop_weights_of<T>(index)};
  }

  Tensor empty(std::initializer_list<int64_t> own) const {
    int64_t sizes[4], dims = 0;
    if (batch) sizes[dims++] = *batch;
    for (const int64_t size : own) sizes[dims++] = size;
    return empty_of(weight_hh, sizes, dims);
  }
};

std::tuple<Tensor, Tensor> forward(const Graphs& graphs, bool keep_chain) {
  Tensor walks = graphs.empty({graphs.terms(), graphs.outputs, graphs.inputs});
  Tensor chain = dispatch(graphs.weight_hh, [&](auto zero) {
    using T = decltype(zero);
    const Walks<T> any = graphs.problem<T>(0);
    const int64_t chain_size = keep_chain ? any.chain_size() : 0;
    Tensor chain = graphs.empty({chain_size});
    const bool single = keep_chain && any.single_pathway();
    const int64_t scratch_size =
        single ? single_pathway_scratch(any, torch::stable::get_num_threads()) : walk_forward_scratch(any, keep_chain);
    run_batch<T>(graphs.count(), any.flops(), scratch_size, [&](int64_t index, Team& team, T* shared) {
      const Walks<T> problem = graphs.problem<T>(index);
      T* to = at<T>(walks, index, graphs.terms() * graphs.pairs());
      T* kept = at<T>(chain, index, chain_size);
      if (single)
        single_pathway_forward(problem, to, kept, team, shared);
      else
        walk_forward(problem, to, kept, team, shared);
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
  const Walks<T> any = graphs.problem<T>(0);
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
    gradients(graphs.problem<T>(index), gradient, at<T>(kept, index, any.chain_size()), at<T>(grad_hh, index, n * n),
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
  STD_TORCH_CHECK(grad_walks.numel() == graphs.count() * walks_size, "grad_walks must have the shape of walks, got ",
                  shape_of(grad_walks));
  check_like("grad_walks", grad_walks, weight_hh);
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
  check_like("grad_value", grad_value, weight_hh);
  STD_TORCH_CHECK(grad_value.numel() == graphs.count(), "grad_value must have one element a graph, got ",
                  shape_of(grad_value));
  check_like("walks", walks, weight_hh);
  const Tensor grads = dense(grad_value), dense_walks = dense(walks);
  STD_TORCH_CHECK(walks.numel() == graphs.count() * graphs.terms() * graphs.pairs(),
                  "walks must come from the forward op, got ", shape_of(walks));
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
