// The norm of walks: sum over terms of w_term sum over pairs of D |P| (or D P^2).
#include <algorithm>

#include "cuda/algorithms/finite_walks.h"
#include "cuda/algorithms/walk_sizes.h"
#include "cuda/device/device.h"
#include "cuda/device/launch.h"

namespace rrnn::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kResident = 6;  // blocks that a multiprocessor is to hold: for more the compiler would spill registers
constexpr int64_t kWalksOfBlock = 1 << 14, kMostBlocks = 256;

int64_t blocks_of(int64_t walks) { return std::clamp<int64_t>(walks / kWalksOfBlock, 1, kMostBlocks); }

// The sum of a block's share.
template <typename T, typename To>
__global__ void __launch_bounds__(kThreads, kResident) size_kernel(const __grid_constant__ WalkNorm<T> norm, To* sums) {
  const int64_t graph = blockIdx.x, count = norm.terms * norm.pairs;
  const T* walks = norm.walks + graph * count;
  double sum = 0;
  for (int64_t at = blockIdx.y * kThreads + threadIdx.x; at < count; at += gridDim.y * kThreads)
    sum += weighted_size(norm, graph, at, walks[at]);
  sum = block_sum(sum, reinterpret_cast<double*>(shared_memory()));
  if (threadIdx.x == 0) sums[graph * gridDim.y + blockIdx.y] = static_cast<To>(sum);
}

template <typename T>
__global__ void __launch_bounds__(kThreads) add_up_kernel(const double* sums, int64_t count, T* value) {
  double sum = 0;
  for (int64_t at = threadIdx.x; at < count; at += kThreads) sum += sums[blockIdx.x * count + at];
  sum = block_sum(sum, reinterpret_cast<double*>(shared_memory()));
  if (threadIdx.x == 0) value[blockIdx.x] = static_cast<T>(sum);
}

}  // namespace

template <typename T>
int64_t norm_of_walks_scratch(const WalkNorm<T>& norm, int64_t graphs) {
  const int64_t blocks = blocks_of(norm.terms * norm.pairs);
  return blocks == 1 ? 0 : graphs * blocks;
}

template <typename T>
void norm_of_walks(const WalkNorm<T>& norm, int64_t graphs, T* value, double* scratch, cudaStream_t stream) {
  if (graphs == 0) return;
  const int64_t blocks = blocks_of(norm.terms * norm.pairs);
  const size_t shared = kThreads / kWarp * sizeof(double);
  const LaunchShape shape{dim3(static_cast<unsigned>(graphs), static_cast<unsigned>(blocks)), kThreads, shared};
  if (blocks == 1) return launch(size_kernel<T, T>, shape, stream, norm, value);
  launch(size_kernel<T, double>, shape, stream, norm, scratch);
  launch(add_up_kernel<T>, {dim3(static_cast<unsigned>(graphs)), kThreads, shared}, stream,
         static_cast<const double*>(scratch), blocks, value);
}

template int64_t norm_of_walks_scratch(const WalkNorm<float>&, int64_t);
template int64_t norm_of_walks_scratch(const WalkNorm<double>&, int64_t);
template void norm_of_walks(const WalkNorm<float>&, int64_t, float*, double*, cudaStream_t);
template void norm_of_walks(const WalkNorm<double>&, int64_t, double*, double*, cudaStream_t);

}  // namespace rrnn::cuda
