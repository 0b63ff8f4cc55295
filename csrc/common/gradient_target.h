// A tensor that a gradient of weights is added to, such as the .grad of a Parameter or some rows of it.
#pragma once

#include <cstdint>
#include <optional>

#include "common/checks.h"
#include "common/graphs.h"
#include "common/tensors.h"
#include "common/walk_arguments.h"

namespace rrnn {

// (rows, columns), each row without gaps; of a batch (b, rows, columns), or (rows, columns) for the sum over the batch.
class GradientTarget {
 public:
  GradientTarget(const char* name, const std::optional<Tensor>& grad, const Graphs& graphs, int64_t rows,
                 int64_t columns) {
    if (!grad) return;
    const int64_t dims = grad->dim();
    is_shared_ = graphs.batch && dims == 2;
    check_like(name, *grad, graphs.weight_hh);
    check_matrix(name, *grad, is_shared_ ? std::nullopt : graphs.batch, rows, columns);
    row_stride_ = grad->stride(dims - 2);
    graph_stride_ = dims == 3 ? grad->stride(0) : 0;
    const bool dense_rows = columns <= 1 || grad->stride(dims - 1) == 1;
    const bool rows_apart = rows <= 1 || row_stride_ >= columns;
    const bool graphs_apart = dims == 2 || grad->size(0) <= 1 || graph_stride_ >= (rows - 1) * row_stride_ + columns;
    STD_TORCH_CHECK(dense_rows && rows_apart && graphs_apart, name,
                    " must have rows without gaps that do not overlap, in order");
    tensor_ = *grad;
  }

  bool is_wanted() const { return tensor_.has_value(); }
  bool is_shared() const { return is_shared_; }  // by all graphs of a batch
  int64_t row_stride() const { return row_stride_; }
  int64_t graph_stride() const { return graph_stride_; }
  template <typename T>
  T* of(int64_t index) const {
    return tensor_ ? at<T>(*tensor_, index, graph_stride_) : nullptr;
  }

 private:
  std::optional<Tensor> tensor_;
  int64_t row_stride_ = 0, graph_stride_ = 0;
  bool is_shared_ = false;
};

// Those of the weights of graphs.
struct GradientTargets {
  GradientTarget hh, in, out;

  GradientTargets(const WalkArguments& graphs, const std::optional<Tensor>& grad_hh,
                  const std::optional<Tensor>& grad_in, const std::optional<Tensor>& grad_out)
      : GradientTargets(graphs, GradientTarget("grad_hh", grad_hh, graphs, graphs.n, graphs.n), grad_in, grad_out) {}

  GradientTargets(const WalkArguments& graphs, const GradientTarget& hh, const std::optional<Tensor>& grad_in,
                  const std::optional<Tensor>& grad_out)
      : hh(hh),
        in("grad_in", grad_in, graphs, graphs.n, graphs.inputs),
        out("grad_out", grad_out, graphs, graphs.outputs, graphs.n) {
    STD_TORCH_CHECK(!hh.is_shared(), "grad_hh must have the batch of weight_hh");
    STD_TORCH_CHECK(graphs.weight_in || !grad_in, "grad_in needs weight_in");
    STD_TORCH_CHECK(graphs.weight_out || !grad_out, "grad_out needs weight_out");
  }
};

// Gradients that an op returns: of what is not given empty ones.
struct OwnGradients {
  Tensor hh, in, out;

  explicit OwnGradients(const WalkArguments& graphs)
      : hh(graphs.empty({graphs.n, graphs.n})),
        in(graphs.weight_in ? graphs.empty({graphs.n, graphs.inputs}) : graphs.empty({0, 0})),
        out(graphs.weight_out ? graphs.empty({graphs.outputs, graphs.n}) : graphs.empty({0, 0})) {}

  GradientTargets targets(const WalkArguments& graphs) const {
    return {graphs, hh, graphs.weight_in ? std::optional<Tensor>(in) : std::nullopt,
            graphs.weight_out ? std::optional<Tensor>(out) : std::nullopt};
  }
};

}  // namespace rrnn
