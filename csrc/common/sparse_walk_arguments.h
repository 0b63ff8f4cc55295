// The arguments of the ops of walks through a sparse matrix: the graph with its sides and what is asked of the walks.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/checks.h"
#include "common/sparse_graph.h"
#include "common/sparse_walk_problem.h"
#include "common/tensors.h"

namespace rrnn {

struct SparseWalkArguments : SparseGraph {
  std::optional<Tensor> weight_in, weight_out, hop_weights;
  double alpha;
  int64_t hops;
  bool rectify, per_hop;
  int64_t inputs, outputs;

  SparseWalkArguments(const SparseGraph& graph, const std::optional<Tensor>& in, const std::optional<Tensor>& out,
                      const std::optional<Tensor>& weights, double alpha, int64_t hops, bool rectify, bool per_hop)
      : SparseGraph(graph), alpha(alpha), hops(hops), rectify(rectify), per_hop(per_hop), inputs(n), outputs(n) {
    STD_TORCH_CHECK(hops >= 1, "hops must be at least 1, got ", hops);
    STD_TORCH_CHECK(in || out, "weight_in or weight_out must be given");
    if (in) weight_in = checked("weight_in", *in, n, -1);
    if (out) weight_out = checked("weight_out", *out, -1, n);
    if (in) inputs = in->size(in->dim() - 1);
    if (out) outputs = out->size(0);
    if (weights) {
      check_like("hop_weights", *weights);
      check_vector("hop_weights", *weights, std::nullopt, hops);
      hop_weights = dense(*weights);
    }
  }

  int64_t pairs() const { return inputs * outputs; }
  int64_t terms() const { return per_hop ? hops : 1; }
  bool is_dense(const std::optional<Tensor>& side) const { return side && side->dim() == 2; }

  // From the narrower side; a side of units is no wider than its vectors.
  template <typename T>
  SparseWalkProblem<T> problem() const {
    const bool from_inputs = !weight_out || (weight_in && inputs <= outputs);
    const Side<T> in = side<T>(weight_in, inputs, inputs, 1), out = side<T>(weight_out, outputs, 1, n);
    return {from_inputs,
            from_inputs ? by_rows() : by_columns(),
            from_inputs ? by_columns() : by_rows(),
            from_inputs ? in : out,
            from_inputs ? out : in,
            hops,
            static_cast<T>(alpha),
            rectify,
            per_hop,
            data<T>(hop_weights)};
  }

  void check_pairs(const char* name, const Tensor& tensor) const {
    check_like(name, tensor);
    STD_TORCH_CHECK(tensor.numel() == terms() * pairs(), name, " must have the shape of walks, got ", shape_of(tensor));
  }

 private:
  Tensor checked(const char* name, const Tensor& side, int64_t rows, int64_t columns) const {
    if (side.scalar_type() == ScalarType::Long) {
      STD_TORCH_CHECK(side.dim() == 1, name, " must be (units,) where it is int64, got ", shape_of(side));
      STD_TORCH_CHECK(side.device() == values.device(), name, " must be on the device of values");
    } else {
      check_like(name, side);
      check_matrix(name, side, std::nullopt, rows, columns);
    }
    return dense(side);
  }

  template <typename T>
  static const T* data(const std::optional<Tensor>& tensor) {
    static const T nothing{};  // null means not given, and an empty tensor has no pointer of its own
    if (!tensor) return nullptr;
    return tensor->numel() == 0 ? &nothing : static_cast<const T*>(tensor->const_data_ptr());
  }

  template <typename T>
  Side<T> side(const std::optional<Tensor>& tensor, int64_t count, int64_t unit_stride, int64_t vector_stride) const {
    const bool matrix = is_dense(tensor);
    return {count, matrix ? data<T>(tensor) : nullptr, unit_stride, vector_stride,
            tensor && !matrix ? data<int64_t>(tensor) : nullptr};
  }
};

}  // namespace rrnn
