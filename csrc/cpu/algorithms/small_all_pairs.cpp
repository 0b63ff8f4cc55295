// All pairs of a graph that fits the cache, by one thread: inverse, proof of convergence and gradient.
#include "cpu/algorithms/small_all_pairs.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/convergence.h"
#include "common/edge.h"
#include "cpu/algorithms/shrinking_powers.h"
#include "cpu/algorithms/square_product.h"
#include "cpu/kernels/kernels.h"

namespace rrnn::cpu {
namespace {

// Whether X = I + walks, the inverse of I - A, is seen to be within kTolerance: of a vector z it makes w' = z' X, from
// which w' (I - A) leaves the residual r', and so the error is about r' X. (Elimination may lose all digits where I - A
// is nearly singular.) From the left, because that adds up no vectors. Uses 3 kProbes n numbers of scratch.
template <typename T>
bool is_accurate(const Kernels<T>& k, int64_t n, const T* a, const T* walks, T* scratch) {
  constexpr int kProbes = 4;
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
  // R = A + A R. On the diagonal, what returns to a unit is not X - 1, where a small walk would drown in the 1.
  T *transposed = other, *returns = scratch + 2 * n * n;
  k.transpose({0, n}, n, a, n, transposed, n, false);
  k.hadamard_sum({.units = n,
                  .vectors = 1,
                  .terms = n,
                  .factors = transposed,
                  .factor_stride = n,
                  .from = walks,
                  .vector_stride = 0,
                  .term_stride = n,
                  .scale = T(1),
                  .add = nullptr,
                  .add_stride = 0,
                  .out = returns,
                  .out_stride = n});
  for (int64_t i = 0; i < n; ++i) walks[i * n + i] = returns[i];
  // The inverse of an infinite weight can be finite; a sum of walks through it is not.
  const double squares = k.walk_sizes(Norm::kL2, n * n, a);
  if (!std::isfinite(squares)) std::fill_n(walks, n * n, std::numeric_limits<T>::quiet_NaN());
  T* vectors = scratch + 2 * n * n;
  return is_accurate(k, n, a, walks, vectors) && powers_shrink(k, n, squares, a, other, vectors);
}

template <typename T>
void small_all_pairs_backward(const SmallGraph<T>& graph, const T* walks, const T* grad_walks, T* grad_hh, T* scratch) {
  const int64_t n = graph.n;
  const auto& k = kernels<T>(graph.flops);
  T* transposed = scratch;  // Q'
  T* product = scratch + n * n;
  k.transpose({0, n}, n, walks, n, transposed, n, false);
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
