// The product of two square matrices.
#pragma once

#include <cstdint>

#include "cpu/kernels/kernels.h"

namespace rrnn::cpu {

// out = scale left right, all of them (n, n).
template <typename T>
void multiply(const Kernels<T>& k, int64_t n, const T* left, const T* right, T scale, T* out) {
  k.dense_product(n, n,
                  {.depth = n,
                   .left = left,
                   .row_stride = n,
                   .depth_stride = 1,
                   .right = right,
                   .ldright = n,
                   .scale = scale,
                   .out = out,
                   .ldout = n});
}

}  // namespace rrnn::cpu
