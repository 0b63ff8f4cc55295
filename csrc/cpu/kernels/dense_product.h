// Products of small dense matrices that are in cache already, from where they lie.
#pragma once

#include "common/edge.h"
#include "cpu/kernels/kernels.h"
#include "cpu/kernels/simd.h"

namespace RRNN_ISA {

using rrnn::cpu::DenseProduct;

template <typename T>
inline DenseProduct<T> part_of(const DenseProduct<T>& whole, int64_t r, int64_t k) {
  DenseProduct<T> part = whole;
  part.left += r * part.row_stride;
  part.right += k;
  part.out += r * part.ldout + k;
  if (part.add) part.add += r * part.ldadd + k;
  if (part.sign_of) part.sign_of += r * part.ldsign + k;
  return part;
}

// A tile of ROWS x VECTORS sums is kept in registers. Of a Partial one, only the first `rest` lanes of the last vector
// are inside.
template <typename T, int ROWS, int VECTORS, bool Partial>
inline void product_tile(const DenseProduct<T>& of, int64_t first_row, int64_t first_col, int rest) {
  constexpr int V = kLanes<T>;
  const auto read = [&](const T* from, int v) {
    return Partial && v == VECTORS - 1 ? load_first(from + v * V, rest) : load(from + v * V);
  };
  Vector<T> sum[ROWS][VECTORS] = {};
  const T *left = of.left + first_row * of.row_stride, *right = of.right + first_col;
  for (int64_t c = 0; c < of.depth; ++c, left += of.depth_stride, right += of.ldright) {
    Vector<T> wide[VECTORS];
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; ++v) wide[v] = read(right, v);
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; ++r) {
      Vector<T> factor = broadcast(left[r * of.row_stride]);
      hold<T>(factor);
#pragma GCC unroll 8
      for (int v = 0; v < VECTORS; ++v) sum[r][v] += factor * wide[v];
    }
  }
  const Vector<T> scales = broadcast(of.scale);
  const auto beside = [&](const T* matrix, int64_t ld) {
    return matrix ? matrix + first_row * ld + first_col : nullptr;
  };
  const T *sign_of = beside(of.sign_of, of.ldsign), *add = beside(of.add, of.ldadd);
  T* out = of.out + first_row * of.ldout + first_col;
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; ++v) {
      T* to = out + r * of.ldout + v * V;
      Vector<T> value = scales * sum[r][v];
      if (sign_of) value = rrnn::times_sign(value, read(sign_of + r * of.ldsign, v));
      if (add) value += read(add + r * of.ldadd, v);
      if (Partial && v == VECTORS - 1)
        store_first(to, value, rest);
      else
        store(to, value);
    }
}

// call(std::integral_constant<int, number>{}) for a number from 1 to MOST.
template <int MOST, typename F>
inline void with_constant(int64_t number, const F& call) {
  if constexpr (MOST > 1)
    if (number < MOST) return with_constant<MOST - 1>(number, call);
  call(std::integral_constant<int, MOST>{});
}

template <typename T, int VECTORS, bool Partial>
inline void product_stripe(int64_t rows, const DenseProduct<T>& of, int64_t k, int rest) {
  constexpr int kMost = kRegisters == 32 ? (VECTORS == 4 ? 4 : 8) : (VECTORS == 1 ? 8 : 4);
  const int64_t tiles = (rows + kMost - 1) / kMost;  // of nearly the same height: a low one waits for its sums
  for (int64_t tile = 0, r = 0; tile < tiles; ++tile) {
    const int64_t height = (rows - r) / (tiles - tile);
    with_constant<kMost>(height, [&](auto constant) { product_tile<T, constant(), VECTORS, Partial>(of, r, k, rest); });
    r += height;
  }
}

template <typename T>
void dense_product(int64_t rows, int64_t cols, const DenseProduct<T>& of) {
  constexpr int64_t V = kLanes<T>;
  const auto stripe = [&](auto vectors, int64_t k) {
    const int64_t rest = cols - k - (vectors() - 1) * V;
    if (rest >= V)
      product_stripe<T, vectors(), false>(rows, of, k, V);
    else
      product_stripe<T, vectors(), true>(rows, of, k, static_cast<int>(rest));
  };
  // As many sums at once as hide how long one takes; no stripe of one vector where two of two do.
  const bool few_rows = kRegisters == 32 && rows <= 4;
  for (int64_t k = 0; k < cols;) {
    const int64_t left = (cols - k + V - 1) / V;
    const int64_t take = left == 1 ? 1 : few_rows && (left == 4 || left > 5) ? 4 : left == 2 || left == 4 ? 2 : 3;
    switch (take) {
      case 1:
        stripe(std::integral_constant<int, 1>{}, k);
        break;
      case 2:
        stripe(std::integral_constant<int, 2>{}, k);
        break;
      case 3:
        stripe(std::integral_constant<int, 3>{}, k);
        break;
      default:
        stripe(std::integral_constant<int, kRegisters == 32 ? 4 : 3>{}, k);
    }
    k += take * V;
  }
}

}  // namespace RRNN_ISA
