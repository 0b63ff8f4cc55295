// A product of two thin matrices with everything it is multiplied by in the end, written once.
//
// 2 n^2 depth flops, n^2 elements written (and as many read for signs); on a GPU of 60 TFLOP/s and 3 TB/s the flops
// outweigh the bytes from a depth of about 40 on.
#include "common/edge.h"
#include "cuda/device/device.h"
#include "cuda/device/launch.h"
#include "cuda/device/vector.h"
#include "cuda/kernels/outer_product.h"

namespace rrnn::cuda {
namespace {

constexpr int kSide = 16, kThreads = kSide * kSide;  // a square of threads
constexpr int kDepth = 16;                           // of a step
constexpr int kStages = 3;

// A thread makes kVectors^2 squares whose side is a vector's size; a block makes a tile of kTile by kTile.
template <typename T, int kVectors>
struct Tiling {
  static constexpr int kVector = Vector<T>::kSize;
  static constexpr int kTile = kSide * kVector * kVectors;
  static constexpr int kSlice = kDepth * kTile;  // of one operand, one step
  static constexpr int kSharedBytes = 2 * kStages * kSlice * static_cast<int>(sizeof(T));
};

// Begins to copy rows [depth, depth + kDepth) of an operand, units [unit, unit + kTile); zeros outside.
template <typename T, int kVectors>
__device__ __forceinline__ void fetch_slice(const T* operand, int64_t hop_stride, unsigned vectors, int64_t n,
                                            int64_t depths, int64_t depth, int64_t unit, bool whole, T* slice) {
  using Tiling = Tiling<T, kVectors>;
  constexpr int kVectorsOfRow = Tiling::kTile / Tiling::kVector;
  for (int at = threadIdx.x; at < kDepth * kVectorsOfRow; at += kThreads) {
    const int64_t d = depth + at / kVectorsOfRow, r = unit + at % kVectorsOfRow * Tiling::kVector;
    T* to = slice + at * Tiling::kVector;
    // Hops mostly follow one another, and a division is dear.
    const unsigned row = static_cast<unsigned>(d);
    const T* from = operand + r + (hop_stride == vectors * n ? d * n : row / vectors * hop_stride + row % vectors * n);
    if (whole && d < depths && r < n) {
      __pipeline_memcpy_async(to, from, sizeof(Vector<T>));
      continue;
    }
    for (int j = 0; j < Tiling::kVector; ++j)
      if (d < depths && r + j < n)
        __pipeline_memcpy_async(to + j, from + j, sizeof(T));
      else
        to[j] = 0;
  }
}

template <typename T, int kVectors>
__global__ void __launch_bounds__(kThreads) outer_product_kernel(const __grid_constant__ OuterProduct<T> product) {
  using Tiling = Tiling<T, kVectors>;
  constexpr int kVector = Tiling::kVector;
  const int64_t n = product.n, graph = blockIdx.z;
  const int64_t first_row = static_cast<int64_t>(blockIdx.y) * Tiling::kTile;
  const int64_t first_column = static_cast<int64_t>(blockIdx.x) * Tiling::kTile;
  const T* left = product.left.data + graph * product.left.graph_stride;
  const T* right = product.right.data + graph * product.right.graph_stride;
  T* out = product.out.data + graph * product.out.graph_stride;
  const unsigned vectors = static_cast<unsigned>(product.vectors);
  const bool whole = whole_vectors<T>(n, left, right),
             whole_out = whole_vectors<T>(n, out, product.sign_of) && product.out.row_stride % kVector == 0;
  T* slices = reinterpret_cast<T*>(shared_memory());
  const int64_t depths = product.depths ? product.depths[graph] : product.depth;
  const int steps = static_cast<int>((depths + kDepth - 1) / kDepth);
  const auto fetch = [&](int step) {
    if (step < steps) {
      T* slice = slices + step % kStages * 2 * Tiling::kSlice;
      const int64_t depth = static_cast<int64_t>(step) * kDepth;
      fetch_slice<T, kVectors>(left, product.left.hop_stride, vectors, n, depths, depth, first_row, whole, slice);
      fetch_slice<T, kVectors>(right, product.right.hop_stride, vectors, n, depths, depth, first_column, whole,
                               slice + Tiling::kSlice);
    }
    __pipeline_commit();
  };
  // A thread's vectors lie kSide vectors apart: neighbours read neighbouring ones.
  const int row = threadIdx.x / kSide * kVector, column = threadIdx.x % kSide * kVector;
  Vector<T> sums[kVectors * kVector][kVectors] = {};

  for (int step = 0; step + 1 < kStages; ++step) fetch(step);
  for (int step = 0; step < steps; ++step) {
    __pipeline_wait_prior(kStages - 2);
    __syncthreads();  // all copies have arrived, and nobody reads the slices that are filled next
    fetch(step + kStages - 1);
    const T* slice = slices + step % kStages * 2 * Tiling::kSlice;
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
      Vector<T> a[kVectors], b[kVectors];
#pragma unroll
      for (int p = 0; p < kVectors; ++p) {
        a[p] = Vector<T>::load(slice + d * Tiling::kTile + p * kSide * kVector + row);
        b[p] = Vector<T>::load(slice + Tiling::kSlice + d * Tiling::kTile + p * kSide * kVector + column);
      }
#pragma unroll
      for (int i = 0; i < kVectors * kVector; ++i)
#pragma unroll
        for (int p = 0; p < kVectors; ++p)
#pragma unroll
          for (int j = 0; j < kVector; ++j) sums[i][p].at[j] += a[i / kVector].at[i % kVector] * b[p].at[j];
    }
  }
  __pipeline_wait_prior(0);

