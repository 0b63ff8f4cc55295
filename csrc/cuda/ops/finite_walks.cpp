// The ops of finite walks on CUDA tensors: checks and memory. csrc/cpu/ops/finite_walks.cpp has those of CPU tensors.
#include "cuda/algorithms/finite_walks.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <limits>
#include <tuple>

#include "common/checks.h"
#include "common/gradient_target.h"
#include "common/pair_weights.h"
#include "common/tensors.h"
#include "common/walk_arguments.h"
#include "cuda/device/stream.h"
#include "cuda/device/workspace.h"
#include "cuda/ops/walk_graphs.h"

namespace rrnn::cuda {
namespace {

template <typename T>
std::tuple<Tensor, Tensor, Tensor> backward(const WalkArguments& graphs, const Tensor& chain,
                                            const WalkGradient<T>& gradient, cudaStream_t stream) {
  const int64_t n = graphs.n;
  const WalkBatch<T> walk = problem<T>(graphs);
  const ChainKind kind = check_kind(graphs, graphs.kind_of(chain));
  const Tensor kept = dense(chain);
  const OwnGradients own(graphs);
  const Workspace memory = Workspace::of<T>(graphs.weight_hh, walk_backward_scratch(walk, kind));
  walk_backward(walk, kind, gradient, static_cast<const T*>(at<T>(kept, 0, 0)),
                {{at<T>(own.hh, 0, 0), n * n, n, false},
                 {at<T>(own.in, 0, 0), n * graphs.inputs, graphs.inputs, false},
                 {at<T>(own.out, 0, 0), graphs.outputs * n, n, false}},
                memory.get<T>(), stream);
  return {own.hh, own.in, own.out};
}

std::tuple<Tensor, Tensor> finite_walks(Tensor weight_hh, std::optional<Tensor> weight_in,
                                        std::optional<Tensor> weight_out, std::optional<Tensor> hop_weights,
                                        double alpha, int64_t hops, bool rectify, bool per_hop, int64_t chain_kind) {
  const CurrentDevice current(weight_hh);
  const WalkArguments graphs(weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop);
  const ChainKind kind = check_kind(graphs, graphs.chain_kind(chain_kind));
  Tensor walks = graphs.empty({graphs.terms(), graphs.outputs, graphs.inputs});
  Tensor chain = graphs.empty({hops, graphs.chain_width(kind), graphs.n});
  dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    run_forward<T>(graphs, problem<T>(graphs), kind, walks, chain, nullptr, nullptr, current.stream());
  });
  return {walks, chain};
}

std::tuple<Tensor, Tensor, Tensor> finite_walks_backward(Tensor grad_walks, Tensor chain, Tensor weight_hh,
                                                         std::optional<Tensor> weight_in,
                                                         std::optional<Tensor> weight_out,
                                                         std::optional<Tensor> hop_weights, double alpha, int64_t hops,
                                                         bool rectify, bool per_hop) {
  const CurrentDevice current(weight_hh);
  const WalkArguments graphs(weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop);
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
                                                        bool rectify, bool per_hop, int64_t norm, int64_t chain_kind) {
  const CurrentDevice current(weight_hh);
  const WalkArguments graphs(weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop);
  const PairWeights pairs(pair_weights, graphs, graphs.outputs, graphs.inputs);
  const Norm size = norm_of(norm);
  const ChainKind kind = check_kind(graphs, graphs.chain_kind(chain_kind));
  Tensor value = graphs.empty({}), walks = graphs.empty({graphs.terms(), graphs.outputs, graphs.inputs});
  Tensor chain = graphs.empty({hops, graphs.chain_width(kind), graphs.n});
  dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    const WalkNorm<T> of_walks = walk_norm<T>(graphs, pairs, size, walks);
    run_forward(graphs, problem<T>(graphs), kind, walks, chain, &of_walks, &value, current.stream());
  });
  return {value, walks, chain};
}

std::tuple<Tensor, Tensor, Tensor> finite_walks_penalty_backward(
    Tensor grad_value, Tensor walks, Tensor chain, Tensor weight_hh, std::optional<Tensor> weight_in,
    std::optional<Tensor> weight_out, std::optional<Tensor> hop_weights, std::optional<Tensor> pair_weights,
    double alpha, int64_t hops, bool rectify, bool per_hop, int64_t norm) {
  const CurrentDevice current(weight_hh);
  const WalkArguments graphs(weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop);
  const PairWeights pairs(pair_weights, graphs, graphs.outputs, graphs.inputs);
  const Norm kind = norm_of(norm);
  graphs.check_factors("grad_value", grad_value);
  check_walks(walks, graphs);
  const Tensor grads = dense(grad_value), dense_walks = dense(walks);
  return dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    const WalkGradient<T> gradient{nullptr, at<T>(grads, 0, 0), T(1), walk_norm<T>(graphs, pairs, kind, dense_walks)};
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
