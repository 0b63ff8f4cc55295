// The chain of the narrower side, with the other side's where the gradient will want both, and the walks it yields.
#include <algorithm>

#include "common/edge.h"
#include "cuda/algorithms/finite_walks.h"
#include "cuda/device/device.h"
#include "cuda/device/launch.h"
#include "cuda/device/vector.h"
#include "cuda/kernels/chains.h"

namespace rrnn::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;
constexpr int kOthers = 8;  // of the other side's vectors that one sweep over the units meets

// What a term reads off, at one unit of a vector: P_m needs X_m, the sum of all needs sum_m w_m X_m over `hops` from
// x on.
template <typename T>
__device__ __forceinline__ T summed(const T* x, int64_t hop_stride, int hops, const T* hop_weights) {
  T sum = 0;
#pragma unroll 2
  for (int m = 0; m < hops; ++m) {
    const T of_hop = x[m * hop_stride];
    sum += hop_weights ? weighed(hop_weights[m], of_hop) : of_hop;
  }
  return sum;
}

// A block reads off one vector of one term.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    read_out_kernel(const __grid_constant__ WalkBatch<T> problem, const T* chains, int64_t chain_stride,
                    int64_t hop_stride, T* walks) {
  T* pieces = reinterpret_cast<T*>(shared_memory());
  const unsigned width = static_cast<unsigned>(problem.width()), terms = static_cast<unsigned>(problem.terms());
  const int64_t c = blockIdx.x % width, term = blockIdx.x / width % terms, graph = blockIdx.x / width / terms;
  const int64_t n = problem.n;
  const T* chain = chains + graph * chain_stride + (problem.per_hop ? term * hop_stride : 0) + c * n;
  const int hops = problem.per_hop ? 1 : static_cast<int>(problem.hops);
  const T* hop_weights = problem.hop_weights ? problem.hop_weights + graph * problem.hop_weights_stride : nullptr;
  T* to = walks + (graph * problem.terms() + term) * problem.pairs();
  const int64_t others = problem.other_width();
  if (!problem.other()) {
    for (int64_t r = blockIdx.y * kThreads + threadIdx.x; r < n; r += gridDim.y * kThreads)
      to[problem.pair(c, r)] = problem.edges() * summed(chain + r, hop_stride, hops, hop_weights);
    return;
  }
  const T* other = problem.other() + graph * others * n;
  const int64_t unit_stride = problem.from_inputs() ? 1 : others, other_stride = problem.from_inputs() ? n : 1;
  for (int64_t first = blockIdx.y * kOthers; first < others; first += gridDim.y * kOthers) {
    const int count = static_cast<int>(min(others - first, int64_t(kOthers)));
    T sums[kOthers] = {};
    for (int64_t r = threadIdx.x; r < n; r += kThreads) {
      const T x = summed(chain + r, hop_stride, hops, hop_weights);
      const T* of_unit = other + r * unit_stride + first * other_stride;
#pragma unroll
      for (int q = 0; q < kOthers; ++q)
        if (q < count) sums[q] += edge(of_unit[q * other_stride], T(1), problem.rectify) * x;
    }
#pragma unroll
    for (int q = 0; q < kOthers; ++q) {
      const T sum = warp_sum(sums[q]);
      if (threadIdx.x % kWarp == 0) pieces[q * kWarps + threadIdx.x / kWarp] = sum;
    }
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < count) {
      T sum = 0;
      for (int warp = 0; warp < kWarps; ++warp) sum += pieces[threadIdx.x * kWarps + warp];
      to[problem.pair(c, first + threadIdx.x)] = problem.edges() * sum;
    }
    __syncthreads();
  }
}

// The bundles that start from the sides whose vectors the chain has.
template <typename T>
Chains<T> chains_of(const WalkBatch<T>& problem, T* chain, bool both) {
  const int n = static_cast<int>(problem.n), inputs = static_cast<int>(problem.inputs);
  const int outputs = static_cast<int>(problem.outputs);
  const int64_t hop_stride = (both ? problem.inputs + problem.outputs : problem.width()) * n;
  const int64_t stride = problem.hops * hop_stride;
  Chains<T> chains{static_cast<int>(problem.graphs),
                   n,
                   static_cast<int>(problem.hops),
                   problem.weight_hh,
                   problem.alpha,
                   problem.rectify,
                   {},
                   {}};
  if (both || problem.from_inputs())
    chains.forwards = {inputs, chain, stride, hop_stride, problem.weight_in, inputs, 1};
  if (both || !problem.from_inputs()) {
    T* from_outputs = both && chain ? chain + problem.inputs * n : chain;
    chains.backwards = {outputs, from_outputs, stride, hop_stride, problem.weight_out, 1, n};
  }
  return chains;
}

}  // namespace

template <typename T>
int64_t walk_forward_scratch(const WalkBatch<T>& problem, ChainKind kind) {
  if (problem.empty()) return 0;
  const Chains<T> chains = chains_of<T>(problem, nullptr, kind == ChainKind::kBoth);
  const int64_t exchange = plan_chains(chains).exchange_size(chains.forwards.width, chains.backwards.width);
  return exchange + (kind != ChainKind::kNone ? 0 : problem.graphs * problem.hops * problem.width() * problem.n);
}

template <typename T>
void walk_forward(const WalkBatch<T>& problem, ChainKind kind, T* walks, T* chain, T* scratch, cudaStream_t stream) {
  if (problem.empty()) {
    const int64_t count = problem.graphs * problem.terms() * problem.pairs();
    if (count) check_cuda(cudaMemsetAsync(walks, 0, count * sizeof(T), stream), "memset");
    return;
  }
  Chains<T> chains = chains_of<T>(problem, chain, kind == ChainKind::kBoth);
  const ChainPlan plan = plan_chains(chains);
  if (kind == ChainKind::kNone)
    chains = chains_of<T>(problem, scratch + plan.exchange_size(chains.forwards.width, chains.backwards.width), false);
  advance_chains(chains, plan, scratch, stream);

  const Bundle<T>& narrow = problem.from_inputs() ? chains.forwards : chains.backwards;
  const int64_t sweeps =
      problem.other() ? (problem.other_width() + kOthers - 1) / kOthers : (problem.n + kThreads - 1) / kThreads;
  const dim3 grid(static_cast<unsigned>(problem.graphs * problem.terms() * problem.width()),
                  static_cast<unsigned>(std::min<int64_t>(sweeps, 1024)));
  launch(read_out_kernel<T>, {grid, kThreads, kOthers * kWarps * sizeof(T)}, stream, problem,
         static_cast<const T*>(narrow.chain), narrow.chain_stride, narrow.hop_stride, walks);
}

#define RRNN_INSTANTIATE(T)                                              \
  template int64_t walk_forward_scratch(const WalkBatch<T>&, ChainKind); \
  template void walk_forward(const WalkBatch<T>&, ChainKind, T*, T*, T*, cudaStream_t);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn::cuda
