// Where a region of the matrix, its vectors and their sums lie in a block's shared memory: what the kernel of chains
// and its planner agree on.
#pragma once

#include "cuda/device/device.h"
#include "cuda/device/vector.h"
#include "cuda/kernels/chains.h"

namespace rrnn::cuda::chain_layout {

inline constexpr int kThreads = 384, kWarps = kThreads / kWarp;
inline constexpr int kRows = 64;  // of a tile: two for each lane
inline constexpr int kMaxRing = 3;

// Of a group of vectors, which one warp multiplies at once: what its registers hold.
template <typename T>
inline constexpr int kMaxVectors = 32 / sizeof(T);
template <typename T>
struct Tile {
  static constexpr int kPack = Vector<T>::kSize;  // elements that one load brings
  static constexpr int kColumns = kWarp * kPack;
  // Rows begin an odd number of packs apart: lanes that read a column of packs meet no bank twice.
  static constexpr int kStride = kColumns + kPack;
  static constexpr int kSize = kRows * kStride;
};

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

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

__host__ __device__ inline int groups_of(int width, int vectors) { return (width + vectors - 1) / vectors; }

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

// The architecture that the kernel was compiled for (see compiled_for).
template <typename T>
int kernel_architecture();

// Graphs whose clusters of blocks the device runs at once; none where it runs no such cluster.
template <typename T>
int resident_clusters(const ChainPlan& plan);

}  // namespace rrnn::cuda::chain_layout
