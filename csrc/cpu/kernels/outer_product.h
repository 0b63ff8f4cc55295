// The gradient of the weights: one product of two bundles of vectors, with scale and sign in its epilogue.
#pragma once

#include "common/edge.h"
#include "cpu/kernels/kernels.h"
#include "cpu/kernels/simd.h"

namespace RRNN_ISA {

using rrnn::cpu::Range;

template <typename T>
inline constexpr int kTileVectors = kRegisters == 32 ? 3 : 2;
template <typename T>
inline constexpr int kTileRows = kRegisters == 32 ? 8 : 4;

// Both sides are packed: ROWS numbers and kTileVectors vectors a step. Writes `cols` columns of ROWS rows.
template <typename T, int ROWS>
inline void outer_tile(int64_t depth, const T* left, const T* right, T scale, bool accumulate, const T* sign_of, T* out,
                       int64_t ldout, int64_t cols) {
  constexpr int V = kLanes<T>, N = kTileVectors<T>;
  Vector<T> sum[ROWS][N] = {};
  for (int64_t c = 0; c < depth; ++c) {
    Vector<T> wide[N];
#pragma GCC unroll 8
    for (int v = 0; v < N; ++v) wide[v] = load(right + (c * N + v) * V);
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
      Vector<T> factor = broadcast(left[c * ROWS + r]);
      hold<T>(factor);
#pragma GCC unroll 8
      for (int v = 0; v < N; ++v) sum[r][v] += factor * wide[v];
    }
  }
  const Vector<T> scales = broadcast(scale);
  for (int r = 0; r < ROWS; ++r)
    for (int v = 0; v < N && v * V < cols; ++v) {
      T* to = out + r * ldout + v * V;
      const int count = static_cast<int>(cols - v * V < V ? cols - v * V : V);
      const bool full = count == V;
      Vector<T> value = scales * sum[r][v];
      if (accumulate) value += full ? load(to) : load_first(to, count);
      if (sign_of) {
        const T* w = sign_of + r * ldout + v * V;
        value = rrnn::times_sign(value, full ? load(w) : load_first(w, count));
      }
      full ? store(to, value) : store_first(to, value, count);
    }
}

template <typename T>
void outer_product(Range rows, int64_t cols, int64_t depth, const T* left, int64_t ldleft, const T* right,
                   int64_t ldright, T scale, bool accumulate, const T* sign_of, T* out, int64_t ldout) {
  // For large n, neighbours along the depth lie a page apart on both sides: gather a block of the left one and a stripe
  // of the right one before they are used many times.
  constexpr int64_t R = kTileRows<T>, kStripe = kTileVectors<T> * kLanes<T>, kBlockDepth = 192, kBlockRows = 64;
  alignas(kVectorBytes) T packed_right[kBlockDepth * kStripe];
  alignas(kVectorBytes) T packed_left[kBlockDepth * kBlockRows];
  for (int64_t d = 0; d == 0 || d < depth; d += kBlockDepth) {
    const int64_t block_depth = depth - d < kBlockDepth ? depth - d : kBlockDepth;
    const bool last = d + kBlockDepth >= depth;
    for (int64_t r = rows.begin; r < rows.end; r += kBlockRows) {
      const int64_t height = rows.end - r < kBlockRows ? rows.end - r : kBlockRows;
      for (int64_t c = 0; c < block_depth; ++c) {
        const T* from = left + (d + c) * ldleft + r;
        int64_t i = 0;
        for (; i + R <= height; i += R)
          for (int64_t j = 0; j < R; ++j) packed_left[i * block_depth + c * R + j] = from[i + j];
        for (; i < height; ++i) packed_left[i * block_depth + c] = from[i];
      }
      for (int64_t k = 0; k < cols; k += kStripe) {
        const int64_t width = cols - k < kStripe ? cols - k : kStripe;
        for (int64_t c = 0; c < block_depth; ++c)
          for (int64_t j = 0; j < kStripe; ++j)
            packed_right[c * kStripe + j] = j < width ? right[(d + c) * ldright + k + j] : T(0);
        const auto tile = [&](auto tile_rows, int64_t i) {
          const int64_t at = (r + i) * ldout + k;
          outer_tile<T, tile_rows()>(block_depth, packed_left + i * block_depth, packed_right, scale,
                                     accumulate || d > 0, last && sign_of ? sign_of + at : nullptr, out + at, ldout,
                                     width);
        };
        int64_t i = 0;
        for (; i + R <= height; i += R) tile(std::integral_constant<int, R>{}, i);
        for (; i < height; ++i) tile(std::integral_constant<int, 1>{}, i);
      }
    }
  }
}

}  // namespace RRNN_ISA
