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
#include <algorithm>
#include <array>
#include <map>
#include <stdexcept>
#include <type_traits>

#include "common/edge.h"
#include "cuda/device/barriers.h"
#include "cuda/device/device.h"
#include "cuda/device/launch.h"
#include "cuda/device/vector.h"
#include "cuda/kernels/chains.h"

namespace rrnn::cuda {
namespace {

constexpr int kThreads = 384, kWarps = kThreads / kWarp;
constexpr int kRows = 64;  // of a tile: two for each lane
constexpr int kMaxRing = 3;

// Of a group of vectors, which one warp multiplies at once: what its registers hold.
template <typename T>
constexpr int kMaxVectors = 32 / sizeof(T);
template <typename T>
constexpr int kUnroll = sizeof(T) == 4 ? 2 : 1;

template <typename T>
struct Tile {
  static constexpr int kPack = Vector<T>::kSize;  // elements that one load brings
  static constexpr int kColumns = kWarp * kPack;
  // Rows begin an odd number of packs apart: lanes that read a column of packs meet no bank twice.
  static constexpr int kStride = kColumns + kPack;
  static constexpr int kSize = kRows * kStride;
};

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The groups of vectors [first, first + forwards + backwards) that one pass serves, forward ones before backward ones.
struct Pass {
  int first_forwards, forwards, first_backwards, backwards;
  int parts;  // the warps that share a group's products, each with part of the depth

  __host__ __device__ Pass(int index, const ChainPlan& plan, int all_forwards, int all_backwards) {
    const int begin = index * plan.groups_per_pass;
    const int end = min(begin + plan.groups_per_pass, all_forwards + all_backwards);
    first_forwards = min(begin, all_forwards);
    forwards = min(end, all_forwards) - first_forwards;
    first_backwards = max(begin, all_forwards) - all_forwards;
    backwards = max(end, all_forwards) - all_forwards - first_backwards;
    parts = min(kWarps / (end - begin), plan.most_parts);
  }
};

__host__ __device__ int groups_of(int width, int vectors) { return (width + vectors - 1) / vectors; }

// The layout of shared memory. Sized for the largest pass.
template <typename T>
struct Shared {
  T* tiles;        // resident ones, then the ring
  T* forwards;     // (vectors, columns of the region)
  T* backwards;    // (rows of some strips, vectors)
  T* totals;       // (vectors, columns of the region): of the backward products, where there are several strips
  T* row_sums;     // (warps, vectors, kRows): of forward products
  T* column_sums;  // (warps, vectors, columns of a tile): of backward products
  int64_t bytes;

  __host__ __device__ Shared(unsigned char* memory, const ChainPlan& plan, int forward_groups, int backward_groups) {
    using Tile = Tile<T>;
    const int vf = plan.vectors_forwards, vb = plan.vectors_backwards;
    const int most_forwards = min(plan.groups_per_pass, forward_groups);
    const int most_backwards = min(plan.groups_per_pass, backward_groups);
    SharedPieces pieces(memory);
    tiles = pieces.take<T>(static_cast<int64_t>(plan.resident + plan.ring) * Tile::kSize);
    forwards = pieces.take<T>(most_forwards * vf * plan.columns * Tile::kColumns);
    backwards = pieces.take<T>(most_backwards * vb * plan.backward_strips * kRows);
    totals = pieces.take<T>(plan.strips > 1 ? most_backwards * vb * plan.columns * Tile::kColumns : 0);
    int most_row_warps = 0, most_column_warps = 0;
    for (int index = 0; index * plan.groups_per_pass < forward_groups + backward_groups; ++index) {
      const Pass pass(index, plan, forward_groups, backward_groups);
      most_row_warps = max(most_row_warps, pass.forwards * pass.parts);
      most_column_warps = max(most_column_warps, pass.backwards * pass.parts);
    }
    row_sums = pieces.take<T>(most_row_warps * vf * kRows);
    column_sums = pieces.take<T>(most_column_warps * vb * Tile::kColumns);
    bytes = pieces.bytes();
  }
};

// The place of a block: its region, and the graphs it works on.
template <typename T>
struct Place {
  int first_row, first_column;
  int block_row, block_column;
  int group;

