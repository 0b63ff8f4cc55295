#include <algorithm>

#include "common/edge.h"
#include "cuda/algorithms/one_pathway.h"
#include "cuda/device/device.h"
#include "cuda/device/launch.h"

namespace rrnn::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;

// A block for kWarp units of a graph. Sums are in float64, as walks of thousands of edges are to count as exactly.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    add_up_sides_kernel(const __grid_constant__ Sides<T> sides, T* sources, T* targets) {
  double* parts = reinterpret_cast<double*>(shared_memory());  // (kWarps, kWarp)
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t n = sides.n, tiles = (n + kWarp - 1) / kWarp, graph = blockIdx.x / tiles;
  const int64_t first = blockIdx.x % tiles * kWarp, unit = first + lane;
  // A warp goes along the row of a unit,
  for (int64_t own = first + warp; own < min(n, first + kWarp); own += kWarps) {
    double sum = 0;
    for (int64_t i = lane; sides.weight_in && i < sides.inputs; i += kWarp)
      sum += magnitude(sides.weight_in[(graph * n + own) * sides.inputs + i]);
    sum = warp_sum(sum);
    if (lane == 0) sources[graph * n + own] = sides.weight_in ? static_cast<T>(sum) : sides.left_out;
  }
  // and down the columns of all.
  double sum = 0;
  for (int64_t q = warp; sides.weight_out && unit < n && q < sides.outputs; q += kWarps)
    sum += magnitude(sides.weight_out[(graph * sides.outputs + q) * n + unit]);
  parts[warp * kWarp + lane] = sum;
  __syncthreads();
  if (warp > 0 || unit >= n) return;
  for (int other = 1; other < kWarps; ++other) sum += parts[other * kWarp + lane];
  targets[graph * n + unit] = sides.weight_out ? static_cast<T>(sum) : sides.left_out;
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    spread_over_sides_kernel(const __grid_constant__ Sides<T> sides, const T* grad_sources, const T* grad_targets,
                             const __grid_constant__ GradientRows<T> in, const __grid_constant__ GradientRows<T> out) {
  const int64_t n = sides.n, of_in = n * sides.inputs, size = of_in + sides.outputs * n;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t at = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; at < sides.graphs * size; at += step) {
    const int64_t graph = at / size, own = at % size;
    if (own < of_in) {
      const int64_t unit = own / sides.inputs;
      if (in.data)
        in.give(graph, unit, own % sides.inputs,
                times_sign(grad_sources[graph * n + unit], sides.weight_in[graph * of_in + own]));
    } else if (out.data) {
      const int64_t place = own - of_in, unit = place % n;
      out.give(graph, place / n, unit,
               times_sign(grad_targets[graph * n + unit], sides.weight_out[graph * sides.outputs * n + place]));
    }
  }
}

}  // namespace

template <typename T>
void add_up_sides(const Sides<T>& sides, T* sources, T* targets, cudaStream_t stream) {
  const int64_t blocks = sides.graphs * ((sides.n + kWarp - 1) / kWarp);
  if (blocks == 0) return;
  launch(add_up_sides_kernel<T>, {dim3(static_cast<unsigned>(blocks)), kThreads, kThreads * sizeof(double)}, stream,
         sides, sources, targets);
}

template <typename T>
void spread_over_sides(const Sides<T>& sides, const T* grad_sources, const T* grad_targets, const GradientRows<T>& in,
                       const GradientRows<T>& out, cudaStream_t stream) {
  const int64_t size = sides.graphs * sides.n * (sides.inputs + sides.outputs);
  if (size == 0 || (!in.data && !out.data)) return;
  constexpr int64_t kMost = 1 << 16;
  const auto blocks = static_cast<unsigned>(std::min((size + kThreads - 1) / kThreads, kMost));
  launch(spread_over_sides_kernel<T>, {dim3(blocks), kThreads}, stream, sides, grad_sources, grad_targets, in, out);
}

#define RRNN_INSTANTIATE(T)                                                                                            \
  template void add_up_sides(const Sides<T>&, T*, T*, cudaStream_t);                                                   \
  template void spread_over_sides(const Sides<T>&, const T*, const T*, const GradientRows<T>&, const GradientRows<T>&, \
                                  cudaStream_t);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn::cuda
