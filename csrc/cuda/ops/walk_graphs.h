// The graphs that the ops of finite walks are given, as the algorithms know them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "common/checks.h"
#include "common/pair_weights.h"
#include "common/tensors.h"
#include "common/walk_arguments.h"
#include "cuda/algorithms/finite_walks.h"
#include "cuda/device/workspace.h"

namespace rrnn::cuda {

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
inline ChainKind check_kind(const WalkArguments& graphs, ChainKind kind) {
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

// The walks, the chain of that kind and, where `norm` is given, its value; the norm is that of these walks then.
template <typename T>
void run_forward(const WalkArguments& graphs, const WalkBatch<T>& walk, ChainKind kind, const Tensor& walks,
                 const Tensor& chain, const WalkNorm<T>* norm, const Tensor* value, cudaStream_t stream) {
  const WalkResults<T> to{.kind = kind,
                          .walks = at<T>(walks, 0, 0),
                          .chain = at<T>(chain, 0, 0),
                          .norm = norm,
                          .value = value ? at<T>(*value, 0, 0) : nullptr};
  const Workspace memory(graphs.weight_hh, walk_forward_scratch(walk, to));
  walk_forward(walk, to, memory.get(), stream);
}

}  // namespace rrnn::cuda
