// The gradient of the weights: one product of two bundles of vectors, with scale and sign in its epilogue.
#pragma once

#include "cpu/kernels/dense_product.h"
#include "cpu/kernels/kernels.h"
#include "cpu/kernels/simd.h"

namespace RRNN_ISA {

using rrnn::cpu::Range;

inline constexpr int64_t kBlockDepth = 192;  // of which a stripe of the right side stays in the first-level cache

// For large n, neighbours along the depth lie a page apart on both sides: gathers a block of the left one, by panels of
// a tile's rows, and a stripe of the right one before they are used many times.
template <typename T>
void packed_outer_product(int64_t rows, int64_t cols, const DenseProduct<T>& of) {
  constexpr int V = kLanes<T>, kVectors = kRegisters == 32 ? 3 : 2;
  constexpr int64_t kStripe = kVectors * V, kPanel = 8, kBlockRows = 128;
  alignas(kVectorBytes) T packed_right[kBlockDepth * kStripe];
  alignas(kVectorBytes) T packed_left[kBlockDepth * kBlockRows];
  for (int64_t r = 0; r < rows; r += kBlockRows) {
    const int64_t height = rows - r < kBlockRows ? rows - r : kBlockRows;
    for (int64_t c = 0; c < of.depth; ++c) {
      const T* from = of.left + c * of.depth_stride + r;
      T* to = packed_left + c * kPanel;
      int64_t i = 0;
      for (; i + kPanel <= height; i += kPanel) std::memcpy(to + i * of.depth, from + i, kPanel * sizeof(T));
      for (int64_t j = i; j < height; ++j) to[i * of.depth + j - i] = from[j];
    }
    for (int64_t k = 0; k < cols; k += kStripe) {
      const int64_t width = cols - k < kStripe ? cols - k : kStripe;
      for (int64_t c = 0; c < of.depth; ++c) {
        const T* from = of.right + c * of.ldright + k;
        T* to = packed_right + c * kStripe;
        if (width == kStripe)
          for (int v = 0; v < kVectors; ++v) store(to + v * V, load(from + v * V));
        else
          for (int64_t j = 0; j < width; ++j) to[j] = from[j];
      }
      for (int64_t i = 0; i < height; i += kPanel) {
        DenseProduct<T> part = part_of(of, r + i, k);
        part.left = packed_left + i * of.depth;
        part.depth_stride = kPanel;
        part.right = packed_right;
        part.ldright = kStripe;
        const int64_t panel = height - i < kPanel ? height - i : kPanel;
        if (width == kStripe)
          product_stripe<T, kVectors, false>(panel, part, 0, V);
        else
          dense_product<T>(panel, width, part);
      }
    }
  }
}

template <typename T>
void outer_product(Range rows, int64_t cols, int64_t depth, const T* left, int64_t ldleft, const T* right,
                   int64_t ldright, T scale, bool accumulate, const T* sign_of, int64_t ldsign, T* out, int64_t ldout) {
  constexpr int64_t kNear = (kRegisters == 32 ? 1024 : 256) / sizeof(T);
  const auto run = ldleft <= kNear && ldright <= kNear ? dense_product<T> : packed_outer_product<T>;
  for (int64_t d = 0; d == 0 || d < depth; d += kBlockDepth) {
    const DenseProduct<T> whole{.depth = depth - d < kBlockDepth ? depth - d : kBlockDepth,
                                .left = left + d * ldleft,
                                .row_stride = 1,
                                .depth_stride = ldleft,
                                .right = right + d * ldright,
                                .ldright = ldright,
                                .scale = scale,
                                .add = accumulate || d > 0 ? out : nullptr,
                                .ldadd = ldout,
                                .out = out,
                                .ldout = ldout,
                                .sign_of = sign_of,
                                .ldsign = ldsign};
    run(rows.end - rows.begin, cols, part_of(whole, rows.begin, 0));
  }
}

}  // namespace RRNN_ISA
