// Bundles of vectors carried hop by hop through one matrix, from the inputs, from the outputs, or both at once.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace rrnn::cuda {

// x_{s+1} = A x_s + inflow_{s+1} (a bundle that goes forwards), or A' x_s + ... (one that goes backwards).
// Every bundle is stored vector by vector: unit r of vector c at [c * n + r].
template <typename T>
struct Bundle {
  int width = 0;                             // vectors; 0: there is no such bundle
  T* chain = nullptr;                        // receives x_s, or, at hops - 1 - s where `last_hop_first`, the same
  int64_t chain_stride = 0, hop_stride = 0;  // from the end; from graph to graph, and from hop to hop of (width, n)

  // Either x_0 = phi(start), and nothing flows in later: unit r of vector c of a graph at
  // start[graph * n * width + r * unit_stride + c * vector_stride],
  const T* start = nullptr;
  int unit_stride = 0, vector_stride = 0;

  // or inflow of hop m, (graphs, inflow_terms, width, n) with one term for each hop or one for all, times
  // hop_weights[m] (hop_weights_stride apart for each graph) where there are any. Hop m is m steps from the end.
  bool last_hop_first = false;
  const T* inflow = nullptr;
  int inflow_terms = 1;
  const T* hop_weights = nullptr;
  int hop_weights_stride = 0;
};

template <typename T>
struct Chains {
  int graphs, n, hops;
  const T* weight_hh;  // (graphs, n, n)
  T alpha;
  bool rectify;
  Bundle<T> forwards, backwards;
  unsigned* zeros = nullptr;  // (graphs) set to zero, for kernels that follow; or null
};

// How the work is laid out; a function of the sizes and the device.
struct ChainPlan {
  enum class Barrier { kBlock, kCluster, kGrid };
  Barrier barrier;
  int block_rows, block_columns;            // blocks of one graph: regions of weight_hh
  int strips, columns;                      // tiles of one region
  int groups;                               // graphs under way at once
  int vectors_forwards, vectors_backwards;  // of a group of vectors: 1, 2, 4 or 8
  int groups_per_pass;                      // groups of vectors that one pass over a region serves
  int most_parts;                           // at most so many warps share the products of a group
  int backward_strips;                      // strips whose part of the backward bundle is on chip at a time
  int resident, ring;                       // tiles of a region that stay on chip, and slots for those that do not
  int padded_n;                             // a multiple of a vector's size
  int64_t shared_bytes;

  // Of numbers, for what travels between blocks.
  int64_t exchange_size(int64_t width_forwards, int64_t width_backwards) const {
    return int64_t{2} * groups * padded_n * (width_forwards * block_columns + width_backwards * block_rows);
  }
};

template <typename T>
ChainPlan plan_chains(const Chains<T>& chains);

// Fills the chains in one launch. `exchange` holds plan.exchange_size(...) numbers.
template <typename T>
void advance_chains(const Chains<T>& chains, const ChainPlan& plan, T* exchange, cudaStream_t stream);

}  // namespace rrnn::cuda
