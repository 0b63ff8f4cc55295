// pair_weights (o, i), the same for all of a batch, or (b, o, i), or none.
#pragma once

#include <optional>

#include "common/checks.h"
#include "common/graphs.h"
#include "common/tensors.h"

namespace rrnn {

class PairWeights {
 public:
  PairWeights(const std::optional<Tensor>& given, const Graphs& graphs, int64_t outputs, int64_t inputs)
      : pairs_(outputs * inputs) {
    if (!given) return;
    check_like("pair_weights", *given, graphs.weight_hh);
    check_matrix("pair_weights", *given, given->dim() == 2 ? std::nullopt : graphs.batch, outputs, inputs);
    weights_ = dense(*given);
  }

  bool are_given() const { return weights_.has_value(); }
  template <typename T>
  const T* of(int64_t index) const {
    return weights_ ? at<T>(*weights_, weights_->dim() == 3 ? index : 0, pairs_) : nullptr;
  }

 private:
  int64_t pairs_;
  std::optional<Tensor> weights_;
};

}  // namespace rrnn
