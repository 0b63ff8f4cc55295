// One launch carries bundles of vectors through all hops.
//
// The matrix is cut into regions, one for each block, and a region into tiles of kRows by 32 packs. The tiles stay in
// shared memory from hop to hop; what does not fit streams through a ring of slots. A hop reads each tile once for both
// directions: rows of the tile times the forward vectors, columns times the backward ones. A region knows a part of
// each sum; the parts are exchanged through the second-level cache, one barrier a hop, and every block adds up those
// of the units it needs next.
//
// A hop of one graph, n units, w vectors in all: 2 n^2 w flops; n^2 elements read from shared memory, or, for tiles
// that are not resident, from device memory; about n w elements read from the second-level cache by each block.
#include <type_traits>

#include "cuda/device/barriers.h"
#include "cuda/device/device.h"
#include "cuda/device/launch.h"
#include "cuda/device/vector.h"
#include "cuda/kernels/chain_gather.h"
#include "cuda/kernels/chain_layout.h"
#include "cuda/kernels/chain_tiles.h"
#include "cuda/kernels/chains.h"

// A measurement compiles this file with a part of a hop left out, to learn what that part costs: this one, or that of
// chain_gather.h.
#ifndef RRNN_HOP_MULTIPLIES
#define RRNN_HOP_MULTIPLIES true
#endif

