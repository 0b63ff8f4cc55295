// All pairs of a graph that fits the cache, by one thread: inverse, proof of convergence and gradient.
#include "cpu/algorithms/small_all_pairs.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/convergence.h"
#include "common/edge.h"
#include "cpu/kernels/kernels.h"

namespace rrnn::cpu {
namespace {

// Spectral radii up to about 1 - 2^-10 show themselves within so many squarings.
constexpr int kSquarings = 12;

template <typename T>
T frobenius(const Kernels<T>& k, int64_t n, const T* a) {
  T square = 0;
  k.product({0, 1}, n * n, a, n * n, a, n * n, 1, T(1), nullptr, 0, &square, 1, false);
  return std::sqrt(square);
}

// out = scale left right, all of them (n, n).
template <typename T>
void multiply(const Kernels<T>& k, int64_t n, const T* left, const T* right, T scale, T* out) {
  k.dense_product(n, n,
                  {.depth = n,
                   .left = left,
                   .row_stride = n,
                   .depth_stride = 1,
                   .right = right,
                   .ldright = n,
                   .scale = scale,
                   .out = out,
                   .ldout = n});
}

// ||A^m||_F < 1 for some m, which proves rho(A) < 1; size = ||A||_F. Overwrites a and other.
template <typename T>
bool powers_shrink(const Kernels<T>& k, int64_t n, T size, T* a, T* other) {
  for (int i = 0;; ++i) {
    if (size < T(kShrunk)) return true;
    if (i == kSquarings || !(size < T(1e6))) return false;
    multiply(k, n, a, a, T(1), other);
    std::swap(a, other);
    size = frobenius(k, n, a);
  }
}

// Whether X = I + walks, the inverse of I - A, is seen to be within kTolerance: of a vector z it makes w' = z' X, from
// which w' (I - A) leaves the residual r', and so the error is about r' X. (Elimination may lose all digits where I - A
// is nearly singular.) From the left, because that adds up no vectors. Uses 3 kProbes n numbers of scratch.
template <typename T>
bool is_accurate(const Kernels<T>& k, int64_t n, const T* a, const T* walks, T* scratch) {
  constexpr int kProbes = 2;
  constexpr T kAllowed = T(kProbeTolerance);
  const int64_t size = kProbes * n;
  T *z = scratch, *w = z + size, *error = w + size;
  const auto times = [&](const T* matrix, const T* x, const T* add, T* to) {
    k.product_transposed({0, n}, n, matrix, n, x, n, kProbes, T(1), add, n, to, n, false);
  };
  for (int64_t i = 0; i < size; ++i) z[i] = probe<T>(static_cast<uint32_t>(i));
  times(walks, z, z, w);
  times(a, w, z, error);
  for (int64_t i = 0; i < size; ++i) z[i] = error[i] - w[i];  // the residual
  times(walks, z, z, error);
  for (int c = 0; c < kProbes; ++c) {
    T largest = 0;
    for (int64_t i = c * n; i < (c + 1) * n; ++i) largest = std::max(largest, std::abs(w[i]));
    for (int64_t i = c * n; i < (c + 1) * n; ++i)
      if (!(std::abs(error[i]) <= kAllowed * largest)) return false;
  }
  return true;
}

}  // namespace

template <typename T>
bool small_all_pairs(const SmallGraph<T>& graph, T* walks, T* scratch) {
  const int64_t n = graph.n;
  const auto& k = kernels<T>(graph.flops);
  T* a = scratch;
  T* other = scratch + n * n;
  for (int64_t i = 0; i < n * n; ++i) {
    a[i] = graph.alpha * phi(graph.weight_hh[i], graph.rectify);
    other[i] = -a[i];
  }
  for (int64_t i = 0; i < n; ++i) other[i * n + i] += 1;
  k.gauss_jordan(n, other, walks, scratch + 2 * n * n);
  // R = A + A R. On the diagonal, what returns to a unit is not X - 1, where a small walk would drown in the 1; nothing
  // else there reads the diagonal of another unit.
  for (int64_t i = 0; i < n; ++i) {
    T returns = 0;
    for (int64_t m = 0; m < n; ++m) returns += a[i * n + m] * walks[m * n + i];
    walks[i * n + i] = returns;
  }
  // The inverse of an infinite weight can be finite; a sum of walks through it is not.
  const T size = frobenius(k, n, a);
  if (!std::isfinite(size)) std::fill_n(walks, n * n, std::numeric_limits<T>::quiet_NaN());
  return is_accurate(k, n, a, walks, scratch + 2 * n * n) && powers_shrink(k, n, size, a, other);
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
  multiply(k, n, grad_walks, transposed, graph.alpha, product);
  multiply(k, n, transposed, product, T(1), grad_hh);
  if (graph.rectify)
    for (int64_t i = 0; i < n * n; ++i) grad_hh[i] = times_phi_derivative(grad_hh[i], graph.weight_hh[i], true);
}

#define RRNN_INSTANTIATE(T)                                    \
  template bool small_all_pairs(const SmallGraph<T>&, T*, T*); \
  template void small_all_pairs_backward(const SmallGraph<T>&, const T*, const T*, T*, T*);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn::cpu
