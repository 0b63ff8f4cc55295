// Walks of finite length through one recurrent matrix, of a batch of graphs, and the gradient of their sum.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "common/edge.h"

namespace rrnn::cuda {

// What overflows on the way comes out as an infinity or a NaN, even where the sum would be finite: values are not
// looked at here, and so nothing is redone in wider numbers as it is on the CPU (csrc/cpu/wide_walks.h). Hops whose
// weight is zero take no part, and do not harm those before them.
//
// P_m = alpha^e phi(V) (alpha phi(W))^m phi(U), m < hops; e counts the given ones of U and V. Row-major and dense.
template <typename T>
struct Walks {
  int64_t graphs, n, inputs, outputs, hops;
  const T* weight_hh;   // (graphs, n, n)
  const T* weight_in;   // (graphs, n, inputs), or null: the identity
  const T* weight_out;  // (graphs, outputs, n), or null: the identity; one of the two is given
  T alpha;
  bool rectify;
  bool per_hop;                // each P_m for itself rather than their sum
  const T* hop_weights;        // (hops) factors of the sum, or null: ones
  int64_t hop_weights_stride;  // from graph to graph

  // The narrower side's vectors are carried through W (from the inputs) or its transpose (from the outputs).
  __host__ __device__ bool from_inputs() const { return !weight_out || (weight_in && inputs <= outputs); }
  __host__ __device__ int64_t width() const { return from_inputs() ? inputs : outputs; }
  __host__ __device__ int64_t other_width() const { return from_inputs() ? outputs : inputs; }
  __host__ __device__ const T* start() const { return from_inputs() ? weight_in : weight_out; }
  __host__ __device__ const T* other() const { return from_inputs() ? weight_out : weight_in; }
  __host__ __device__ T edges() const { return weight_in && weight_out ? alpha * alpha : alpha; }
  __host__ __device__ int64_t terms() const { return per_hop ? hops : 1; }
  __host__ __device__ int64_t pairs() const { return inputs * outputs; }
  // Where c is a vector of the chain and q one of the other side.
  __host__ __device__ int64_t pair(int64_t c, int64_t q) const {
    return from_inputs() ? q * inputs + c : c * inputs + q;
  }

  // Both sides' vectors in one pass, where the gradient can be made from them and the wider side is little wider.
  bool both_sides() const {
    constexpr int64_t kWidest = 64, kWider = 16;
    const int64_t widest = inputs < outputs ? outputs : inputs;
    return weight_in && weight_out && !per_hop && !hop_weights && hops > 1 && width() > 0 && widest <= kWidest &&
           widest - width() <= kWider;
  }
  // What the gradient needs of each graph: (hops, width, n), and the other side's where it is there too.
  int64_t chain_size() const { return hops * n * (both_sides() ? inputs + outputs : width()); }
  bool empty() const { return graphs * n * width() * other_width() == 0; }
};

// What the walks' norm depends on besides them, and where a gradient by them comes from: given, or that of the norm.
template <typename T>
struct WalkNorm {
  Norm norm;
  const T* term_weights;  // (terms) or null: ones
  int64_t term_weights_stride;
  const T* pair_weights;  // (outputs, inputs) or null: ones
  int64_t pair_weights_stride;
  int64_t terms, pairs;
  const T* walks;  // (graphs, terms, outputs, inputs)
};

template <typename T>
struct WalkGradient {
  const T* given;  // (graphs, terms, outputs, inputs), or null: grad_value (graphs) times the norm's derivative
  const T* grad_value;
  WalkNorm<T> norm;
};

// Numbers of scratch memory for the function of the same name.
template <typename T>
int64_t walk_forward_scratch(const Walks<T>& problem, bool keeps_chain);
template <typename T>
int64_t walk_backward_scratch(const Walks<T>& problem);
template <typename T>
int64_t norm_of_walks_scratch(const WalkNorm<T>& norm, int64_t graphs);

// Fills walks (graphs, terms, outputs, inputs). `chain` (graphs, chain_size), unless null, receives what the gradient
// needs.
template <typename T>
void walk_forward(const Walks<T>& problem, T* walks, T* chain, T* scratch, cudaStream_t stream);

// value (graphs).
template <typename T>
void norm_of_walks(const WalkNorm<T>& norm, int64_t graphs, T* value, double* scratch, cudaStream_t stream);

// The gradients of weight_hh, weight_in and weight_out (null: not given).
template <typename T>
void walk_backward(const Walks<T>& problem, const WalkGradient<T>& gradient, const T* chain, T* grad_hh, T* grad_in,
                   T* grad_out, T* scratch, cudaStream_t stream);

}  // namespace rrnn::cuda
