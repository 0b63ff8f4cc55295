// The ops of a single pathway's infinite sum on CPU tensors, by iteration.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <tuple>

#include "common/graph_batch.h"
#include "common/tensors.h"
#include "cpu/algorithms/all_walks.h"
#include "cpu/kernels/kernels.h"

namespace rrnn {
namespace {

std::tuple<Tensor, Tensor, Tensor> pathway(Tensor weight_hh, Tensor sources, Tensor targets, double alpha) {
  const Batch batch(weight_hh);
  batch.check_vectors("sources", sources);
  batch.check_vectors("targets", targets);
  const Tensor from = dense(sources), to = dense(targets);
  const int64_t n = batch.n;
  Tensor x = empty_of(weight_hh, {batch.count, n}), y = empty_of(weight_hh, {batch.count, n});
  Tensor found = empty_of(weight_hh, {batch.count});
  dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    const auto problem = [&](int64_t index) {
      return Pathway<T>{n, at<T>(batch.weight_hh, index, n * n), at<T>(from, index, n), at<T>(to, index, n),
                        static_cast<T>(alpha)};
    };
    const Pathway<T> any = problem(0);
    const int64_t scratch_size = solve_pathway_scratch(any, torch::stable::get_num_threads());
    run_batch<T>(batch.count, any.flops(), scratch_size, [&](int64_t index, Team& team, T* shared) {
      const bool is_found = solve_pathway(problem(index), at<T>(x, index, n), at<T>(y, index, n), team, shared);
      if (team.leads()) *at<T>(found, index, 1) = is_found;
    });
  });
  return {x, y, found};
}

// grad_hh = scale[b] alpha y x' sign(W)
Tensor pathway_backward(Tensor scale, Tensor weight_hh, Tensor x, Tensor y, double alpha) {
  const Batch batch(weight_hh);
  batch.check_vectors("x", x);
  batch.check_vectors("y", y);
  batch.check_factors("scale", scale);
  const Tensor scales = dense(scale), right = dense(x), left = dense(y);
  const int64_t n = batch.n;
  Tensor grad_hh = empty_of(weight_hh, {batch.count, n, n});
  dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    const double flops = 40.0 * static_cast<double>(n) * n;  // two flops an element, and as many bytes as twenty
    run_batch<T>(batch.count, flops, 0, [&](int64_t index, Team& team, T*) {
      kernels<T>(flops).outer_product(team.share(n, 8), n, 1, at<T>(left, index, n), n, at<T>(right, index, n), n,
                                      static_cast<T>(alpha) * *at<T>(scales, index, 1), false,
                                      at<T>(batch.weight_hh, index, n * n), at<T>(grad_hh, index, n * n), n);
    });
  });
  return grad_hh;
}

}  // namespace
}  // namespace rrnn

STABLE_TORCH_LIBRARY_IMPL(rrnn_ext, CPU, m) {
  m.impl("pathway", TORCH_BOX(&rrnn::pathway));
  m.impl("pathway_backward", TORCH_BOX(&rrnn::pathway_backward));
}
