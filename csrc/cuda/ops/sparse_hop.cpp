// The ops of single hops through a sparse matrix on CUDA tensors. csrc/cpu/ops/sparse_hop.cpp has those of CPU tensors.
#include "cuda/algorithms/sparse_hop.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include "common/sparse_graph.h"
#include "common/tensors.h"
#include "cuda/device/stream.h"

namespace rrnn::cuda {
namespace {

Tensor sparse_hop_op(Tensor values, Tensor crow, Tensor columns, Tensor t_crow, Tensor t_columns, Tensor t_from,
                     Tensor vectors, double alpha, bool rectify) {
  const CurrentDevice current(values);
  const SparseGraph graph(values, crow, columns, t_crow, t_columns, t_from);
  const int64_t width = graph.check_bundle("vectors", vectors);
  const Tensor given = dense(vectors);
  Tensor result = empty_of(vectors, {graph.n, width});
  dispatch(values, [&](auto zero) {
    using T = decltype(zero);
    const SparseMatrix<T> a{graph.by_rows(), at<T>(graph.values, 0, 0), nullptr, static_cast<T>(alpha), rectify};
    sparse_hop<T>(a, static_cast<int>(width), at<T>(given, 0, 0), {}, at<T>(result, 0, 0), current.stream());
  });
  return result;
}

Tensor sparse_hop_gradient_op(Tensor values, Tensor crow, Tensor columns, Tensor t_crow, Tensor t_columns,
                              Tensor t_from, Tensor left, Tensor right, double alpha, bool rectify) {
  const CurrentDevice current(values);
  const SparseGraph graph(values, crow, columns, t_crow, t_columns, t_from);
  const int64_t depth = graph.check_bundle("left", left);
  graph.check_bundle("right", right, depth);
  const Tensor lefts = dense(left), rights = dense(right);
  Tensor grad = empty_of(values, {graph.edges});
  dispatch(values, [&](auto zero) {
    using T = decltype(zero);
    const SparseMatrix<T> a{graph.by_rows(), at<T>(graph.values, 0, 0), nullptr, static_cast<T>(alpha), rectify};
    sparse_hop_gradient<T>(a, static_cast<int>(depth), at<T>(lefts, 0, 0), at<T>(rights, 0, 0), false,
                           at<T>(grad, 0, 0), current.stream());
  });
  return grad;
}

}  // namespace
}  // namespace rrnn::cuda

STABLE_TORCH_LIBRARY_IMPL(rrnn_ext, RRNN_CUDA_KEY, m) {
  m.impl("sparse_hop", TORCH_BOX(&rrnn::cuda::sparse_hop_op));
  m.impl("sparse_hop_gradient", TORCH_BOX(&rrnn::cuda::sparse_hop_gradient_op));
}
