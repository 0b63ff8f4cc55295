// Where walks through a sparse matrix begin and end: bundles of vectors, stored unit by unit, and the two sides.
#pragma once

#include <cstring>
#include <type_traits>

#include "common/edge.h"
#include "cpu/kernels/kernels.h"
#include "cpu/kernels/simd.h"

namespace RRNN_ISA {

using rrnn::cpu::SideStep;

// A side's vectors that are taken together.
inline constexpr int64_t kVectorsTogether = 8;

template <typename T, int W>
void begin_bundle_of(const SideStep<T>& s) {
  const rrnn::Side<T>& side = s.side;
  const int64_t count = s.last - s.first;
  for (int64_t r = s.begin; r < s.end; ++r) {
    T* to = s.bundle + r * W;
    std::memset(to, 0, W * sizeof(T));
    if (!side.dense) continue;
    const T* from = side.dense + side.place(r, s.first);
    for (int64_t c = 0; c < count; ++c) to[c] = rrnn::phi(from[c * side.vector_stride], s.rectify);
  }
  if (side.dense) return;
  for (int64_t c = 0; c < count; ++c) {
    const int64_t unit = side.unit_of(s.first + c);
    if (s.begin <= unit && unit < s.end) s.bundle[unit * W + c] = 1;
  }
}

// f(begin, count) for groups of the vectors from `first` to `last`, count a constant where the group is full.
template <typename F>
inline void by_vectors(int64_t first, int64_t last, const F& f) {
  int64_t begin = first;
  for (; begin + kVectorsTogether <= last; begin += kVectorsTogether)
    f(begin, std::integral_constant<int64_t, kVectorsTogether>{});
  if (begin < last) f(begin, last - begin);
}

template <typename T, int W>
void read_out_of(const SideStep<T>& s) {
  const rrnn::Side<T>& side = s.side;
  if (!side.dense) {
    for (int64_t q = s.first; q < s.last; ++q)
      for (int64_t c = 0; c < W; ++c) s.ends[q * W + c] = s.scale * s.bundle[side.unit_of(q) * W + c];
    return;
  }
  by_vectors(s.first, s.last, [&](int64_t first, auto count) {
    T sums[kVectorsTogether][W] = {};
    for (int64_t r = s.begin; r < s.end; ++r) {
      const T *weights = side.dense + side.place(r, first), *from = s.bundle + r * W;
      for (int64_t q = 0; q < count; ++q) {
        const T weight = rrnn::phi(weights[q * side.vector_stride], s.rectify);
        for (int64_t c = 0; c < W; ++c) sums[q][c] += weight * from[c];
      }
    }
    for (int64_t q = 0; q < count; ++q)
      for (int64_t c = 0; c < W; ++c) s.ends[(first + q) * W + c] = s.scale * sums[q][c];
  });
}

template <typename T, int W>
void lift_of(const SideStep<T>& s) {
  const rrnn::Side<T>& side = s.side;
  std::memset(s.bundle + s.begin * W, 0, (s.end - s.begin) * W * sizeof(T));
  if (!side.dense) {
    for (int64_t q = 0; q < side.count; ++q) {
      const int64_t unit = side.unit_of(q);
      if (s.begin <= unit && unit < s.end)
        for (int64_t c = 0; c < W; ++c) s.bundle[unit * W + c] += s.scale * s.ends[q * W + c];
    }
    return;
  }
  by_vectors(0, side.count, [&](int64_t first, auto count) {
    T ends[kVectorsTogether][W];
    for (int64_t q = 0; q < count; ++q)
      for (int64_t c = 0; c < W; ++c) ends[q][c] = s.scale * s.ends[(first + q) * W + c];
    for (int64_t r = s.begin; r < s.end; ++r) {
      const T* weights = side.dense + side.place(r, first);
      T sum[W];
      std::memcpy(sum, s.bundle + r * W, sizeof sum);
      for (int64_t q = 0; q < count; ++q) {
        const T weight = rrnn::phi(weights[q * side.vector_stride], s.rectify);
        for (int64_t c = 0; c < W; ++c) sum[c] += weight * ends[q][c];
      }
      std::memcpy(s.bundle + r * W, sum, sizeof sum);
    }
  });
}

template <typename T, int W>
void start_gradient_of(const SideStep<T>& s) {
  const rrnn::Side<T>& side = s.side;
  for (int64_t r = s.begin; r < s.end; ++r)
    for (int64_t c = s.first; c < s.last; ++c) {
      const int64_t at = side.place(r, c);
      s.grad[at] = rrnn::times_phi_derivative(s.bundle[r * W + c - s.first], side.dense[at], s.rectify);
    }
}

template <typename T, int W>
void other_gradient_of(const SideStep<T>& s) {
  const rrnn::Side<T>& side = s.side;
  by_vectors(0, side.count, [&](int64_t first, auto count) {
    T across[W][kVectorsTogether] = {};  // a unit's gradients are made together
    for (int64_t q = 0; q < count; ++q)
      for (int64_t c = 0; c < W; ++c) across[c][q] = s.scale * s.ends[(first + q) * W + c];
    for (int64_t r = s.begin; r < s.end; ++r) {
      T sums[kVectorsTogether] = {};
      for (int64_t c = 0; c < W; ++c)
        for (int64_t q = 0; q < kVectorsTogether; ++q) sums[q] += across[c][q] * s.bundle[r * W + c];
      for (int64_t q = 0; q < count; ++q) {
        const int64_t at = side.place(r, first + q);
        const T value = rrnn::times_phi_derivative(sums[q], side.dense[at], s.rectify);
        s.grad[at] = s.accumulate ? s.grad[at] + value : value;
      }
    }
  });
}

// f(W) for the constant W that `width` is.
template <typename F>
inline void with_width(int64_t width, const F& f) {
  switch (width) {
    case 1:
      return f(std::integral_constant<int, 1>{});
    case 4:
      return f(std::integral_constant<int, 4>{});
    case 8:
      return f(std::integral_constant<int, 8>{});
    default:
      return f(std::integral_constant<int, 16>{});
  }
}

template <typename T>
void begin_bundle(const SideStep<T>& step) {
  with_width(step.width, [&](auto width) { begin_bundle_of<T, width()>(step); });
}

template <typename T>
void read_out(const SideStep<T>& step) {
  with_width(step.width, [&](auto width) { read_out_of<T, width()>(step); });
}

template <typename T>
void lift(const SideStep<T>& step) {
  with_width(step.width, [&](auto width) { lift_of<T, width()>(step); });
}

template <typename T>
void start_gradient(const SideStep<T>& step) {
  with_width(step.width, [&](auto width) { start_gradient_of<T, width()>(step); });
}

template <typename T>
void other_gradient(const SideStep<T>& step) {
  with_width(step.width, [&](auto width) { other_gradient_of<T, width()>(step); });
}

}  // namespace RRNN_ISA
