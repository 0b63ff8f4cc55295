// Dot products for four stored values of a sparse matrix at a time: the sums over the lanes of vectors.
#pragma once

#include <cstdint>
#include <cstring>

#include "cpu/kernels/shuffle.h"

namespace RRNN_ISA {

inline constexpr int kEdgesTogether = 4;

template <typename T>
struct FourOf {
  typedef T type __attribute__((vector_size(kEdgesTogether * sizeof(T))));
};
template <typename T>
using Four = typename FourOf<T>::type;

template <int STEP, typename V, int... Lane>
inline V added_across(const V& v, std::integer_sequence<int, Lane...>) {
  return v + shuffled<(Lane ^ STEP)...>(v, v);
}

template <typename V, int... Lane>
inline V firsts_of_quarters(const V& v, std::integer_sequence<int, Lane...>) {
  return shuffled<(Lane % 4 * (kLanesOf<V> / 4))...>(v, v);
}

// The sums over each half of two vectors, first half of `even`, first of `odd`, second of `even`, second of `odd`.
template <typename T, typename V>
inline void sums_of_halves(const V& even, const V& odd, Four<T>& sums) {
  constexpr int kQuarter = kLanesOf<V> / 4;
  V v = exchange_of<kQuarter, false>(even, odd) + exchange_of<kQuarter, true>(even, odd);
  if constexpr (kQuarter >= 4) v = added_across<2>(v, AllLanes<V>());
  if constexpr (kQuarter >= 2) {
    v = added_across<1>(v, AllLanes<V>());
    v = firsts_of_quarters(v, AllLanes<V>());
  }
  std::memcpy(&sums, &v, sizeof sums);
}

// The sums over all lanes of each of four vectors.
template <typename T, typename V>
inline void sums_of_four(const V* v, Four<T>& sums) {
  constexpr int kHalf = kLanesOf<V> / 2;
  const auto folded = [](const V& a, const V& b) {
    return V(exchange_of<kHalf, false>(a, b) + exchange_of<kHalf, true>(a, b));
  };
  if constexpr (kHalf == 1) {
    const V both[2] = {folded(v[0], v[1]), folded(v[2], v[3])};
    std::memcpy(&sums, both, sizeof sums);
  } else {
    sums_of_halves<T>(folded(v[0], v[2]), folded(v[1], v[3]), sums);
  }
}

// grad[e] += dots[e], e < valid.
template <typename T>
inline void add_to_gradient(T* grad, int64_t valid, const Four<T>& dots) {
  if (valid < kEdgesTogether) {
    for (int64_t e = 0; e < valid; ++e) grad[e] += dots[e];
    return;
  }
  Four<T> sum;
  std::memcpy(&sum, grad, sizeof sum);
  sum += dots;
  std::memcpy(grad, &sum, sizeof sum);
}

}  // namespace RRNN_ISA