  const T* sign_of = product.sign_of ? product.sign_of + graph * n * n : nullptr;
#pragma unroll
  for (int i = 0; i < kVectors * kVector; ++i) {
    const int64_t r = first_row + i / kVector * kSide * kVector + row + i % kVector;
#pragma unroll
    for (int p = 0; p < kVectors; ++p) {
      const int64_t k = first_column + p * kSide * kVector + column, at = r * n + k,
                    to = r * product.out.row_stride + k;
      if (r >= n || k >= n) continue;
      Vector<T> result = sums[i][p];
      if (whole_out) {
        const Vector<T> weights = sign_of ? Vector<T>::load(sign_of + at) : Vector<T>{};
#pragma unroll
        for (int j = 0; j < kVector; ++j)
          result.at[j] = times_phi_derivative(product.scale * result.at[j], weights.at[j], sign_of != nullptr);
        if (product.out.adds) {
          const Vector<T> before = Vector<T>::load(out + to);
#pragma unroll
          for (int j = 0; j < kVector; ++j) result.at[j] += before.at[j];
        }
        result.store(out + to);
        continue;
      }
#pragma unroll
      for (int j = 0; j < kVector; ++j)
        if (k + j < n)
          product.out.give(
              graph, r, k + j,
              times_phi_derivative(product.scale * result.at[j], sign_of ? sign_of[at + j] : T(0), sign_of != nullptr));
    }
  }
}

template <typename T, int kVectors>
void launch_outer_product(const OuterProduct<T>& product, cudaStream_t stream) {
  using Tiling = Tiling<T, kVectors>;
  constexpr int64_t kMaxGraphs = 65535;
  const auto tiles = static_cast<unsigned>((product.n + Tiling::kTile - 1) / Tiling::kTile);
  for (int64_t first = 0; first < product.graphs; first += kMaxGraphs) {
    OuterProduct<T> some = product;
    some.graphs = product.graphs - first < kMaxGraphs ? product.graphs - first : kMaxGraphs;
    some.left.data += first * product.left.graph_stride;
    some.right.data += first * product.right.graph_stride;
    if (some.depths) some.depths += first;
    some.out.data += first * product.out.graph_stride;
    if (some.sign_of) some.sign_of += first * product.n * product.n;
    launch(outer_product_kernel<T, kVectors>,
           {dim3(tiles, tiles, static_cast<unsigned>(some.graphs)), kThreads, Tiling::kSharedBytes}, stream, some);
  }
}

}  // namespace

template <>
void outer_product(const OuterProduct<float>& product, cudaStream_t stream) {
  // Large tiles read less, once there are enough of them for all multiprocessors.
  using Large = Tiling<float, 2>;
  const int64_t tiles = (product.n + Large::kTile - 1) / Large::kTile;
  if (product.graphs * tiles * tiles >= device_properties().multiprocessors)
    launch_outer_product<float, 2>(product, stream);
  else
    launch_outer_product<float, 1>(product, stream);
}

template <>
void outer_product(const OuterProduct<double>& product, cudaStream_t stream) {
  launch_outer_product<double, 2>(product, stream);
}

}  // namespace rrnn::cuda
