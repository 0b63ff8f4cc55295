// Where the gradient of a weight goes.
#pragma once

#include <cstdint>

#include "common/edge.h"

namespace rrnn::cuda {

// Rows of each graph's gradient, so many numbers apart, written or added to. Null: it is not wanted.
template <typename T>
struct GradientRows {
  T* data;
  int64_t graph_stride, row_stride;
  bool adds;

  RRNN_INLINE void give(int64_t graph, int64_t row, int64_t column, T gradient) const {
    T& to = data[graph * graph_stride + row * row_stride + column];
    to = adds ? to + gradient : gradient;
  }
};

}  // namespace rrnn::cuda
