// The chain X_0 = phi(U), X_{m+1} = A X_m, the walks P_m = c phi(V) X_m, and the reverse chain
//   L_{hops-1} = c phi(V)' G_{hops-1},  L_m = c phi(V)' G_m + A' L_{m+1}
//   grad phi(W)(r, c) = alpha sum_m L_{m+1}[r] . X_m[c]   grad phi(U) = L_0   grad phi(V) = c sum_m G_m X_m'
// or the mirror image. It is all done for a few vectors of the narrower side after the other: no column of a walk's sum
// needs to know of the others. Vectors are stored unit by unit, and those of a hop close together where a product looks
// them up. The product that makes L_m looks L_{m+1}[r] up at each value (r, c) for unit c, and so has the dot product
// with X_m[c] for little more: the gradient of the values takes no pass of its own.
#include "cpu/algorithms/sparse_walks.h"

#include <algorithm>

#include "cpu/algorithms/sparse_rows.h"

namespace rrnn::cpu {
namespace {

int64_t padded(int64_t vectors) { return vectors <= 1 ? 1 : vectors <= 4 ? 4 : vectors <= 8 ? 8 : kMostVectors; }

int64_t round_up(int64_t count, int64_t step) { return (count + step - 1) / step * step; }

// How the memory of a call is laid out.
template <typename T>
struct Layout {
  int64_t width;  // numbers of a unit and hop: the vectors that are carried together, rounded up
  int64_t kept;   // hops whose vectors are kept for the gradient of the stored values
  int64_t bundle, ends;
  int64_t by_columns;  // gradients of the values by columns

  explicit Layout(const SparseWalksCall<T>& call) {
    const SparseWalkProblem<T>& problem = call.problem;
    width = padded(problem.start.count);
    kept = call.gradients ? problem.hops - 1 : 0;
    bundle = problem.n() * width;
    ends = problem.terms() * problem.other.count * width;
    by_columns = call.gradients && problem.from_inputs ? call.edges : 0;
  }

  int64_t chain() const { return kept * bundle; }
};

template <typename T>
class Run {
 public:
  Run(const SparseWalksCall<T>& call, const T* mirrored, const Layout<T>& layout, Team& team, T* shared)
      : call_(call),
        problem_(call.problem),
        layout_(layout),
        width_(layout.width),
        forth_values_(problem_.from_inputs ? call.values : mirrored),
        back_values_(problem_.from_inputs ? mirrored : call.values),
        team_(team),
        kernels_(kernels<T>(flops_of(call))),
        forth_(share_rows(team, call.problem.forth)),
        back_(share_rows(team, call.problem.back)),
        others_(team.share(call.problem.other.count)) {
    const auto take = [&](int64_t count) {
      T* taken = shared;
      shared += round_up(count, 64 / sizeof(T));
      return taken;
    };
    chain_ = take(layout.chain());
    for (T*& bundle : spare_) bundle = take(layout.bundle);
    sum_ = take(layout.bundle);
    lifted_ = take(layout.bundle);
    walks_ = take(layout.ends);
    gradient_ = take(layout.ends);
    sizes_ = take(2 * problem_.other.count);
    grad_values_ = problem_.from_inputs ? take(layout.by_columns) : call.grad_values;
  }

  void vectors(int64_t first, int64_t last) {
    first_ = first;
    last_ = last;
    forward();
    if (call_.walks) copy_walks(call_.walks);
    if (call_.value) add_value();
    if (call_.gradients) {
      make_gradient();
      backward();
    }
    team_.wait();
  }

 private:
  // X_m, kept or in one of two places in turn, and L_m, for which X_{hops-1} stays.
  T* x(int64_t m) const { return m < layout_.kept ? chain_ + m * layout_.bundle : spare_[m % 2]; }
  T* l(int64_t m) const { return spare_[m % 2 ? 2 : problem_.hops % 2]; }

  // The vectors of the start that are carried now, and all those of the other side, at some units.
  SideStep<T> starting(Range units, T* bundle) const {
    return {problem_.start, problem_.rectify, T(1), width_, first_, last_, units.begin, units.end, bundle};
  }
  SideStep<T> ending(Range units, T* bundle, T* ends) const {
    const int64_t count = problem_.other.count;
    return {problem_.other, problem_.rectify, problem_.edges(), width_, 0, count, units.begin, units.end, bundle, ends};
  }
  // This member's vectors of the other side, at all units.
  SideStep<T> reading_out(T* bundle, T* ends) const {
    SideStep<T> step = ending({0, problem_.n()}, bundle, ends);
    step.first = others_.begin;
    step.last = others_.end;
    return step;
  }

