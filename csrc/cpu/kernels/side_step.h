// What the kernels of where walks through a sparse matrix begin and end are told.
#pragma once

#include <cstdint>

#include "common/sparse_walk_problem.h"

namespace rrnn::cpu {

// A side's vectors from `first` to `last`, at the units from `begin` to `end`; element c of unit r of the bundle lies
// at bundle[r * width + c], and of vector q of the ends at ends[q * width + c].
template <typename T>
struct SideStep {
  Side<T> side;
  bool rectify;
  T scale;
  int64_t width;  // 1, 4, 8 or 16
  int64_t first, last;
  int64_t begin, end;
  T* bundle;
  T* ends = nullptr;
  T* grad = nullptr;  // of the side
  bool accumulate = false;
};

}  // namespace rrnn::cpu
