// The arguments of the ops of single hops.
#pragma once

#include <cstdint>
#include <optional>

#include "common/checks.h"
#include "common/tensors.h"

namespace rrnn {

struct HopArguments {
  Tensor weight_hh;              // (rows, columns) or (batch, rows, columns)
  std::optional<int64_t> batch;  // none: one matrix
  int64_t rows, columns;
  double alpha;
  bool rectify;

  HopArguments(const Tensor& hh, double alpha, bool rectify) : weight_hh(dense(hh)), alpha(alpha), rectify(rectify) {
    check_floating(hh);
    STD_TORCH_CHECK(hh.dim() == 2 || hh.dim() == 3, "weight_hh must be (rows, columns) or (batch, rows, columns), got ",
                    shape_of(hh));
    if (hh.dim() == 3) batch = hh.size(0);
    rows = hh.size(hh.dim() - 2);
    columns = hh.size(hh.dim() - 1);
  }

  int64_t count() const { return batch.value_or(1); }

  template <typename T>
  const T* matrix(int64_t index) const {
    return at<T>(weight_hh, index, rows * columns);
  }

  // vectors (., units), or (batch, ., units); how many there are.
  int64_t check_bundle(const char* name, const Tensor& vectors, int64_t units, int64_t how_many = -1) const {
    check_like(name, vectors, weight_hh);
    check_matrix(name, vectors, batch, how_many, units);
    return vectors.size(vectors.dim() - 2);
  }

  Tensor empty(int64_t vectors, int64_t units) const {
    return batch ? empty_of(weight_hh, {*batch, vectors, units}) : empty_of(weight_hh, {vectors, units});
  }
};

}  // namespace rrnn
