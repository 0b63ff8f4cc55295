// The ops of infinite sums on CUDA tensors: checks and memory. csrc/all_walks_ops.cpp has those of CPU tensors.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <tuple>

#include "cuda/all_walks.h"
#include "cuda/stream.h"
#include "graph_batch.h"
#include "pair_weights.h"
#include "tensors.h"

namespace rrnn::cuda {
namespace {

// Working memory of a launch; PyTorch's allocator keeps it for this stream when it is released.
class Workspace {
 public:
  Workspace(const Tensor& like, int64_t bytes) : memory_(empty_of(like, {elements(like, bytes)})) {}
  void* get() const { return memory_.numel() ? memory_.mutable_data_ptr() : nullptr; }

 private:
  static int64_t elements(const Tensor& like, int64_t bytes) {
    const int64_t size = like.scalar_type() == ScalarType::Double ? sizeof(double) : sizeof(float);
    return (bytes + size - 1) / size;
  }
  Tensor memory_;
};

template <typename T>
Pathways<T> pathways(const Batch& batch, const T* sources, const T* targets, double alpha) {
  return {batch.count, static_cast<int>(batch.n), at<T>(batch.weight_hh, 0, 0), sources,
          targets,     static_cast<T>(alpha)};
}

std::tuple<Tensor, Tensor, Tensor> pathway_solve(Tensor weight_hh, Tensor sources, Tensor targets, double alpha) {
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

Tensor pathway_solve_backward(Tensor scale, Tensor weight_hh, Tensor x, Tensor y, double alpha) {
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

template <typename T>
AllPairs<T> all_pairs(const Batch& batch, const PairWeights& pairs, const std::optional<Tensor>& pair_weights,
                      double alpha, bool rectify, bool squared) {
  return {batch.count,
          static_cast<int>(batch.n),
          at<T>(batch.weight_hh, 0, 0),
          pairs.of<T>(0),
          pair_weights && pair_weights->dim() == 3,
          static_cast<T>(alpha),
          rectify,
          squared};
}

std::tuple<Tensor, Tensor, Tensor> all_pairs_penalty(Tensor weight_hh, std::optional<Tensor> pair_weights, double alpha,
                                                     bool rectify, bool squared) {
  const CurrentDevice current(weight_hh);
  const Batch batch(weight_hh);
  const PairWeights pairs(pair_weights, weight_hh, batch.count, batch.n, batch.n);
  Tensor value = empty_of(weight_hh, {batch.count}), converges = empty_of(weight_hh, {batch.count});
  Tensor walks = empty_of(weight_hh, {batch.count, batch.n, batch.n});
  if (batch.count == 0) return {value, walks, converges};
  dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    const AllPairs<T> graphs = all_pairs<T>(batch, pairs, pair_weights, alpha, rectify, squared);
    T *values = at<T>(value, 0, 0), *sums = at<T>(walks, 0, 0), *proofs = at<T>(converges, 0, 0);
    if (batch.n <= small_all_pairs_limit<T>()) {
      small_all_pairs_forward(graphs, values, sums, proofs, current.stream());
    } else {
      const Workspace workspace(weight_hh, all_pairs_scratch(graphs));
      all_pairs_forward(graphs, values, sums, proofs, workspace.get(), current.stream());
    }
  });
  return {value, walks, converges};
}

Tensor all_pairs_penalty_backward(Tensor grad_value, Tensor walks, Tensor weight_hh, std::optional<Tensor> pair_weights,
                                  double alpha, bool rectify, bool squared) {
  const CurrentDevice current(weight_hh);
  const Batch batch(weight_hh);
  const PairWeights pairs(pair_weights, weight_hh, batch.count, batch.n, batch.n);
  batch.check_factors("grad_value", grad_value);
  batch.check_matrices("walks", walks);
  const Tensor grads = dense(grad_value), sums = dense(walks);
  Tensor grad_hh = empty_of(weight_hh, {batch.count, batch.n, batch.n});
  if (grad_hh.numel() == 0) return grad_hh;
  dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    const AllPairs<T> graphs = all_pairs<T>(batch, pairs, pair_weights, alpha, rectify, squared);
    const T *grad = at<T>(grads, 0, 0), *sum = at<T>(sums, 0, 0);
    if (batch.n <= small_all_pairs_limit<T>()) {
      small_all_pairs_backward(graphs, grad, sum, at<T>(grad_hh, 0, 0), current.stream());
    } else {
      const Workspace workspace(weight_hh, all_pairs_backward_scratch(graphs));
      all_pairs_backward(graphs, grad, sum, at<T>(grad_hh, 0, 0), workspace.get(), current.stream());
    }
  });
  return grad_hh;
}

}  // namespace
}  // namespace rrnn::cuda

STABLE_TORCH_LIBRARY_IMPL(rrnn_ext, RRNN_CUDA_KEY, m) {
  m.impl("pathway_solve", TORCH_BOX(&rrnn::cuda::pathway_solve));
  m.impl("pathway_solve_backward", TORCH_BOX(&rrnn::cuda::pathway_solve_backward));
  m.impl("all_pairs_penalty", TORCH_BOX(&rrnn::cuda::all_pairs_penalty));
  m.impl("all_pairs_penalty_backward", TORCH_BOX(&rrnn::cuda::all_pairs_penalty_backward));
}
