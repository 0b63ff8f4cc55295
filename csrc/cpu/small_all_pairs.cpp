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

// ||A^m||_F < 1 for some m, which proves rho(A) < 1. Overwrites a and other.
template <typename T>
bool powers_shrink(const Kernels<T>& k, int64_t n, T* a, T* other) {
  for (int i = 0;; ++i) {
    const T size = frobenius(k, n, a);
    if (size < T(0.99)) return true;
    if (i == kSquarings || !(size < T(1e6))) return false;
    k.apply_transposed({0, n}, n, a, n, a, n, n, T(1), nullptr, 0, other, n, false);
    std::swap(a, other);
  }
}

}  // namespace

template <typename T>
bool small_all_pairs(const SmallGraph<T>& graph, T* walks, T* scratch) {
  const int64_t n = graph.n;
  const auto& k = kernels<T>(graph.flops);
  T* a = scratch;
  for (int64_t i = 0; i < n * n; ++i) {
    a[i] = graph.alpha * (graph.rectify ? std::abs(graph.weight_hh[i]) : graph.weight_hh[i]);
    walks[i] = -a[i];
  }
  for (int64_t i = 0; i < n; ++i) walks[i * n + i] += 1;
  k.gauss_jordan(n, walks, a + 2 * n * n, reinterpret_cast<int64_t*>(a + 2 * n * n + 2 * n));
  for (int64_t i = 0; i < n; ++i) walks[i * n + i] -= 1;
  // The inverse of an infinite weight can be finite; a sum of walks through it is not.
  if (!std::isfinite(frobenius(k, n, a))) std::fill_n(walks, n * n, std::numeric_limits<T>::quiet_NaN());
  return powers_shrink(k, n, a, a + n * n);
}

template <typename T>
void small_all_pairs_backward(const SmallGraph<T>& graph, const T* walks, T* grad_walks, T* grad_hh, T* scratch) {
  const int64_t n = graph.n;
  const auto& k = kernels<T>(graph.flops);
  T* inverse = scratch;
  T* product = scratch + n * n;
  std::copy_n(walks, n * n, inverse);
  for (int64_t i = 0; i < n; ++i) inverse[i * n + i] += 1;
  k.outer_product({0, n}, n, n, inverse, n, grad_walks, n, graph.alpha, false, nullptr, product, n);  // alpha Q' G
  k.apply({0, n}, n, inverse, n, product, n, n, T(1), nullptr, 0, grad_hh, n, false);
  for (int64_t i = 0; i < n * n; ++i) grad_hh[i] = times_phi_derivative(grad_hh[i], graph.weight_hh[i], graph.rectify);
}

#define RRNN_INSTANTIATE(T)                                    \
  template bool small_all_pairs(const SmallGraph<T>&, T*, T*); \
  template void small_all_pairs_backward(const SmallGraph<T>&, const T*, T*, T*, T*);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn
