// The ops of walks through a sparse matrix, from tensors to pointers and back, for every device.
#pragma once

#include <optional>
#include <tuple>

#include "common/sparse_walk_arguments.h"

namespace rrnn {

using SparseGradients = std::tuple<Tensor, Tensor, Tensor>;  // of the values, of weight_in and of weight_out

template <typename T>
SparseWalksCall<T> sparse_call(const SparseWalkArguments& graph) {
  SparseWalksCall<T> call{};
  call.problem = graph.problem<T>();
  call.rows = graph.by_rows();
  call.values = at<T>(graph.values, 0, 0);
  call.edges = graph.edges;
  call.from = graph.from();
  return call;
}

// Memory for the gradients, and the call told of it.
template <typename T>
SparseGradients gradients_of(const SparseWalkArguments& graph, SparseWalksCall<T>& call) {
  const auto side = [&](const std::optional<Tensor>& weight) {
    const bool matrix = graph.is_dense(weight);
    return empty_of(graph.values, {matrix ? weight->size(0) : 0, matrix ? weight->size(1) : 0});
  };
  Tensor of_values = empty_of(graph.values, {graph.edges}), in = side(graph.weight_in), out = side(graph.weight_out);
  call.gradients = true;
  call.grad_values = at<T>(of_values, 0, 0);
  call.grad_start = at<T>(call.problem.from_inputs ? in : out, 0, 0);
  call.grad_other = at<T>(call.problem.from_inputs ? out : in, 0, 0);
  return {of_values, in, out};
}

// The ops of a device, whose `run(graph, call)` computes what a call wants.
template <auto run>
struct SparseWalkOps {
  static Tensor walks(Tensor values, Tensor crow, Tensor columns, Tensor t_crow, Tensor t_columns, Tensor t_from,
                      std::optional<Tensor> weight_in, std::optional<Tensor> weight_out,
                      std::optional<Tensor> hop_weights, double alpha, int64_t hops, bool rectify, bool per_hop) {
    const SparseWalkArguments graph({values, crow, columns, t_crow, t_columns, t_from}, weight_in, weight_out,
                                    hop_weights, alpha, hops, rectify, per_hop);
    Tensor walks = empty_of(graph.values, {graph.terms(), graph.outputs, graph.inputs});
    dispatch(graph.values, [&](auto zero) {
      using T = decltype(zero);
      SparseWalksCall<T> call = sums<T>(graph);
      call.walks = at<T>(walks, 0, 0);
      run(graph, call);
    });
    return walks;
  }

  static SparseGradients walks_backward(Tensor grad_walks, Tensor values, Tensor crow, Tensor columns, Tensor t_crow,
                                        Tensor t_columns, Tensor t_from, std::optional<Tensor> weight_in,
                                        std::optional<Tensor> weight_out, std::optional<Tensor> hop_weights,
                                        double alpha, int64_t hops, bool rectify, bool per_hop) {
    const SparseWalkArguments graph({values, crow, columns, t_crow, t_columns, t_from}, weight_in, weight_out,
                                    hop_weights, alpha, hops, rectify, per_hop);
    graph.check_pairs("grad_walks", grad_walks);
    const Tensor given = dense(grad_walks);
    return dispatch(graph.values, [&](auto zero) {
      using T = decltype(zero);
      static const T nothing{};  // null means not given, and an empty tensor has no pointer of its own
      SparseWalksCall<T> call = sums<T>(graph);
      call.grad_walks = given.numel() ? at<T>(given, 0, 0) : &nothing;
      const SparseGradients found = gradients_of(graph, call);
      run(graph, call);
      return found;
    });
  }

  static Tensor penalty(Tensor values, Tensor crow, Tensor columns, Tensor t_crow, Tensor t_columns, Tensor t_from,
                        std::optional<Tensor> weight_in, std::optional<Tensor> weight_out,
                        std::optional<Tensor> hop_weights, std::optional<Tensor> pair_weights, double alpha,
                        int64_t hops, bool rectify, bool per_hop, int64_t norm) {
    const SparseWalkArguments graph({values, crow, columns, t_crow, t_columns, t_from}, weight_in, weight_out,
                                    hop_weights, alpha, hops, rectify, per_hop);
    const std::optional<Tensor> pairs = checked(pair_weights, graph);
    Tensor value = empty_of(graph.values, {});
    dispatch(graph.values, [&](auto zero) {
      using T = decltype(zero);
      SparseWalksCall<T> call = sizes<T>(graph, pairs, norm, value);
      run(graph, call);
    });
    return value;
  }

  static std::tuple<Tensor, Tensor, Tensor, Tensor> penalty_backward(
      Tensor grad_value, Tensor values, Tensor crow, Tensor columns, Tensor t_crow, Tensor t_columns, Tensor t_from,
      std::optional<Tensor> weight_in, std::optional<Tensor> weight_out, std::optional<Tensor> hop_weights,
      std::optional<Tensor> pair_weights, double alpha, int64_t hops, bool rectify, bool per_hop, int64_t norm) {
    const SparseWalkArguments graph({values, crow, columns, t_crow, t_columns, t_from}, weight_in, weight_out,
                                    hop_weights, alpha, hops, rectify, per_hop);
    const std::optional<Tensor> pairs = checked(pair_weights, graph);
    graph.check_like("grad_value", grad_value);
    STD_TORCH_CHECK(grad_value.numel() == 1, "grad_value must have one element, got ", shape_of(grad_value));
    Tensor value = empty_of(graph.values, {});
    const SparseGradients found = dispatch(graph.values, [&](auto zero) {
      using T = decltype(zero);
      SparseWalksCall<T> call = sizes<T>(graph, pairs, norm, value);
      call.grad_value = at<T>(grad_value, 0, 0);
      const SparseGradients found = gradients_of(graph, call);
      run(graph, call);
      return found;
    });
    return std::tuple_cat(std::tuple<Tensor>(value), found);
  }

 private:
  // Of sums: weights of hops that are apart weigh their norms, not their walks.
  template <typename T>
  static SparseWalksCall<T> sums(const SparseWalkArguments& graph) {
    SparseWalksCall<T> call = sparse_call<T>(graph);
    if (graph.per_hop) call.problem.hop_weights = nullptr;
    return call;
  }

  template <typename T>
  static SparseWalksCall<T> sizes(const SparseWalkArguments& graph, const std::optional<Tensor>& pairs, int64_t norm,
                                  const Tensor& value) {
    SparseWalksCall<T> call = sparse_call<T>(graph);
    call.value = at<T>(value, 0, 0);
    call.norm = norm_of(norm);
    call.pair_weights = pairs ? at<T>(*pairs, 0, 0) : nullptr;
    return call;
  }

  static std::optional<Tensor> checked(const std::optional<Tensor>& pair_weights, const SparseWalkArguments& graph) {
    if (!pair_weights) return std::nullopt;
    graph.check_like("pair_weights", *pair_weights);
    check_matrix("pair_weights", *pair_weights, std::nullopt, graph.outputs, graph.inputs);
    return dense(*pair_weights);
  }
};

}  // namespace rrnn
