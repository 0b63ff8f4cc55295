// A hop reads each weight once for every kVectors vectors: 2 flops a weight and vector.
#include <algorithm>

#include "common/edge.h"
#include "cuda/algorithms/hop.h"
#include "cuda/device/device.h"
#include "cuda/device/launch.h"
#include "cuda/kernels/product.h"

namespace rrnn::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;
constexpr int kVectors = 8;  // that a weight meets when it is loaded

// A warp for each row of a matrix: its lanes go along the row.
template <typename T>
__global__ void __launch_bounds__(kThreads) forward_kernel(Hop<T> problem, int width, const T* from, T* to) {
  const int rows = problem.rows, columns = problem.columns, lane = threadIdx.x % kWarp;
  const int64_t line = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  if (line >= problem.count * rows) return;
  const int64_t graph = line / rows, row = line % rows;
  const T* weights = problem.weight_hh + line * columns;
  from += graph * width * columns;
  to += graph * width * rows;
  for (int first = 0; first < width; first += kVectors) {
    const int vectors = min(kVectors, width - first);
    T sums[kVectors] = {};
    for (int k = lane; k < columns; k += kWarp) {
      const T weight = phi(weights[k], problem.rectify);
#pragma unroll
      for (int v = 0; v < kVectors; ++v)
        if (v < vectors) sums[v] += weight * from[static_cast<int64_t>(first + v) * columns + k];
    }
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      const T sum = warp_sum(sums[v]);
      if (lane == 0 && v < vectors) to[static_cast<int64_t>(first + v) * rows + row] = problem.alpha * sum;
    }
  }
}

// A block for kWarp columns of a matrix, one for each lane; its warps share the rows.
template <typename T>
__global__ void __launch_bounds__(kThreads) backward_kernel(Hop<T> problem, int width, const T* from, T* to) {
  T* parts = reinterpret_cast<T*>(shared_memory());  // (kWarps, kVectors, kWarp)
  const int rows = problem.rows, columns = problem.columns, lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int tiles = (columns + kWarp - 1) / kWarp;
  const int64_t graph = blockIdx.x / tiles;
  const int column = static_cast<int>(blockIdx.x % tiles) * kWarp + lane;
  const T* weights = problem.weight_hh + graph * rows * columns;
  from += graph * width * rows;
  to += graph * width * columns;
  for (int first = 0; first < width; first += kVectors) {
    const int vectors = min(kVectors, width - first);
    T sums[kVectors] = {};
    for (int row = warp; row < rows && column < columns; row += kWarps) {
      const T weight = phi(weights[static_cast<int64_t>(row) * columns + column], problem.rectify);
#pragma unroll
      for (int v = 0; v < kVectors; ++v)
        if (v < vectors) sums[v] += weight * from[static_cast<int64_t>(first + v) * rows + row];
    }
#pragma unroll
    for (int v = 0; v < kVectors; ++v) parts[(warp * kVectors + v) * kWarp + lane] = sums[v];
    __syncthreads();
    if (warp < vectors && column < columns) {  // as many warps as vectors
      T sum = 0;
      for (int other = 0; other < kWarps; ++other) sum += parts[(other * kVectors + warp) * kWarp + lane];
      to[static_cast<int64_t>(first + warp) * columns + column] = problem.alpha * sum;
    }
    __syncthreads();
  }
}
static_assert(kWarps >= kVectors);

// to = alpha phi'(W) times the product.
template <typename T>
struct ToGradient {
  Matrix<T> to;
  int columns;
  Matrix<const T> weight_hh;
  T alpha;
  bool rectify;

  __device__ void operator()(int64_t graph, int i, int j, Vector<T> piece) const {
    const Vector<T> weight = load_piece(weight_hh.at(graph, i, j), columns - j, weight_hh.has_vectors());
#pragma unroll
    for (int v = 0; v < Vector<T>::kSize; ++v)
      piece.at[v] = times_phi_derivative(alpha * piece.at[v], weight.at[v], rectify);
    store_piece(to.at(graph, i, j), piece, columns - j, to.has_vectors());
  }
};

}  // namespace

template <typename T>
void hop(const Hop<T>& problem, bool transposed, int width, const T* from, T* to, cudaStream_t stream) {
  if (problem.count * width * (transposed ? problem.columns : problem.rows) == 0) return;
  if (transposed) {
    const int64_t blocks = problem.count * ((problem.columns + kWarp - 1) / kWarp);
    launch(backward_kernel<T>, {dim3(static_cast<unsigned>(blocks)), kThreads, kWarps * kVectors * kWarp * sizeof(T)},
           stream, problem, width, from, to);
  } else {
    const int64_t blocks = (problem.count * problem.rows + kWarps - 1) / kWarps;
    launch(forward_kernel<T>, {dim3(static_cast<unsigned>(blocks)), kThreads}, stream, problem, width, from, to);
  }
}

template <typename T>
void hop_gradient(const Hop<T>& problem, int depth, const T* left, const T* right, T* grad_hh, cudaStream_t stream) {
  const int rows = problem.rows, columns = problem.columns;
  launch_multiply<T>(problem.count, dense(left, depth, rows).transposed(), dense(right, depth, columns),
                     ToGradient<T>{dense(grad_hh, rows, columns), columns, dense(problem.weight_hh, rows, columns),
                                   problem.alpha, problem.rectify},
                     rows, depth, stream);
}

#define RRNN_INSTANTIATE(T)                                                \
  template void hop(const Hop<T>&, bool, int, const T*, T*, cudaStream_t); \
  template void hop_gradient(const Hop<T>&, int, const T*, const T*, T*, cudaStream_t);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn::cuda
