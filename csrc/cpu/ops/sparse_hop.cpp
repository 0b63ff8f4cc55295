// The ops of single hops through a sparse matrix on CPU tensors.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include "common/sparse_graph.h"
#include "common/tensors.h"
#include "cpu/algorithms/sparse_rows.h"
#include "cpu/algorithms/team.h"
#include "cpu/kernels/kernels.h"

namespace rrnn::cpu {
namespace {

double flops_of(const SparseGraph& graph, int64_t width) {
  return 2.0 * static_cast<double>(graph.edges + graph.n) * static_cast<double>(width);
}

Tensor sparse_hop(Tensor values, Tensor crow, Tensor columns, Tensor t_crow, Tensor t_columns, Tensor t_from,
                  Tensor vectors, double alpha, bool rectify) {
  const SparseGraph graph(values, crow, columns, t_crow, t_columns, t_from);
  const int64_t width = graph.check_bundle("vectors", vectors);
  const SparseRows rows = graph.by_rows();
  check_rows("crow", rows, graph.edges);
  const Tensor given = dense(vectors);
  Tensor result = empty_of(vectors, {graph.n, width});
  dispatch(values, [&](auto zero) {
    using T = decltype(zero);
    const double flops = flops_of(graph, width);
    const Kernels<T>& k = kernels<T>(flops);
    run_team(flops, [&](Team& team) {
      const Range part = share_rows(team, rows);
      k.sparse_product({part.begin, part.end, rows.crow, rows.columns, at<T>(graph.values, 0, 0), rectify, width,
                        at<T>(given, 0, 0), width, static_cast<T>(alpha), nullptr, 0, T(0), at<T>(result, 0, 0),
                        width});
    });
  });
  return result;
}

Tensor sparse_hop_gradient(Tensor values, Tensor crow, Tensor columns, Tensor t_crow, Tensor t_columns, Tensor t_from,
                           Tensor left, Tensor right, double alpha, bool rectify) {
  const SparseGraph graph(values, crow, columns, t_crow, t_columns, t_from);
  const int64_t depth = graph.check_bundle("left", left);
  graph.check_bundle("right", right, depth);
  const SparseRows rows = graph.by_rows();
  check_rows("crow", rows, graph.edges);
  const Tensor lefts = dense(left), rights = dense(right);
  Tensor grad = empty_of(values, {graph.edges});
  dispatch(values, [&](auto zero) {
    using T = decltype(zero);
    const double flops = flops_of(graph, depth);
    const Kernels<T>& k = kernels<T>(flops);
    run_team(flops, [&](Team& team) {
      const Range part = share_rows(team, rows);
      k.sparse_gradient({part.begin, part.end, rows.crow, rows.columns, depth, at<T>(lefts, 0, 0), depth,
                         at<T>(rights, 0, 0), depth, static_cast<T>(alpha), false,
                         rectify ? at<T>(graph.values, 0, 0) : nullptr, at<T>(grad, 0, 0)});
    });
  });
  return grad;
}

}  // namespace
}  // namespace rrnn::cpu

STABLE_TORCH_LIBRARY_IMPL(rrnn_ext, CPU, m) {
  m.impl("sparse_hop", TORCH_BOX(&rrnn::cpu::sparse_hop));
  m.impl("sparse_hop_gradient", TORCH_BOX(&rrnn::cpu::sparse_hop_gradient));
}
