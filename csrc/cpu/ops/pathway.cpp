// The ops of a single pathway's infinite sum on CPU tensors, by iteration.
#include "cpu/algorithms/pathway.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <tuple>

#include "common/graphs.h"
#include "common/tensors.h"
#include "cpu/algorithms/dense_operand.h"

namespace rrnn::cpu {
namespace {

std::tuple<Tensor, Tensor, Tensor> pathway(Tensor weight_hh, Tensor sources, Tensor targets, double alpha) {
  const Graphs graphs = Graphs::of_batch(weight_hh);
  graphs.check_vectors("sources", sources);
  graphs.check_vectors("targets", targets);
  const Tensor from = dense(sources), to = dense(targets);
  const int64_t n = graphs.n;
  Tensor x = graphs.empty({n}), y = graphs.empty({n});
  Tensor found = graphs.empty({});
  dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    const double flops = flops_of_pathway(static_cast<double>(n) * n);
    const auto problem = [&](int64_t index) { return Pathway<T>{n, at<T>(from, index, n), at<T>(to, index, n)}; };
    const int64_t scratch_size = solve_pathway_scratch(problem(0), torch::stable::get_num_threads());
    run_batch<T>(graphs.count(), flops, scratch_size, [&](int64_t index, Team& team, T* shared) {
      const DenseOperand<T> a(graphs.matrix<T>(index), n, static_cast<T>(alpha), true, flops);
      const bool is_found = solve_pathway(problem(index), a, at<T>(x, index, n), at<T>(y, index, n), team, shared);
      if (team.leads()) *at<T>(found, index, 1) = is_found;
    });
  });
  return {x, y, found};
}

// grad_hh = scale[b] alpha y x' sign(W)
Tensor pathway_backward(Tensor scale, Tensor weight_hh, Tensor x, Tensor y, double alpha) {
  const Graphs graphs = Graphs::of_batch(weight_hh);
  graphs.check_vectors("x", x);
  graphs.check_vectors("y", y);
  graphs.check_factors("scale", scale);
  const Tensor scales = dense(scale), right = dense(x), left = dense(y);
  const int64_t n = graphs.n;
  Tensor grad_hh = graphs.empty({n, n});
  dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    const double flops = 40.0 * static_cast<double>(n) * n;  // two flops an element, and as many bytes as twenty
    run_batch<T>(graphs.count(), flops, 0, [&](int64_t index, Team& team, T*) {
      const DenseOperand<T> a(graphs.matrix<T>(index), n, static_cast<T>(alpha), true, flops);
      a.gradient(team.share(n, 8), 1, at<T>(left, index, n), n, at<T>(right, index, n), n, *at<T>(scales, index, 1),
                 false, at<T>(grad_hh, index, n * n), n);
    });
  });
  return grad_hh;
}

}  // namespace
}  // namespace rrnn::cpu

STABLE_TORCH_LIBRARY_IMPL(rrnn_ext, CPU, m) {
  m.impl("pathway", TORCH_BOX(&rrnn::cpu::pathway));
  m.impl("pathway_backward", TORCH_BOX(&rrnn::cpu::pathway_backward));
}