  __device__ explicit Place(const ChainPlan& plan) {
    const int blocks = plan.block_rows * plan.block_columns, block = blockIdx.x % blocks;
    group = blockIdx.x / blocks;
    block_row = block / plan.block_columns;
    block_column = block % plan.block_columns;
    first_row = block_row * plan.strips * kRows;
    first_column = block_column * plan.columns * Tile<T>::kColumns;
  }
};

// Begins to copy tile `index` of the region into a slot; zeros where the matrix ends.
template <typename T>
__device__ void fetch_tile(const T* weight, int n, const ChainPlan& plan, const Place<T>& place, int index, T* slot,
                           bool whole) {
  using Tile = Tile<T>;
  const int row0 = place.first_row + index / plan.columns * kRows;
  const int column0 = place.first_column + index % plan.columns * Tile::kColumns;
  for (int at = threadIdx.x; at < kRows * kWarp; at += kThreads) {
    const int row = at / kWarp, pack = at % kWarp * Tile::kPack;
    T* to = slot + row * Tile::kStride + pack;
    const int r = row0 + row, k = column0 + pack;
    const T* from = weight + static_cast<int64_t>(r) * n + k;
    if (whole && r < n && k < n) {
      __pipeline_memcpy_async(to, from, sizeof(Vector<T>));
      continue;
    }
    for (int j = 0; j < Tile::kPack; ++j)
      if (r < n && k + j < n)
        __pipeline_memcpy_async(to + j, from + j, sizeof(T));
      else
        to[j] = 0;
  }
}

// phi of what this thread itself copied.
template <typename T>
__device__ void rectify_tile(T* slot) {
  using Tile = Tile<T>;
  for (int at = threadIdx.x; at < kRows * kWarp; at += kThreads) {
    T* to = slot + at / kWarp * Tile::kStride + at % kWarp * Tile::kPack;
    Vector<T> pack = Vector<T>::load(to);
    for (T& value : pack.at) value = magnitude(value);
    pack.store(to);
  }
}

// What flows into unit r of vector c at this step.
template <typename T>
__device__ T inflow_of(const Chains<T>& chains, const Bundle<T>& bundle, int graph, int step, int c, int r) {
  if (!bundle.last_hop_first) {
    if (step > 0) return 0;
    const T* start = bundle.start + static_cast<int64_t>(graph) * chains.n * bundle.width;
    return edge(start[static_cast<int64_t>(r) * bundle.unit_stride + static_cast<int64_t>(c) * bundle.vector_stride],
                T(1), chains.rectify);
  }
  const int m = chains.hops - 1 - step, term = bundle.inflow_terms > 1 ? m : 0;
  const int64_t vector = (static_cast<int64_t>(graph) * bundle.inflow_terms + term) * bundle.width + c;
  const T value = bundle.inflow[vector * chains.n + r];
  return bundle.hop_weights
             ? weighed(bundle.hop_weights[static_cast<int64_t>(graph) * bundle.hop_weights_stride + m], value)
             : value;
}

// x of this step for the units [unit, unit + vector size) of vector c, from the parts in which blocks know it; zeros
// past the last unit and vector.
template <typename T>
__device__ Vector<T> gather(const Chains<T>& chains, const Bundle<T>& bundle, int graph, int step, int c, int unit,
                            const T* parts, int count, int padded_n) {
  Vector<T> sum = {};
  if (c >= bundle.width || unit >= chains.n) return sum;
  if (step > 0) {
    const T* at = parts + static_cast<int64_t>(c) * padded_n + unit;
    const int64_t stride = static_cast<int64_t>(bundle.width) * padded_n;
#pragma unroll(2 * kUnroll<T>)
    for (int part = 0; part < count; ++part) {
      const Vector<T> more = Vector<T>::load_l2(at + part * stride);
#pragma unroll
      for (int j = 0; j < Vector<T>::kSize; ++j) sum.at[j] += more.at[j];
    }
  }
#pragma unroll
  for (int j = 0; j < Vector<T>::kSize; ++j)
    sum.at[j] =
        unit + j < chains.n ? chains.alpha * sum.at[j] + inflow_of(chains, bundle, graph, step, c, unit + j) : T(0);
  return sum;
}

template <typename T>
__device__ void keep(const Chains<T>& chains, const Bundle<T>& bundle, int graph, int step, int c, int unit,
                     const Vector<T>& x) {
  if (c >= bundle.width || unit >= chains.n) return;
  const int slot = bundle.last_hop_first ? chains.hops - 1 - step : step;
  T* to =
      bundle.chain + graph * bundle.chain_stride + slot * bundle.hop_stride + static_cast<int64_t>(c) * chains.n + unit;
  if (whole_vectors<T>(chains.n, bundle.chain)) return x.store(to);
#pragma unroll
  for (int j = 0; j < Vector<T>::kSize; ++j)
    if (unit + j < chains.n) to[j] = x.at[j];
}

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

// The tiles of a region in turn, each resident or through the ring, which runs ahead over the end of a pass and a hop.
template <typename T>
class Tiles {
 public:
  __device__ Tiles(const Chains<T>& chains, const ChainPlan& plan, const Place<T>& place, const T* weight, T* memory,
                   int64_t passes)
      : chains_(chains),
        plan_(plan),
        place_(place),
        weight_(weight),
        memory_(memory),
        streamed_(plan.strips * plan.columns - plan.resident),
        left_(passes * streamed_),
        whole_(whole_vectors<T>(chains.n, weight)) {
    for (int tile = 0; tile < plan.resident; ++tile)
      fetch_tile(weight_, chains_.n, plan_, place_, tile, slot(tile), whole_);
    __pipeline_commit();
    for (int ahead = 0; ahead + 1 < plan.ring; ++ahead) fetch_next();
    wait_for_all_but(plan.ring - 1);
    if (chains_.rectify)
      for (int tile = 0; tile < plan.resident; ++tile) rectify_tile(slot(tile));
  }

