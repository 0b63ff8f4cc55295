// The ops of a single pathway's infinite sum on CUDA tensors: checks and memory. csrc/cpu/ops/pathway.cpp has those of
// CPU tensors.
#include "cuda/algorithms/pathway.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <tuple>

#include "common/graphs.h"
#include "common/tensors.h"
#include "cuda/device/stream.h"
#include "cuda/device/workspace.h"

namespace rrnn::cuda {
namespace {

template <typename T>
Pathways<T> pathways(const Graphs& graphs, const T* sources, const T* targets, double alpha) {
  return {graphs.count(), static_cast<int>(graphs.n), graphs.matrix<T>(0), sources, targets, static_cast<T>(alpha)};
}

std::tuple<Tensor, Tensor, Tensor> pathway(Tensor weight_hh, Tensor sources, Tensor targets, double alpha) {
  const CurrentDevice current(weight_hh);
  const Graphs graphs = Graphs::of_batch(weight_hh);
  graphs.check_vectors("sources", sources);
  graphs.check_vectors("targets", targets);
  const Tensor from = dense(sources), to = dense(targets);
  Tensor x = graphs.empty({graphs.n}), y = graphs.empty({graphs.n});
  Tensor found = graphs.empty({});
  if (graphs.count() == 0) return {x, y, found};
  dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    const Pathways<T> problem = pathways<T>(graphs, at<T>(from, 0, 0), at<T>(to, 0, 0), alpha);
    const Workspace workspace(weight_hh, solve_pathway_scratch(problem));
    solve_pathway(problem, at<T>(x, 0, 0), at<T>(y, 0, 0), at<T>(found, 0, 0), workspace.get(), current.stream());
  });
  return {x, y, found};
}

Tensor pathway_backward(Tensor scale, Tensor weight_hh, Tensor x, Tensor y, double alpha) {
  const CurrentDevice current(weight_hh);
  const Graphs graphs = Graphs::of_batch(weight_hh);
  graphs.check_vectors("x", x);
  graphs.check_vectors("y", y);
  graphs.check_factors("scale", scale);
  const Tensor scales = dense(scale), right = dense(x), left = dense(y);
  Tensor grad_hh = graphs.empty({graphs.n, graphs.n});
  dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    solve_pathway_backward<T>(pathways<T>(graphs, nullptr, nullptr, alpha), at<T>(scales, 0, 0), at<T>(right, 0, 0),
                              at<T>(left, 0, 0), at<T>(grad_hh, 0, 0), current.stream());
  });
  return grad_hh;
}

}  // namespace
}  // namespace rrnn::cuda

STABLE_TORCH_LIBRARY_IMPL(rrnn_ext, RRNN_CUDA_KEY, m) {
  m.impl("pathway", TORCH_BOX(&rrnn::cuda::pathway));
  m.impl("pathway_backward", TORCH_BOX(&rrnn::cuda::pathway_backward));
}
