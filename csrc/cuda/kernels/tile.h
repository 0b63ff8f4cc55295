// A square matrix spread over the registers of a block, and its products.
#pragma once

#include "cuda/device/vector.h"

namespace rrnn::cuda {

// N x N elements over X x Y threads, a warp in 8 x 4 of them. A thread has every Y-th row, and in a row the pieces of
// one vector that lie X vectors apart: then the loads of a product have no bank conflicts, where a row of shared memory
// is one vector longer than a multiple of 32 banks (of 16, for the left factor).
template <typename T, int N>
struct TileShape {
  static constexpr int kVector = Vector<T>::kSize;
  static constexpr int kRows = 8, kColumns = sizeof(T) == sizeof(float) && N > 32 ? 8 : 4;
  static constexpr int kVectors = kColumns / kVector;
  static constexpr int kX = N / kColumns, kY = N / kRows;
  static constexpr int kThreads = kX * kY;
  static constexpr int kPitch = N + kVector;
};

template <typename T, int N>
struct Tile {
  using Shape = TileShape<T, N>;
  T at[Shape::kRows][Shape::kColumns];
  int x, y;  // this thread among X x Y

  __device__ Tile() {
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    x = lane % 8 + warp % (Shape::kX / 8) * 8;
    y = lane / 8 + warp / (Shape::kX / 8) * 4;
  }
  __device__ __forceinline__ int row(int r) const { return r * Shape::kY + y; }
  __device__ __forceinline__ int column(int c) const {
    return (c / Shape::kVector * Shape::kX + x) * Shape::kVector + c % Shape::kVector;
  }

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int r = 0; r < Shape::kRows; ++r)
#pragma unroll
      for (int c = 0; c < Shape::kColumns; ++c) at[r][c] = 0;
  }

  // += left right for left (N, depth) and right (depth, N) in shared memory, depth a multiple of two. (Longer steps
  // load the left factor in fewer instructions, and take more registers than there are.)
  __device__ __forceinline__ void add_product(const T* left, int left_pitch, const T* right, int right_pitch,
                                              int depth) {
    struct alignas(2 * sizeof(T)) Pair {
      T at[2];
    };
    for (int k = 0; k < depth; k += 2) {
      Pair a[Shape::kRows];
#pragma unroll
      for (int r = 0; r < Shape::kRows; ++r) a[r] = *reinterpret_cast<const Pair*>(left + row(r) * left_pitch + k);
#pragma unroll
      for (int step = 0; step < 2; ++step) {
        Vector<T> b[Shape::kVectors];
#pragma unroll
        for (int c = 0; c < Shape::kVectors; ++c)
          b[c] = Vector<T>::load(right + (k + step) * right_pitch + column(c * Shape::kVector));
#pragma unroll
        for (int r = 0; r < Shape::kRows; ++r)
#pragma unroll
          for (int c = 0; c < Shape::kColumns; ++c)
            at[r][c] += a[r].at[step] * b[c / Shape::kVector].at[c % Shape::kVector];
      }
    }
  }

  __device__ __forceinline__ T sum_of_squares() const {
    T sum = 0;
#pragma unroll
    for (int r = 0; r < Shape::kRows; ++r)
#pragma unroll
      for (int c = 0; c < Shape::kColumns; ++c) sum += at[r][c] * at[r][c];
    return sum;
  }

  // body(row, column, vector) for each piece of a row.
  template <typename F>
  __device__ __forceinline__ void each_vector(const F& body) {
#pragma unroll
    for (int r = 0; r < Shape::kRows; ++r)
#pragma unroll
      for (int c = 0; c < Shape::kVectors; ++c) {
        Vector<T> piece;
#pragma unroll
        for (int v = 0; v < Shape::kVector; ++v) piece.at[v] = at[r][c * Shape::kVector + v];
        body(row(r), column(c * Shape::kVector), piece);
      }
  }

  __device__ __forceinline__ void store_shared(T* to, int pitch) {
    each_vector([&](int i, int j, const Vector<T>& piece) { piece.store(to + i * pitch + j); });
  }
};

// The vector that starts `left` elements before the end of a row, with zeros past it.
template <typename T>
__device__ __forceinline__ Vector<T> load_piece(const T* from, int left, bool aligned) {
  if (aligned && left >= Vector<T>::kSize) return Vector<T>::load(from);
  Vector<T> piece;
#pragma unroll
  for (int v = 0; v < Vector<T>::kSize; ++v) piece.at[v] = v < left ? from[v] : T(0);
  return piece;
}

template <typename T>
__device__ __forceinline__ void store_piece(T* to, const Vector<T>& piece, int left, bool aligned) {
  if (aligned && left >= Vector<T>::kSize) {
    piece.store(to);
    return;
  }
#pragma unroll
  for (int v = 0; v < Vector<T>::kSize; ++v)
    if (v < left) to[v] = piece.at[v];
}

}  // namespace rrnn::cuda
