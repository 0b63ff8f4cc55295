// The ops of single hops on CUDA tensors. csrc/cpu/ops/hop.cpp has those of CPU tensors.
#include "cuda/algorithms/hop.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <limits>

#include "common/hop_arguments.h"
#include "common/tensors.h"
#include "cuda/device/stream.h"

namespace rrnn::cuda {
namespace {

// Sizes are counted in 32 bits, and so are the blocks of a launch.
int size_of(const char* what, int64_t size) {
  STD_TORCH_CHECK(size <= std::numeric_limits<int32_t>::max(), what, " must be below 2^31 on CUDA, got ", size);
  return static_cast<int>(size);
}

template <typename T>
Hop<T> problem_of(const HopArguments& hop) {
  size_of("matrices * rows", hop.count() * hop.rows);
  size_of("matrices * columns", hop.count() * hop.columns);
  return {hop.count(),      size_of("rows", hop.rows), size_of("columns", hop.columns),
          hop.matrix<T>(0), static_cast<T>(hop.alpha), hop.rectify};
}

Tensor hop_op(Tensor weight_hh, Tensor vectors, double alpha, bool rectify, bool transposed) {
  const CurrentDevice current(weight_hh);
  const HopArguments arguments(weight_hh, alpha, rectify);
  const int64_t width = arguments.check_bundle("vectors", vectors, transposed ? arguments.rows : arguments.columns);
  const Tensor given = dense(vectors);
  Tensor result = arguments.empty(width, transposed ? arguments.columns : arguments.rows);
  dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    hop<T>(problem_of<T>(arguments), transposed, size_of("vectors", width), at<T>(given, 0, 0), at<T>(result, 0, 0),
           current.stream());
  });
  return result;
}

Tensor hop_gradient_op(Tensor weight_hh, Tensor left, Tensor right, double alpha, bool rectify) {
  const CurrentDevice current(weight_hh);
  const HopArguments arguments(weight_hh, alpha, rectify);
  const int64_t depth = arguments.check_bundle("left", left, arguments.rows);
  arguments.check_bundle("right", right, arguments.columns, depth);
  const Tensor lefts = dense(left), rights = dense(right);
  Tensor grad_hh = arguments.empty(arguments.rows, arguments.columns);
  dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    hop_gradient<T>(problem_of<T>(arguments), size_of("vectors", depth), at<T>(lefts, 0, 0), at<T>(rights, 0, 0),
                    at<T>(grad_hh, 0, 0), current.stream());
  });
  return grad_hh;
}

}  // namespace
}  // namespace rrnn::cuda

STABLE_TORCH_LIBRARY_IMPL(rrnn_ext, RRNN_CUDA_KEY, m) {
  m.impl("hop", TORCH_BOX(&rrnn::cuda::hop_op));
  m.impl("hop_gradient", TORCH_BOX(&rrnn::cuda::hop_gradient_op));
}
