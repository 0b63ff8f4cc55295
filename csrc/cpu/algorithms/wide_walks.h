// Walks and gradients redone in wider numbers, for graphs whose weights are finite and whose walks left the range of T
// on the way to something that may well be inside it: growing walks with a factor of 1/m!, a hump that decays, a chain
// that only the gradient needs. For float32 in float64, and where that overflows too, or for float64, in Wide, by one
// thread, which is slow.
#pragma once

#include "cpu/algorithms/finite_walks.h"

namespace rrnn::cpu {

// Up to 2^16384 on x86-64 (and Arm, in software); where it is no wider than double, float64 is not redone.
using Wide = long double;

// weight_hh (n, n); alpha is that of the problem before it was rounded to T.
template <typename T>
bool is_finite(const WalkProblem<T>& problem, const T* weight_hh, double alpha);

// walks (terms, outputs, inputs).
template <typename T>
void wide_walks(const WalkProblem<T>& problem, const T* weight_hh, double alpha, Wide* walks);

// The gradients of what is given, from finite grad_walks (terms, outputs, inputs).
template <typename T>
void wide_gradients(const WalkProblem<T>& problem, const T* weight_hh, double alpha, const Wide* grad_walks, T* grad_hh,
                    T* grad_in, T* grad_out);

}  // namespace rrnn::cpu
