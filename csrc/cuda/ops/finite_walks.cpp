// The ops of finite walks on CUDA tensors: checks and memory. csrc/cpu/ops/finite_walks.cpp has those of CPU tensors.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <limits>
#include <tuple>

#include "common/checks.h"
#include "common/graphs.h"
#include "common/pair_weights.h"
#include "common/tensors.h"
#include "cuda/algorithms/walks.h"
#include "cuda/device/stream.h"

namespace rrnn::cuda {
namespace {

template <typename T>
Walks<T> problem(const Graphs& graphs) {
  // Units, vectors and hops are counted in 32 bits, and so are the blocks of a launch.
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  const auto check_size = [&](const char* what, int64_t size) {
    STD_TORCH_CHECK(size <= kMost, what, " must be below 2^31 on CUDA, got ", size);
  };
  check_size("n", graphs.n);
  check_size("hops", graphs.hops);
  check_size("graphs * terms * vectors", graphs.count() * graphs.terms() * std::max(graphs.inputs, graphs.outputs));
  check_size("graphs * n", graphs.count() * graphs.n);
  const bool summed = !graphs.per_hop && graphs.hop_weights;
  return {graphs.count(),
          graphs.n,
          graphs.inputs,
          graphs.outputs,
          graphs.hops,
          static_cast<const T*>(graphs.weight_hh.const_data_ptr()),
          Graphs::data<T>(graphs.weight_in, 0, 0),
          Graphs::data<T>(graphs.weight_out, 0, 0),
          static_cast<T>(graphs.alpha),
          graphs.rectify,
          graphs.per_hop,
          summed ? graphs.hop_weights_of<T>(0) : nullptr,
          summed && graphs.hop_weights->dim() == 2 ? graphs.hops : 0};
}

template <typename T>
WalkNorm<T> walk_norm(const Graphs& graphs, const PairWeights& pairs, Norm norm, const Tensor& walks) {
  const bool weighted = graphs.per_hop && graphs.hop_weights;
  return {norm,
          weighted ? graphs.hop_weights_of<T>(0) : nullptr,
          weighted && graphs.hop_weights->dim() == 2 ? graphs.hops : 0,
          pairs.of<T>(0),
          graphs.count() > 1 ? pairs.of<T>(1) - pairs.of<T>(0) : 0,
          graphs.terms(),
          graphs.pairs(),
          at<T>(walks, 0, 0)};
}

// Scratch memory for `count` numbers of T; PyTorch's allocator keeps it for this stream when it is released.
template <typename T>
class Scratch {
 public:
  Scratch(const Tensor& like, int64_t count)
      : memory_(empty_of(like,
                         {(count * static_cast<int64_t>(sizeof(T)) + element_size(like) - 1) / element_size(like)})) {}
  T* get() const { return memory_.numel() ? static_cast<T*>(memory_.mutable_data_ptr()) : nullptr; }

