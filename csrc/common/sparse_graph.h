// A sparse recurrent matrix as the ops are given it: its stored values and where they stand.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <limits>

#include "common/checks.h"
#include "common/sparse_rows.h"
#include "common/tensors.h"

namespace rrnn {

// The tensors of a square matrix of n units, by rows and by columns: the k-th value by columns is values[t_from[k]].
struct SparseGraph {
  Tensor values, crow, columns, t_crow, t_columns, t_from;
  int64_t n, edges;

  SparseGraph(const Tensor& given, const Tensor& crow, const Tensor& columns, const Tensor& t_crow,
              const Tensor& t_columns, const Tensor& t_from)
      : values(dense(given)),
        crow(dense(crow)),
        columns(dense(columns)),
        t_crow(dense(t_crow)),
        t_columns(dense(t_columns)),
        t_from(dense(t_from)),
        n(crow.numel() - 1),
        edges(given.numel()) {
    STD_TORCH_CHECK(given.scalar_type() == ScalarType::Float || given.scalar_type() == ScalarType::Double,
                    "values must be float32 or float64");
    STD_TORCH_CHECK(given.dim() == 1, "values must be (edges,), got ", shape_of(given));
    STD_TORCH_CHECK(edges <= std::numeric_limits<int32_t>::max(), "values must be fewer than 2^31, got ", edges);
    check_indices("crow", crow, -1);
    STD_TORCH_CHECK(n >= 0, "crow must be (n + 1,), got (0,)");
    check_indices("columns", columns, edges);
    check_indices("t_crow", t_crow, n + 1);
    check_indices("t_columns", t_columns, edges);
    check_indices("t_from", t_from, edges);
  }

  SparseRows by_rows() const { return {n, at<int32_t>(crow, 0, 0), at<int32_t>(columns, 0, 0)}; }
  SparseRows by_columns() const { return {n, at<int32_t>(t_crow, 0, 0), at<int32_t>(t_columns, 0, 0)}; }
  const int32_t* from() const { return at<int32_t>(t_from, 0, 0); }

  void check_like(const char* name, const Tensor& tensor) const {
    STD_TORCH_CHECK(tensor.scalar_type() == values.scalar_type(), name, " must have the dtype of values");
    STD_TORCH_CHECK(tensor.device() == values.device(), name, " must be on the device of values");
  }

  // Vectors unit by unit, (n, width); the width.
  int64_t check_bundle(const char* name, const Tensor& vectors, int64_t width = -1) const {
    check_like(name, vectors);
    check_matrix(name, vectors, std::nullopt, n, width);
    return vectors.size(1);
  }

 private:
  void check_indices(const char* name, const Tensor& indices, int64_t count) const {
    STD_TORCH_CHECK(indices.scalar_type() == ScalarType::Int, name, " must be int32");
    STD_TORCH_CHECK(indices.device() == values.device(), name, " must be on the device of values");
    STD_TORCH_CHECK(indices.dim() == 1 && (count < 0 || indices.numel() == count), name, " must be (",
                    count < 0 ? "n + 1" : std::to_string(count), ",), got ", shape_of(indices));
  }
};

}  // namespace rrnn
