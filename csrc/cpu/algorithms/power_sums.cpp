#include "cpu/algorithms/power_sums.h"

#include <algorithm>
#include <cstdint>

#include "cpu/algorithms/overflow.h"

namespace rrnn::cpu {

PowerPlan::PowerPlan(int64_t n, int64_t width, int64_t hops) {
  constexpr double kWorthwhile = .75;  // of the flops of hop by hop; less would not repay the copies
  constexpr double kSquare = 4. / 3;   // of the forward and the two products back, the one is in float64
  constexpr int64_t kMostUnits = 256;  // whose powers stay in the second-level cache
  double least = kWorthwhile * static_cast<double>(width * hops);
  int64_t odd = 0;  // of the sums that are halved, those of an odd number of terms
  for (int64_t squarings = 1; 0 < n && n <= kMostUnits && hops >> squarings >= 2; ++squarings) {
    odd += hops >> (squarings - 1) & 1;
    const int64_t steps = (hops >> squarings) - 1 + squarings + odd;
    const double cost = kSquare * static_cast<double>(squarings * n) + static_cast<double>(width * steps);
    if (cost >= least) continue;
    least = cost;
    squarings_ = squarings;
  }
  if (!pays()) return;
  steps_.assign((hops >> squarings_) - 1, {squarings_, false});
  for (int64_t power = squarings_; power-- > 0;) {
    steps_.push_back({power, true});
    if (hops >> power & 1) steps_.push_back({power, false});
  }
}

Range PowerPlan::steps_of(int64_t power) const {
  const auto first = std::find_if(steps_.begin(), steps_.end(), [&](const Step& s) { return s.power == power; });
  const auto last = std::find_if(first, steps_.end(), [&](const Step& s) { return s.power != power; });
  return {first - steps_.begin(), last - steps_.begin()};
}

int64_t PowerSum::scratch_size(const PowerPlan& plan, int64_t n, int64_t width) {
  const int64_t powers = plan.squarings() + 1, bundles = plan.count() + 1;
  return (2 * powers + 6) * n * n + (2 * bundles + 1) * width * n + kLine;
}

PowerSum::PowerSum(const PowerPlan& plan, const Kernels<float>& kernels, int64_t n, int64_t width, bool forwards,
                   float* scratch)
    : plan_(plan), kernels_(kernels), n_(n), width_(width), bundle_(width * n), forwards_(forwards) {
  const auto address = reinterpret_cast<uintptr_t>(scratch);
  precise_ = reinterpret_cast<double*>((address + kLine - 1) / kLine * kLine);
  powers_ = reinterpret_cast<float*>(precise_ + 2 * n * n);
  gradients_ = powers_ + 2 * (plan.squarings() + 1) * n * n;
  chain_ = gradients_ + 2 * n * n;
  reverse_ = chain_ + (plan.count() + 1) * bundle_;
  first_ = reverse_ + (plan.count() + 1) * bundle_;
}

// out = left right (+ add) at `rows` of left, for a square matrix on the right.
void PowerSum::times(Range rows, const float* left, const float* right, const float* add, float* out) const {
  kernels_.dense_product(rows.end - rows.begin, n_,
                         {.depth = n_,
                          .left = left + rows.begin * n_,
                          .row_stride = n_,
                          .depth_stride = 1,
                          .right = right,
                          .ldright = n_,
                          .add = add ? add + rows.begin * n_ : nullptr,
                          .ldadd = n_,
                          .out = out + rows.begin * n_,
                          .ldout = n_});
}

void PowerSum::prepare(const DenseOperand<float>& a, Team& team) {
  const Kernels<double>& precisely = kernels<double>(2. * n_ * n_ * n_);
  const Range rows = team.share(n_, 16);
  // A bundle is multiplied from the right: the chain of A x reads A'.
  const auto round = [&](int64_t power, const double* precise) {
    float* straight = forwards_ ? backwards(power) : onwards(power);
    for (int64_t i = rows.begin * n_; i < rows.end * n_; ++i) straight[i] = static_cast<float>(precise[i]);
    kernels_.transpose(rows, n_, straight, n_, forwards_ ? onwards(power) : backwards(power), n_, false);
  };
  a.write(rows, precise_);
  round(0, precise_);
  team.wait();
  for (int64_t power = 1; power <= plan_.squarings(); ++power) {
    const double* root = precise_ + (power - 1) % 2 * n_ * n_;
    double* square = precise_ + power % 2 * n_ * n_;
    precisely.dense_product(rows.end - rows.begin, n_,
                            {.depth = n_,
                             .left = root + rows.begin * n_,
                             .row_stride = n_,
                             .depth_stride = 1,
                             .right = root,
                             .ldright = n_,
                             .out = square + rows.begin * n_,
                             .ldout = n_});
    round(power, square);
    team.wait();
  }
}

void PowerSum::add_up(Range vectors) {
  for (int64_t s = 0; s < plan_.count(); ++s) {
    const float* x = chain_ + s * bundle_;
    times(vectors, x, onwards(plan_.step(s).power), plan_.step(s).own ? x : chain_, chain_ + (s + 1) * bundle_);
  }
}

void PowerSum::add_up_gradients(Range vectors) {
  for (int64_t s = plan_.count(); s-- > 0;) {
    const float* from = reverse_ + (s + 1) * bundle_;
    times(vectors, from, backwards(plan_.step(s).power), plan_.step(s).own ? from : nullptr, reverse_ + s * bundle_);
  }
  // Whatever began with the first bundle leaves its gradient there.
  const int64_t begin = vectors.begin * n_, end = vectors.end * n_;
  std::copy(reverse_ + begin, reverse_ + end, first_ + begin);
  for (int64_t s = 0; s < plan_.count(); ++s) {
    if (plan_.step(s).own) continue;
    const float* from = reverse_ + (s + 1) * bundle_;
    for (int64_t i = begin; i < end; ++i) first_[i] += from[i];
  }
}

// to (+)= scale (the gradient of the power) at `rows`, by the bundles that meet it and by its square.
void PowerSum::add_gradient(int64_t power, Range rows, const GradientRows<float>& to, float scale,
                            const float* sign_of) const {
  const Range steps = plan_.steps_of(power);
  const float *links = chain_ + steps.begin * bundle_, *gradients = reverse_ + (steps.begin + 1) * bundle_;
  kernels_.outer_product(rows, n_, (steps.end - steps.begin) * width_, forwards_ ? gradients : links, n_,
                         forwards_ ? links : gradients, n_, scale, to.adds, sign_of, n_, to.data, to.stride);
  if (power == plan_.squarings()) return;
  // Of B = A A: G_A = G_B A' + A' G_B.
  const float* above = gradient_of(power + 1);
  const float* transposed = forwards_ ? onwards(power) : backwards(power);
  const auto add = [&](const float* left, const float* right) {
    float* own = to.data + rows.begin * to.stride;
    kernels_.dense_product(rows.end - rows.begin, n_,
                           {.depth = n_,
                            .left = left + rows.begin * n_,
                            .row_stride = n_,
                            .depth_stride = 1,
                            .right = right,
                            .ldright = n_,
                            .scale = scale,
                            .add = own,
                            .ldadd = to.stride,
                            .out = own,
                            .ldout = to.stride,
                            .sign_of = sign_of ? sign_of + rows.begin * n_ : nullptr,
                            .ldsign = n_});
  };
  add(above, transposed);
  add(transposed, above);
}

void PowerSum::differentiate_powers(Team& team) {
  for (int64_t power = plan_.squarings(); power > 0; --power) {
    team.wait();
    add_gradient(power, team.share(n_, 8), {gradient_of(power), n_}, 1, nullptr);
  }
  team.wait();
}

bool PowerSum::is_moderate(const Team& team) const {
  const auto moderate = [&](const float* numbers, int64_t count) {
    const Range own = team.share(count);
    return kernels_.all_within(own.end - own.begin, numbers + own.begin, kModerate<float>);
  };
  const int64_t steps = plan_.steps_of(0).begin;
  return moderate(onwards(0), n_ * n_) && moderate(gradient_of(1), n_ * n_) &&
         moderate(chain_ + steps * bundle_, (plan_.count() + 1 - steps) * bundle_) &&
         moderate(reverse_ + steps * bundle_, (plan_.count() + 1 - steps) * bundle_) && moderate(first_, bundle_);
}

void PowerSum::gradient(const DenseOperand<float>& a, const GradientRows<float>& to, const Team& team) const {
  add_gradient(0, team.share(n_, 8), to, a.alpha(), a.signs());
}

}  // namespace rrnn::cpu
