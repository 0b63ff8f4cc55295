// A warp for each row. Its lanes are groups of a power of two: the lanes of a group go along the numbers of a unit, and
// the groups share the stored values of the row. Nobody writes where another does, so that each run has the same bits.
#include <algorithm>

#include "common/edge.h"
#include "cuda/algorithms/sparse_hop.h"
#include "cuda/device/device.h"
#include "cuda/device/launch.h"

namespace rrnn::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;

// The lanes of a group for so many numbers.
int lanes_for(int width) {
  int lanes = 1;
  while (lanes < width && lanes < kWarp) lanes *= 2;
  return lanes;
}

LaunchShape shape_of_rows(int64_t n) { return {dim3(static_cast<unsigned>((n + kWarps - 1) / kWarps)), kThreads}; }

template <typename T>
__global__ void __launch_bounds__(kThreads)
    product_kernel(SparseMatrix<T> a, int lanes, int width, const T* from, SparseExtra<T> extra, T* to) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  if (row >= a.rows.n) return;
  const int lane = threadIdx.x % kWarp, own = lane % lanes, group = lane / lanes, groups = kWarp / lanes;
  const int begin = a.rows.crow[row], end = a.rows.crow[row + 1];
  for (int first = 0; first < width; first += lanes) {
    const int column = first + own;
    T sum = 0;
    if (column < width)
      for (int k = begin + group; k < end; k += groups) {
        const T weight = phi(a.values[a.from ? a.from[k] : k], a.rectify);
        sum += weight * from[static_cast<int64_t>(a.rows.columns[k]) * width + column];
      }
    for (int with = kWarp / 2; with >= lanes; with /= 2) sum += __shfl_xor_sync(kWholeWarp, sum, with);
    if (group == 0 && column < width) {
      const int64_t at = row * width + column;
      sum *= a.alpha;
      if (extra.add) sum += weighed(extra.add_factor ? *extra.add_factor : T(1), extra.add[at]);
      if (extra.sum) extra.sum[at] += weighed(extra.sum_factor ? *extra.sum_factor : T(1), sum);
      to[at] = sum;
    }
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    gradient_kernel(SparseMatrix<T> a, int lanes, int depth, const T* left, const T* right, bool accumulate, T* grad) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  if (row >= a.rows.n) return;
  const int lane = threadIdx.x % kWarp, own = lane % lanes, group = lane / lanes, groups = kWarp / lanes;
  const int begin = a.rows.crow[row], end = a.rows.crow[row + 1];
  left += row * depth;
  for (int first = begin; first < end; first += groups) {  // all lanes take the same turns
    const int k = first + group;
    T sum = 0;
    if (k < end) {
      const T* other = right + static_cast<int64_t>(a.rows.columns[k]) * depth;
      for (int d = own; d < depth; d += lanes) sum += left[d] * other[d];
    }
    for (int with = lanes / 2; with > 0; with /= 2) sum += __shfl_xor_sync(kWholeWarp, sum, with);
    if (k < end && own == 0) {
      const T value = times_phi_derivative(a.alpha * sum, a.values[k], a.rectify);
      grad[k] = accumulate ? grad[k] + value : value;
    }
  }
}

}  // namespace

template <typename T>
void sparse_hop(const SparseMatrix<T>& a, int width, const T* from, const SparseExtra<T>& extra, T* to,
                cudaStream_t stream) {
  if (a.rows.n * width == 0) return;
  launch(product_kernel<T>, shape_of_rows(a.rows.n), stream, a, lanes_for(width), width, from, extra, to);
}

template <typename T>
void sparse_hop_gradient(const SparseMatrix<T>& a, int depth, const T* left, const T* right, bool accumulate, T* grad,
                         cudaStream_t stream) {
  if (a.rows.n == 0) return;
  launch(gradient_kernel<T>, shape_of_rows(a.rows.n), stream, a, lanes_for(depth), depth, left, right, accumulate,
         grad);
}

#define RRNN_INSTANTIATE(T)                                                                                 \
  template void sparse_hop(const SparseMatrix<T>&, int, const T*, const SparseExtra<T>&, T*, cudaStream_t); \
  template void sparse_hop_gradient(const SparseMatrix<T>&, int, const T*, const T*, bool, T*, cudaStream_t);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn::cuda