  // Tile `index`, for all threads; the one asked for before is given up. A barrier for the block.
  __device__ const T* next(int index) {
    if (index < plan_.resident) {
      __syncthreads();
      return slot(index);
    }
    wait_for_all_but(plan_.ring - 2);
    T* arrived = slot(plan_.resident + current_);
    if (chains_.rectify) rectify_tile(arrived);
    __syncthreads();
    fetch_next();
    current_ = (current_ + 1) % plan_.ring;
    return arrived;
  }

 private:
  __device__ T* slot(int index) const { return memory_ + static_cast<int64_t>(index) * Tile<T>::kSize; }

  // The copies begun last; the instruction wants a constant.
  __device__ void wait_for_all_but(int last) {
    if (last == 2)
      __pipeline_wait_prior(2);
    else if (last == 1)
      __pipeline_wait_prior(1);
    else
      __pipeline_wait_prior(0);
  }

  __device__ void fetch_next() {
    if (left_ > 0) {
      fetch_tile(weight_, chains_.n, plan_, place_, plan_.resident + next_, slot(plan_.resident + free_), whole_);
      next_ = (next_ + 1) % streamed_;
      free_ = (free_ + 1) % plan_.ring;
      --left_;
    }
    __pipeline_commit();
  }

  const Chains<T>& chains_;
  const ChainPlan& plan_;
  const Place<T>& place_;
  const T* weight_;
  T* memory_;
  int streamed_;
  int64_t left_;
  bool whole_;
  int next_ = 0, free_ = 0, current_ = 0;
};

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
    Tiles<T> tiles(chains, plan, place, chains.weight_hh + static_cast<int64_t>(graph) * n * n, shared.tiles,
                   static_cast<int64_t>(hops - 1) * passes);