namespace rrnn::cuda {

using namespace chain_layout;

namespace {

template <typename T>
constexpr int kUnroll = sizeof(T) == 4 ? 2 : 1;

// A lane's sums: of two rows, or of as many columns as a vector has.
template <typename T>
constexpr int kSums = kMaxVectors<T> * (Vector<T>::kSize > 2 ? Vector<T>::kSize : 2);

// Rows of a tile, two a lane, times V forward vectors over packs [begin, end) of columns.
template <int V, typename T>
__device__ __forceinline__ void multiply_rows(const T* tile, const T* vectors, int stride, int begin, int end,
                                              T (&sums)[kSums<T>]) {
  constexpr int kPack = Vector<T>::kSize;
  const T* row = tile + threadIdx.x % kWarp * Tile<T>::kStride;
#pragma unroll(kUnroll<T>)
  for (int at = begin * kPack; at < end * kPack; at += kPack) {
    const Vector<T> low = Vector<T>::load(row + at), high = Vector<T>::load(row + kWarp * Tile<T>::kStride + at);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const Vector<T> x = Vector<T>::load(vectors + v * stride + at);
#pragma unroll
      for (int j = 0; j < kPack; ++j) {
        sums[v] += low.at[j] * x.at[j];
        sums[kMaxVectors<T> + v] += high.at[j] * x.at[j];
      }
    }
  }
}

// Columns of a tile, a pack a lane, times V backward vectors over rows [begin, end).
template <int V, typename T>
__device__ __forceinline__ void multiply_columns(const T* tile, const T* vectors, int stride, int begin, int end,
                                                 T (&sums)[kSums<T>]) {
  constexpr int kPack = Vector<T>::kSize;
  const T* column = tile + threadIdx.x % kWarp * kPack;
#pragma unroll(kUnroll<T>)
  for (int r = begin; r < end; ++r) {
    const Vector<T> w = Vector<T>::load(column + r * Tile<T>::kStride);
    T y[V];
    if constexpr (V % kPack == 0) {
#pragma unroll
      for (int v = 0; v < V; v += kPack) {
        const Vector<T> some = Vector<T>::load(vectors + r * stride + v);
        for (int j = 0; j < kPack; ++j) y[v + j] = some.at[j];
      }
    } else {
#pragma unroll
      for (int v = 0; v < V; ++v) y[v] = vectors[r * stride + v];
    }
#pragma unroll
    for (int v = 0; v < V; ++v)
#pragma unroll
      for (int j = 0; j < kPack; ++j) sums[v * kPack + j] += y[v] * w.at[j];
  }
}

// body(constant) for the vectors of a group: 1, 2, 4 or kMaxVectors.
template <typename T, typename F>
__device__ __forceinline__ void with_vectors(int vectors, const F& body) {
  if (vectors == kMaxVectors<T>)
    body(std::integral_constant<int, kMaxVectors<T>>());
  else if (vectors == 1)
    body(std::integral_constant<int, 1>());
  else if (vectors == 2)
    body(std::integral_constant<int, 2>());
  else
    body(std::integral_constant<int, 4>());
}

__device__ __forceinline__ void wait_for_other_blocks(ChainPlan::Barrier barrier) {
  if (barrier == ChainPlan::Barrier::kGrid)
    grid_barrier();
  else if (barrier == ChainPlan::Barrier::kCluster)
    cluster_barrier();
  else
    __syncthreads();
}

template <typename T>
__global__ void __launch_bounds__(kThreads) advance_chains_kernel(const __grid_constant__ Chains<T> chains,
                                                                  const __grid_constant__ ChainPlan plan, T* exchange) {
  using Tile = Tile<T>;
  constexpr int kPack = Tile::kPack;
  const Bundle<T>&forwards = chains.forwards, &backwards = chains.backwards;
  const int vf = plan.vectors_forwards, vb = plan.vectors_backwards;
  const int forward_groups = groups_of(forwards.width, vf), backward_groups = groups_of(backwards.width, vb);
  const int passes = (forward_groups + backward_groups + plan.groups_per_pass - 1) / plan.groups_per_pass;
  const Shared<T> shared(shared_memory(), plan, forward_groups, backward_groups);
  const Place<T> place(plan);
  const int n = chains.n, hops = chains.hops, padded_n = plan.padded_n;
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int region_columns = plan.columns * Tile::kColumns;
  const int strip_packs = plan.backward_strips * kRows / kPack;

  // Of this group of blocks: (step % 2, part, vector, unit) of forward and of backward products.
  const int64_t forward_size = static_cast<int64_t>(forwards.width) * plan.block_columns * padded_n;
  const int64_t backward_size = static_cast<int64_t>(backwards.width) * plan.block_rows * padded_n;
  T* forward_parts = exchange + place.group * 2 * (forward_size + backward_size);
  T* backward_parts = forward_parts + 2 * forward_size;
  const auto part_of = [&](int part, const Bundle<T>& bundle, int c) {
    return (static_cast<int64_t>(part) * bundle.width + c) * padded_n;
  };

  // Of the units that several blocks gather, each of them keeps a share in the chain.
  const int column_share = (region_columns / kPack + plan.block_rows - 1) / plan.block_rows;
  const int row_share = (plan.strips * kRows / kPack + plan.block_columns - 1) / plan.block_columns;

  const int turns = (chains.graphs + plan.groups - 1) / plan.groups;
  for (int turn = 0; turn < turns; ++turn) {
    const int graph = turn * plan.groups + place.group;
    if (graph >= chains.graphs) {  // in the last turn; the others still count on this block at their barriers
      if (plan.barrier == ChainPlan::Barrier::kGrid)
        for (int step = 0; step + 1 < hops; ++step) grid_barrier();
      break;
    }
    if (chains.zeros && threadIdx.x == 0 && place.block_row + place.block_column == 0) chains.zeros[graph] = 0;
    Tiles<T> tiles(chains, plan, place, chains.weight_hh + static_cast<int64_t>(graph) * n * n, shared.tiles,
                   static_cast<int64_t>(hops - 1) * passes);

    for (int step = 0; step < hops; ++step) {
      const bool is_last = step + 1 == hops;  // which no product follows, so that nobody reads the block's vectors
      const int64_t forward_written = step % 2 * forward_size, forward_read = forward_size - forward_written;
      const int64_t backward_written = step % 2 * backward_size, backward_read = backward_size - backward_written;

      for (int index = 0; index < passes; ++index) {
        const Pass pass(index, plan, forward_groups, backward_groups);
        const int parts = pass.parts, own_group = warp / parts, own_part = warp % parts;
        const bool does_rows = RRNN_HOP_MULTIPLIES && own_group < pass.forwards;
        const bool does_columns = RRNN_HOP_MULTIPLIES && !does_rows && own_group < pass.forwards + pass.backwards;
        const int backward_vectors = pass.backwards * vb;

        const int forward_sums = pass.forwards * vf * (region_columns / kPack);
        const int backward_sums = backward_vectors * strip_packs;
        const GatherShares forward_shares(forward_sums, plan.block_columns);
        const GatherShares backward_shares(backward_sums, plan.block_rows);
        // The forward vectors of the region's columns: round by round, a warp each.
        const auto gather_forwards = [&](int round) {
          const int at = forward_shares.sum_of(round);
          const int pack = at % (region_columns / kPack), vector = at / (region_columns / kPack);
          const bool past = at >= forward_sums;
          const int c = past ? forwards.width : pass.first_forwards * vf + vector;
          const int unit = place.first_column + pack * kPack;
          const Vector<T> sum = gather(chains, forwards, graph, step, c, unit, forward_parts + forward_read,
                                       plan.block_columns, padded_n, forward_shares);
          if (past || forward_shares.share() > 0) return;
          if (!is_last) sum.store(shared.forwards + vector * region_columns + pack * kPack);
          if (pack / column_share == place.block_row) keep(chains, forwards, graph, step, c, unit, sum);
        };
        // The backward vectors of the rows of a strip and some that follow.
        const auto gather_backwards = [&](int round, int strip) {
          const int at = backward_shares.sum_of(round);
          const int vector = at % backward_vectors, pack = at / backward_vectors;  // spreads over the banks
          const bool past = at >= backward_sums;
          const int of_region = strip * kRows / kPack + pack;
          const int c = past ? backwards.width : pass.first_backwards * vb + vector;
          const int unit = place.first_row + of_region * kPack;
          const Vector<T> sum = gather(chains, backwards, graph, step, c, unit, backward_parts + backward_read,
                                       plan.block_rows, padded_n, backward_shares);
          if (past || backward_shares.share() > 0) return;
#pragma unroll
          for (int j = 0; j < kPack; ++j)
            if (!is_last) shared.backwards[(pack * kPack + j) * backward_vectors + vector] = sum.at[j];
          if (of_region < plan.strips * kRows / kPack && of_region / row_share == place.block_column)
            keep(chains, backwards, graph, step, c, unit, sum);
        };

        for (int strip = 0; strip < plan.strips; ++strip) {
          // Both directions side by side. Nobody reads the vectors before any longer: the sums of the last tile are
          // here.
          if (strip % plan.backward_strips == 0) {
            const int before = strip == 0 ? forward_shares.rounds : 0;
            for (int round = warp; round < before + backward_shares.rounds; round += kWarps)
              if (round < before)
                gather_forwards(round);
              else
                gather_backwards(round - before, strip);
          }
          if (is_last) continue;
          T sums[kSums<T>] = {};

          const int first_row = place.first_row + strip * kRows, rows = max(0, min(n - first_row, kRows));
          const T* strip_backwards = shared.backwards + strip % plan.backward_strips * kRows * backward_vectors;
          for (int column = 0; column < plan.columns; ++column) {
            const T* tile = tiles.next(strip * plan.columns + column);
            const int first_column = place.first_column + column * Tile::kColumns;
            const int columns = max(0, min(n - first_column, Tile::kColumns));
            if (does_rows) {
              const int packs = (columns + kPack - 1) / kPack;
              with_vectors<T>(vf, [&](auto constant) {
                constexpr int V = decltype(constant)::value;
                multiply_rows<V>(tile, shared.forwards + own_group * vf * region_columns + column * Tile::kColumns,
                                 region_columns, own_part * packs / parts, (own_part + 1) * packs / parts, sums);
                if (column + 1 < plan.columns) return;
                T* to = shared.row_sums + warp * vf * kRows + lane;
#pragma unroll
                for (int v = 0; v < V; ++v) {
                  to[v * kRows] = sums[v];
                  to[v * kRows + kWarp] = sums[kMaxVectors<T> + v];
                  sums[v] = sums[kMaxVectors<T> + v] = 0;
                }
              });
            }
            if (does_columns) {
              const int group = own_group - pass.forwards;
              with_vectors<T>(vb, [&](auto constant) {
                constexpr int V = decltype(constant)::value;
#pragma unroll
                for (T& sum : sums) sum = 0;
                multiply_columns<V>(tile, strip_backwards + group * vb, backward_vectors, own_part * rows / parts,
                                    (own_part + 1) * rows / parts, sums);
                T* to = shared.column_sums + (group * parts + own_part) * vb * Tile::kColumns + lane * kPack;
#pragma unroll
                for (int v = 0; v < V; ++v) {
                  Vector<T> of_columns;
#pragma unroll
                  for (int j = 0; j < kPack; ++j) of_columns.at[j] = sums[v * kPack + j];
                  of_columns.store(to + v * Tile::kColumns);
                }
              });
            }
            __syncthreads();
            // The parts of the warps together: rows at the end of a strip, columns tile by tile.
            if (column + 1 == plan.columns)
              for (int at = threadIdx.x; at < pass.forwards * vf * kRows; at += kThreads) {
                const int row = at % kRows, vector = at / kRows, group = vector / vf;
                const T* from = shared.row_sums + (group * parts * vf + vector % vf) * kRows + row;
                T sum = 0;
                for (int part = 0; part < parts; ++part) sum += from[part * vf * kRows];
                const int c = pass.first_forwards * vf + vector;
                if (c < forwards.width && first_row + row < n)
                  forward_parts[forward_written + part_of(place.block_column, forwards, c) + first_row + row] = sum;
              }
            for (int at = threadIdx.x; at < backward_vectors * Tile::kColumns; at += kThreads) {
              const int k = at % Tile::kColumns, vector = at / Tile::kColumns, group = vector / vb;
              const T* from = shared.column_sums + (group * parts * vb + vector % vb) * Tile::kColumns + k;
              T* total = shared.totals + vector * region_columns + column * Tile::kColumns + k;
              T sum = strip > 0 ? *total : T(0);
              for (int part = 0; part < parts; ++part) sum += from[part * vb * Tile::kColumns];
              const int c = pass.first_backwards * vb + vector;
              if (strip + 1 < plan.strips)
                *total = sum;
              else if (c < backwards.width && first_column + k < n)
                backward_parts[backward_written + part_of(place.block_row, backwards, c) + first_column + k] = sum;
            }
          }
        }
      }
      if (!is_last || turn + 1 < turns) wait_for_other_blocks(plan.barrier);
    }
  }
}

LaunchShape shape_of(const ChainPlan& plan) {
  const int blocks = plan.block_rows * plan.block_columns;
  return {.grid = dim3(static_cast<unsigned>(plan.groups * blocks)),
          .block = kThreads,
          .shared_bytes = static_cast<size_t>(plan.shared_bytes),
          .cooperative = plan.barrier == ChainPlan::Barrier::kGrid,
          .cluster = plan.barrier == ChainPlan::Barrier::kCluster ? blocks : 1};
}

}  // namespace

template <typename T>
int chain_layout::kernel_architecture() {
  return compiled_for(address(advance_chains_kernel<T>));
}

template <typename T>
int chain_layout::resident_clusters(const ChainPlan& plan) {
  return cuda::resident_clusters(advance_chains_kernel<T>, shape_of(plan));
}

template <typename T>
void advance_chains(const Chains<T>& chains, const ChainPlan& plan, T* exchange, cudaStream_t stream) {
  launch(advance_chains_kernel<T>, shape_of(plan), stream, chains, plan, exchange);
}

#define RRNN_INSTANTIATE(T)                                          \
  template int chain_layout::kernel_architecture<T>();               \
  template int chain_layout::resident_clusters<T>(const ChainPlan&); \
  template void advance_chains(const Chains<T>&, const ChainPlan&, T*, cudaStream_t);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn::cuda
