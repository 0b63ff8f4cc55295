// The sum of a chain, S_L X = X + A X + .. + A^{L-1} X, through powers of A, and its gradients:
//   S_{2L}(A) = (I + A) S_L(A^2)        S_{L+1}(A) = I + A S_L(A)
// With p = 2^j, X meets about L / p + j matrices in place of L; A^2, A^4, .., A^p are made by squaring. That takes
// fewer flops for many vectors and many hops of few units. The powers are made in float64 and rounded once: every use
// of one repeats its error, where hop by hop rounding errs anew. So this is for float32 alone.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/algorithms/finite_walks.h"
#include "cpu/algorithms/team.h"
#include "cpu/kernels/kernels.h"

namespace rrnn::cpu {

// How a sum is made: nothing of it depends on the number of threads.
class PowerPlan {
 public:
  // x becomes A^(2^power) x + (own ? x : the first x).
  struct Step {
    int64_t power;
    bool own;
  };

  PowerPlan(int64_t n, int64_t width, int64_t hops);
  // For the sum of P_m of equal weights.
  explicit PowerPlan(const WalkProblem<float>& problem)
      : PowerPlan(problem.n, problem.width(), problem.per_hop || problem.hop_weights ? 1 : problem.hops) {}

  // Whether it takes far fewer flops than hop by hop.
  bool pays() const { return squarings_ > 0; }
  int64_t squarings() const { return squarings_; }
  int64_t count() const { return static_cast<int64_t>(steps_.size()); }
  Step step(int64_t s) const { return steps_[s]; }
  // The steps of one power follow one another.
  Range steps_of(int64_t power) const;

 private:
  int64_t squarings_ = 0;
  std::vector<Step> steps_;
};

// A member's view of one sum. Bundles are (width, n); a member carries its share of the vectors.
class PowerSum {
 public:
  static int64_t scratch_size(const PowerPlan& plan, int64_t n, int64_t width);
  // Of A X, or of A' X where not `forwards`.
  PowerSum(const PowerPlan& plan, const Kernels<float>& kernels, int64_t n, int64_t width, bool forwards,
           float* scratch);

  // The powers of A. Members wait for one another.
  void prepare(const DenseOperand<float>& a, Team& team);
  // From start() to sum(), these vectors.
  void add_up(Range vectors);
  // From grad_sum() to grad_start(), these vectors.
  void add_up_gradients(Range vectors);
  // The gradients of the powers above A, from the vectors of all members, who wait for one another.
  void differentiate_powers(Team& team);
  // Whether what the gradient of W is made of is moderate, as far as this member's part tells.
  bool is_moderate(const Team& team) const;
  // Of W, this member's rows.
  void gradient(const DenseOperand<float>& a, const GradientRows<float>& to, const Team& team) const;

  float* start() const { return chain_; }
  const float* sum() const { return chain_ + plan_.count() * bundle_; }
  float* grad_sum() const { return reverse_ + plan_.count() * bundle_; }
  const float* grad_start() const { return first_; }

 private:
  static constexpr int64_t kLine = 64;  // bytes of a cache line
  // A^(2^power) as the chain reads it, and as the reverse chain does.
  float* onwards(int64_t power) const { return powers_ + 2 * power * n_ * n_; }
  float* backwards(int64_t power) const { return onwards(power) + n_ * n_; }
  float* gradient_of(int64_t power) const { return gradients_ + power % 2 * n_ * n_; }
  void times(Range rows, const float* left, const float* right, const float* add, float* out) const;
  void add_gradient(int64_t power, Range rows, const GradientRows<float>& to, float scale, const float* sign_of) const;

  const PowerPlan& plan_;
  const Kernels<float>& kernels_;
  double* precise_;  // two powers of A in turn
  int64_t n_, width_, bundle_;
  bool forwards_;
  float *powers_, *chain_, *reverse_, *first_, *gradients_;
};

}  // namespace rrnn::cpu
