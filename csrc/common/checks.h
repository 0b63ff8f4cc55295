// Checks of what an op is given, one text each. The Python layer has checked already and says it with the user's names;
// these keep a direct call of the op from reading what is not there.
#pragma once

#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/Exception.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>

#include "common/edge.h"

namespace rrnn {

using torch::stable::Tensor;

inline std::string shape_of(const Tensor& tensor) {
  std::string text = "(";
  for (int64_t d = 0; d < tensor.dim(); ++d) text += (d ? ", " : "") + std::to_string(tensor.size(d));
  return text + (tensor.dim() == 1 ? ",)" : ")");
}

// `tensor` is (rows, cols), or (batch, rows, cols) where there is a batch; -1: any.
inline void check_matrix(const char* name, const Tensor& tensor, std::optional<int64_t> batch, int64_t rows,
                         int64_t cols) {
  const int64_t dims = batch ? 3 : 2;
  const bool fits = tensor.dim() == dims && (!batch || tensor.size(0) == *batch) &&
                    (rows < 0 || tensor.size(dims - 2) == rows) && (cols < 0 || tensor.size(dims - 1) == cols);
  const auto size = [](int64_t wanted) { return wanted < 0 ? std::string("*") : std::to_string(wanted); };
  STD_TORCH_CHECK(fits, name, " must be (", batch ? size(*batch) + ", " : "", size(rows), ", ", size(cols), "), got ",
                  shape_of(tensor));
}

inline void check_floating(const Tensor& weight_hh) {
  using torch::headeronly::ScalarType;
  STD_TORCH_CHECK(weight_hh.scalar_type() == ScalarType::Float || weight_hh.scalar_type() == ScalarType::Double,
                  "weight_hh must be float32 or float64");
}

inline void check_like(const char* name, const Tensor& tensor, const Tensor& like) {
  STD_TORCH_CHECK(tensor.scalar_type() == like.scalar_type(), name, " must have the dtype of weight_hh");
  STD_TORCH_CHECK(tensor.device() == like.device(), name, " must be on the device of weight_hh");
}

inline Norm norm_of(int64_t norm) {
  constexpr int64_t kCount = static_cast<int64_t>(Norm::kCount);
  STD_TORCH_CHECK(0 <= norm && norm < kCount, "norm must be a number from 0 (l1) to ", kCount - 1, ", got ", norm);
  return static_cast<Norm>(norm);
}

// Factors for each of `count` things, the same for all of a batch or its own for each.
inline void check_vector(const char* name, const Tensor& tensor, std::optional<int64_t> batch, int64_t count) {
  const bool shared = tensor.dim() == 1, own = batch && tensor.dim() == 2 && tensor.size(0) == *batch;
  STD_TORCH_CHECK((shared || own) && tensor.size(tensor.dim() - 1) == count, name, " must be (",
                  batch ? std::to_string(*batch) + ", " : "", count, ") or (", count, ",), got ", shape_of(tensor));
}

}  // namespace rrnn
