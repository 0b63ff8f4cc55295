// The ops of finite walks through a sparse matrix on CUDA tensors. csrc/cpu/ops/sparse_walks.cpp has those of CPU
// tensors.
#include "cuda/algorithms/sparse_walks.h"

#include <torch/csrc/stable/library.h>

#include "common/sparse_walk_ops.h"
#include "cuda/device/stream.h"
#include "cuda/device/workspace.h"

namespace rrnn::cuda {
namespace {

template <typename T>
void run(const SparseWalkArguments& graph, const SparseWalksCall<T>& call) {
  const CurrentDevice current(graph.values);
  const Workspace memory(graph.values, sparse_walks_scratch(call));
  sparse_walks(call, memory.get(), current.stream());
}

using Ops = SparseWalkOps<[](const auto& graph, auto& call) { run(graph, call); }>;

}  // namespace
}  // namespace rrnn::cuda

STABLE_TORCH_LIBRARY_IMPL(rrnn_ext, RRNN_CUDA_KEY, m) {
  m.impl("sparse_walks", TORCH_BOX(&rrnn::cuda::Ops::walks));
  m.impl("sparse_walks_backward", TORCH_BOX(&rrnn::cuda::Ops::walks_backward));
  m.impl("sparse_walks_penalty", TORCH_BOX(&rrnn::cuda::Ops::penalty));
  m.impl("sparse_walks_penalty_backward", TORCH_BOX(&rrnn::cuda::Ops::penalty_backward));
}
