// The recurrent matrices that an op is given: of one graph, or of a batch of graphs.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <initializer_list>
#include <optional>

#include "common/checks.h"
#include "common/tensors.h"

namespace rrnn {

struct Graphs {
  Tensor weight_hh;              // (n, n) or (batch, n, n)
  std::optional<int64_t> batch;  // none: one graph
  int64_t n;

  explicit Graphs(const Tensor& hh) : weight_hh(dense(hh)) {
    check_floating(hh);
    STD_TORCH_CHECK(hh.dim() == 2 || hh.dim() == 3, "weight_hh must be (n, n) or (batch, n, n), got ", shape_of(hh));
    if (hh.dim() == 3) batch = hh.size(0);
    n = hh.size(hh.dim() - 1);
    check_matrix("weight_hh", hh, batch, n, n);
  }

  static Graphs of_batch(const Tensor& hh) {
    check_floating(hh);
    STD_TORCH_CHECK(hh.dim() == 3, "weight_hh must be (batch, n, n), got ", shape_of(hh));
    return Graphs(hh);
  }

  int64_t count() const { return batch.value_or(1); }

  template <typename T>
  const T* matrix(int64_t index) const {
    return at<T>(weight_hh, index, n * n);
  }

  Tensor empty(std::initializer_list<int64_t> own) const {
    int64_t sizes[4], dims = 0;
    if (batch) sizes[dims++] = *batch;
    for (const int64_t size : own) sizes[dims++] = size;
    return empty_of(weight_hh, sizes, dims);
  }

  // Of a batch: (batch, n), one element a graph, (batch, n, n).
  void check_vectors(const char* name, const Tensor& vectors) const {
    check_like(name, vectors, weight_hh);
    check_matrix(name, vectors, std::nullopt, count(), n);
  }
  void check_factors(const char* name, const Tensor& factors) const {
    check_like(name, factors, weight_hh);
    STD_TORCH_CHECK(factors.numel() == count(), name, " must have one element a graph, got ", shape_of(factors));
  }
  void check_matrices(const char* name, const Tensor& matrices) const {
    check_like(name, matrices, weight_hh);
    check_matrix(name, matrices, count(), n, n);
  }
};

}  // namespace rrnn