  // This member's part of a product of all there is.
  SparseProduct<T> product(bool forth, const T* from, T* to) const {
    const SparseRows& rows = forth ? problem_.forth : problem_.back;
    const Range part = forth ? forth_ : back_;
    return {.begin = part.begin,
            .end = part.end,
            .crow = rows.crow,
            .columns = rows.columns,
            .values = forth ? forth_values_ : back_values_,
            .rectify = problem_.rectify,
            .width = width_,
            .x = from,
            .ldx = width_,
            .scale = problem_.alpha,
            .add = nullptr,
            .ldadd = 0,
            .add_scale = 0,
            .y = to,
            .ldy = width_};
  }

  void forward() {
    const int64_t hops = problem_.hops;
    kernels_.begin_bundle(starting(forth_, x(0)));
    sum_first();
    team_.wait();
    for (int64_t m = 0; m < hops; ++m) {
      if (problem_.per_hop) kernels_.read_out(reading_out(x(m), walks_ + m * problem_.other.count * width_));
      if (m + 1 == hops) break;
      SparseProduct<T> next = product(true, x(m), x(m + 1));
      const T weight = problem_.hop_weight(m + 1);
      if (!problem_.per_hop && weight != 0) {  // without one it takes no part, whatever is there
        next.sum = sum_;
        next.ldsum = width_;
        next.sum_scale = weight;
      }
      kernels_.sparse_product(next);
      team_.wait();
    }
    if (!problem_.per_hop) kernels_.read_out(reading_out(sum_, walks_));
  }

  // The sum of X_0 alone.
  void sum_first() const { scale_to(problem_.per_hop ? T(0) : problem_.hop_weight(0), forth_, x(0), sum_); }

  // to = weight from; a weight of zero makes zero of whatever is there.
  void scale_to(T weight, Range units, const T* from, T* to) const {
    const int64_t begin = units.begin * width_, end = units.end * width_;
    if (weight == 0) return std::fill(to + begin, to + end, T(0));
    for (int64_t k = begin; k < end; ++k) to[k] = weight * from[k];
  }

  // f(q, c, at, ours) for this member's pairs of each term: `at` in (terms, outputs, inputs), `ours` in (terms, q, c).
  template <typename F>
  void each_pair(int64_t term, const F& f) const {
    for (int64_t q = others_.begin; q < others_.end; ++q)
      for (int64_t c = 0; c < width_; ++c) {
        const bool inside = first_ + c < last_;
        f(q, inside, inside ? problem_.pair(first_ + c, q) : 0, (term * problem_.other.count + q) * width_ + c);
      }
  }

  void copy_walks(T* walks) const {
    for (int64_t term = 0; term < problem_.terms(); ++term)
      each_pair(term, [&](int64_t, bool inside, int64_t pair, int64_t ours) {
        if (inside) walks[term * problem_.pairs() + pair] = walks_[ours];
      });
  }

  T term_weight(int64_t term) const { return problem_.per_hop ? problem_.hop_weight(term) : T(1); }

  // By vector of the other side first: the sum is the same for any number of threads.
  void add_value() {
    double* sizes = sizes_of();
    for (int64_t q = others_.begin; q < others_.end; ++q) sizes[q] = 0;
    for (int64_t term = 0; term < problem_.terms(); ++term) {
      const T weight = term_weight(term);
      if (weight == 0) continue;
      each_pair(term, [&](int64_t q, bool inside, int64_t pair, int64_t ours) {
        if (!inside) return;
        const T size = walk_size(walks_[ours], call_.norm);
        sizes[q] += weight * (call_.pair_weights ? weighed(call_.pair_weights[pair], size) : size);
      });
    }
    team_.wait();
    if (!team_.leads()) return;
    for (int64_t q = 0; q < problem_.other.count; ++q) total_ += sizes[q];
    *call_.value = static_cast<T>(total_);
  }

  // Room for two T each, which is a double at least.
  double* sizes_of() const { return reinterpret_cast<double*>(sizes_); }

  void make_gradient() {
    for (int64_t term = 0; term < problem_.terms(); ++term) {
      const T weight = term_weight(term);
      each_pair(term, [&](int64_t, bool inside, int64_t pair, int64_t ours) {
        T& to = gradient_[ours];
        if (!inside) {
          to = 0;
        } else if (call_.grad_walks) {
          to = call_.grad_walks[term * problem_.pairs() + pair];
        } else {
          const T of_pair = call_.pair_weights ? call_.pair_weights[pair] : T(1);
          const T slope = *call_.grad_value * weight * of_pair * walk_size_derivative(walks_[ours], call_.norm);
          to = weight == 0 || of_pair == 0 ? T(0) : slope;
        }
      });
    }
    team_.wait();
  }

  T* gradient_of(int64_t m) const { return gradient_ + (problem_.per_hop ? m * problem_.other.count * width_ : 0); }

  void lift_to(int64_t m, T* to) const { kernels_.lift(ending(back_, to, gradient_of(m))); }

