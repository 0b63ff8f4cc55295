// The norm of the walks of several networks, hop by hop or of their sum: the mean over the networks.
#include "cuda/algorithms/driven_walks.h"
#include "cuda/algorithms/finite_walks.h"
#include "cuda/device/device.h"
#include "cuda/device/launch.h"

namespace rrnn::cuda {
namespace {

constexpr int kThreads = 256;

// The size of each term of each network, as of a graph of one term.
template <typename T>
WalkNorm<T> each_size(const DrivenNorm<T>& norm) {
  return {.norm = norm.norm,
          .term_weights = nullptr,
          .term_weights_stride = 0,
          .pair_weights = norm.pair_weights,
          .pair_weights_stride = 0,
          .terms = 1,
          .pairs = norm.pairs,
          .walks = norm.walks};
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    mean_kernel(const __grid_constant__ DrivenNorm<T> norm, const T* sizes, T* value) {
  double sum = 0;
  for (int64_t at = threadIdx.x; at < norm.terms * norm.networks; at += kThreads) {
    const double size = sizes[at];
    sum += norm.term_weights ? weighed(norm.term_weights[at / norm.networks], size) : size;
  }
  sum = block_sum(sum, reinterpret_cast<double*>(shared_memory()));
  if (threadIdx.x == 0) *value = static_cast<T>(sum / static_cast<double>(norm.networks));
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    slope_kernel(const __grid_constant__ DrivenNorm<T> norm, const T* grad_value, T* grad_walks) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= norm.terms * norm.networks * norm.pairs) return;
  T slope = walk_size_derivative(norm.walks[at], norm.norm);
  if (norm.pair_weights) slope = weighed(norm.pair_weights[at % norm.pairs], slope);
  if (norm.term_weights) slope = weighed(norm.term_weights[at / (norm.networks * norm.pairs)], slope);
  grad_walks[at] = *grad_value / static_cast<T>(norm.networks) * slope;
}

template <typename T>
int64_t scratch_of(const DrivenNorm<T>& norm) {  // of numbers T that hold its doubles
  return norm_of_walks_scratch(each_size(norm), norm.terms * norm.networks) *
         static_cast<int64_t>(sizeof(double) / sizeof(T));
}

}  // namespace

template <typename T>
int64_t driven_norm_memory(const DrivenNorm<T>& norm) {
  return scratch_of(norm) + norm.terms * norm.networks;
}

template <typename T>
void driven_norm(const DrivenNorm<T>& norm, T* value, T* memory, cudaStream_t stream) {
  const int64_t graphs = norm.terms * norm.networks;
  T* sizes = memory + scratch_of(norm);
  norm_of_walks(each_size(norm), graphs, sizes, reinterpret_cast<double*>(memory), stream);
  launch(mean_kernel<T>, {dim3(1), kThreads, kThreads / kWarp * sizeof(double)}, stream, norm,
         static_cast<const T*>(sizes), value);
}

template <typename T>
void driven_slope(const DrivenNorm<T>& norm, const T* grad_value, T* grad_walks, cudaStream_t stream) {
  const int64_t count = norm.terms * norm.networks * norm.pairs;
  if (count == 0) return;
  launch(slope_kernel<T>, {dim3(static_cast<unsigned>((count + kThreads - 1) / kThreads)), kThreads}, stream, norm,
         grad_value, grad_walks);
}

#define RRNN_INSTANTIATE(T)                                              \
  template int64_t driven_norm_memory(const DrivenNorm<T>&);             \
  template void driven_norm(const DrivenNorm<T>&, T*, T*, cudaStream_t); \
  template void driven_slope(const DrivenNorm<T>&, const T*, T*, cudaStream_t);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn::cuda
