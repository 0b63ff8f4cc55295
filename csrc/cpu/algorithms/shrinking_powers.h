// A proof that the walks of a graph that fits the cache have a sum: a power of A that shrinks every vector.
#pragma once

#include <cstdint>

#include "cpu/kernels/kernels.h"

namespace rrnn::cpu {

// ||A^m|| < 1 for some m, which proves rho(A) < 1; false says nothing. `squares` is the square of ||A||_F. Overwrites a
// and other, (n, n), and 8 n numbers of scratch.
template <typename T>
bool powers_shrink(const Kernels<T>& k, int64_t n, double squares, T* a, T* other, T* scratch);

}  // namespace rrnn::cpu
