// Where walks through a sparse matrix begin and end: bundles of W vectors, stored unit by unit, and the two sides.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/sparse_walk_problem.h"
#include "cpu/kernels/kernels.h"

namespace rrnn::cpu {

// W numbers of each unit, those of unit r at data + r * ld.
template <typename T>
struct Bundle {
  T* data;
  int64_t ld;
  T* of(int64_t unit) const { return data + unit * ld; }
};

// The other side's vectors that are taken together.
inline constexpr int64_t kOthers = 8;

// bundle = phi(start) at `units`, of the side's vectors from `first` to `last`; zero beside them.
template <int W, typename T>
void begin_bundle(const Side<T>& side, bool rectify, int64_t first, int64_t last, Range units, Bundle<T> bundle) {
  for (int64_t r = units.begin; r < units.end; ++r)
    for (int64_t c = 0; c < W; ++c)
      bundle.of(r)[c] = side.dense && first + c < last ? phi(side.dense[side.place(r, first + c)], rectify) : T(0);
  if (side.dense) return;
  for (int64_t c = first; c < last; ++c) {
    const int64_t unit = side.unit_of(c);
    if (units.begin <= unit && unit < units.end) bundle.of(unit)[c - first] = 1;
  }
}

// ends[q] = scale phi(other)[q] . bundle, W numbers each, for the `others`.
template <int W, typename T>
void read_out(const Side<T>& side, bool rectify, T scale, int64_t n, Bundle<T> bundle, Range others, T* ends) {
  if (!side.dense) {
    for (int64_t q = others.begin; q < others.end; ++q)
      for (int64_t c = 0; c < W; ++c) ends[q * W + c] = scale * bundle.of(side.unit_of(q))[c];
    return;
  }
  for (int64_t begin = others.begin; begin < others.end; begin += kOthers) {
    const int64_t count = std::min(kOthers, others.end - begin);
    T sums[kOthers][W] = {};
    for (int64_t r = 0; r < n; ++r) {
      const T* from = bundle.of(r);
      for (int64_t q = 0; q < count; ++q) {
        const T weight = phi(side.dense[side.place(r, begin + q)], rectify);
        for (int64_t c = 0; c < W; ++c) sums[q][c] += weight * from[c];
      }
    }
    for (int64_t q = 0; q < count; ++q)
      for (int64_t c = 0; c < W; ++c) ends[(begin + q) * W + c] = scale * sums[q][c];
  }
}

// bundle = scale phi(other)' ends at `units`.
template <int W, typename T>
void lift(const Side<T>& side, bool rectify, T scale, const T* ends, Range units, Bundle<T> bundle) {
  for (int64_t r = units.begin; r < units.end; ++r) std::fill_n(bundle.of(r), W, T(0));
  if (!side.dense) {
    for (int64_t q = 0; q < side.count; ++q) {
      const int64_t unit = side.unit_of(q);
      if (units.begin <= unit && unit < units.end)
        for (int64_t c = 0; c < W; ++c) bundle.of(unit)[c] += scale * ends[q * W + c];
    }
    return;
  }
  for (int64_t begin = 0; begin < side.count; begin += kOthers) {
    const int64_t count = std::min(kOthers, side.count - begin);
    for (int64_t r = units.begin; r < units.end; ++r) {
      T* to = bundle.of(r);
      T sum[W] = {};
      for (int64_t q = 0; q < count; ++q) {
        const T weight = phi(side.dense[side.place(r, begin + q)], rectify);
        for (int64_t c = 0; c < W; ++c) sum[c] += weight * ends[(begin + q) * W + c];
      }
      for (int64_t c = 0; c < W; ++c) to[c] += scale * sum[c];
    }
  }
}

// grad (+)= bundle as the gradient of the side's vectors from `first` to `last`, at `units`.
template <int W, typename T>
void start_gradient(const Side<T>& side, bool rectify, int64_t first, int64_t last, Range units, Bundle<T> bundle,
                    T* grad) {
  for (int64_t r = units.begin; r < units.end; ++r)
    for (int64_t c = first; c < last; ++c) {
      const int64_t at = side.place(r, c);
      grad[at] = times_phi_derivative(bundle.of(r)[c - first], side.dense[at], rectify);
    }
}

// grad (+)= scale phi'(other) times ends[q] . bundle[r] for each vector q and unit r of `units`, with the sign of what
// it was made of at the end.
template <int W, typename T>
void other_gradient(const Side<T>& side, bool rectify, T scale, const T* ends, Range units, Bundle<T> bundle,
                    bool accumulate, T* grad) {
  for (int64_t begin = 0; begin < side.count; begin += kOthers) {
    const int64_t count = std::min(kOthers, side.count - begin);
    T across[W][kOthers] = {};  // a unit's gradients are made together
    for (int64_t q = 0; q < count; ++q)
      for (int64_t c = 0; c < W; ++c) across[c][q] = scale * ends[(begin + q) * W + c];
    for (int64_t r = units.begin; r < units.end; ++r) {
      T sums[kOthers] = {};
      for (int64_t c = 0; c < W; ++c)
        for (int64_t q = 0; q < kOthers; ++q) sums[q] += across[c][q] * bundle.of(r)[c];
      for (int64_t q = 0; q < count; ++q) {
        const int64_t at = side.place(r, begin + q);
        const T value = times_phi_derivative(sums[q], side.dense[at], rectify);
        grad[at] = accumulate ? grad[at] + value : value;
      }
    }
  }
}

}  // namespace rrnn::cpu
