// All pairs of a graph that fits the cache, by one thread: inverse, proof of convergence and gradient.
#include <algorithm>
#include <cmath>
#include <limits>

#include "all_walks.h"
#include "kernels.h"
#include "walks.h"

namespace rrnn {
namespace {

// Spectral radii up to about 1 - 2^-10 show themselves within so many squarings.
constexpr int kSquarings = 12;

template <typename T>
T frobenius(const Kernels<T>& k, int64_t n, const T* a) {
  T square = 0;
  k.apply({0, 1}, n * n, a, n * n, a, n * n, 1, T(1), nullptr, 0, &square, 1, false);
  return std::sqrt(square);
}

// ||A^m||_F < 1 for some m, which proves rho(A) < 1; size = ||A||_F. Overwrites a and other.
template <typename T>
bool powers_shrink(const Kernels<T>& k, int64_t n, T size, T* a, T* other) {
  for (int i = 0;; ++i) {
    if (size < T(0.99)) return true;
    if (i == kSquarings || !(size < T(1e6))) return false;
    k.dense_product(n, n, n, a, n, 1, a, n, T(1), false, other, n);
    std::swap(a, other);
    size = frobenius(k, n, a);
  }
}

}  // namespace

template <typename T>
bool small_all_pairs(const SmallGraph<T>& graph, T* walks, T* scratch) {
  const int64_t n = graph.n;
  const auto& k = kernels<T>(graph.flops);
  T* a = scratch;
  T* other = scratch + n * n;
  for (int64_t i = 0; i < n * n; ++i) {
    a[i] = graph.alpha * (graph.rectify ? std::abs(graph.weight_hh[i]) : graph.weight_hh[i]);
    other[i] = -a[i];
  }
  for (int64_t i = 0; i < n; ++i) other[i * n + i] += 1;
  k.gauss_jordan(n, other, walks, scratch + 2 * n * n);
  for (int64_t i = 0; i < n; ++i) walks[i * n + i] -= 1;
  // The inverse of an infinite weight can be finite; a sum of walks through it is not.
  const T size = frobenius(k, n, a);
  if (!std::isfinite(size)) std::fill_n(walks, n * n, std::numeric_limits<T>::quiet_NaN());
  return powers_shrink(k, n, size, a, other);
}

template <typename T>
void small_all_pairs_backward(const SmallGraph<T>& graph, const T* walks, const T* grad_walks, T* grad_hh, T* scratch) {
  const int64_t n = graph.n;
  const auto& k = kernels<T>(graph.flops);
  T* transposed = scratch;  // Q'
  T* product = scratch + n * n;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) transposed[j * n + i] = walks[i * n + j];
  for (int64_t i = 0; i < n; ++i) transposed[i * n + i] += 1;
  k.dense_product(n, n, n, grad_walks, n, 1, transposed, n, graph.alpha, false, product, n);
  k.dense_product(n, n, n, transposed, n, 1, product, n, T(1), false, grad_hh, n);
  if (graph.rectify)
    for (int64_t i = 0; i < n * n; ++i) grad_hh[i] = times_phi_derivative(grad_hh[i], graph.weight_hh[i], true);
}

#define RRNN_INSTANTIATE(T)                                    \
  template bool small_all_pairs(const SmallGraph<T>&, T*, T*); \
  template void small_all_pairs_backward(const SmallGraph<T>&, const T*, const T*, T*, T*);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn
