// The ops of finite walks on CUDA tensors: checks and memory. csrc/cpu/ops/finite_walks.cpp has those of CPU tensors.
#include "cuda/algorithms/finite_walks.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <limits>
#include <tuple>

#include "common/checks.h"
#include "common/pair_weights.h"
#include "common/tensors.h"
#include "common/walk_arguments.h"
#include "cuda/device/stream.h"
#include "cuda/device/workspace.h"

namespace rrnn::cuda {
namespace {

template <typename T>
WalkBatch<T> problem(const WalkArguments& graphs) {
  // Units, vectors and hops are counted in 32 bits, and so are the blocks of a launch.
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  const auto check_size = [&](const char* what, int64_t size) {
    STD_TORCH_CHECK(size <= kMost, what, " must be below 2^31 on CUDA, got ", size);
  };
  check_size("n", graphs.n);
  check_size("hops", graphs.hops);
  check_size("graphs * terms * vectors", graphs.count() * graphs.terms() * std::max(graphs.inputs, graphs.outputs));
  check_size("graphs * n", graphs.count() * graphs.n);
  const WalkProblem<T> first = graphs.problem<T>(0);
  return {first, graphs.count(), graphs.matrix<T>(0),
          first.hop_weights && graphs.has_own_hop_weights() ? graphs.hops : 0};
}

// A chain of both sides is for as many vectors as its kernel has room for.
ChainKind check_kind(const WalkArguments& graphs, ChainKind kind) {
  STD_TORCH_CHECK(kind != ChainKind::kBoth || std::max(graphs.inputs, graphs.outputs) <= kMostOfBoth,
                  "chain_kind 2 (both) is for at most ", kMostOfBoth, " inputs and outputs on CUDA, got ",
                  graphs.inputs, " and ", graphs.outputs);
  return kind;
}

template <typename T>
WalkNorm<T> walk_norm(const WalkArguments& graphs, const PairWeights& pairs, Norm norm, const Tensor& walks) {
  const bool weighted = graphs.per_hop && graphs.hop_weights;
  return {norm,
          weighted ? graphs.hop_weights_of<T>(0) : nullptr,
          weighted && graphs.has_own_hop_weights() ? graphs.hops : 0,
          pairs.of<T>(0),
          graphs.count() > 1 ? pairs.of<T>(1) - pairs.of<T>(0) : 0,
          graphs.terms(),
          graphs.pairs(),
          at<T>(walks, 0, 0)};
}

std::tuple<Tensor, Tensor> forward(const WalkArguments& graphs, int64_t chain_kind, cudaStream_t stream) {
  const ChainKind kind = check_kind(graphs, graphs.chain_kind(chain_kind));
  Tensor walks = graphs.empty({graphs.terms(), graphs.outputs, graphs.inputs});
  Tensor chain = graphs.empty({graphs.hops, graphs.chain_width(kind), graphs.n});
  dispatch(graphs.weight_hh, [&](auto zero) {
    using T = decltype(zero);
    const WalkBatch<T> walk = problem<T>(graphs);
    const Workspace memory = Workspace::of<T>(graphs.weight_hh, walk_forward_scratch(walk, kind));
    walk_forward(walk, kind, at<T>(walks, 0, 0), at<T>(chain, 0, 0), memory.get<T>(), stream);
  });
  return {walks, chain};
}

template <typename T>
std::tuple<Tensor, Tensor, Tensor> backward(const WalkArguments& graphs, const Tensor& chain,
                                            const WalkGradient<T>& gradient, cudaStream_t stream) {
  const int64_t n = graphs.n;
  const WalkBatch<T> walk = problem<T>(graphs);
  const ChainKind kind = check_kind(graphs, graphs.kind_of(chain));
  const Tensor kept = dense(chain);
  Tensor grad_hh = graphs.empty({n, n});
  Tensor grad_in = graphs.weight_in ? graphs.empty({n, graphs.inputs}) : graphs.empty({0, 0});
  Tensor grad_out = graphs.weight_out ? graphs.empty({graphs.outputs, n}) : graphs.empty({0, 0});
  const Workspace memory = Workspace::of<T>(graphs.weight_hh, walk_backward_scratch(walk, kind));
  walk_backward(walk, kind, gradient, static_cast<const T*>(at<T>(kept, 0, 0)), at<T>(grad_hh, 0, 0),
                at<T>(grad_in, 0, 0), at<T>(grad_out, 0, 0), memory.get<T>(), stream);
  return {grad_hh, grad_in, grad_out};
}

std::tuple<Tensor, Tensor> finite_walks(Tensor weight_hh, std::optional<Tensor> weight_in,
                                        std::optional<Tensor> weight_out, std::optional<Tensor> hop_weights,
                                        double alpha, int64_t hops, bool rectify, bool per_hop, int64_t chain_kind) {
  const CurrentDevice current(weight_hh);
  return forward({weight_hh, weight_in, weight_out, hop_weights, alpha, hops, rectify, per_hop}, chain_kind,
                 current.stream());
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
  const Norm kind = norm_of(norm);
  auto [walks, chain] = forward(graphs, chain_kind, current.stream());
  Tensor value = graphs.empty({});
  dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    const WalkNorm<T> of_walks = walk_norm<T>(graphs, pairs, kind, walks);
    const Workspace memory = Workspace::of<double>(value, norm_of_walks_scratch(of_walks, graphs.count()));
    norm_of_walks(of_walks, graphs.count(), at<T>(value, 0, 0), memory.get<double>(), current.stream());
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