  // L_{hops-1}, the part of this member.
  void begin_reverse() const {
    const int64_t m = problem_.hops - 1;
    if (problem_.per_hop) return lift_to(m, l(m));
    scale_to(problem_.hop_weight(m), back_, lifted_, l(m));
  }

  // L_m = c phi(other)' G_m + A' L_{m+1} and the gradient of the values by L_{m+1}; the part of this member.
  void advance(int64_t m) const {
    if (problem_.per_hop) lift_to(m, lifted_);
    const T weight = problem_.per_hop ? T(1) : problem_.hop_weight(m);
    SparseProduct<T> next = product(false, l(m + 1), l(m));
    next.add = weight == 0 ? nullptr : lifted_;
    next.ldadd = width_;
    next.add_scale = weight;
    next.grad = grad_values_;
    next.left = x(m);
    next.ldleft = width_;
    kernels_.sparse_product(next);
  }

  void backward() {
    const int64_t hops = problem_.hops;
    if (!problem_.per_hop) lift_to(0, lifted_);
    begin_reverse();
    if (first_ == 0) std::fill(grad_values_ + own_values().begin, grad_values_ + own_values().end, T(0));
    for (int64_t m = hops - 2; m >= 0; --m) {
      team_.wait();
      advance(m);
    }
    if (last_ == problem_.start.count) end_gradient();
    if (call_.grad_start) {
      SideStep<T> step = starting(back_, l(0));
      step.grad = call_.grad_start;
      kernels_.start_gradient(step);
    }
    if (!call_.grad_other) return;
    if (!problem_.per_hop) return add_other_gradient(0, sum_, first_ > 0);
    for (int64_t m = 0; m < hops; ++m) add_other_gradient(m, x(m), first_ > 0 || m > 0);
  }

  void add_other_gradient(int64_t m, T* bundle, bool accumulate) const {
    SideStep<T> step = ending(forth_, bundle, gradient_of(m));
    step.grad = call_.grad_other;
    step.accumulate = accumulate;
    kernels_.other_gradient(step);
  }

  // Of the values that this member's rows of the reverse chain go through.
  Range own_values() const { return {problem_.back.crow[back_.begin], problem_.back.crow[back_.end]}; }

  void end_gradient() const {
    const Range own = own_values();
    if (problem_.rectify)
      for (int64_t k = own.begin; k < own.end; ++k) grad_values_[k] = times_sign(grad_values_[k], back_values_[k]);
    if (problem_.from_inputs)
      for (int64_t k = own.begin; k < own.end; ++k) call_.grad_values[call_.from[k]] = grad_values_[k];
  }

  const SparseWalksCall<T>& call_;
  const SparseWalkProblem<T>& problem_;
  const Layout<T>& layout_;
  const int64_t width_;
  const T *forth_values_, *back_values_;
  Team& team_;
  const Kernels<T>& kernels_;
  const Range forth_, back_, others_;  // this member's rows of the two matrices and its vectors of the other side
  double total_ = 0;                   // the leader's: the penalty so far
  int64_t first_ = 0, last_ = 0;       // vectors of the narrower side that are carried now
  T *chain_, *spare_[3], *sum_, *lifted_, *walks_, *gradient_, *sizes_;
  T* grad_values_;  // in the order of the values that the reverse chain goes through
};

}  // namespace

template <typename T>
int64_t sparse_walks_scratch(const SparseWalksCall<T>& call) {
  const Layout<T> layout(call);
  constexpr int64_t kPieces = 10, kLine = 64 / sizeof(T);
  return layout.chain() + 5 * layout.bundle + 2 * layout.ends + 2 * call.problem.other.count + layout.by_columns +
         kPieces * kLine;
}

template <typename T>
double flops_of(const SparseWalksCall<T>& call) {
  const SparseWalkProblem<T>& problem = call.problem;
  // A stored value looks its vectors up in places that are not neighbours: that takes as long as twice the arithmetic.
  const double passes = 2.0 * static_cast<double>(problem.hops) * (call.gradients ? 3 : 1);
  return 2.0 * passes * static_cast<double>(call.edges + problem.n()) * static_cast<double>(problem.start.count);
}

template <typename T>
void sparse_walks(const SparseWalksCall<T>& call, const T* mirrored, Team& team, T* shared) {
  const Layout<T> layout(call);
  Run<T> run(call, mirrored, layout, team, shared);
  const int64_t count = call.problem.start.count;
  for (int64_t first = 0; first < count; first += layout.width)
    run.vectors(first, std::min(first + layout.width, count));
}

#define RRNN_INSTANTIATE(T)                                         \
  template int64_t sparse_walks_scratch(const SparseWalksCall<T>&); \
  template double flops_of(const SparseWalksCall<T>&);              \
  template void sparse_walks(const SparseWalksCall<T>&, const T*, Team&, T*);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn::cpu
