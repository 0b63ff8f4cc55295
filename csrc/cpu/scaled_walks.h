// Walks and gradients redone with a power of two beside every vector, for graphs whose weights are finite and whose
// walks left the range of T on the way to something that may well be inside it: growing walks with a factor of 1/m!, a
// hump that decays, a chain that only the gradient needs. Slow, by one thread, and rarely called.
#pragma once

#include "walks.h"

namespace rrnn {

// Holds P_m times any factor of a double; where it is no wider than double, infinities come sooner.
using Wide = long double;

// alpha is that of the problem before it was rounded to T.
template <typename T>
bool is_finite(const Walks<T>& problem, double alpha);

// walks (terms, outputs, inputs).
template <typename T>
void scaled_walks(const Walks<T>& problem, double alpha, Wide* walks);

// The gradients of what is given, from finite grad_walks (terms, outputs, inputs).
template <typename T>
void scaled_gradients(const Walks<T>& problem, double alpha, const Wide* grad_walks, T* grad_hh, T* grad_in,
                      T* grad_out);

}  // namespace rrnn
