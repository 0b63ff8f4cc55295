// The ops of a single pathway's infinite sum on CUDA tensors: checks and memory. csrc/cpu/ops/pathway.cpp has those of
// CPU tensors.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <tuple>

#include "common/graph_batch.h"
#include "common/tensors.h"
#include "cuda/algorithms/all_walks.h"
#include "cuda/device/stream.h"
#include "cuda/device/workspace.h"

namespace rrnn::cuda {
namespace {

template <typename T>
Pathways<T> pathways(const Batch& batch, const T* sources, const T* targets, double alpha) {
  return {batch.count, static_cast<int>(batch.n), at<T>(batch.weight_hh, 0, 0), sources,
          targets,     static_cast<T>(alpha)};
}

std::tuple<Tensor, Tensor, Tensor> pathway(Tensor weight_hh, Tensor sources, Tensor targets, double alpha) {
  const CurrentDevice current(weight_hh);
  const Batch batch(weight_hh);
  batch.check_vectors("sources", sources);
  batch.check_vectors("targets", targets);
  const Tensor from = dense(sources), to = dense(targets);
  Tensor x = empty_of(weight_hh, {batch.count, batch.n}), y = empty_of(weight_hh, {batch.count, batch.n});
  Tensor found = empty_of(weight_hh, {batch.count});
  if (batch.count == 0) return {x, y, found};
  dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    const Pathways<T> problem = pathways<T>(batch, at<T>(from, 0, 0), at<T>(to, 0, 0), alpha);
    const Workspace workspace(weight_hh, solve_pathway_scratch(problem));
    solve_pathway(problem, at<T>(x, 0, 0), at<T>(y, 0, 0), at<T>(found, 0, 0), workspace.get(), current.stream());
  });
  return {x, y, found};
}

Tensor pathway_backward(Tensor scale, Tensor weight_hh, Tensor x, Tensor y, double alpha) {
  const CurrentDevice current(weight_hh);
  const Batch batch(weight_hh);
  batch.check_vectors("x", x);
  batch.check_vectors("y", y);
  batch.check_factors("scale", scale);
  const Tensor scales = dense(scale), right = dense(x), left = dense(y);
  Tensor grad_hh = empty_of(weight_hh, {batch.count, batch.n, batch.n});
  dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    solve_pathway_backward<T>(pathways<T>(batch, nullptr, nullptr, alpha), at<T>(scales, 0, 0), at<T>(right, 0, 0),
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
