#include <algorithm>

#include "common/convergence.h"
#include "cuda/device/barriers.h"
#include "cuda/device/launch.h"
#include "cuda/kernels/powers.h"
#include "cuda/kernels/product.h"
#include "cuda/kernels/squarings.h"

namespace rrnn::cuda {
namespace {

template <typename T>
__global__ void __launch_bounds__(TileShape<T, kTile>::kThreads, kProductBlocks<T>) square_repeatedly(Squaring<T> run) {
  SharedPieces shared(shared_memory());
  const ProductMemory<T> memory(shared);
  double* pieces = shared.take<double>(TileShape<T, kTile>::kThreads / kWarp);
  const int n = run.n, across = (n + kTile - 1) / kTile, tiles = across * across;
  const int64_t size = static_cast<int64_t>(n) * n;

  for (int64_t first = 0; first < run.count; first += run.group) {
    const int here = static_cast<int>(run.group < run.count - first ? run.group : run.count - first);
    if (run.only_open) {
      bool open = false;
      for (int graph = threadIdx.x; graph < here; graph += blockDim.x)
        open = open || run.proofs[first + graph] == kOpen;
      if (!__syncthreads_or(open)) continue;
    }
    // A is the first power. What is not open counts as a power that has shrunk.
    for (int t = blockIdx.x; t < here * tiles; t += gridDim.x) {
      const int graph = t / tiles, i0 = t % tiles / across * kTile, j0 = t % tiles % across * kTile;
      const bool open = !run.only_open || run.proofs[first + graph] == kOpen;
      double square = 0;
      for (int e = threadIdx.x; open && e < kTile * kTile; e += blockDim.x) {
        const int i = i0 + e / kTile, j = j0 + e % kTile;
        if (i >= n || j >= n) continue;
        const int64_t at = static_cast<int64_t>(i) * n + j;
        const T a = run.edge_at((first + graph) * size + at);
        run.powers[graph * size + at] = a;
        square += static_cast<double>(a) * a;
      }
      square = block_sum(square, pieces);
      if (threadIdx.x == 0) run.squares[t] = square;
    }
    grid_barrier();
    const auto square_of = [&](int graph, int half) {
      double square = 0;
      for (int t = threadIdx.x; t < tiles; t += blockDim.x)
        square += run.squares[(half * run.group + graph) * tiles + t];
      return block_sum(square, pieces);
    };
    int half = 0;  // where the last powers are
    for (int squarings = 0; squarings < Powers<T>::kSquarings; ++squarings, half ^= 1) {
      for (int t = blockIdx.x; t < here * tiles; t += gridDim.x) {
        const int graph = t / tiles, i0 = t % tiles / across * kTile, j0 = t % tiles % across * kTile;
        double square = square_of(graph, half);
        const bool done = Powers<T>::shrinks(square) || Powers<T>::leaves(square);
        if (t % tiles == 0 && threadIdx.x == 0) run.open[half * run.group + graph] = !done;
        if (done) {
          if (threadIdx.x == 0)
            run.squares[(half ^ 1) * run.group * tiles + t] = run.squares[half * run.group * tiles + t];
          continue;
        }
        const Matrix<const T> power{run.powers + half * run.group * size, size, n, 1};
        Tile<T, kTile> next;
        multiply_tile(next, power, power, graph, n, n, n, i0, j0, memory);
        const Matrix<T> to{run.powers + (half ^ 1) * run.group * size, size, n, 1};
        const bool aligned = to.has_vectors();
        next.each_vector([&](int i, int j, const Vector<T>& piece) {
          if (i0 + i < n && j0 + j < n) store_piece(to.at(graph, i0 + i, j0 + j), piece, n - j0 - j, aligned);
        });
        square = block_sum(static_cast<double>(next.sum_of_squares()), pieces);
        if (threadIdx.x == 0) run.squares[(half ^ 1) * run.group * tiles + t] = square;
      }
      grid_barrier();
      bool open = false;
      for (int graph = threadIdx.x; graph < here; graph += blockDim.x)
        open = open || run.open[half * run.group + graph];
      if (!__syncthreads_or(open)) break;
    }
    for (int graph = blockIdx.x; graph < here; graph += gridDim.x) {
      const bool proved = Powers<T>::shrinks(square_of(graph, half));
      if (threadIdx.x == 0) run.proofs[first + graph] = proved ? kProved : kOpen;
    }
    if (first + here < run.count) grid_barrier();
  }
}

}  // namespace

template <typename T>
void launch_squaring(const Squaring<T>& run, cudaStream_t stream) {
  launch_by_tiles<T>(square_repeatedly<T>, run, run.group, run.n, stream);
}

template void launch_squaring(const Squaring<float>&, cudaStream_t);
template void launch_squaring(const Squaring<double>&, cudaStream_t);

}  // namespace rrnn::cuda
