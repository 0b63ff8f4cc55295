// A thread's part of the rows of a sparse matrix, and checks of where its values stand.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/sparse_graph.h"
#include "cpu/algorithms/team.h"

namespace rrnn::cpu {

// Rows with about as many stored values (and rows) as every other member's.
inline Range share_rows(const Team& team, const SparseRows& rows) {
  const int64_t edges = rows.n ? rows.crow[rows.n] : 0;
  const Range work = team.share(edges + rows.n);
  const auto row_at = [&](int64_t bound) {  // the first row before which so much work is done
    int64_t low = 0, high = rows.n;
    while (low < high) {
      const int64_t middle = (low + high) / 2;
      if (rows.crow[middle] + middle < bound)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  };
  return {row_at(work.begin), work.end == edges + rows.n ? rows.n : row_at(work.end)};
}

// Whether all of `count` indices are from 0 to below `end`: then no sign bit is set of them, nor of what is left to the
// last one.
inline bool all_below(int64_t end, const int32_t* indices, int64_t count) {
  const auto last = static_cast<uint32_t>(end - 1);
  uint32_t signs = 0;
  for (int64_t k = 0; k < count; ++k) {
    const auto index = static_cast<uint32_t>(indices[k]);
    signs |= index | (last - index);
  }
  return signs >> 31 == 0;
}

// Refuses indices that lead elsewhere: a direct call of an op must not read what is not there.
inline void check_rows(const char* name, const SparseRows& rows, int64_t edges) {
  bool rising = rows.crow[0] == 0 && rows.crow[rows.n] == edges;
  for (int64_t r = 0; r < rows.n; ++r) rising &= rows.crow[r] <= rows.crow[r + 1];
  STD_TORCH_CHECK(rising, name, " must rise from 0 to the number of values, ", edges);
  STD_TORCH_CHECK(all_below(rows.n, rows.columns, edges), name, " has a column or row outside 0 .. ", rows.n,
                  " beside it");
}

inline void check_from(const int32_t* from, int64_t edges) {
  STD_TORCH_CHECK(all_below(edges, from, edges), "t_from must be from 0 to below the number of values, ", edges);
}

}  // namespace rrnn::cpu
