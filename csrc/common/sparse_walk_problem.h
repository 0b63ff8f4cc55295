// Walks of finite length through a sparse recurrent matrix: all there is to say of them, for every device.
#pragma once

#include <cstdint>

#include "common/edge.h"
#include "common/sparse_rows.h"

namespace rrnn {

// Vectors of a side, `count` of them over the units: dense ones, or columns of the identity, which are those of `units`
// where they are given and else all of them.
template <typename T>
struct Side {
  int64_t count;
  const T* dense;
  int64_t unit_stride, vector_stride;  // of dense
  const int64_t* units;

  // One more edge of each walk: what is left out altogether is none.
  RRNN_INLINE bool is_edge() const { return dense || units; }
  RRNN_INLINE int64_t place(int64_t unit, int64_t vector) const { return unit * unit_stride + vector * vector_stride; }
  RRNN_INLINE int64_t unit_of(int64_t vector) const { return units ? units[vector] : vector; }  // unless dense
};

// P_m = alpha^e phi(V) A^m phi(U), m < hops, as in walk_problem.h. The narrower side's vectors, `start`, are carried
// through A, by rows `forth`, or from the outputs through A', by the rows of that.
template <typename T>
struct SparseWalkProblem {
  bool from_inputs;
  SparseRows forth, back;  // of the matrix that carries the vectors, and of its transpose
  Side<T> start, other;
  int64_t hops;
  T alpha;
  bool rectify;
  bool per_hop;
  const T* hop_weights;  // (hops) factors of the sum, or of the norms of the hops; null: ones

  RRNN_INLINE int64_t n() const { return forth.n; }
  RRNN_INLINE int64_t terms() const { return per_hop ? hops : 1; }
  RRNN_INLINE int64_t pairs() const { return start.count * other.count; }
  RRNN_INLINE T edges() const { return start.is_edge() && other.is_edge() ? alpha * alpha : alpha; }
  RRNN_INLINE T hop_weight(int64_t m) const { return hop_weights ? hop_weights[m] : T(1); }
  // In (outputs, inputs), where c is a vector of the start and q one of the other side.
  RRNN_INLINE int64_t pair(int64_t c, int64_t q) const {
    return from_inputs ? q * start.count + c : c * other.count + q;
  }
};

// What is wanted of the walks of a problem; what is null is not. Sums of walks are (terms, outputs, inputs).
template <typename T>
struct SparseWalksCall {
  SparseWalkProblem<T> problem;
  SparseRows rows;  // of the matrix as it was given, with its values
  const T* values;
  int64_t edges;
  const int32_t* from;  // the k-th value by columns is values[from[k]]
  T* walks;

  // The penalty: *grad_value times its derivative is then the gradient of the walks.
  T* value;
  Norm norm;
  const T* pair_weights;
  const T* grad_value;

  // Of grad_walks or, where that is null, of the penalty. The gradients of sides that are not dense are null.
  bool gradients;
  const T* grad_walks;
  T* grad_values;
  T* grad_start;
  T* grad_other;
};

}  // namespace rrnn
