// Walks of finite length from inputs to outputs through a recurrent matrix W: all there is to say of them but W itself.
#pragma once

#include <cstdint>

#include "common/edge.h"

namespace rrnn {

// P_m = alpha^e phi(V) A^m phi(U), m < hops, for A = alpha phi(W); e counts the given ones of U and V. Row-major and
// dense.
template <typename T>
struct WalkProblem {
  int64_t n, inputs, outputs, hops;
  const T* weight_in;   // (n, inputs), or null: the identity
  const T* weight_out;  // (outputs, n), or null: the identity; one of the two is given
  T alpha;
  bool rectify;
  bool per_hop;          // each P_m for itself rather than their sum
  const T* hop_weights;  // (hops) factors of the sum, or null: ones

  // The narrower side's vectors are carried through W (from the inputs) or its transpose (from the outputs).
  RRNN_INLINE bool from_inputs() const { return !weight_out || (weight_in && inputs <= outputs); }
  RRNN_INLINE int64_t width() const { return from_inputs() ? inputs : outputs; }
  RRNN_INLINE int64_t other_width() const { return from_inputs() ? outputs : inputs; }
  RRNN_INLINE const T* start() const { return from_inputs() ? weight_in : weight_out; }
  RRNN_INLINE const T* other() const { return from_inputs() ? weight_out : weight_in; }
  RRNN_INLINE T edges() const { return weight_in && weight_out ? alpha * alpha : alpha; }
  RRNN_INLINE T hop_weight(int64_t m) const { return hop_weights ? hop_weights[m] : T(1); }
  RRNN_INLINE int64_t terms() const { return per_hop ? hops : 1; }
  RRNN_INLINE int64_t pairs() const { return inputs * outputs; }
  // Where c is a vector of the narrower side and q one of the other.
  RRNN_INLINE int64_t pair(int64_t c, int64_t q) const { return from_inputs() ? q * inputs + c : c * inputs + q; }
};

// What the forward keeps for the gradient: vectors carried through W, (hops, width, n). Those of the narrower side, or
// those of both sides, the inputs' first, from which no second pass through W is needed. The caller chooses, by the
// numbers of rrnn_ext.ops.finite_walks.
enum class ChainKind : int64_t { kNone = 0, kNarrow = 1, kBoth = 2 };

}  // namespace rrnn
