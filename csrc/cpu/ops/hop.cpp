// The ops of single hops on CPU tensors.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>

#include "common/hop_arguments.h"
#include "common/tensors.h"
#include "cpu/algorithms/dense_operand.h"
#include "cpu/algorithms/team.h"

namespace rrnn::cpu {
namespace {

// body(index, operand, team) for each matrix, which meets so many vectors.
template <typename T, typename F>
void each_matrix(const HopArguments& hop, int64_t vectors, const F& body) {
  const double weights = static_cast<double>(hop.rows) * static_cast<double>(hop.columns);
  const double flops = 2.0 * weights * static_cast<double>(vectors);
  run_batch<T>(hop.count(), flops, 0, [&](int64_t index, Team& team, T*) {
    body(index,
         DenseOperand<T>(hop.matrix<T>(index), hop.rows, hop.columns, static_cast<T>(hop.alpha), hop.rectify, flops),
         team);
  });
}

Tensor hop(Tensor weight_hh, Tensor vectors, double alpha, bool rectify, bool transposed) {
  const HopArguments hop(weight_hh, alpha, rectify);
  const int64_t before = transposed ? hop.rows : hop.columns, after = transposed ? hop.columns : hop.rows;
  const int64_t width = hop.check_bundle("vectors", vectors, before);
  const Tensor given = dense(vectors);
  Tensor result = hop.empty(width, after);
  dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    each_matrix<T>(hop, width, [&](int64_t index, const DenseOperand<T>& a, Team& team) {
      const T* from = at<T>(given, index, width * before);
      T* to = at<T>(result, index, width * after);
      const Range units = team.share(after, 16);
      if (transposed && hop.rows > 0)
        a.product_transposed(units, width, from, nullptr, to, false);
      else if (transposed)
        for (int64_t c = 0; c < width; ++c) std::fill(to + c * after + units.begin, to + c * after + units.end, T(0));
      else
        a.product(units, width, from, nullptr, to, false);
    });
  });
  return result;
}

Tensor hop_gradient(Tensor weight_hh, Tensor left, Tensor right, double alpha, bool rectify) {
  const HopArguments hop(weight_hh, alpha, rectify);
  const int64_t depth = hop.check_bundle("left", left, hop.rows);
  hop.check_bundle("right", right, hop.columns, depth);
  const Tensor lefts = dense(left), rights = dense(right);
  Tensor grad_hh = hop.empty(hop.rows, hop.columns);
  dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    each_matrix<T>(hop, depth, [&](int64_t index, const DenseOperand<T>& a, Team& team) {
      a.gradient(team.share(hop.rows, 8), depth, at<T>(lefts, index, depth * hop.rows), hop.rows,
                 at<T>(rights, index, depth * hop.columns), hop.columns, T(1), false,
                 at<T>(grad_hh, index, hop.rows * hop.columns), hop.columns);
    });
  });
  return grad_hh;
}

}  // namespace
}  // namespace rrnn::cpu

STABLE_TORCH_LIBRARY_IMPL(rrnn_ext, CPU, m) {
  m.impl("hop", TORCH_BOX(&rrnn::cpu::hop));
  m.impl("hop_gradient", TORCH_BOX(&rrnn::cpu::hop_gradient));
}
