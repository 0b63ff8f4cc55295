// Walks of finite length through one recurrent matrix, of a batch of graphs, and the gradient of their sum.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "common/edge.h"
#include "common/walk_problem.h"
#include "cuda/kernels/gradient_rows.h"

namespace rrnn::cuda {

// What overflows on the way comes out as an infinity or a NaN, even where the sum would be finite: values are not
// looked at here, and so nothing is redone in wider numbers as it is on the CPU (csrc/cpu/algorithms/wide_walks.h).
// Hops whose weight is zero take no part, and do not harm those before them.
template <typename T>
struct WalkBatch : WalkProblem<T> {  // whose pointers are those of the first graph
  int64_t graphs;
  const T* weight_hh;          // (graphs, n, n)
  int64_t hop_weights_stride;  // from graph to graph

  bool empty() const { return graphs * this->n * this->width() * this->other_width() == 0; }
};

// The most vectors of a side in a chain of both sides (ChainKind::kBoth).
inline constexpr int64_t kMostOfBoth = 64;

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
  const T* given;       // (graphs, terms, outputs, inputs), or null: a factor times the norm's derivative
  const T* grad_value;  // (graphs), the factor, or null: `strength`
  T strength;
  WalkNorm<T> norm;
};

// Where a forward puts what it makes.
template <typename T>
struct WalkResults {
  ChainKind kind;
  T* walks;                 // (graphs, terms, outputs, inputs)
  T* chain;                 // (graphs, hops, vectors, n) of that kind
  const WalkNorm<T>* norm;  // of the walks, or null: it is not wanted
  T* value;                 // (graphs)
};

// Bytes of scratch memory for the function of the same name.
template <typename T>
int64_t walk_forward_scratch(const WalkBatch<T>& problem, const WalkResults<T>& to);
// Numbers of it.
template <typename T>
int64_t walk_backward_scratch(const WalkBatch<T>& problem, ChainKind kind);
template <typename T>
int64_t norm_of_walks_scratch(const WalkNorm<T>& norm, int64_t graphs);

template <typename T>
void walk_forward(const WalkBatch<T>& problem, const WalkResults<T>& to, void* scratch, cudaStream_t stream);

// value (graphs).
template <typename T>
void norm_of_walks(const WalkNorm<T>& norm, int64_t graphs, T* value, double* scratch, cudaStream_t stream);

// Where the gradients of the weights go. What is written, rather than added to, is without gaps.
template <typename T>
struct WalkGradients {
  GradientRows<T> hh, in, out;
};

template <typename T>
void walk_backward(const WalkBatch<T>& problem, ChainKind kind, const WalkGradient<T>& gradient, const T* chain,
                   const WalkGradients<T>& to, T* scratch, cudaStream_t stream);

// to += the sum over graphs, always in the same order, of a gradient (graphs, rows, columns).
template <typename T>
void add_up_graphs(const T* of_each, int64_t graphs, int64_t rows, int64_t columns, const GradientRows<T>& to,
                   cudaStream_t stream);

}  // namespace rrnn::cuda
