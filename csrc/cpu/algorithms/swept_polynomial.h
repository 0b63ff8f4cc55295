// Sums of walks through a sparse matrix by a polynomial of sweeps.
#pragma once

#include <cstdint>

#include "common/sparse_rows.h"

namespace rrnn::cpu {

template <typename T>
struct SweptMatrix {
  SparseRows rows;
  const T* values;
  T alpha;
  bool rectify;
  int64_t edges;
};

// image (n, width) = G v for vectors (n, width), G = I - (I - L)^{-1} (A - L): A = alpha phi(W), L what stands below
// its diagonal. A sweep goes through all of A.
template <typename T>
void swept(const SweptMatrix<T>& a, int64_t width, const T* vectors, T* image);

// x (n, width) with (I - A) x = right but for a residual of (I - L) p(G) (I - L)^{-1} right, p(G) = prod_i (1 - G /
// root_i). The roots (count, 2) are real and imaginary parts; of a pair the second one follows the first.
template <typename T>
void swept_polynomial(const SweptMatrix<T>& a, const double* roots, int64_t count, int64_t width, const T* right, T* x);

}  // namespace rrnn::cpu
