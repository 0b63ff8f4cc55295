#include "scaled_walks.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "kernels.h"
#include "overflow.h"

namespace rrnn {
namespace {

constexpr int64_t kNothing = -(int64_t{1} << 40);  // the exponent of a zero

// value 2^exponent, for an exponent of any size.
template <typename V>
V shifted(V value, int64_t exponent) {
  constexpr int64_t kBeyond = 1 << 16;  // the range of a Wide
  return std::ldexp(value, static_cast<int>(std::clamp(exponent, -kBeyond, kBeyond)));
}

// Vectors of n doubles, each times a power of two of its own.
class Bundle {
 public:
  Bundle(int64_t width, int64_t n) : width_(width), n_(n), numbers_(width * n), exponents_(width, kNothing) {}

  int64_t width() const { return width_; }
  double* at(int64_t c) { return numbers_.data() + c * n_; }
  const double* at(int64_t c) const { return numbers_.data() + c * n_; }
  int64_t& exponent(int64_t c) { return exponents_[c]; }
  int64_t exponent(int64_t c) const { return exponents_[c]; }

  void clear() {
    std::fill(numbers_.begin(), numbers_.end(), 0.0);
    std::fill(exponents_.begin(), exponents_.end(), kNothing);
  }

  // Vector c += factor 2^exponent term, for elements of about one at most.
  void add(int64_t c, const double* term, double factor, int64_t exponent) {
    if (factor == 0) return;
    const int64_t above = exponent + std::ilogb(factor) + 1;
    if (above > exponents_[c]) {
      scale(c, exponents_[c] - above);
      exponents_[c] = above;
    }
    const double inside = shifted(factor, exponent - exponents_[c]);
    for (int64_t r = 0; r < n_; ++r) at(c)[r] += inside * term[r];
  }

  // The largest element of every vector in [1/2, 1).
  void normalise() {
    for (int64_t c = 0; c < width_; ++c) {
      double largest = 0;
      for (int64_t r = 0; r < n_; ++r) largest = std::max(largest, std::abs(at(c)[r]));
      if (largest == 0) {
        exponents_[c] = kNothing;
        continue;
      }
      const int64_t excess = std::ilogb(largest) + 1;
      scale(c, -excess);
      exponents_[c] += excess;
    }
  }

 private:
  void scale(int64_t c, int64_t exponent) {
    if (exponent == 0) return;
    for (int64_t r = 0; r < n_; ++r) at(c)[r] = shifted(at(c)[r], exponent);
  }

  int64_t width_, n_;
  std::vector<double> numbers_;
  std::vector<int64_t> exponents_;
};

// A problem with phi applied, in doubles of about one and exponents.
template <typename T>
class ScaledGraph {
 public:
  ScaledGraph(const Walks<T>& problem, double alpha)
      : problem_(problem), n_(problem.n), matrix_(1, n_ * n_), other_(problem.other_width(), n_) {
    std::copy_n(problem.weight_hh, n_ * n_, matrix_.at(0));
    matrix_.exponent(0) = 0;
    settle(matrix_, n_ * n_);
    int exponent;
    alpha_ = std::frexp(alpha, &exponent);
    alpha_exponent_ = exponent;
    const int edges = problem.weight_in && problem.weight_out ? 2 : 1;
    edges_ = edges == 2 ? alpha_ * alpha_ : alpha_;
    edges_exponent_ = edges * alpha_exponent_;
    if (problem.other()) other_ = side(problem.other(), problem.other_width(), !problem.from_inputs());
  }

  Bundle start() const { return side(problem_.start(), problem_.width(), problem_.from_inputs()); }

  // to = A from, or A' from.
  void advance(const Bundle& from, bool forwards, Bundle& to) const {
    const auto& k = kernels<double>(problem_.flops());
    (forwards ? k.apply : k.apply_transposed)({0, n_}, n_, matrix_.at(0), n_, from.at(0), n_, from.width(), alpha_,
                                              nullptr, 0, to.at(0), n_, false);
    for (int64_t c = 0; c < from.width(); ++c)
      to.exponent(c) = from.exponent(c) + matrix_.exponent(0) + alpha_exponent_;
    to.normalise();
  }