    for (int step = 0; step < hops; ++step) {
      const int64_t forward_written = step % 2 * forward_size, forward_read = forward_size - forward_written;
      const int64_t backward_written = step % 2 * backward_size, backward_read = backward_size - backward_written;

      for (int index = 0; index < passes; ++index) {
        const Pass pass(index, plan, forward_groups, backward_groups);
        const int parts = pass.parts, own_group = warp / parts, own_part = warp % parts;
        const bool does_rows = own_group < pass.forwards;
        const bool does_columns = !does_rows && own_group < pass.forwards + pass.backwards;
        const int backward_vectors = pass.backwards * vb;

        // The forward vectors of the region's columns.
        __syncthreads();
        for (int at = threadIdx.x; at < pass.forwards * vf * (region_columns / kPack); at += kThreads) {
          const int pack = at % (region_columns / kPack), vector = at / (region_columns / kPack);
          const int c = pass.first_forwards * vf + vector, unit = place.first_column + pack * kPack;
          const Vector<T> sum = gather(chains, forwards, graph, step, c, unit, forward_parts + forward_read,
                                       plan.block_columns, padded_n);
          sum.store(shared.forwards + vector * region_columns + pack * kPack);
          if (pack / column_share == place.block_row) keep(chains, forwards, graph, step, c, unit, sum);
        }

        T sums[kSums<T>] = {};
        for (int strip = 0; strip < plan.strips; ++strip) {
          // The backward vectors of the rows of this strip and some that follow.
          if (strip % plan.backward_strips == 0) {
            if (strip > 0) __syncthreads();
            for (int at = threadIdx.x; at < backward_vectors * strip_packs; at += kThreads) {
              const int vector = at % backward_vectors, pack = at / backward_vectors;  // spreads over the banks
              const int of_region = strip * kRows / kPack + pack;
              const int c = pass.first_backwards * vb + vector, unit = place.first_row + of_region * kPack;
              const Vector<T> sum = gather(chains, backwards, graph, step, c, unit, backward_parts + backward_read,
                                           plan.block_rows, padded_n);
#pragma unroll
              for (int j = 0; j < kPack; ++j)
                shared.backwards[(pack * kPack + j) * backward_vectors + vector] = sum.at[j];
              if (of_region < plan.strips * kRows / kPack && of_region / row_share == place.block_column)
                keep(chains, backwards, graph, step, c, unit, sum);
            }
          }
          if (step + 1 == hops) continue;

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
      if (step + 1 < hops || turn + 1 < turns) wait_for_other_blocks(plan.barrier);
    }
  }
}

// Rough times of one hop, in microseconds, to choose between layouts; only their proportions matter.
constexpr double kGridBarrier = 1.5, kClusterBarrier = 0.5, kBlockBarrier = 0.1;
constexpr double kMultiplyAddsPerMicrosecond = 1.2e5;  // of a multiprocessor, float32
constexpr double kStreamedBytesPerMicrosecond = 2e4;   // of a multiprocessor, from device memory
constexpr double kExchangedBytesPerMicrosecond = 6e4;  // of a multiprocessor, through the second-level cache
constexpr int kMaxClusterSize = 8, kHasClusters = 90;

template <typename T>
int vectors_of(int width) {
  return width <= 1 ? 1 : width <= 2 ? 2 : width <= 4 ? 4 : kMaxVectors<T>;
}

// Completes a plan whose region is chosen, for groups of so many vectors; false where shared memory is too small.
template <typename T>
bool fit_groups(const Chains<T>& chains, int64_t shared_limit, ChainPlan& plan) {
  const int forward_groups = groups_of(chains.forwards.width, plan.vectors_forwards);
  const int backward_groups = groups_of(chains.backwards.width, plan.vectors_backwards);
  const int tiles = plan.strips * plan.columns;
  const auto fits = [&] {
    plan.shared_bytes = Shared<T>(nullptr, plan, forward_groups, backward_groups).bytes;
    return plan.shared_bytes <= shared_limit;
  };
  for (plan.groups_per_pass = std::min(kWarps, forward_groups + backward_groups); plan.groups_per_pass > 0;
       plan.groups_per_pass /= 2) {
    // All tiles on chip,
    plan.backward_strips = plan.strips;
    plan.resident = tiles;
    plan.ring = 0;
    for (plan.most_parts = kWarps; plan.most_parts > 2; plan.most_parts /= 2)
      if (fits()) return true;
    // or some, and the deeper the ring the better.
    plan.resident = 0;
    for (plan.ring = kMaxRing; plan.ring >= 2; --plan.ring)
      for (plan.most_parts = kWarps; plan.most_parts > 0; plan.most_parts /= 2) {
        plan.backward_strips = plan.strips;
        while (!fits() && plan.backward_strips > 1) plan.backward_strips = (plan.backward_strips + 1) / 2;
        if (plan.shared_bytes > shared_limit) continue;
        const int64_t more = (shared_limit - plan.shared_bytes) / (Tile<T>::kSize * static_cast<int64_t>(sizeof(T)));
        plan.resident = static_cast<int>(std::min<int64_t>(more, tiles - 1));
        return fits();
      }
  }
  return false;
}

// The same for groups as large as they can be.
template <typename T>
bool fit(const Chains<T>& chains, int64_t shared_limit, ChainPlan& plan) {
  while (!fit_groups(chains, shared_limit, plan)) {
    if (plan.vectors_forwards == 1 && plan.vectors_backwards == 1) return false;
    plan.vectors_forwards = std::max(1, plan.vectors_forwards / 2);
    plan.vectors_backwards = std::max(1, plan.vectors_backwards / 2);
  }
  return true;
}

template <typename T>
double time_of_hop(const Chains<T>& chains, const ChainPlan& plan) {
  const double tile = kRows * Tile<T>::kColumns, tiles = plan.strips * plan.columns;
  const double forwards = chains.forwards.width, backwards = chains.backwards.width;
  const int groups = groups_of(chains.forwards.width, plan.vectors_forwards) +
                     groups_of(chains.backwards.width, plan.vectors_backwards);
  const double passes = static_cast<double>(ceil_div(groups, plan.groups_per_pass));
  const double compute = tiles * tile * (forwards + backwards) / kMultiplyAddsPerMicrosecond * (sizeof(T) / 4.0);
  const double stream = passes * (tiles - plan.resident) * tile * sizeof(T) / kStreamedBytesPerMicrosecond;
  const double gathered = chains.n * (forwards + backwards);
  const double written = forwards * plan.strips * kRows + backwards * plan.columns * Tile<T>::kColumns;
  const double barrier = plan.barrier == ChainPlan::Barrier::kGrid      ? kGridBarrier
                         : plan.barrier == ChainPlan::Barrier::kCluster ? kClusterBarrier
                                                                        : kBlockBarrier;
  // Few copies under way, or few warps at work, cost something too.
  const bool cramped = (plan.ring && plan.ring < kMaxRing) || plan.most_parts < kWarps;
  return std::max(compute, stream) * (cramped ? 1.2 : 1.0) +
         (gathered + written) * sizeof(T) / kExchangedBytesPerMicrosecond + barrier;
}

// The best layout of one graph on at most `blocks` blocks.
template <typename T>
bool divide(const Chains<T>& chains, int64_t shared_limit, int blocks, ChainPlan::Barrier barrier, ChainPlan& best) {
  const int64_t rows = ceil_div(chains.n, kRows), columns = ceil_div(chains.n, Tile<T>::kColumns);
  double best_time = 0;
  bool found = false;
  int strips_before = 0;
  for (int64_t wish = 1; wish <= std::min<int64_t>(blocks, rows); ++wish) {
    ChainPlan plan = best;
    plan.barrier = barrier;
    plan.strips = static_cast<int>(ceil_div(rows, wish));
    if (plan.strips == strips_before) continue;
    strips_before = plan.strips;
    plan.block_rows = static_cast<int>(ceil_div(rows, plan.strips));
    plan.columns = static_cast<int>(ceil_div(columns, std::max(1, blocks / plan.block_rows)));
    plan.block_columns = static_cast<int>(ceil_div(columns, plan.columns));
    const int used = plan.block_rows * plan.block_columns;
    if (barrier == ChainPlan::Barrier::kCluster && (used < 2 || (used & (used - 1)))) continue;
    if (!fit(chains, shared_limit, plan)) continue;
    const double time = time_of_hop(chains, plan);
    if (found && time >= best_time) continue;
    best = plan;
    best_time = time;
    found = true;
  }
  return found;
}

template <typename T>
ChainPlan make_plan(const Chains<T>& chains) {
  const DeviceProperties& device = device_properties();
  const int64_t limit = device.shared_per_block;
  ChainPlan plan = {};
  plan.vectors_forwards = vectors_of<T>(chains.forwards.width);
  plan.vectors_backwards = vectors_of<T>(chains.backwards.width);
  plan.padded_n = static_cast<int>(ceil_div(chains.n, Vector<T>::kSize) * Vector<T>::kSize);
  ChainPlan best;
  double best_time = 0;
  bool found = false;
  const auto consider = [&](int blocks, ChainPlan::Barrier barrier) {
    ChainPlan candidate = plan;
    if (!divide(chains, limit, blocks, barrier, candidate)) return;
    const int used = candidate.block_rows * candidate.block_columns;
    const int64_t at_once = std::min<int64_t>(chains.graphs, std::max(1, device.multiprocessors / used));
    // Blocks that need not run all at once: some more of them even out.
    const int64_t groups = barrier == ChainPlan::Barrier::kGrid ? at_once : 2 * at_once;
    candidate.groups = static_cast<int>(std::min<int64_t>(chains.graphs, groups));
    const double time = static_cast<double>(ceil_div(chains.graphs, at_once)) * time_of_hop(chains, candidate);
    if (found && time >= best_time) return;
    best = candidate;
    best_time = time;
    found = true;
  };
  consider(1, ChainPlan::Barrier::kBlock);
  if (compiled_for(address(advance_chains_kernel<T>)) >= kHasClusters)
    for (int blocks = 2; blocks <= kMaxClusterSize; blocks *= 2) consider(blocks, ChainPlan::Barrier::kCluster);
  consider(device.multiprocessors / std::min(chains.graphs, device.multiprocessors), ChainPlan::Barrier::kGrid);
  consider(device.multiprocessors, ChainPlan::Barrier::kGrid);
  if (!found) throw std::runtime_error("rrnn_ext: too little shared memory on this CUDA device");
  return best;
}

}  // namespace

template <typename T>
ChainPlan plan_chains(const Chains<T>& chains) {
  // Making one takes longer than a launch; a network asks for the same one at every step.
  using Key = std::array<int, 5>;
  static thread_local std::map<Key, ChainPlan> made;
  constexpr size_t kMost = 1024;
  const Key key{device_properties().device, chains.graphs, chains.n, chains.forwards.width, chains.backwards.width};
  const auto found = made.find(key);
  if (found != made.end()) return found->second;
  if (made.size() == kMost) made.clear();
  return made[key] = make_plan(chains);
}

template <typename T>
void advance_chains(const Chains<T>& chains, const ChainPlan& plan, T* exchange, cudaStream_t stream) {
  const int blocks = plan.block_rows * plan.block_columns;
  LaunchShape shape{dim3(static_cast<unsigned>(plan.groups * blocks)), kThreads,
                    static_cast<size_t>(plan.shared_bytes)};
  shape.cooperative = plan.barrier == ChainPlan::Barrier::kGrid;
  shape.cluster = plan.barrier == ChainPlan::Barrier::kCluster ? blocks : 1;
  launch(advance_chains_kernel<T>, shape, stream, chains, plan, exchange);
}

template ChainPlan plan_chains(const Chains<float>&);
template ChainPlan plan_chains(const Chains<double>&);
template void advance_chains(const Chains<float>&, const ChainPlan&, float*, cudaStream_t);
template void advance_chains(const Chains<double>&, const ChainPlan&, double*, cudaStream_t);

}  // namespace rrnn::cuda
