// Rows of a sparse matrix that no cache holds: what is stored is asked for some time before it is its turn, as
// processors do not look ahead far, nor over the end of a page.
#pragma once

#include <cstdint>

namespace RRNN_ISA {

// Whether a thread's rows, of a SparseProduct or a SparseGradient, are such.
template <typename Pass>
inline bool is_far(const Pass& pass) {
  constexpr int64_t kFarEdges = 1 << 20;
  return pass.crow[pass.end] - pass.crow[pass.begin] > kFarEdges;
}

template <typename Pass>
inline void ask_for_edges(const Pass& pass, int64_t k) {
  constexpr int64_t kAhead = 512;
  __builtin_prefetch(pass.columns + k + kAhead);
  if constexpr (requires { pass.values; }) __builtin_prefetch(pass.values + k + kAhead);
  if (pass.grad) __builtin_prefetch(pass.grad + k + kAhead);
}

}  // namespace RRNN_ISA
