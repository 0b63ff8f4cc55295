// Products of small dense matrices that are in cache already, from where they lie.
#pragma once

#include "cpu/kernels/kernels.h"
#include "cpu/kernels/simd.h"

namespace RRNN_ISA {

// A tile of ROWS x VECTORS sums is kept in registers. Of a Partial one, only the first `rest` lanes are inside.
template <typename T, int ROWS, int VECTORS, bool Partial>
inline void product_tile(int64_t depth, const T* left, int64_t row_stride, int64_t depth_stride, const T* right,
                         int64_t ldright, T scale, bool accumulate, T* out, int64_t ldout, int rest) {
  constexpr int V = kLanes<T>;
  const auto read = [&](const T* from) { return Partial ? load_first(from, rest) : load(from); };
  Vector<T> sum[ROWS][VECTORS] = {};
  for (int64_t c = 0; c < depth; ++c) {
    Vector<T> wide[VECTORS];
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; ++v) wide[v] = read(right + c * ldright + v * V);
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
      Vector<T> factor = broadcast(left[r * row_stride + c * depth_stride]);
      hold<T>(factor);
#pragma GCC unroll 8
      for (int v = 0; v < VECTORS; ++v) sum[r][v] += factor * wide[v];
    }
  }
  const Vector<T> scales = broadcast(scale);
  for (int r = 0; r < ROWS; ++r)
    for (int v = 0; v < VECTORS; ++v) {
      T* to = out + r * ldout + v * V;
      Vector<T> value = scales * sum[r][v];
      if (accumulate) value += read(to);
      Partial ? store_first(to, value, rest) : store(to, value);
    }
}

template <typename T>
void dense_product(int64_t rows, int64_t cols, int64_t depth, const T* left, int64_t row_stride, int64_t depth_stride,
                   const T* right, int64_t ldright, T scale, bool accumulate, T* out, int64_t ldout) {
  constexpr int V = kLanes<T>, kWide = kRegisters == 32 ? 4 : 3;
  const auto stripe = [&](auto vectors, auto partial, int64_t k, int rest) {
    constexpr int kRows = vectors() == 1 ? 8 : 4;
    const auto tile = [&](auto height, int64_t r) {
      product_tile<T, height(), vectors(), partial()>(depth, left + r * row_stride, row_stride, depth_stride, right + k,
                                                      ldright, scale, accumulate, out + r * ldout + k, ldout, rest);
    };
    int64_t r = 0;
    for (; r + kRows <= rows; r += kRows) tile(std::integral_constant<int, kRows>{}, r);
    for (; r < rows; ++r) tile(std::integral_constant<int, 1>{}, r);
  };
  int64_t k = 0;
  for (; k + kWide * V <= cols; k += kWide * V) stripe(std::integral_constant<int, kWide>{}, std::false_type{}, k, V);
  for (; k + V <= cols; k += V) stripe(std::integral_constant<int, 1>{}, std::false_type{}, k, V);
  if (k < cols) stripe(std::integral_constant<int, 1>{}, std::true_type{}, k, static_cast<int>(cols - k));
}

}  // namespace RRNN_ISA
