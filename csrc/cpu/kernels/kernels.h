// The inner loops, one thread each, on raw pointers. `kernels<T>(flops)` gives the set for the instruction set that is
// the fastest one this processor has for a call of so many flops.
//
// Thin bundles of vectors are stored vector by vector: element k of vector c lies at x[c * ldx + k].
#pragma once

#include <cstdint>

#include "common/edge.h"
#include "cpu/kernels/lif_step.h"
#include "cpu/kernels/side_step.h"
#include "cpu/kernels/sparse_step.h"
#include "cpu/kernels/sweep_step.h"

namespace rrnn::cpu {

struct Range {
  int64_t begin, end;
};

// out[r][k] = scale * sum_c left[r * row_stride + c * depth_stride] right[c][k], c < depth; times sign(sign_of[r][k])
// where that is given, plus add[r][k] where that is given, which may be out.
template <typename T>
struct DenseProduct {
  int64_t depth;
  const T* left;
  int64_t row_stride, depth_stride;
  const T* right;
  int64_t ldright;
  T scale = 1;
  const T* add = nullptr;
  int64_t ldadd = 0;
  T* out;
  int64_t ldout;
  const T* sign_of = nullptr;
  int64_t ldsign = 0;
};

// out[c][j] = scale * sum_t factors[t][j] from[c][t][j] (+ add[c][j], which may be out), c < vectors, t < terms,
// j < units: a sum of elementwise products.
template <typename T>
struct HadamardSum {
  int64_t units, vectors, terms;
  const T* factors;
  int64_t factor_stride;  // from term to term
  const T* from;
  int64_t vector_stride, term_stride;
  T scale;
  const T* add;  // or null
  int64_t add_stride;
  T* out;
  int64_t out_stride;
};

// A matrix of so many bytes stays in the second-level cache while it is used.
inline constexpr int64_t kNearBytes = 1 << 18;

template <typename T>
struct Kernels {
  // y[c][r] = scale * sum_k phi(w[r][k]) x[c][k] (+ add[c][r]) for r in rows, c < width; w is (., cols).
  void (*product)(Range rows, int64_t cols, const T* w, int64_t ldw, const T* x, int64_t ldx, int64_t width, T scale,
                  const T* add, int64_t ldadd, T* y, int64_t ldy, bool rectify);
  // y[c][k] = scale * sum_r phi(w[r][k]) x[c][r] (+ add[c][k]) for k in cols, c < width; w is (rows, .).
  void (*product_transposed)(Range cols, int64_t rows, const T* w, int64_t ldw, const T* x, int64_t ldx, int64_t width,
                             T scale, const T* add, int64_t ldadd, T* y, int64_t ldy, bool rectify);
  // out[r][k] (+)= scale * sum_c left[c][r] right[c][k] for r in rows, k < cols, c < depth;
  // times sign(sign_of[r][k]), before it is added to what is there, where sign_of is given.
  void (*outer_product)(Range rows, int64_t cols, int64_t depth, const T* left, int64_t ldleft, const T* right,
                        int64_t ldright, T scale, bool accumulate, const T* sign_of, int64_t ldsign, T* out,
                        int64_t ldout);
  // One pass over rows of w serves both chains of a single pathway: x_next[r] = scale * phi(w[r]) . x and
  // y_next += scale * phi(w[r]) y[r]. `y_next` is this thread's own partial sum.
  void (*two_sided_product)(Range rows, int64_t cols, const T* w, int64_t ldw, const T* x, const T* y, T scale,
                            T* x_next, T* y_next, bool rectify);
  // For r < rows and k < cols, where all of it is in cache.
  void (*dense_product)(int64_t rows, int64_t cols, const DenseProduct<T>& of);
  void (*hadamard_sum)(const HadamardSum<T>& of);
  // to[k][r] = phi(from[r][k]) for r in rows, k < cols.
  void (*transpose)(Range rows, int64_t cols, const T* from, int64_t ldfrom, T* to, int64_t ldto, bool rectify);
  // Whether |x[k]| <= bound for k < count; NaN is not.
  bool (*all_within)(int64_t count, const T* x, T bound);
  // sum_k |walks[k]|, or of their squares, k < count; and slopes[k] = grad times the derivative of the size.
  double (*walk_sizes)(Norm norm, int64_t count, const T* walks);
  void (*walk_slopes)(Norm norm, int64_t count, const T* walks, T grad, T* slopes);
  // The inverse of m (n, n), which is overwritten; scratch is room for 17 n numbers.
  void (*gauss_jordan)(int64_t n, T* m, T* inverse, T* scratch);
  // A time step of leaky integrate-and-fire neurons, and the gradient of one.
  void (*lif_forward)(const LifForwardStep<T>& step);
  void (*lif_backward)(const LifBackwardStep<T>& step);
  // out[k] = base[k] + sum_e factors[e] rows[at[e]][k] for k < cols, e < events.
  void (*add_rows)(int64_t cols, int64_t events, const int32_t* at, const T* factors, const T* rows, int64_t ldrows,
                   const T* base, T* out);
  // rows[at[e]][k] += factors[e] x[k] for k < cols, e < events.
  void (*add_to_rows)(int64_t cols, int64_t events, const int32_t* at, const T* factors, const T* x, T* rows,
                      int64_t ldrows);
  // Of a sparse matrix, whose vectors are stored unit by unit.
  void (*sparse_product)(const SparseProduct<T>& product);
  void (*sparse_gradient)(const SparseGradient<T>& gradient);
  void (*sparse_sweep)(const SparseSweep<T>& sweep);
  // bundle = phi(side): its vectors, from the first on; zeros beside them.
  void (*begin_bundle)(const SideStep<T>& step);
  // ends[q] = scale phi(side)[q] . bundle for its vectors q, over the units.
  void (*read_out)(const SideStep<T>& step);
  // bundle = scale phi(side)' ends, of all its vectors.
  void (*lift)(const SideStep<T>& step);
  // grad = phi'(side) bundle, as the gradient of its vectors, from the first on.
  void (*start_gradient)(const SideStep<T>& step);
  // grad (+)= scale phi'(side) times ends[q] . bundle[r] for all its vectors q and each unit r.
  void (*other_gradient)(const SideStep<T>& step);
  int64_t transposed_bytes;  // up to which a transposed copy of W is worth its making; at most kNearBytes
  const char* isa;
};

template <typename T>
const Kernels<T>& kernels(double flops);

}  // namespace rrnn::cpu
