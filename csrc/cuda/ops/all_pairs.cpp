// The ops of all pairs on CUDA tensors: checks and memory. csrc/cpu/ops/all_pairs.cpp has those of CPU tensors.
#include "cuda/algorithms/all_pairs.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <tuple>

#include "common/graphs.h"
#include "common/pair_weights.h"
#include "common/tensors.h"
#include "cuda/device/stream.h"
#include "cuda/device/workspace.h"

namespace rrnn::cuda {
namespace {

template <typename T>
AllPairs<T> all_pairs(const Graphs& graphs, const PairWeights& pairs, const std::optional<Tensor>& pair_weights,
                      double alpha, bool rectify, Norm norm) {
  return {graphs.count(),
          static_cast<int>(graphs.n),
          graphs.matrix<T>(0),
          pairs.of<T>(0),
          pair_weights && pair_weights->dim() == 3,
          alpha,
          rectify,
          norm};
}

std::tuple<Tensor, Tensor, Tensor> all_pairs_penalty(Tensor weight_hh, std::optional<Tensor> pair_weights, double alpha,
                                                     bool rectify, int64_t norm) {
  const CurrentDevice current(weight_hh);
  const Graphs graphs = Graphs::of_batch(weight_hh);
  const PairWeights pairs(pair_weights, graphs, graphs.n, graphs.n);
  const Norm kind = norm_of(norm);
  Tensor value = graphs.empty({}), converges = graphs.empty({});
  Tensor walks = graphs.empty({graphs.n, graphs.n});
  if (graphs.count() == 0) return {value, walks, converges};
  dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    const AllPairs<T> problem = all_pairs<T>(graphs, pairs, pair_weights, alpha, rectify, kind);
    T *values = at<T>(value, 0, 0), *sums = at<T>(walks, 0, 0), *proofs = at<T>(converges, 0, 0);
    if (graphs.n <= small_all_pairs_limit<T>()) {
      small_all_pairs_forward(problem, values, sums, proofs, current.stream());
    } else {
      const Workspace workspace(weight_hh, all_pairs_scratch(problem));
      all_pairs_forward(problem, values, sums, proofs, workspace.get(), current.stream());
    }
  });
  return {value, walks, converges};
}

Tensor all_pairs_penalty_backward(Tensor grad_value, Tensor walks, Tensor weight_hh, std::optional<Tensor> pair_weights,
                                  double alpha, bool rectify, int64_t norm) {
  const CurrentDevice current(weight_hh);
  const Graphs graphs = Graphs::of_batch(weight_hh);
  const PairWeights pairs(pair_weights, graphs, graphs.n, graphs.n);
  const Norm kind = norm_of(norm);
  graphs.check_factors("grad_value", grad_value);
  graphs.check_matrices("walks", walks);
  const Tensor grads = dense(grad_value), sums = dense(walks);
  Tensor grad_hh = graphs.empty({graphs.n, graphs.n});
  if (grad_hh.numel() == 0) return grad_hh;
  dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    const AllPairs<T> problem = all_pairs<T>(graphs, pairs, pair_weights, alpha, rectify, kind);
    const T *grad = at<T>(grads, 0, 0), *sum = at<T>(sums, 0, 0);
    if (graphs.n <= small_all_pairs_limit<T>()) {
      small_all_pairs_backward(problem, grad, sum, at<T>(grad_hh, 0, 0), current.stream());
    } else {
      const Workspace workspace(weight_hh, all_pairs_backward_scratch(problem));
      all_pairs_backward(problem, grad, sum, at<T>(grad_hh, 0, 0), workspace.get(), current.stream());
    }
  });
  return grad_hh;
}

}  // namespace
}  // namespace rrnn::cuda

STABLE_TORCH_LIBRARY_IMPL(rrnn_ext, RRNN_CUDA_KEY, m) {
  m.impl("all_pairs_penalty", TORCH_BOX(&rrnn::cuda::all_pairs_penalty));
  m.impl("all_pairs_penalty_backward", TORCH_BOX(&rrnn::cuda::all_pairs_penalty_backward));
}
