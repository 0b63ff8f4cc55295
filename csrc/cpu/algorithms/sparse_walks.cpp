// The chain X_0 = phi(U), X_{m+1} = A X_m, the walks P_m = c phi(V) X_m, and the reverse chain
//   L_{hops-1} = c phi(V)' G_{hops-1},  L_m = c phi(V)' G_m + A' L_{m+1}
//   grad phi(W)(r, c) = alpha sum_m L_{m+1}[r] . X_m[c]   grad phi(U) = L_0   grad phi(V) = c sum_m G_m X_m'
// or the mirror image. It is all done for a few vectors of the narrower side after the other: no column of a walk's sum
// needs to know of the others. Vectors are stored unit by unit, a hop's after those of the hop before: where a product
// looks them up they are close together. For the gradient of the stored values a block of hops is put side by side,
// unit by unit: of each value's it is then one dot product of neighbours in memory. L is made and used up in such
// blocks.
#include "cpu/algorithms/sparse_walks.h"

#include <algorithm>

#include "cpu/algorithms/sparse_rows.h"
#include "cpu/algorithms/sparse_sides.h"

namespace rrnn::cpu {
namespace {

// What a unit has in a block at most: enough that looking it up is reading neighbours, and that the sum over a vector's
// lanes in the end is little beside the dot product. Longer rows are no faster, and take memory.
constexpr int64_t kBlockRowBytes = 512;

int64_t padded(int64_t vectors) { return vectors <= 1 ? 1 : vectors <= 4 ? 4 : vectors <= 8 ? 8 : kMostVectors; }

int64_t round_up(int64_t count, int64_t step) { return (count + step - 1) / step * step; }

// How the memory of a call is laid out.
template <typename T>
struct Layout {
  int64_t width;  // numbers of a unit and hop: the vectors that are carried together, rounded up
  int64_t kept;   // hops whose vectors are kept for the gradient of the stored values
  int64_t block;  // of them so many are put side by side
  int64_t bundle, ends;

  explicit Layout(const SparseWalksCall<T>& call) {
    const SparseWalkProblem<T>& problem = call.problem;
    width = padded(problem.start.count);
    kept = call.gradients ? problem.hops - 1 : 0;
    // Whole cache lines; and L_{m+1} is not to be written over while L_m is made of it.
    const int64_t step = std::max<int64_t>(2, 64 / static_cast<int64_t>(sizeof(T)) / width);
    const int64_t most = std::max<int64_t>(step, kBlockRowBytes / static_cast<int64_t>(sizeof(T)) / width);
    const int64_t blocks = std::max<int64_t>(1, (kept + most - 1) / most);
    block = round_up(std::max<int64_t>(1, (kept + blocks - 1) / blocks), step);
    bundle = problem.n() * width;
    ends = problem.terms() * problem.other.count * width;
  }

  int64_t chain() const { return kept * bundle; }
  int64_t of_block() const { return kept ? block * bundle : 0; }
};

template <typename T, int W>
class Run {
 public:
  Run(const SparseWalksCall<T>& call, const T* mirrored, const Layout<T>& layout, Team& team, T* shared)
      : call_(call),
        problem_(call.problem),
        layout_(layout),
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
    for (T** block : {&reverse_, &reverse_block_, &chain_block_}) *block = take(layout.of_block());
    for (T*& bundle : spare_) bundle = take(layout.bundle);
    sum_ = take(layout.bundle);
    lifted_ = take(layout.bundle);
    walks_ = take(layout.ends);
    gradient_ = take(layout.ends);
    sizes_ = take(2 * problem_.other.count);
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
  // X_m: kept in the chain, or in one of two places in turn.
  Bundle<T> x(int64_t m) const { return {m < layout_.kept ? chain_ + m * layout_.bundle : spare_[m % 2], W}; }
  // L_{m+1} at the place of hop m.
  Bundle<T> reverse(int64_t m) const { return {reverse_ + m % layout_.block * layout_.bundle, W}; }

