// The norm of walks, and its derivative. What has a weight of zero takes no part: it may have overflowed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "common/edge.h"
#include "cpu/kernels/kernels.h"

namespace rrnn::cpu {

template <typename T>
using Total = std::conditional_t<(sizeof(T) > sizeof(double)), T, double>;

// The sum of a size over n elements: in lanes, which vectorise, and in blocks, which keep the rounding of a long sum
// small.
template <typename T, typename F>
Total<T> lane_sum(int64_t n, const F& size) {
  constexpr int64_t kLanes = 16, kBlock = 1024;
  Total<T> total = 0;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t end = n - begin < kBlock ? n : begin + kBlock;
    T lanes[kLanes] = {};
    int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes)
      for (int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += size(i + lane);
    for (int64_t lane = 0; i + lane < end; ++lane) lanes[lane] += size(i + lane);
    for (const T lane : lanes) total += lane;
  }
  return total;
}

// sum over terms of w_term sum over pairs of D |P| (or D P^2); null weights are ones. T may be wider than the weights'
// type.
template <typename T, typename W>
T penalty(Norm norm, const T* walks, int64_t terms, int64_t pairs, const W* term_weights, const W* pair_weights) {
  Total<T> total = 0;
  for (int64_t m = 0; m < terms; ++m) {
    if (term_weights && term_weights[m] == 0) continue;
    const T* term = walks + m * pairs;
    const auto size = [&](int64_t p) { return walk_size(term[p], norm); };
    const auto weighted = [&](int64_t p) { return weighed(pair_weights[p], size(p)); };
    const Total<T> sum = pair_weights ? lane_sum<T>(pairs, weighted) : lane_sum<T>(pairs, size);
    total += term_weights ? term_weights[m] * sum : sum;
  }
  return static_cast<T>(total);
}

// grad_walks = grad * d penalty / d walks.
template <typename T, typename W>
void penalty_backward(Norm norm, const T* walks, int64_t terms, int64_t pairs, const W* term_weights,
                      const W* pair_weights, T grad, T* grad_walks) {
  for (int64_t m = 0; m < terms; ++m) {
    const T* term = walks + m * pairs;
    T* grad_term = grad_walks + m * pairs;
    if (term_weights && term_weights[m] == 0) {
      std::fill_n(grad_term, pairs, T(0));
      continue;
    }
    const T scale = term_weights ? grad * term_weights[m] : grad;
    if (pair_weights)
      for (int64_t p = 0; p < pairs; ++p)
        grad_term[p] = weighed(pair_weights[p], scale * walk_size_derivative(term[p], norm));
    else
      for (int64_t p = 0; p < pairs; ++p) grad_term[p] = scale * walk_size_derivative(term[p], norm);
  }
}

// The same of very many walks of one term, in vectors where nothing weighs them.
template <typename T>
T penalty_of_many(const Kernels<T>& k, Norm norm, const T* walks, int64_t pairs, const T* pair_weights) {
  if (pair_weights) return penalty<T, T>(norm, walks, 1, pairs, nullptr, pair_weights);
  return static_cast<T>(k.walk_sizes(norm, pairs, walks));
}

template <typename T>
void penalty_backward_of_many(const Kernels<T>& k, Norm norm, const T* walks, int64_t pairs, const T* pair_weights,
                              T grad, T* grad_walks) {
  if (pair_weights)
    penalty_backward<T, T>(norm, walks, 1, pairs, nullptr, pair_weights, grad, grad_walks);
  else
    k.walk_slopes(norm, pairs, walks, grad, grad_walks);
}

}  // namespace rrnn::cpu