  // walks (outputs, inputs) = c phi(other) bundle
  void read_out(const Bundle& bundle, Wide* walks) const {
    const int64_t others = problem_.other_width();
    for (int64_t c = 0; c < bundle.width(); ++c)
      for (int64_t q = 0; q < others; ++q) {
        const bool given = problem_.other();
        double sum = given ? 0 : bundle.at(c)[q];
        for (int64_t r = 0; given && r < n_; ++r) sum += other_.at(q)[r] * bundle.at(c)[r];
        const int64_t exponent = bundle.exponent(c) + (given ? other_.exponent(q) : 0) + edges_exponent_;
        walks[pair(c, q)] = shifted(static_cast<Wide>(edges_ * sum), exponent);
      }
  }

  // to = phi(other)' gradient for (outputs, inputs), without c
  void lift(const Wide* gradient, Bundle& to) const {
    to.clear();
    std::vector<double> unit(n_);
    for (int64_t c = 0; c < to.width(); ++c)
      for (int64_t q = 0; q < problem_.other_width(); ++q) {
        int exponent;
        const auto factor = static_cast<double>(std::frexp(gradient[pair(c, q)], &exponent));
        if (problem_.other()) {
          to.add(c, other_.at(q), factor, exponent + other_.exponent(q));
        } else {
          unit[q] = 1;
          to.add(c, unit.data(), factor, exponent);
          unit[q] = 0;
        }
      }
    to.normalise();
  }

  // to (the other side's vectors) += the bundle times gradient (outputs, inputs), without c
  void add_to_other(const Wide* gradient, const Bundle& bundle, Bundle& to) const {
    for (int64_t q = 0; q < to.width(); ++q)
      for (int64_t c = 0; c < bundle.width(); ++c) {
        int exponent;
        const auto factor = static_cast<double>(std::frexp(gradient[pair(c, q)], &exponent));
        to.add(q, bundle.at(c), factor, exponent + bundle.exponent(c));
      }
  }

  // c times number 2^exponent, and alpha times that of a gradient of W, which one edge less has
  T with_edges(double number, int64_t exponent) const {
    return static_cast<T>(shifted(edges_ * number, exponent + edges_exponent_));
  }
  T with_edges_and_hop(double number, int64_t exponent) const {
    return static_cast<T>(shifted(alpha_ * edges_ * number, exponent + alpha_exponent_ + edges_exponent_));
  }

  // The gradient of a side whose vectors lie as its own do.
  void finish_side(const Bundle& bundle, bool by_columns, const T* weight, T* grad) const {
    for (int64_t c = 0; c < bundle.width(); ++c)
      for (int64_t r = 0; r < n_; ++r) {
        const int64_t at = by_columns ? r * bundle.width() + c : c * n_ + r;
        grad[at] = times_phi_derivative(with_edges(bundle.at(c)[r], bundle.exponent(c)), weight[at], problem_.rectify);
      }
  }

 private:
  int64_t pair(int64_t c, int64_t q) const {
    return problem_.from_inputs() ? q * problem_.inputs + c : c * problem_.inputs + q;
  }

  void settle(Bundle& bundle, int64_t count) const {
    if (problem_.rectify)
      for (int64_t i = 0; i < count; ++i) bundle.at(0)[i] = std::abs(bundle.at(0)[i]);
    bundle.normalise();
  }

  // phi of the columns of U or the rows of V.
  Bundle side(const T* weights, int64_t width, bool by_columns) const {
    Bundle bundle(width, n_);
    for (int64_t c = 0; c < width; ++c) {
      bundle.exponent(c) = 0;
      for (int64_t r = 0; r < n_; ++r) bundle.at(c)[r] = weights[by_columns ? r * width + c : c * n_ + r];
    }
    settle(bundle, width * n_);
    return bundle;
  }

  const Walks<T>& problem_;
  int64_t n_;
  Bundle matrix_;  // W as one long vector
  Bundle other_;
  double alpha_, edges_;
  int64_t alpha_exponent_, edges_exponent_;
};

// sum += left right' over the vectors of two bundles, which is one long vector.
class OuterSum {
 public:
  explicit OuterSum(int64_t n) : n_(n), sum_(n * n) {}

  void add(const Bundle& left, const Bundle& right, double flops) {
    int64_t above = kNothing;
    for (int64_t c = 0; c < left.width(); ++c) above = std::max(above, left.exponent(c) + right.exponent(c));
    if (above > exponent_) {
      for (double& number : sum_) number = shifted(number, exponent_ - above);
      exponent_ = above;
    }
    std::vector<double> scaled(left.width() * n_);
    for (int64_t c = 0; c < left.width(); ++c)
      for (int64_t r = 0; r < n_; ++r)
        scaled[c * n_ + r] = shifted(left.at(c)[r], left.exponent(c) + right.exponent(c) - exponent_);
    kernels<double>(flops).outer_product({0, n_}, n_, left.width(), scaled.data(), n_, right.at(0), n_, 1, true,
                                         nullptr, sum_.data(), n_);
  }
  double at(int64_t i) const { return sum_[i]; }
  int64_t exponent() const { return exponent_; }

