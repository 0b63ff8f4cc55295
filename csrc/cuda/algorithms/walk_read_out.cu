// The walks and their norm in one launch, where it is a few thousand walks: each block reads off some at some units,
// and the last one of a graph adds up what they have. Twice as many blocks as multiprocessors, where there are as many
// units: they read the chain, hops n w numbers, once for every kOthers vectors of the other side.
#include <algorithm>

#include "common/edge.h"
#include "cuda/algorithms/walk_read_out.h"
#include "cuda/algorithms/walk_sizes.h"
#include "cuda/device/device.h"
#include "cuda/device/launch.h"

namespace rrnn::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;
constexpr int kResident = 3;  // blocks that a multiprocessor is to hold: for more the compiler would spill registers
constexpr int kOthers = 8;    // of the other side's vectors that one sweep over the units meets
constexpr int64_t kMostWalksOfLast = 1 << 12;  // whose norm the last block of a graph takes

// What a term reads off, at one unit of a vector: P_m needs X_m, the sum of all needs sum_m w_m X_m over `hops` from
// x on.
template <typename T>
__device__ __forceinline__ T summed(const T* x, int64_t hop_stride, int hops, const T* hop_weights) {
  T sum = 0;
#pragma unroll 4
  for (int m = 0; m < hops; ++m) {
    const T of_hop = x[m * hop_stride];
    sum += hop_weights ? weighed(hop_weights[m], of_hop) : of_hop;
  }
  return sum;
}

template <typename T>
struct Run {
  WalkBatch<T> problem;
  const T* chain;
  int64_t chain_stride, hop_stride;
  T *walks, *parts;   // parts (graphs, chunks of units, terms, outputs, inputs) are the walks where there is one chunk
  unsigned* arrived;  // or null: the walks are whole as they are, and nobody wants the norm
  WalkNorm<T> norm;
  T* value;  // or null
};

// A block reads off one vector of one term, in one chunk of the units.
template <typename T>
__global__ void __launch_bounds__(kThreads, kResident) read_out_kernel(const __grid_constant__ Run<T> run) {
  const WalkBatch<T>& problem = run.problem;
  T* pieces = reinterpret_cast<T*>(shared_memory());
  const unsigned width = static_cast<unsigned>(problem.width()), terms = static_cast<unsigned>(problem.terms());
  const int64_t c = blockIdx.x % width, term = blockIdx.x / width % terms, graph = blockIdx.x / width / terms;
  const int64_t n = problem.n, walks = problem.terms() * problem.pairs();
  const T* chain = run.chain + graph * run.chain_stride + (problem.per_hop ? term * run.hop_stride : 0) + c * n;
  const int hops = problem.per_hop ? 1 : static_cast<int>(problem.hops);
  const T* hop_weights = problem.hop_weights ? problem.hop_weights + graph * problem.hop_weights_stride : nullptr;
  T* parts = run.parts + graph * gridDim.z * walks;
  T* to = parts + blockIdx.z * walks + term * problem.pairs();
  const int64_t others = problem.other_width();
  if (!problem.other()) {
    for (int64_t r = blockIdx.y * kThreads + threadIdx.x; r < n; r += gridDim.y * kThreads)
      to[problem.pair(c, r)] = problem.edges() * summed(chain + r, run.hop_stride, hops, hop_weights);
  } else {
    const T* other = problem.other() + graph * others * n;
    const int64_t unit_stride = problem.from_inputs() ? 1 : others, other_stride = problem.from_inputs() ? n : 1;
    const int64_t chunk = (n + gridDim.z - 1) / gridDim.z, begin = blockIdx.z * chunk, end = min(n, begin + chunk);
    for (int64_t first = blockIdx.y * kOthers; first < others; first += gridDim.y * kOthers) {
      const int count = static_cast<int>(min(others - first, int64_t(kOthers)));
      T sums[kOthers] = {};
      for (int64_t r = begin + threadIdx.x; r < end; r += kThreads) {
        const T x = summed(chain + r, run.hop_stride, hops, hop_weights);
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
  if (!run.arrived || !arrives_last(run.arrived + graph, terms * width * gridDim.y * gridDim.z)) return;
  double size = 0;
  for (int64_t at = threadIdx.x; at < walks; at += kThreads) {
    T walk = __ldcg(parts + at);
    for (unsigned part = 1; part < gridDim.z; ++part) walk += __ldcg(parts + part * walks + at);
    if (gridDim.z > 1) run.walks[graph * walks + at] = walk;
    if (run.value) size += weighted_size(run.norm, graph, at, walk);
  }
  if (!run.value) return;
  size = block_sum(size, reinterpret_cast<double*>(shared_memory()));
  if (threadIdx.x == 0) run.value[graph] = static_cast<T>(size);
}

// Blocks: of vectors, of sweeps over the other side's, of chunks of units.
template <typename T>
dim3 grid_of(const WalkBatch<T>& problem) {
  const auto parts_of = [](int64_t count, int64_t size) { return (count + size - 1) / size; };
  const int64_t vectors = problem.graphs * problem.terms() * problem.width();
  const int64_t sweeps = std::min<int64_t>(
      problem.other() ? parts_of(problem.other_width(), kOthers) : parts_of(problem.n, kThreads), 1024);
  const int64_t wanted = parts_of(2 * device_properties().multiprocessors, vectors * sweeps);
  const int64_t chunks = problem.other() ? std::min(wanted, parts_of(problem.n, kThreads)) : 1;
  return dim3(static_cast<unsigned>(vectors), static_cast<unsigned>(sweeps), static_cast<unsigned>(chunks));
}

template <typename T>
bool last_takes_norm(const WalkNorm<T>& norm) {
  return norm.terms * norm.pairs <= kMostWalksOfLast;
}

}  // namespace

template <typename T>
int64_t read_out_scratch(const WalkBatch<T>& problem, const WalkNorm<T>* norm) {
  const int64_t chunks = grid_of(problem).z;
  const int64_t parts = chunks > 1 ? problem.graphs * chunks * problem.terms() * problem.pairs() : 0;
  const int64_t sums = norm && !last_takes_norm(*norm) ? norm_of_walks_scratch(*norm, problem.graphs) : 0;
  // One after the other.
  return std::max(parts * static_cast<int64_t>(sizeof(T)), sums * static_cast<int64_t>(sizeof(double)));
}

template <typename T>
void read_out(const ReadOut<T>& run, cudaStream_t stream) {
  const dim3 grid = grid_of(run.problem);
  const bool norm_at_once = run.norm && last_takes_norm(*run.norm);
  constexpr size_t kShared = std::max(kOthers * kWarps * sizeof(T), kWarps * sizeof(double));
  launch(read_out_kernel<T>, {grid, kThreads, kShared}, stream,
         Run<T>{.problem = run.problem,
                .chain = run.chain,
                .chain_stride = run.chain_stride,
                .hop_stride = run.hop_stride,
                .walks = run.walks,
                .parts = grid.z > 1 ? static_cast<T*>(run.scratch) : run.walks,
                .arrived = grid.z > 1 || norm_at_once ? run.arrived : nullptr,
                .norm = norm_at_once ? *run.norm : WalkNorm<T>{},
                .value = norm_at_once ? run.value : nullptr});
  if (run.norm && !norm_at_once)
    norm_of_walks(*run.norm, run.problem.graphs, run.value, static_cast<double*>(run.scratch), stream);
}

#define RRNN_INSTANTIATE(T)                                                   \
  template int64_t read_out_scratch(const WalkBatch<T>&, const WalkNorm<T>*); \
  template void read_out(const ReadOut<T>&, cudaStream_t);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn::cuda
