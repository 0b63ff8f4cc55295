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

template <typename T>
inline void ask_for_edges(const int32_t* columns, const T* values, int64_t k) {
  constexpr int64_t kAhead = 512;
  __builtin_prefetch(columns + k + kAhead);
  __builtin_prefetch(values + k + kAhead);
}

}  // namespace RRNN_ISA
