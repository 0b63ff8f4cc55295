// Products of matrices in device memory, by tiles of 64 x 64 and blocks of 64 threads.
#pragma once

#include <algorithm>
#include <type_traits>

#include "common/edge.h"
#include "cuda/device/launch.h"
#include "cuda/kernels/tile.h"

namespace rrnn::cuda {

constexpr int kTile = 64;
inline int64_t tiles_across(int64_t n) { return (n + kTile - 1) / kTile; }
// Blocks of a multiprocessor, which hide one another's waits; registers allow no more.
template <typename T>
constexpr int kProductBlocks = sizeof(T) == sizeof(float) ? 8 : 3;

// A matrix of each graph: element (i, j) of graph g lies at data[g * of_graph + i * row + j * column].
template <typename T>
struct Matrix {
  T* data;
  int64_t of_graph, row, column;

  Matrix() = default;
  __host__ __device__ Matrix(T* data, int64_t of_graph, int64_t row, int64_t column)
      : data(data), of_graph(of_graph), row(row), column(column) {}
  template <typename U>
    requires std::is_same_v<const U, T>
  __host__ __device__ Matrix(const Matrix<U>& from) : Matrix(from.data, from.of_graph, from.row, from.column) {}

  __host__ __device__ T* at(int64_t graph, int64_t i, int64_t j) const {
    return data + graph * of_graph + i * row + j * column;
  }
  __host__ __device__ Matrix block(int64_t i, int64_t j) const { return {at(0, i, j), of_graph, row, column}; }
  __host__ __device__ Matrix transposed() const { return {data, of_graph, column, row}; }
  // Whether four (two) neighbours in a row from a multiple of four (two) on are one aligned vector.
  __device__ bool has_vectors() const {
    constexpr int kSize = Vector<T>::kSize;
    return column == 1 && row % kSize == 0 && of_graph % kSize == 0 && reinterpret_cast<uintptr_t>(data) % 16 == 0;
  }
};

template <typename T>
Matrix<T> dense(T* data, int64_t rows, int64_t columns) {
  return {data, rows * columns, columns, 1};
}

// Shared memory of a product: two pieces of each factor, one in use and one on its way.
template <typename T>
struct ProductMemory {
  using Shape = TileShape<T, kTile>;
  static constexpr int kDepth = 64 / sizeof(T);
  static constexpr int kLeftPitch = kDepth + Shape::kVector, kRightPitch = kTile + Shape::kVector;
  T *left, *right;

  __host__ __device__ explicit ProductMemory(SharedPieces& shared)
      : left(shared.take<T>(2 * kTile * kLeftPitch)), right(shared.take<T>(2 * kDepth * kRightPitch)) {}
};

// to[i * pitch + j] = from(i0 + i, j0 + j) for i < ROWS, j < COLUMNS, and 0 outside (rows, columns).
template <int ROWS, int COLUMNS, typename T>
__device__ __forceinline__ void stage(T* to, int pitch, const Matrix<const T>& from, int64_t graph, int i0, int j0,
                                      int rows, int columns) {
  constexpr int kVector = Vector<T>::kSize;
  const auto copy = [&](int i, int j) {
    T* element = to + i * pitch + j;
    if (i0 + i < rows && j0 + j < columns)
      __pipeline_memcpy_async(element, from.at(graph, i0 + i, j0 + j), sizeof(T));
    else
      *element = 0;
  };
  if (from.has_vectors()) {
#pragma unroll 4
    for (int e = threadIdx.x * kVector; e < ROWS * COLUMNS; e += blockDim.x * kVector) {
      const int i = e / COLUMNS, j = e % COLUMNS;
      if (i0 + i < rows && j0 + j + kVector <= columns) {
        __pipeline_memcpy_async(to + i * pitch + j, from.at(graph, i0 + i, j0 + j), 16);
      } else {
        for (int v = 0; v < kVector; ++v) copy(i, j + v);
      }
    }
  } else if (from.column == 1) {
    for (int e = threadIdx.x; e < ROWS * COLUMNS; e += blockDim.x) copy(e / COLUMNS, e % COLUMNS);
  } else {
    for (int e = threadIdx.x; e < ROWS * COLUMNS; e += blockDim.x) copy(e % ROWS, e / ROWS);
  }
}

// sum = the tile at (i0, j0) of left (rows, depth) times right (depth, columns). Ends after a barrier.
template <typename T>
__device__ __forceinline__ void multiply_tile(Tile<T, kTile>& sum, const Matrix<const T>& left,
                                              const Matrix<const T>& right, int64_t graph, int rows, int columns,
                                              int depth, int i0, int j0, const ProductMemory<T>& memory) {
  using Memory = ProductMemory<T>;
  constexpr int kDepth = Memory::kDepth;
  const auto stage_pieces = [&](int k0, int half) {
    stage<kTile, kDepth>(memory.left + half * kTile * Memory::kLeftPitch, Memory::kLeftPitch, left, graph, i0, k0, rows,
                         depth);
    stage<kDepth, kTile>(memory.right + half * kDepth * Memory::kRightPitch, Memory::kRightPitch, right, graph, k0, j0,
                         depth, columns);
  };
  sum.clear();
  stage_pieces(0, 0);
  __pipeline_commit();
  for (int k0 = 0, half = 0; k0 < depth; k0 += kDepth, half ^= 1) {
    if (k0 + kDepth < depth) stage_pieces(k0 + kDepth, half ^ 1);
    __pipeline_commit();
    __pipeline_wait_prior(1);
    __syncthreads();
    sum.add_product(memory.left + half * kTile * Memory::kLeftPitch, Memory::kLeftPitch,
                    memory.right + half * kDepth * Memory::kRightPitch, Memory::kRightPitch, kDepth);
    __syncthreads();
  }
}

// Block x makes the x-th tile of all graphs' tiles: finish(graph, i, j, piece) for each vector (i, j ...) of the
// product of left (rows, depth) and right (depth, columns) that begins within it.
template <typename T, typename Finish>
__global__ void __launch_bounds__(TileShape<T, kTile>::kThreads, kProductBlocks<T>)
    multiply(Matrix<const T> left, Matrix<const T> right, Finish finish, int rows, int columns, int depth) {
  SharedPieces shared(shared_memory());
  const ProductMemory<T> memory(shared);
  const int across = (columns + kTile - 1) / kTile, tiles = (rows + kTile - 1) / kTile * across;
  const int64_t graph = blockIdx.x / tiles;
  const int tile = blockIdx.x % tiles, i0 = tile / across * kTile, j0 = tile % across * kTile;
  Tile<T, kTile> sum;
  multiply_tile(sum, left, right, graph, rows, columns, depth, i0, j0, memory);
  sum.each_vector([&](int i, int j, const Vector<T>& piece) {
    if (i0 + i < rows && j0 + j < columns) finish(graph, i0 + i, j0 + j, piece);
  });
}

// to = phi'(W) (base + the product).
template <typename T>
struct AddTo {
  Matrix<const T> base;  // or null
  Matrix<T> to;
  int columns;
  Matrix<const T> weight_hh;  // or null: without phi'