 private:
  static int64_t element_size(const Tensor& tensor) { return tensor.scalar_type() == ScalarType::Double ? 8 : 4; }
  Tensor memory_;
};

std::tuple<Tensor, Tensor> forward(const Graphs& graphs, bool keep_chain, cudaStream_t stream) {
  Tensor walks = graphs.empty({graphs.terms(), graphs.outputs, graphs.inputs});
  Tensor chain = dispatch(graphs.weight_hh, [&](auto zero) {
    using T = decltype(zero);
    const Walks<T> walk = problem<T>(graphs);
    Tensor chain = graphs.empty({keep_chain ? walk.chain_size() : 0});
    const Scratch<T> scratch(graphs.weight_hh, walk_forward_scratch(walk, keep_chain));
    walk_forward(walk, at<T>(walks, 0, 0), at<T>(chain, 0, 0), scratch.get(), stream);
    return chain;
  });
  return {walks, chain};
}

template <typename T>
std::tuple<Tensor, Tensor, Tensor> backward(const Graphs& graphs, const Tensor& chain, const WalkGradient<T>& gradient,
                                            cudaStream_t stream) {
  const int64_t n = graphs.n;
  const Walks<T> walk = problem<T>(graphs);
  check_like("chain", chain, graphs.weight_hh);
  STD_TORCH_CHECK(chain.numel() == graphs.count() * walk.chain_size(),
                  "chain must come from the forward op with keep_chain");
  const Tensor kept = dense(chain);
  Tensor grad_hh = graphs.empty({n, n});
  Tensor grad_in = graphs.weight_in ? graphs.empty({n, graphs.inputs}) : graphs.empty({0, 0});
  Tensor grad_out = graphs.weight_out ? graphs.empty({graphs.outputs, n}) : graphs.empty({0, 0});
  const Scratch<T> scratch(graphs.weight_hh, walk_backward_scratch(walk));
  walk_backward(walk, gradient, static_cast<const T*>(at<T>(kept, 0, 0)), at<T>(grad_hh, 0, 0), at<T>(grad_in, 0, 0),
                at<T>(grad_out, 0, 0), scratch.get(), stream);
  return {grad_hh, grad_in, grad_out};
}

std::tuple<Tensor, Tensor> finite_walks(Tensor weight_hh, std::optional<Tensor> weight_in,
                                        std::optional<Tensor> weight_out, std::optional<Tensor> hop_weights,
                                        double alpha, int64_t hops, bool rectify, bool per_hop, bool keep_chain) {
  const CurrentDevice current(weight_hh);
  return forward({weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop}, keep_chain,
                 current.stream());
}

std::tuple<Tensor, Tensor, Tensor> finite_walks_backward(Tensor grad_walks, Tensor chain, Tensor weight_hh,
                                                         std::optional<Tensor> weight_in,
                                                         std::optional<Tensor> weight_out,
                                                         std::optional<Tensor> hop_weights, double alpha, int64_t hops,
                                                         bool rectify, bool per_hop) {
  const CurrentDevice current(weight_hh);
  const Graphs graphs(weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop);
  check_grad_walks(grad_walks, graphs);
  const Tensor gradients = dense(grad_walks);
  return dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    WalkGradient<T> gradient{};
    gradient.given = at<T>(gradients, 0, 0);
    gradient.norm.terms = graphs.terms();
    gradient.norm.pairs = graphs.pairs();
    return backward<T>(graphs, chain, gradient, current.stream());
  });
}

std::tuple<Tensor, Tensor, Tensor> finite_walks_penalty(Tensor weight_hh, std::optional<Tensor> weight_in,
                                                        std::optional<Tensor> weight_out,
                                                        std::optional<Tensor> hop_weights,
                                                        std::optional<Tensor> pair_weights, double alpha, int64_t hops,
                                                        bool rectify, bool per_hop, int64_t norm, bool keep_chain) {
  const CurrentDevice current(weight_hh);
  const Graphs graphs(weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop);
  const PairWeights pairs(pair_weights, graphs.weight_hh, graphs.batch, graphs.outputs, graphs.inputs);
  const Norm kind = norm_of(norm);
  auto [walks, chain] = forward(graphs, keep_chain, current.stream());
  Tensor value = graphs.empty({});
  dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    const WalkNorm<T> of_walks = walk_norm<T>(graphs, pairs, kind, walks);
    const Scratch<double> scratch(value, norm_of_walks_scratch(of_walks, graphs.count()));
    norm_of_walks(of_walks, graphs.count(), at<T>(value, 0, 0), scratch.get(), current.stream());
  });
  return {value, walks, chain};
}

std::tuple<Tensor, Tensor, Tensor> finite_walks_penalty_backward(
    Tensor grad_value, Tensor walks, Tensor chain, Tensor weight_hh, std::optional<Tensor> weight_in,
    std::optional<Tensor> weight_out, std::optional<Tensor> hop_weights, std::optional<Tensor> pair_weights,
    double alpha, int64_t hops, bool rectify, bool per_hop, int64_t norm) {
  const CurrentDevice current(weight_hh);
  const Graphs graphs(weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop);
  const PairWeights pairs(pair_weights, graphs.weight_hh, graphs.batch, graphs.outputs, graphs.inputs);
  const Norm kind = norm_of(norm);
  check_grad_value(grad_value, graphs);
  check_walks(walks, graphs);
  const Tensor grads = dense(grad_value), dense_walks = dense(walks);
  return dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    const WalkGradient<T> gradient{nullptr, at<T>(grads, 0, 0), walk_norm<T>(graphs, pairs, kind, dense_walks)};
    return backward<T>(graphs, chain, gradient, current.stream());
  });
}

}  // namespace
}  // namespace rrnn::cuda

STABLE_TORCH_LIBRARY_IMPL(rrnn_ext, RRNN_CUDA_KEY, m) {
  m.impl("finite_walks", TORCH_BOX(&rrnn::cuda::finite_walks));
  m.impl("finite_walks_backward", TORCH_BOX(&rrnn::cuda::finite_walks_backward));
  m.impl("finite_walks_penalty", TORCH_BOX(&rrnn::cuda::finite_walks_penalty));
  m.impl("finite_walks_penalty_backward", TORCH_BOX(&rrnn::cuda::finite_walks_penalty_backward));
}
