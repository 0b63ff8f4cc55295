// The norm of walks, and its derivative.
#pragma once

#include <cmath>
#include <cstdint>

namespace rrnn {

struct Norm {
  bool squared;  // sum of squares rather than of sizes
};

// The sum of a size over n elements: in lanes, which vectorise, and in blocks, which keep the rounding of a long sum
// small.
template <typename T, typename F>
double lane_sum(int64_t n, const F& size) {
  constexpr int64_t kLanes = 16, kBlock = 1024;
  double total = 0;
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

// sum over terms of w_term sum over pairs of D |P| (or D P^2); null weights are ones.
template <typename T>
T penalty(Norm norm, const T* walks, int64_t terms, int64_t pairs, const T* term_weights, const T* pair_weights) {
  double total = 0;
  for (int64_t m = 0; m < terms; ++m) {
    const T* term = walks + m * pairs;
    const auto size = [&](int64_t p) { return norm.squared ? term[p] * term[p] : std::abs(term[p]); };
    const double sum = pair_weights ? lane_sum<T>(pairs, [&](int64_t p) { return pair_weights[p] * size(p); })
                                    : lane_sum<T>(pairs, size);
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
