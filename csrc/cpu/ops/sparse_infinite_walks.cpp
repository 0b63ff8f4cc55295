// What sums over all walks through a sparse matrix are made of, on CPU tensors.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include "common/checks.h"
#include "common/tensors.h"
#include "cpu/algorithms/sparse_rows.h"
#include "cpu/algorithms/strong_components.h"

namespace rrnn::cpu {
namespace {

Tensor components(Tensor crow, Tensor columns) {
  for (const auto& [name, indices] : {std::pair{"crow", &crow}, std::pair{"columns", &columns}}) {
    STD_TORCH_CHECK(indices->scalar_type() == ScalarType::Int, name, " must be int32");
    STD_TORCH_CHECK(indices->dim() == 1, name, " must have one dimension, got ", shape_of(*indices));
  }
  STD_TORCH_CHECK(crow.numel() > 0, "crow must be (n + 1,), got (0,)");
  const Tensor pointers = dense(crow), others = dense(columns);
  const SparseRows rows{crow.numel() - 1, at<int32_t>(pointers, 0, 0), at<int32_t>(others, 0, 0)};
  check_rows("crow", rows, columns.numel());
  Tensor labels = empty_of(crow, {rows.n});
  if (rows.n > 0) strong_components(rows, at<int32_t>(labels, 0, 0));
  return labels;
}

}  // namespace
}  // namespace rrnn::cpu

STABLE_TORCH_LIBRARY_IMPL(rrnn_ext, CPU, m) {
  m.impl("sparse_infinite_walks_components", TORCH_BOX(&rrnn::cpu::components));
}
