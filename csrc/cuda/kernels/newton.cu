#include <algorithm>

#include "common/convergence.h"
#include "cuda/device/barriers.h"
#include "cuda/device/launch.h"
#include "cuda/device/numbers.h"
#include "cuda/kernels/newton.h"
#include "cuda/kernels/powers.h"

namespace rrnn::cuda {
namespace {

constexpr int kSteps = Powers<double>::kSquarings + 4;  // from X = I as many as the proof took, and what then is left

// ||I - M X|| bounds the error of X relative to the inverse. Below kSettled, the next step leaves rounding alone; where
// rounding keeps it above, so that a step no longer squares it, it may be as much as an inverse may be wrong by. From
// kNear on, I is better.
template <typename Given>
constexpr double kSettled = sizeof(Given) == sizeof(float) ? kProbeTolerance : 7.45e-9;
constexpr double kNear = 0.5;

__device__ __forceinline__ bool is_tolerable(double square) { return square <= kProbeTolerance * kProbeTolerance; }

// By the sum of squares of I - M X, and that of the step before.
template <typename Given>
__device__ __forceinline__ bool is_settled(double square, double before, int step) {
  const bool is_last = step == kSteps - 1 || square > before / 16;
  return square <= kSettled<Given> * kSettled<Given> || (is_last && is_tolerable(square));
}

template <typename Given>
__global__ void __launch_bounds__(TileShape<double, kTile>::kThreads, kProductBlocks<double>)
    iterate(Newton<Given> run) {
  SharedPieces shared(shared_memory());
  const ProductMemory<double> memory(shared);
  double* pieces = shared.take<double>(TileShape<double, kTile>::kThreads / kWarp);
  const int n = run.graphs.n, across = (n + kTile - 1) / kTile, tiles = across * across;
  const int64_t size = static_cast<int64_t>(n) * n, count = run.graphs.count;

  for (int64_t first = 0; first < count; first += run.group) {
    const int here = static_cast<int>(run.group < count - first ? run.group : count - first);
    bool inaccurate = false;
    for (int graph = threadIdx.x; graph < here; graph += blockDim.x)
      inaccurate = inaccurate || run.states[first + graph] == kInaccurate;
    if (!__syncthreads_or(inaccurate)) continue;

    // body(graph, i0, j0, t) for this block's tiles, in the same order each time.
    const auto each_tile = [&](const auto& body) {
      for (int t = blockIdx.x; t < here * tiles; t += gridDim.x)
        body(t / tiles, t % tiles / across * kTile, t % tiles % across * kTile, t);
    };
    const auto each_element = [&](int i0, int j0, const auto& body) {
      for (int e = threadIdx.x; e < kTile * kTile; e += blockDim.x) {
        const int i = i0 + e / kTile, j = j0 + e % kTile;
        if (i < n && j < n) body(i, j);
      }
    };
    const auto square_of = [&](int graph, int half) {
      double square = 0;
      for (int t = threadIdx.x; t < tiles; t += blockDim.x)
        square += run.squares[(half * run.group + graph) * tiles + t];
      return block_sum(square, pieces);
    };
    const auto inverse = [&](int half) { return Matrix<double>{run.inverses + half * run.group * size, size, n, 1}; };
    const Matrix<double> edges{run.edges, size, n, 1}, residuals{run.residuals, size, n, 1};

    each_tile([&](int graph, int i0, int j0, int t) {
      const bool wanted = run.states[first + graph] == kInaccurate;
      if (threadIdx.x == 0) {
        run.squares[run.group * tiles + t] = wanted ? 1e300 : 0.0;
        if (t % tiles == 0) run.open[run.group + graph] = wanted;
      }
      if (!wanted) return;
      each_element(i0, j0, [&](int i, int j) {
        const int64_t from = (first + graph) * size + static_cast<int64_t>(i) * n + j;
        *edges.at(graph, i, j) = run.graphs.template edge_of<double>(run.graphs.weight_hh[from]);
        *inverse(0).at(graph, i, j) = run.walks[from];
      });
    });
    grid_barrier();

    int half = 0;
    for (int step = 0; step < kSteps; ++step) {
      half = step % 2;
      const Matrix<double> x = inverse(half), next = inverse(half ^ 1);
      const bool aligned = x.has_vectors();
      each_tile([&](int graph, int i0, int j0, int t) {
        double& square = run.squares[half * run.group * tiles + t];
        if (!run.open[(half ^ 1) * run.group + graph]) {
          if (threadIdx.x == 0) square = run.squares[(half ^ 1) * run.group * tiles + t];
          return;
        }
        Tile<double, kTile> residual;
        multiply_tile<double>(residual, edges, x, graph, n, n, n, i0, j0, memory);
        double sum = 0;
        residual.each_vector([&](int i, int j, Vector<double> piece) {
          if (i0 + i >= n || j0 + j >= n) return;
          const Vector<double> old = load_piece<double>(x.at(graph, i0 + i, j0 + j), n - j0 - j, aligned);
#pragma unroll
          for (int v = 0; v < Vector<double>::kSize; ++v) {
            piece.at[v] += (i0 + i == j0 + j + v ? 1.0 : 0.0) - old.at[v];
            if (j0 + j + v < n) sum += piece.at[v] * piece.at[v];
          }
          store_piece(residuals.at(graph, i0 + i, j0 + j), piece, n - j0 - j, aligned);
        });
        sum = block_sum(sum, pieces);
        if (threadIdx.x == 0) square = sum;
      });
      grid_barrier();

      each_tile([&](int graph, int i0, int j0, int t) {
        const bool was_open = run.open[(half ^ 1) * run.group + graph];
        const double square = square_of(graph, half), before = square_of(graph, half ^ 1);
        const bool settles = is_settled<Given>(square, before, step);
        const bool begins_anew = step == 0 && !(square < kNear * kNear);
        if (t % tiles == 0 && threadIdx.x == 0)
          run.open[half * run.group + graph] = was_open && !settles && (begins_anew || square < 1e300);
        if (!was_open) return;
        if (begins_anew) {
          each_element(i0, j0,
                       [&](int i, int j) { *next.at(graph, i, j) = *edges.at(graph, i, j) + (i == j ? 1.0 : 0.0); });
          return;
        }
        Tile<double, kTile> correction;
        multiply_tile<double>(correction, x, residuals, graph, n, n, n, i0, j0, memory);
        correction.each_vector([&](int i, int j, Vector<double> piece) {
          if (i0 + i >= n || j0 + j >= n) return;
          const Vector<double> old = load_piece<double>(x.at(graph, i0 + i, j0 + j), n - j0 - j, aligned);
          Given* walk = run.walks + (first + graph) * size + static_cast<int64_t>(i0 + i) * n + j0 + j;
#pragma unroll
          for (int v = 0; v < Vector<double>::kSize; ++v) {
            piece.at[v] += old.at[v];
            if (settles && j0 + j + v < n) walk[v] = static_cast<Given>(piece.at[v]);
          }
          store_piece(next.at(graph, i0 + i, j0 + j), piece, n - j0 - j, aligned);
        });
      });
      grid_barrier();
      bool open = false;
      for (int graph = threadIdx.x; graph < here; graph += blockDim.x)
        open = open || run.open[half * run.group + graph];
      if (!__syncthreads_or(open)) break;
    }

    const auto is_mended = [&](int graph) { return is_tolerable(square_of(graph, half)); };
    each_tile([&](int graph, int i0, int j0, int) {
      if (is_mended(graph)) return;
      each_element(i0, j0, [&](int i, int j) {
        run.walks[(first + graph) * size + static_cast<int64_t>(i) * n + j] = not_a_number<Given>();
      });
    });
    for (int graph = blockIdx.x; graph < here; graph += gridDim.x) {
      const bool mended = is_mended(graph);
      if (threadIdx.x == 0 && run.states[first + graph] == kInaccurate)
        run.states[first + graph] = mended ? kMended : kOpen;
    }
    if (first + here < count) grid_barrier();
  }
}

}  // namespace

template <typename Given>
void launch_newton(const Newton<Given>& run, cudaStream_t stream) {
  launch_by_tiles<double>(iterate<Given>, run, run.group, run.graphs.n, stream);
}

template void launch_newton(const Newton<float>&, cudaStream_t);
template void launch_newton(const Newton<double>&, cudaStream_t);

}  // namespace rrnn::cuda
