// The norm of walks, and its derivative.
#pragma once

#include <cmath>
#include <cstdint>

namespace rrnn {

struct Norm {
  bool squared;  // sum of squares rather than of sizes
};

// sum over terms of w_term sum over pairs of D |P| (or D P^2); null weights are ones.
template <typename T>
T penalty(Norm norm, const T* walks, int64_t terms, int64_t pairs, const T* term_weights, const T* pair_weights) {
  double total = 0;
  for (int64_t m = 0; m < terms; ++m) {
    T sum = 0;
    for (int64_t p = 0; p < pairs; ++p) {
      const T walk = walks[m * pairs + p];
      const T size = norm.squared ? walk * walk : std::abs(walk);
      sum += pair_weights ? pair_weights[p] * size : size;
    }
    total += term_weights ? term_weights[m] * sum : sum;
  }
  return static_cast<T>(total);
}

// grad_walks = grad * d penalty / d walks.
template <typename T>
void penalty_backward(Norm norm, const T* walks, int64_t terms, int64_t pairs, const T* term_weights,
                      const T* pair_weights, T grad, T* grad_walks) {
  for (int64_t m = 0; m < terms; ++m) {
    const T scale = term_weights ? grad * term_weights[m] : grad;
    for (int64_t p = 0; p < pairs; ++p) {
      const T walk = walks[m * pairs + p];
      const T weight = pair_weights ? scale * pair_weights[p] : scale;
      const T sign = walk > 0 ? T(1) : walk < 0 ? T(-1) : walk;  // 0, or NaN
      grad_walks[m * pairs + p] = weight * (norm.squared ? 2 * walk : sign);
    }
  }
}

}  // namespace rrnn
