// A single pathway with all hops: biconjugate gradients for I - A and its transpose at once, as in
// csrc/cpu/algorithms/solve_pathway.cpp, and the plain series where they do not settle it. With nonnegative A the
// solution is also the proof that the sum of walks converges: x > 0 and A x < x in every unit bound the spectral radius
// below 1 (Collatz-Wielandt). The proof of the series: max A^k 1 is the norm of A^k.
//
// A step takes 4 n^2 flops and reads n^2 elements of W, once for both products, from the L2 cache where they fit: on an
// H100, 2 us for n = 1024 in float32 (4 MB at about 5 TB/s there, beyond the cache at 3 TB/s) and three grid barriers
// of 1 to 2 us; 15 to 20 steps at spectral radius 0.9. Near a radius of 1 it may take 33,000 passes; a launch that
// would last longer than half a second ends, and further ones go on from the state in memory. The gradient reads and
// writes n^2 elements each.
#include <algorithm>
#include <cmath>

#include "common/edge.h"
#include "cuda/algorithms/pathway.h"
#include "cuda/device/launch.h"
#include "cuda/device/numbers.h"
#include "cuda/kernels/pathway_solver.h"
#include "cuda/kernels/tile.h"

namespace rrnn::cuda {

using namespace pathway_solver;

namespace {

template <typename T>
struct TeamMemory {
  SharedPieces pieces;
  Progress* progress;
  Vectors<T> vectors;

  __host__ __device__ TeamMemory(unsigned char* memory, int64_t n, int64_t blocks)
      : pieces(memory), progress(pieces.take<Progress>(1)), vectors(pieces, n, blocks) {}
};

// All blocks work on one problem after the other, or each block on problems of its own; each team until it has passed
// over W so often.
template <typename T>
__global__ void __launch_bounds__(kThreads, 1) solve(Pathways<T> problem, T* x, T* y, T* found, unsigned char* scratch,
                                                     int64_t scratch_of_team, bool together, bool first, int passes) {
  SharedPieces shared(shared_memory());
  const SolverMemory<T> memory(shared);
  const int n = problem.n;
  const int blocks = together ? gridDim.x : 1, block = together ? blockIdx.x : 0, teams = gridDim.x / blocks;
  const TeamMemory<T> team(scratch + (together ? 0 : blockIdx.x * scratch_of_team), n, blocks);
  Progress progress{together ? 0 : blockIdx.x};
  if (!first) progress = *team.progress;
  for (; progress.graph < problem.count; progress = {progress.graph + teams}) {
    const int64_t graph = progress.graph;
    const Solver<T> solver{n,
                           block,
                           blocks,
                           problem.alpha,
                           problem.weight_hh + graph * n * n,
                           problem.sources + graph * n,
                           problem.targets + graph * n,
                           team.vectors,
                           memory};
    using Outcome = typename Solver<T>::Outcome;
    const Outcome outcome = solver.solve(progress, passes);
    if (outcome == Outcome::kUnfinished) break;
    solver.each_unit([&](int i) {
      x[graph * n + i] = outcome == Outcome::kFound ? team.vectors.x[i] : not_a_number<T>();
      y[graph * n + i] = outcome == Outcome::kFound ? team.vectors.y[i] : not_a_number<T>();
    });
    if (block == 0 && threadIdx.x == 0) found[graph] = outcome == Outcome::kUndecided ? kOpen : kProved;
    solver.barrier();
  }
  if (block == 0 && threadIdx.x == 0) *team.progress = progress;
}

// A warp for each row.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    backward(Pathways<T> problem, const T* scale, const T* x, const T* y, T* grad_hh) {
  constexpr int kVector = Vector<T>::kSize;
  const int n = problem.n;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
  if (row >= problem.count * n) return;
  const int64_t graph = row / n;
  const T factor = scale[graph] * problem.alpha * y[row];
  const bool aligned = whole_vectors<T>(n, problem.weight_hh, x, grad_hh);
#pragma unroll 4
  for (int j = threadIdx.x % kWarp * kVector; j < n; j += kWarp * kVector) {
    const Vector<T> weight = load_piece(problem.weight_hh + row * n + j, n - j, aligned);
    Vector<T> piece = load_piece(x + graph * n + j, n - j, aligned);
#pragma unroll
    for (int v = 0; v < kVector; ++v) piece.at[v] = times_phi_derivative(factor * piece.at[v], weight.at[v], true);
    store_piece(grad_hh + row * n + j, piece, n - j, aligned);
  }
}

// What no launch takes longer than, about: others, and displays, wait for it. And what a pass takes at least.
constexpr double kSecondsOfLaunch = 0.5, kSecondsOfPass = 5e-6;

struct Teams {
  bool together;
  int64_t blocks;  // of the launch
  int64_t bytes;   // of scratch of a team
  size_t shared_bytes;
  int launches, passes;  // of each launch
};

template <typename T>
Teams teams(const Pathways<T>& problem) {
  SharedPieces shared(nullptr);
  const SolverMemory<T> memory(shared);
  const int64_t multiprocessors = device_properties().multiprocessors;
  const int64_t resident = resident_blocks(solve<T>, kThreads, shared.bytes()) * multiprocessors;
  const int64_t row_groups = std::max<int64_t>(1, (problem.n + kRowsAtOnce - 1) / kRowsAtOnce);
  const bool together = problem.count * 2 < multiprocessors && row_groups > 1;
  const int64_t blocks =
      together ? std::min({row_groups, multiprocessors, resident}) : std::min(problem.count, resident);
  const TeamMemory<T> team(nullptr, problem.n, together ? blocks : 1);

  const int64_t count = together ? 1 : blocks;
  const double bytes_of_pass = static_cast<double>(problem.n) * problem.n * sizeof(T) * count;
  const double passes = kSecondsOfLaunch / std::max(kSecondsOfPass, bytes_of_pass / device_properties().memory_rate);
  const double all_passes = static_cast<double>((problem.count + count - 1) / count) * kMaxPasses;
  const int at_once = std::max(1, static_cast<int>(passes));
  return {together,
          blocks,
          team.pieces.bytes(),
          static_cast<size_t>(shared.bytes()),
          static_cast<int>(std::ceil(all_passes / at_once)),
          at_once};
}

}  // namespace

