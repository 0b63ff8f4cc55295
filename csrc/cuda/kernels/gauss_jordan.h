// The inverse of a matrix in the registers of a block, in place, with row pivoting.
#pragma once

#include "common/edge.h"
#include "cuda/kernels/tile.h"

namespace rrnn::cuda {

// Shared memory of an elimination.
template <typename T, int N>
struct Elimination {
  T *column, *row;  // of this step and the last, 2 N each
  int* order;       // order[k] is the row that was the k-th pivot,
  int* place;       // and place is the inverse of that

  __host__ __device__ explicit Elimination(SharedPieces& pieces)
      : column(pieces.take<T>(2 * N)),
        row(pieces.take<T>(2 * N)),
        order(pieces.take<int>(N)),
        place(pieces.take<int>(N)) {}
};

// The row of the largest element of a column among those that were no pivot: bit i / 32 of `taken` in lane i % 32
// tells. The same in every thread. Sizes are compared to 16 bits, which leaves room for the row in the same word; a NaN
// counts as a zero.
template <typename T>
__device__ __forceinline__ int largest(const T* column, int n, unsigned& taken) {
  constexpr unsigned kRowBits = 0xff;
  const int lane = threadIdx.x % kWarp;
  unsigned best = 0;
  for (int i = lane, bit = 0; i < n; i += kWarp, ++bit) {
    if (taken >> bit & 1) continue;
    const float size = static_cast<float>(magnitude(column[i]));
    const unsigned key = (size == size ? __float_as_uint(size) & ~kRowBits : 0) | (kRowBits - i);
    best = best < key ? key : best;
  }
  const int row = static_cast<int>(kRowBits - (__reduce_max_sync(kWholeWarp, best) & kRowBits));
  if (row % kWarp == lane) taken |= 1u << row / kWarp;
  return row;
}

// The leading (n, n) part of m becomes its inverse with rows and columns out of place: element (i, j) of m belongs to
// (place[i], order[j]). A singular matrix ends in infinities and NaN. A step has one barrier, and a second one where it
// looks for the pivot. Ends without a barrier after order and place are written.
template <typename T, int N>
__device__ void gauss_jordan(Tile<T, N>& m, int n, bool pivoting, const Elimination<T, N>& memory) {
  using Shape = TileShape<T, N>;
  unsigned taken = 0;
#pragma unroll 1
  for (int k = 0; k < n; ++k) {
    T* column = memory.column + k % 2 * N;
    T* row = memory.row + k % 2 * N;
    const bool own_column = m.x == k / Shape::kVector % Shape::kX;
    if (own_column) {
      const int own = k / (Shape::kVector * Shape::kX) * Shape::kVector + k % Shape::kVector;
#pragma unroll
      for (int c = 0; c < Shape::kColumns; ++c)
        if (c == own) {
#pragma unroll
          for (int r = 0; r < Shape::kRows; ++r) {
            column[m.row(r)] = m.at[r][c];
            m.at[r][c] = 0;
          }
        }
    }
    int pivot = k;
    if (pivoting) {
      __syncthreads();
      pivot = largest(column, n, taken);
    }
    if (m.y == pivot % Shape::kY) {
      const int own = pivot / Shape::kY;
#pragma unroll
      for (int r = 0; r < Shape::kRows; ++r)
        if (r == own) {
#pragma unroll
          for (int c = 0; c < Shape::kColumns; ++c) {
            row[m.column(c)] = m.at[r][c];
            m.at[r][c] = 0;
          }
        }
      if (own_column) row[k] = 1;
    }
    if (threadIdx.x == 0) {
      memory.order[k] = pivot;
      memory.place[pivot] = k;
    }
    __syncthreads();
    const T scale = 1 / column[pivot];
    T factor[Shape::kRows];
#pragma unroll
    for (int r = 0; r < Shape::kRows; ++r) factor[r] = m.row(r) == pivot ? T(-1) : column[m.row(r)];
#pragma unroll
    for (int cv = 0; cv < Shape::kVectors; ++cv) {
      const Vector<T> pivots = Vector<T>::load(row + m.column(cv * Shape::kVector));
#pragma unroll
      for (int v = 0; v < Shape::kVector; ++v) {
        const T element = pivots.at[v] * scale;
#pragma unroll
        for (int r = 0; r < Shape::kRows; ++r) m.at[r][cv * Shape::kVector + v] -= factor[r] * element;
      }
    }
  }
}

// The tile of I - A, for the leading (n, n) part of an identity; `a(i, j)` gives the vector of A that starts there.
template <typename T, int N, typename F>
__device__ __forceinline__ void load_identity_minus(Tile<T, N>& m, const F& a) {
  using Shape = TileShape<T, N>;
#pragma unroll
  for (int r = 0; r < Shape::kRows; ++r)
#pragma unroll
    for (int cv = 0; cv < Shape::kVectors; ++cv) {
      const int i = m.row(r), j = m.column(cv * Shape::kVector);
      const Vector<T> piece = a(i, j);
#pragma unroll
      for (int v = 0; v < Shape::kVector; ++v)
        m.at[r][cv * Shape::kVector + v] = (i == j + v ? T(1) : T(0)) - piece.at[v];
    }
}

}  // namespace rrnn::cuda
