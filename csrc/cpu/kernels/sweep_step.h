// What the kernel of sweeps through a sparse matrix is told.
#pragma once

#include <cstdint>

namespace rrnn::cpu {

// Vectors that are swept together: two cache lines of each unit, one, or a vector alone.
template <typename T>
inline constexpr int kSweptTogether = 128 / static_cast<int>(sizeof(T));

// What becomes of a unit's vectors o when the sweep has made z of them; G o = o - z. The polynomials of G that sum
// walks are products of factors 1 - G / root, and 1 - (2 a G - G^2) / m for a pair of roots a +- ib, m = a^2 + b^2.
enum class Sweep {
  kStart,       // of o = 0: z += x, then o = z, x = 0
  kApply,       // x = o - z
  kRoot,        // x += c o, then o -= c (o - z), c = 1 / root
  kFirstOfTwo,  // next = o - z, x += c o - d next, then o -= (c - d) next, c = 2 a / m, d = 1 / m
  kSecondOfTwo  // next -= d z, where o is the `next` of the first, and `next` what was swept there
};

// A sweep of rows 0, 1, .. through A = scale * phi(values): z[r] = sum_k A[k] y[columns[k]], where y is z of rows
// before r and o of r and those after it.
template <typename T>
struct SparseSweep {
  int64_t n;
  const int32_t* crow;
  const int32_t* columns;
  const T* values;
  bool rectify;
  T scale;
  int width;  // 1, kSweptTogether<T> or half of it
  Sweep what;
  T* swept;  // (n, 2, width): o and z of each unit
  T* x;      // (n, width)
  T* next;   // (n, 2, width)
  T c, d;
};

}  // namespace rrnn::cpu