 private:
  int64_t n_, exponent_ = kNothing;
  std::vector<double> sum_;
};

}  // namespace

template <typename T>
bool is_finite(const Walks<T>& problem, double alpha) {
  const int64_t n = problem.n;
  return std::isfinite(alpha) && all_finite(problem.weight_hh, n * n) &&
         (!problem.weight_in || all_finite(problem.weight_in, n * problem.inputs)) &&
         (!problem.weight_out || all_finite(problem.weight_out, problem.outputs * n)) &&
         (!problem.hop_weights || all_finite(problem.hop_weights, problem.hops));
}

template <typename T>
void scaled_walks(const Walks<T>& problem, double alpha, Wide* walks) {
  const ScaledGraph<T> graph(problem, alpha);
  Bundle x = graph.start(), next(problem.width(), problem.n), sum(problem.width(), problem.n);
  for (int64_t m = 0; m < problem.hops; ++m) {
    if (m > 0) {
      graph.advance(x, problem.from_inputs(), next);
      std::swap(x, next);
    }
    if (problem.per_hop) graph.read_out(x, walks + m * problem.outputs * problem.inputs);
    for (int64_t c = 0; !problem.per_hop && c < x.width(); ++c)
      sum.add(c, x.at(c), problem.hop_weight(m), x.exponent(c));
  }
  if (!problem.per_hop) graph.read_out(sum, walks);
}

template <typename T>
void scaled_gradients(const Walks<T>& problem, double alpha, const Wide* grad_walks, T* grad_hh, T* grad_in,
                      T* grad_out) {
  const int64_t n = problem.n, width = problem.width(), hops = problem.hops;
  const int64_t pairs = problem.outputs * problem.inputs;
  const bool from_inputs = problem.from_inputs();
  const ScaledGraph<T> graph(problem, alpha);
  std::vector<Bundle> chain(hops, Bundle(width, n));
  chain[0] = graph.start();
  for (int64_t m = 1; m < hops; ++m) graph.advance(chain[m - 1], from_inputs, chain[m]);

  Bundle lifted(width, n), reverse(width, n), moved(width, n), next(width, n);
  OuterSum outer(n);
  if (!problem.per_hop) graph.lift(grad_walks, lifted);
  for (int64_t m = hops; m-- > 0;) {
    if (problem.per_hop) graph.lift(grad_walks + m * pairs, lifted);
    graph.advance(reverse, !from_inputs, moved);
    next.clear();
    for (int64_t c = 0; c < width; ++c) {
      next.add(c, lifted.at(c), problem.per_hop ? 1.0 : problem.hop_weight(m), lifted.exponent(c));
      next.add(c, moved.at(c), 1.0, moved.exponent(c));
    }
    next.normalise();
    std::swap(reverse, next);
    if (m > 0)
      from_inputs ? outer.add(reverse, chain[m - 1], problem.flops())
                  : outer.add(chain[m - 1], reverse, problem.flops());
  }
  for (int64_t i = 0; i < n * n; ++i)
    grad_hh[i] = times_phi_derivative(graph.with_edges_and_hop(outer.at(i), outer.exponent()), problem.weight_hh[i],
                                      problem.rectify);
  graph.finish_side(reverse, from_inputs, problem.start(), from_inputs ? grad_in : grad_out);
  if (!problem.other()) return;

  Bundle others(problem.other_width(), n), sum(width, n);
  for (int64_t m = 0; m < hops; ++m) {
    if (problem.per_hop) graph.add_to_other(grad_walks + m * pairs, chain[m], others);
    for (int64_t c = 0; !problem.per_hop && c < width; ++c)
      sum.add(c, chain[m].at(c), problem.hop_weight(m), chain[m].exponent(c));
  }
  if (!problem.per_hop) {
    sum.normalise();
    graph.add_to_other(grad_walks, sum, others);
  }
  graph.finish_side(others, !from_inputs, problem.other(), from_inputs ? grad_out : grad_in);
}

#define RRNN_INSTANTIATE(T)                                   \
  template bool is_finite(const Walks<T>&, double);           \
  template void scaled_walks(const Walks<T>&, double, Wide*); \
  template void scaled_gradients(const Walks<T>&, double, const Wide*, T*, T*, T*);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn
