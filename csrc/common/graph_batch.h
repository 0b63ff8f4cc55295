// A batch of graphs without sides, as the ops of infinite sums are given it.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <optional>

#include "common/checks.h"
#include "common/tensors.h"

namespace rrnn {

// (b, n, n) recurrent weights.
struct Batch {
  Tensor weight_hh;
  int64_t count, n;

  explicit Batch(const Tensor& hh) : weight_hh(dense(hh)) {
    check_floating(hh);
    STD_TORCH_CHECK(hh.dim() == 3, "weight_hh must be (batch, n, n), got ", shape_of(hh));
    count = hh.size(0);
    n = hh.size(2);
    check_matrix("weight_hh", hh, count, n, n);
  }

  void check_vectors(const char* name, const Tensor& vectors) const {
    check_like(name, vectors, weight_hh);
    check_matrix(name, vectors, std::nullopt, count, n);
  }
  void check_factors(const char* name, const Tensor& factors) const {
    check_like(name, factors, weight_hh);
    STD_TORCH_CHECK(factors.numel() == count, name, " must have one element a graph, got ", shape_of(factors));
  }
  void check_matrices(const char* name, const Tensor& matrices) const {
    check_like(name, matrices, weight_hh);
    check_matrix(name, matrices, count, n, n);
  }
};

}  // namespace rrnn
