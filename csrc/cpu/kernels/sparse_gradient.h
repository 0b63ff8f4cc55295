// The gradient of the stored values of a sparse matrix: a dot product of two units' vectors for each.
#pragma once

#include "common/edge.h"
#include "cpu/kernels/kernels.h"
#include "cpu/kernels/simd.h"
#include "cpu/kernels/sparse_far.h"

namespace RRNN_ISA {

using rrnn::cpu::SparseGradient;

// left . right[columns[at]] for the first `valid` of COUNT values from k on, together: each number of `left` is loaded
// once for all of them, and their horizontal sums cost less than one by one.
template <typename T, int COUNT>
inline void dots(const SparseGradient<T>& p, const T* left, int64_t k, int valid, T* result) {
  constexpr int V = kLanes<T>;
  const T* right[COUNT];
  for (int i = 0; i < COUNT; ++i)
    right[i] = p.right + static_cast<int64_t>(p.columns[k + (i < valid ? i : valid - 1)]) * p.ldright;
  Vector<T> sum[COUNT] = {};
  int64_t d = 0;
  for (; d + V <= p.depth; d += V) {
    Vector<T> one = load(left + d);
    hold<T>(one);
#pragma GCC unroll 8
    for (int i = 0; i < COUNT; ++i) sum[i] += one * load(right[i] + d);
  }
  if (d < p.depth) {
    const int rest = static_cast<int>(p.depth - d);
    const Vector<T> one = load_first(left + d, rest);
#pragma GCC unroll 8
    for (int i = 0; i < COUNT; ++i) sum[i] += one * load_first(right[i] + d, rest);
  }
  horizontal_sums<T, COUNT>(sum, result);
}

template <typename T>
void sparse_gradient(const SparseGradient<T>& p) {
  constexpr int kTogether = 8;
  const bool far = is_far(p);
  for (int64_t r = p.begin; r < p.end; ++r) {
    const T* left = p.left + r * p.ldleft;
    const int64_t end = p.crow[r + 1];
    for (int64_t k = p.crow[r]; k < end; k += kTogether) {
      const int valid = static_cast<int>(end - k < kTogether ? end - k : kTogether);
      T found[kTogether];
      if (far) ask_for_edges(p, k);
      if (valid > 4)
        dots<T, 8>(p, left, k, valid, found);
      else
        dots<T, 4>(p, left, k, valid, found);
      for (int i = 0; i < valid; ++i) {
        T value = p.scale * found[i] + (p.accumulate ? p.grad[k + i] : T(0));
        p.grad[k + i] = p.sign_of ? rrnn::times_sign(value, p.sign_of[k + i]) : value;
      }
    }
  }
}

}  // namespace RRNN_ISA
