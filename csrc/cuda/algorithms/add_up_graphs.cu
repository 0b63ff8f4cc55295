// The gradient of a side that all graphs of a batch share.
#include <algorithm>

#include "cuda/algorithms/finite_walks.h"
#include "cuda/device/launch.h"

namespace rrnn::cuda {
namespace {

constexpr int kThreads = 256;

template <typename T>
__global__ void __launch_bounds__(kThreads)
    add_up_graphs_kernel(const T* of_each, int64_t graphs, int64_t rows, int64_t columns, GradientRows<T> to) {
  const int64_t size = rows * columns, step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; at < size; at += step) {
    T sum = of_each[at];
    for (int64_t graph = 1; graph < graphs; ++graph) sum += of_each[graph * size + at];
    to.give(0, at / columns, at % columns, sum);
  }
}

}  // namespace

template <typename T>
void add_up_graphs(const T* of_each, int64_t graphs, int64_t rows, int64_t columns, const GradientRows<T>& to,
                   cudaStream_t stream) {
  if (graphs * rows * columns == 0) return;
  constexpr int64_t kMost = 1 << 16;
  const auto blocks = static_cast<unsigned>(std::min((rows * columns + kThreads - 1) / kThreads, kMost));
  launch(add_up_graphs_kernel<T>, {dim3(blocks), kThreads}, stream, of_each, graphs, rows, columns, to);
}

template void add_up_graphs(const float*, int64_t, int64_t, int64_t, const GradientRows<float>&, cudaStream_t);
template void add_up_graphs(const double*, int64_t, int64_t, int64_t, const GradientRows<double>&, cudaStream_t);

}  // namespace rrnn::cuda