  void product(bool forth, Bundle<T> from, const T* add, T add_scale, Bundle<T> to) const {
    const SparseRows& rows = forth ? problem_.forth : problem_.back;
    const Range part = forth ? forth_ : back_;
    kernels_.sparse_product({part.begin, part.end, rows.crow, rows.columns, forth ? forth_values_ : back_values_,
                             problem_.rectify, W, from.data, from.ld, problem_.alpha, add, W, add_scale, to.data,
                             to.ld});
  }

  void forward() {
    const int64_t hops = problem_.hops;
    begin_bundle<W>(problem_.start, problem_.rectify, first_, last_, forth_, x(0));
    team_.wait();
    for (int64_t m = 0; m < hops; ++m) {
      if (problem_.per_hop) {
        read_out<W>(problem_.other, problem_.rectify, problem_.edges(), problem_.n(), x(m), others_,
                    walks_ + m * problem_.other.count * W);
      } else {
        add_to_sum(m, problem_.hop_weight(m));
      }
      if (m + 1 == hops) break;
      product(true, x(m), nullptr, T(0), x(m + 1));
      team_.wait();
    }
    if (!problem_.per_hop) {
      team_.wait();
      read_out<W>(problem_.other, problem_.rectify, problem_.edges(), problem_.n(), Bundle<T>{sum_, W}, others_,
                  walks_);
    }
  }

  void add_to_sum(int64_t m, T weight) {
    for (int64_t r = forth_.begin; r < forth_.end; ++r) {
      T* to = sum_ + r * W;
      const T* from = x(m).of(r);
      if (weight == 0) {  // it takes no part, whatever is there
        if (m == 0) std::fill_n(to, W, T(0));
      } else {
        for (int c = 0; c < W; ++c) to[c] = m == 0 ? weight * from[c] : to[c] + weight * from[c];
      }
    }
  }

  // The bundles of some hops side by side in a block, at `units`.
  void put_side_by_side(const T* bundles, int64_t hops, Range units, T* block) const {
    for (int64_t r = units.begin; r < units.end; ++r)
      for (int64_t hop = 0; hop < hops; ++hop)
        for (int64_t c = 0; c < W; ++c)
          block[(r * layout_.block + hop) * W + c] = bundles[hop * layout_.bundle + r * W + c];
  }

