// The tiles of a block's region of the matrix, on their way from device memory.
#pragma once

#include "common/edge.h"
#include "cuda/device/device.h"
#include "cuda/device/vector.h"
#include "cuda/kernels/chain_layout.h"

namespace rrnn::cuda::chain_layout {

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

}  // namespace rrnn::cuda::chain_layout
