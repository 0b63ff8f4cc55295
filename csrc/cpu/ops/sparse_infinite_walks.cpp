// What sums over all walks through a sparse matrix are made of, on CPU tensors.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include "common/checks.h"
#include "common/tensors.h"
#include "cpu/algorithms/sparse_rows.h"
#include "cpu/algorithms/strong_components.h"
#include "cpu/algorithms/swept_polynomial.h"

namespace rrnn::cpu {
namespace {

// Rows whose indices lead nowhere else; the tensors have to live as long as they do.
SparseRows checked_rows(const Tensor& crow, const Tensor& columns) {
  for (const auto& [name, indices] : {std::pair{"crow", &crow}, std::pair{"columns", &columns}}) {
    STD_TORCH_CHECK(indices->scalar_type() == ScalarType::Int, name, " must be int32");
    STD_TORCH_CHECK(indices->dim() == 1, name, " must have one dimension, got ", shape_of(*indices));
  }
  STD_TORCH_CHECK(crow.numel() > 0, "crow must be (n + 1,), got (0,)");
  const SparseRows rows{crow.numel() - 1, at<int32_t>(crow, 0, 0), at<int32_t>(columns, 0, 0)};
  check_rows("crow", rows, columns.numel());
  return rows;
}

void check_vectors(const char* name, const Tensor& vectors, const Tensor& values, const Tensor& columns, int64_t n) {
  check_floating(values);
  STD_TORCH_CHECK(values.dim() == 1 && values.numel() == columns.numel(), "values must be (", columns.numel(),
                  ",), got ", shape_of(values));
  STD_TORCH_CHECK(vectors.scalar_type() == values.scalar_type(), name, " must have the dtype of values");
  check_matrix(name, vectors, std::nullopt, n, -1);
}

Tensor components(Tensor crow, Tensor columns) {
  const Tensor pointers = dense(crow), others = dense(columns);
  const SparseRows rows = checked_rows(pointers, others);
  Tensor labels = empty_of(crow, {rows.n});
  if (rows.n > 0) strong_components(rows, at<int32_t>(labels, 0, 0));
  return labels;
}

Tensor sweep_once(Tensor values, Tensor crow, Tensor columns, Tensor vectors, double alpha, bool rectify) {
  const Tensor pointers = dense(crow), others = dense(columns), numbers = dense(values), given = dense(vectors);
  const SparseRows rows = checked_rows(pointers, others);
  check_vectors("vectors", given, numbers, others, rows.n);
  Tensor image = empty_of(vectors, {rows.n, given.size(1)});
  if (image.numel() == 0) return image;
  dispatch(values, [&](auto zero) {
    using T = decltype(zero);
    const SweptMatrix<T> a{rows, at<T>(numbers, 0, 0), static_cast<T>(alpha), rectify, others.numel()};
    swept<T>(a, given.size(1), at<T>(given, 0, 0), at<T>(image, 0, 0));
  });
  return image;
}

Tensor polynomial(Tensor values, Tensor crow, Tensor columns, Tensor right, Tensor roots, double alpha, bool rectify) {
  const Tensor pointers = dense(crow), others = dense(columns), numbers = dense(values), given = dense(right);
  const Tensor of = dense(roots);
  const SparseRows rows = checked_rows(pointers, others);
  check_vectors("right", given, numbers, others, rows.n);
  STD_TORCH_CHECK(of.scalar_type() == ScalarType::Double, "roots must be float64");
  check_matrix("roots", of, std::nullopt, -1, 2);
  Tensor x = empty_of(right, {rows.n, given.size(1)});
  if (x.numel() == 0) return x;
  dispatch(values, [&](auto zero) {
    using T = decltype(zero);
    const SweptMatrix<T> a{rows, at<T>(numbers, 0, 0), static_cast<T>(alpha), rectify, others.numel()};
    swept_polynomial<T>(a, at<double>(of, 0, 0), of.size(0), given.size(1), at<T>(given, 0, 0), at<T>(x, 0, 0));
  });
  return x;
}

}  // namespace
}  // namespace rrnn::cpu

STABLE_TORCH_LIBRARY_IMPL(rrnn_ext, CPU, m) {
  m.impl("sparse_infinite_walks_components", TORCH_BOX(&rrnn::cpu::components));
  m.impl("sparse_infinite_walks_sweep", TORCH_BOX(&rrnn::cpu::sweep_once));
  m.impl("sparse_infinite_walks_polynomial", TORCH_BOX(&rrnn::cpu::polynomial));
}