  // f(q, c, at, ours) for this member's pairs of each term: `at` in (terms, outputs, inputs), `ours` in (terms, q, c).
  template <typename F>
  void each_pair(int64_t term, const F& f) const {
    for (int64_t q = others_.begin; q < others_.end; ++q)
      for (int64_t c = 0; c < W; ++c) {
        const bool inside = first_ + c < last_;
        f(q, inside, inside ? problem_.pair(first_ + c, q) : 0, (term * problem_.other.count + q) * W + c);
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

  const T* gradient_of(int64_t m) const { return gradient_ + (problem_.per_hop ? m * problem_.other.count * W : 0); }

  void lift_to(int64_t m, Bundle<T> to) const {
    lift<W>(problem_.other, problem_.rectify, problem_.edges(), gradient_of(m), back_, to);
  }

  // L_m = c phi(other)' G_m + A' next; the part of this member.
  void advance(int64_t m, const Bundle<T>* next, Bundle<T> to) const {
    const Bundle<T> lifted{lifted_, W};
    if (problem_.per_hop) lift_to(m, lifted);
    const T weight = problem_.per_hop ? T(1) : problem_.hop_weight(m);
    if (next) return product(false, *next, weight == 0 ? nullptr : lifted_, weight, to);
    for (int64_t r = back_.begin; r < back_.end; ++r)
      for (int c = 0; c < W; ++c) to.of(r)[c] = weight == 0 ? T(0) : weight * lifted.of(r)[c];
  }

  void backward() {
    const int64_t hops = problem_.hops, block = layout_.block;
    if (!problem_.per_hop) lift_to(0, {lifted_, W});
    Bundle<T> next{};
    bool accumulate = first_ > 0;
    const Range rows = problem_.from_inputs ? forth_ : back_;
    if (hops == 1 && !accumulate)
      std::fill(call_.grad_values + call_.rows.crow[rows.begin], call_.grad_values + call_.rows.crow[rows.end], T(0));
    for (int64_t end = hops - 1; end > 0;) {
      const int64_t begin = (end - 1) / block * block;
      for (int64_t m = end; m > begin; --m) {
        const Bundle<T> to = reverse(m - 1);
        advance(m, m == hops - 1 ? nullptr : &next, to);
        team_.wait();
        next = to;
      }
      put_side_by_side(x(begin).data, end - begin, forth_, chain_block_);
      put_side_by_side(reverse(begin).data, end - begin, back_, reverse_block_);
      team_.wait();
      const bool last = begin == 0 && last_ == problem_.start.count;
      kernels_.sparse_gradient({rows.begin, rows.end, call_.rows.crow, call_.rows.columns, (end - begin) * W,
                                problem_.from_inputs ? reverse_block_ : chain_block_, block * W,
                                problem_.from_inputs ? chain_block_ : reverse_block_, block * W, problem_.alpha,
                                accumulate, last && problem_.rectify ? call_.values : nullptr, call_.grad_values});
      accumulate = true;
      end = begin;
    }
    if (call_.grad_start) {
      const Bundle<T> first{spare_[hops % 2], W};  // X_{hops-1} is in the other one
      advance(0, hops == 1 ? nullptr : &next, first);
      start_gradient<W>(problem_.start, problem_.rectify, first_, last_, back_, first, call_.grad_start);
    }
    if (!call_.grad_other) return;
    const bool more = first_ > 0;
    if (!problem_.per_hop)
      return other_gradient<W>(problem_.other, problem_.rectify, problem_.edges(), gradient_, forth_,
                               Bundle<T>{sum_, W}, more, call_.grad_other);
    for (int64_t m = 0; m < hops; ++m)
      other_gradient<W>(problem_.other, problem_.rectify, problem_.edges(), gradient_of(m), forth_, x(m), more || m > 0,
                        call_.grad_other);
  }

  const SparseWalksCall<T>& call_;
  const SparseWalkProblem<T>& problem_;
  const Layout<T>& layout_;
  const T *forth_values_, *back_values_;
  Team& team_;
  const Kernels<T>& kernels_;
  const Range forth_, back_, others_;  // this member's rows of the two matrices and its vectors of the other side
  double total_ = 0;                   // the leader's: the penalty so far
  int64_t first_ = 0, last_ = 0;       // vectors of the narrower side that are carried now
  T *chain_, *reverse_, *reverse_block_, *chain_block_, *spare_[2], *sum_, *lifted_, *walks_, *gradient_, *sizes_;
};

}  // namespace

template <typename T>
int64_t sparse_walks_scratch(const SparseWalksCall<T>& call) {
  const Layout<T> layout(call);
  constexpr int64_t kPieces = 11, kLine = 64 / sizeof(T);
  return layout.chain() + 3 * layout.of_block() + 4 * layout.bundle + 2 * layout.ends + 2 * call.problem.other.count +
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
  const auto run = [&](auto width) {
    Run<T, width()> each(call, mirrored, layout, team, shared);
    const int64_t count = call.problem.start.count;
    for (int64_t first = 0; first < count; first += width()) each.vectors(first, std::min(first + width(), count));
  };
  if (layout.width == 1) return run(std::integral_constant<int, 1>{});
  if (layout.width == 4) return run(std::integral_constant<int, 4>{});
  if (layout.width == 8) return run(std::integral_constant<int, 8>{});
  run(std::integral_constant<int, kMostVectors>{});
}

#define RRNN_INSTANTIATE(T)                                         \
  template int64_t sparse_walks_scratch(const SparseWalksCall<T>&); \
  template double flops_of(const SparseWalksCall<T>&);              \
  template void sparse_walks(const SparseWalksCall<T>&, const T*, Team&, T*);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn::cpu
