// Strong components in one pass over the stored values: Tarjan's algorithm (1972), with a stack of its own in place of
// recursion, which a path of 10^5 units would overflow.
#include "cpu/algorithms/strong_components.h"

#include <algorithm>

#include "cpu/algorithms/scratch.h"

namespace rrnn::cpu {

void strong_components(const SparseRows& rows, int32_t* labels) {
  const int64_t n = rows.n;
  constexpr int32_t kUnseen = -1;
  const Scratch<int32_t> order = scratch<int32_t>(n);  // when a unit was first seen
  const Scratch<int32_t> low = scratch<int32_t>(n);    // the earliest unit that it is known to reach
  const Scratch<int32_t> next = scratch<int32_t>(n);   // its stored value to be followed next
  const Scratch<int32_t> path = scratch<int32_t>(n), open = scratch<int32_t>(n);
  std::fill_n(order.get(), n, kUnseen);
  std::fill_n(labels, n, kUnseen);
  int32_t seen = 0, components = 0;
  int64_t path_length = 0, open_count = 0;
  const auto enter = [&](int32_t unit) {
    order[unit] = low[unit] = seen++;
    next[unit] = rows.crow[unit];
    path[path_length++] = unit;
    open[open_count++] = unit;
  };
  for (int32_t start = 0; start < n; ++start) {
    if (order[start] != kUnseen) continue;
    enter(start);
    while (path_length > 0) {
      const int32_t unit = path[path_length - 1];
      if (next[unit] < rows.crow[unit + 1]) {
        const int32_t other = rows.columns[next[unit]++];
        if (order[other] == kUnseen)
          enter(other);
        else if (labels[other] == kUnseen)
          low[unit] = std::min(low[unit], order[other]);
        continue;
      }
      --path_length;
      if (path_length > 0) low[path[path_length - 1]] = std::min(low[path[path_length - 1]], low[unit]);
      if (low[unit] != order[unit]) continue;
      int32_t member;
      do {
        member = open[--open_count];
        labels[member] = components;
      } while (member != unit);
      ++components;
    }
  }
}

}  // namespace rrnn::cpu