  __device__ void operator()(int64_t graph, int i, int j, Vector<T> piece) const {
    if (base.data) {
      const Vector<T> old = load_piece(base.at(graph, i, j), columns - j, base.has_vectors());
#pragma unroll
      for (int v = 0; v < Vector<T>::kSize; ++v) piece.at[v] += old.at[v];
    }
    if (weight_hh.data) {
      const Vector<T> weight = load_piece(weight_hh.at(graph, i, j), columns - j, weight_hh.has_vectors());
#pragma unroll
      for (int v = 0; v < Vector<T>::kSize; ++v) piece.at[v] = times_phi_derivative(piece.at[v], weight.at[v], true);
    }
    store_piece(to.at(graph, i, j), piece, columns - j, to.has_vectors());
  }
};

template <typename T, typename Finish = AddTo<T>>
void launch_multiply(int64_t count, const Matrix<const T>& left, const Matrix<const T>& right, const Finish& finish,
                     int rows, int depth, cudaStream_t stream) {
  SharedPieces shared(nullptr);
  const ProductMemory<T> memory(shared);
  const int64_t blocks = count * tiles_across(rows) * tiles_across(finish.columns);
  if (blocks == 0) return;
  launch(multiply<T, Finish>,
         {dim3(static_cast<unsigned>(blocks)), TileShape<T, kTile>::kThreads, static_cast<size_t>(shared.bytes())},
         stream, left, right, finish, rows, finish.columns, depth);
}

// Launches a kernel of products (n, n) of so many graphs between which all blocks wait for one another: by a block for
// each tile, or by as many as the device holds. Its shared memory is that of a product in T and of a block's sum.
template <typename T, typename Run>
void launch_by_tiles(void (*kernel)(Run), const Run& run, int64_t graphs, int64_t n, cudaStream_t stream) {
  SharedPieces shared(nullptr);
  const ProductMemory<T> memory(shared);
  constexpr int kThreads = TileShape<T, kTile>::kThreads;
  shared.take<double>(kThreads / kWarp);
  const int64_t tiles = std::max<int64_t>(1, graphs * tiles_across(n) * tiles_across(n));
  const int64_t resident = resident_blocks(kernel, kThreads, shared.bytes());
  const int64_t blocks = std::min(tiles, resident * device_properties().multiprocessors);
  launch(kernel, {dim3(static_cast<unsigned>(blocks)), kThreads, static_cast<size_t>(shared.bytes()), true}, stream,
         run);
}

}  // namespace rrnn::cuda