template <typename T>
int64_t solve_pathway_scratch(const Pathways<T>& problem) {
  const Teams how = teams(problem);
  return how.bytes * (how.together ? 1 : how.blocks);
}

// As many launches as might be needed; those after the last pass end at once.
template <typename T>
void solve_pathway(const Pathways<T>& problem, T* x, T* y, T* found, void* scratch, cudaStream_t stream) {
  const Teams how = teams(problem);
  for (int index = 0; index < how.launches; ++index)
    launch(solve<T>, {dim3(static_cast<unsigned>(how.blocks)), kThreads, how.shared_bytes, how.together}, stream,
           problem, x, y, found, static_cast<unsigned char*>(scratch), how.bytes, how.together, index == 0, how.passes);
}

template <typename T>
void solve_pathway_backward(const Pathways<T>& problem, const T* scale, const T* x, const T* y, T* grad_hh,
                            cudaStream_t stream) {
  const int64_t blocks = (problem.count * problem.n + kWarps - 1) / kWarps;
  if (blocks == 0) return;
  launch(backward<T>, {dim3(static_cast<unsigned>(blocks)), kThreads}, stream, problem, scale, x, y, grad_hh);
}

#define RRNN_INSTANTIATE(T)                                                         \
  template int64_t solve_pathway_scratch(const Pathways<T>&);                       \
  template void solve_pathway(const Pathways<T>&, T*, T*, T*, void*, cudaStream_t); \
  template void solve_pathway_backward(const Pathways<T>&, const T*, const T*, const T*, T*, cudaStream_t);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn::cuda
