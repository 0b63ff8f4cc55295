// The ops of infinite sums on CPU tensors: a single pathway by iteration, all pairs of small graphs in cache.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <tuple>

#include "checks.h"
#include "cpu/all_walks.h"
#include "cpu/kernels.h"
#include "cpu/penalty.h"
#include "graph_batch.h"
#include "pair_weights.h"
#include "tensors.h"

namespace rrnn {
namespace {

std::tuple<Tensor, Tensor, Tensor> pathway_solve(Tensor weight_hh, Tensor sources, Tensor targets, double alpha) {
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
Tensor pathway_solve_backward(Tensor scale, Tensor weight_hh, Tensor x, Tensor y, double alpha) {
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

template <typename T>
SmallGraph<T> small_graph(const Batch& batch, int64_t index, double alpha, bool rectify) {
  const double cubed = static_cast<double>(batch.n) * batch.n * batch.n;
  return {batch.n, at<T>(batch.weight_hh, index, batch.n * batch.n), static_cast<T>(alpha), rectify,
          10 * cubed * static_cast<double>(batch.count)};
}

// body(index, T* scratch) for each graph, each by one thread.
template <typename T, typename F>
void each_small_graph(const Batch& batch, const F& body) {
  const double flops = small_graph<T>(batch, 0, 1, false).flops;
  const int64_t threads = worthwhile_threads(flops);
  const auto run = [&](int64_t begin, int64_t end) {
    const Scratch<T> memory = scratch<T>(small_graph_scratch<T>(batch.n) + batch.n * batch.n);
    for (int64_t index = begin; index < end; ++index) body(index, memory.get());
  };
  if (threads > 1 && batch.count > 1)
    torch::stable::parallel_for(0, batch.count, (batch.count + threads - 1) / threads, run);
  else
    run(0, batch.count);
}

std::tuple<Tensor, Tensor, Tensor> all_pairs_penalty(Tensor weight_hh, std::optional<Tensor> pair_weights, double alpha,
                                                     bool rectify, bool squared) {
  const Batch batch(weight_hh);
  const PairWeights pairs(pair_weights, weight_hh, batch.count, batch.n, batch.n);
  const int64_t size = batch.n * batch.n;
  Tensor value = empty_of(weight_hh, {batch.count}), converges = empty_of(weight_hh, {batch.count});
  Tensor walks = empty_of(weight_hh, {batch.count, batch.n, batch.n});
  dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    each_small_graph<T>(batch, [&](int64_t index, T* memory) {
      T* to = at<T>(walks, index, size);
      *at<T>(converges, index, 1) = small_all_pairs(small_graph<T>(batch, index, alpha, rectify), to, memory);
      *at<T>(value, index, 1) = penalty<T, T>({squared}, to, 1, size, nullptr, pairs.of<T>(index));
    });
  });
  return {value, walks, converges};
}

Tensor all_pairs_penalty_backward(Tensor grad_value, Tensor walks, Tensor weight_hh, std::optional<Tensor> pair_weights,
                                  double alpha, bool rectify, bool squared) {
  const Batch batch(weight_hh);
  const PairWeights pairs(pair_weights, weight_hh, batch.count, batch.n, batch.n);
  const int64_t size = batch.n * batch.n;
  batch.check_factors("grad_value", grad_value);
  batch.check_matrices("walks", walks);
  const Tensor grads = dense(grad_value), sums = dense(walks);
  Tensor grad_hh = empty_of(weight_hh, {batch.count, batch.n, batch.n});
  dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    each_small_graph<T>(batch, [&](int64_t index, T* memory) {
      T* grad_walks = memory + small_graph_scratch<T>(batch.n);
      penalty_backward<T, T>({squared}, at<T>(sums, index, size), 1, size, nullptr, pairs.of<T>(index),
                             *at<T>(grads, index, 1), grad_walks);
      small_all_pairs_backward(small_graph<T>(batch, index, alpha, rectify), at<T>(sums, index, size), grad_walks,
                               at<T>(grad_hh, index, size), memory);
    });
  });
  return grad_hh;
}

}  // namespace
}  // namespace rrnn

STABLE_TORCH_LIBRARY_IMPL(rrnn_ext, CPU, m) {
  m.impl("pathway_solve", TORCH_BOX(&rrnn::pathway_solve));
  m.impl("pathway_solve_backward", TORCH_BOX(&rrnn::pathway_solve_backward));
  m.impl("all_pairs_penalty", TORCH_BOX(&rrnn::all_pairs_penalty));
  m.impl("all_pairs_penalty_backward", TORCH_BOX(&rrnn::all_pairs_penalty_backward));
}
