// The ops of all pairs on CPU tensors, of small graphs in cache.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <tuple>

#include "common/checks.h"
#include "common/graphs.h"
#include "common/pair_weights.h"
#include "common/tensors.h"
#include "cpu/algorithms/penalty.h"
#include "cpu/algorithms/scratch.h"
#include "cpu/algorithms/small_all_pairs.h"
#include "cpu/algorithms/team.h"

namespace rrnn::cpu {
namespace {

template <typename T>
SmallGraph<T> small_graph(const Graphs& graphs, int64_t index, double alpha, bool rectify) {
  const double cubed = static_cast<double>(graphs.n) * graphs.n * graphs.n;
  return {graphs.n, graphs.matrix<T>(index), static_cast<T>(alpha), rectify,
          10 * cubed * static_cast<double>(graphs.count())};
}

// body(index, T* scratch) for each graph, each by one thread.
template <typename T, typename F>
void each_small_graph(const Graphs& graphs, const F& body) {
  const double flops = small_graph<T>(graphs, 0, 1, false).flops;
  const int64_t threads = worthwhile_threads(flops);
  const auto run = [&](int64_t begin, int64_t end) {
    const Scratch<T> memory = scratch<T>(small_graph_scratch<T>(graphs.n) + graphs.n * graphs.n);
    for (int64_t index = begin; index < end; ++index) body(index, memory.get());
  };
  if (threads > 1 && graphs.count() > 1)
    torch::stable::parallel_for(0, graphs.count(), (graphs.count() + threads - 1) / threads, run);
  else
    run(0, graphs.count());
}

std::tuple<Tensor, Tensor, Tensor> all_pairs_penalty(Tensor weight_hh, std::optional<Tensor> pair_weights, double alpha,
                                                     bool rectify, int64_t norm) {
  const Graphs graphs = Graphs::of_batch(weight_hh);
  const PairWeights pairs(pair_weights, graphs, graphs.n, graphs.n);
  const Norm kind = norm_of(norm);
  const int64_t size = graphs.n * graphs.n;
  Tensor value = graphs.empty({}), converges = graphs.empty({});
  Tensor walks = graphs.empty({graphs.n, graphs.n});
  dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    each_small_graph<T>(graphs, [&](int64_t index, T* memory) {
      T* to = at<T>(walks, index, size);
      const SmallGraph<T> graph = small_graph<T>(graphs, index, alpha, rectify);
      *at<T>(converges, index, 1) = small_all_pairs(graph, to, memory);
      *at<T>(value, index, 1) = penalty_of_many(kernels<T>(graph.flops), kind, to, size, pairs.of<T>(index));
    });
  });
  return {value, walks, converges};
}

Tensor all_pairs_penalty_backward(Tensor grad_value, Tensor walks, Tensor weight_hh, std::optional<Tensor> pair_weights,
                                  double alpha, bool rectify, int64_t norm) {
  const Graphs graphs = Graphs::of_batch(weight_hh);
  const PairWeights pairs(pair_weights, graphs, graphs.n, graphs.n);
  const Norm kind = norm_of(norm);
  const int64_t size = graphs.n * graphs.n;
  graphs.check_factors("grad_value", grad_value);
  graphs.check_matrices("walks", walks);
  const Tensor grads = dense(grad_value), sums = dense(walks);
  Tensor grad_hh = graphs.empty({graphs.n, graphs.n});
  dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    each_small_graph<T>(graphs, [&](int64_t index, T* memory) {
      const SmallGraph<T> graph = small_graph<T>(graphs, index, alpha, rectify);
      T* grad_walks = memory + small_graph_scratch<T>(graphs.n);
      penalty_backward_of_many(kernels<T>(graph.flops), kind, at<T>(sums, index, size), size, pairs.of<T>(index),
                               *at<T>(grads, index, 1), grad_walks);
      small_all_pairs_backward(graph, at<T>(sums, index, size), grad_walks, at<T>(grad_hh, index, size), memory);
    });
  });
  return grad_hh;
}

}  // namespace
}  // namespace rrnn::cpu

STABLE_TORCH_LIBRARY_IMPL(rrnn_ext, CPU, m) {
  m.impl("all_pairs_penalty", TORCH_BOX(&rrnn::cpu::all_pairs_penalty));
  m.impl("all_pairs_penalty_backward", TORCH_BOX(&rrnn::cpu::all_pairs_penalty_backward));
}
