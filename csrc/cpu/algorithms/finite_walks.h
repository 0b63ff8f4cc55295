// Walks of finite length from inputs to outputs, and the gradient of their sum. The recurrent matrix is an operand (see
// dense_operand.h).
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/walk_problem.h"
#include "cpu/algorithms/dense_operand.h"
#include "cpu/algorithms/overflow.h"
#include "cpu/algorithms/team.h"

namespace rrnn::cpu {

// Of carrying the narrower side's vectors through so many weights, hop by hop.
template <typename T>
double flops_of(const WalkProblem<T>& problem, double weights) {
  return 2.0 * weights * static_cast<double>(problem.width()) * static_cast<double>(problem.hops);
}

// `a`, made ready for so many products with vectors. `copy` is room for a.copy_size() numbers.
template <typename Operand, typename T>
Operand prepared(int64_t products, const Operand& a, bool forwards, Team& team, T* copy) {
  constexpr int64_t kManyProducts = 8;
  Operand ready = a;
  if (products >= kManyProducts) ready.prepare(forwards, team, copy);
  return ready;
}

// A member's part of the chain: some of its vectors, or some of the hidden units of all of them. Members with vectors
// of their own need nothing of one another from hop to hop, but each of them reads all of W.
struct ChainPart {
  Range vectors, units;
  bool alone;  // no need to wait for the others after a hop
};

// Of so many vectors of n units, which are not to be parted within `together` of them.
template <typename Operand>
ChainPart chain_part(int64_t vectors, int64_t n, const Operand& a, const Team& team, int64_t together = 1) {
  // Eight vectors make full use of a weight that is loaded, and W is to stay in each core's own cache.
  constexpr int64_t kFullPanel = 8, kOwnCache = 1 << 20;
  const int64_t enough = std::max(together, a.bytes() <= kNearBytes ? kFullPanel / 2 : kFullPanel);
  if (team.items() == 1 || (a.bytes() <= kOwnCache && vectors / team.items() >= enough))
    return {team.share(vectors, together), {0, n}, true};
  return {{0, vectors}, team.share(n, 16), false};
}

// How many hops of the reverse chain one product for the gradient of W takes: enough to feed it, little beside W.
inline int64_t hops_of_block(int64_t n, int64_t vectors, int64_t hops) {
  const int64_t wanted = std::clamp<int64_t>(n / 32, 64, 256);
  return std::clamp<int64_t>(wanted / std::max<int64_t>(1, vectors), 2, std::max<int64_t>(2, hops));
}

// to = A from (+ add), or A' from, for this member's part of bundles of vectors of n units.
template <typename Operand, typename T>
void advance_chain(int64_t n, const Operand& a, const T* from, const T* add, T* to, bool forwards, bool reverse,
                   const ChainPart& part) {
  const int64_t own = part.vectors.begin * n, width = part.vectors.end - part.vectors.begin;
  from += own;
  to += own;
  if (add) add += own;
  if (!part.alone)  // what the others wrote is in their caches: ask for all of it at once
    for (int64_t c = 0; c < width; ++c)
      for (int64_t r = 0; r < n; r += 64 / sizeof(T))
        if (r < part.units.begin || r >= part.units.end) __builtin_prefetch(from + c * n + r);
  if (forwards)
    a.product(part.units, width, from, add, to, reverse);
  else
    a.product_transposed(part.units, width, from, add, to, reverse);
}

// sum = sum over `hops` of their weights times their links (+ sum, unless these are the first hops), this member's
// part. What has a weight of zero takes no part, whatever is there. `links` are those of `hops`.
template <typename T>
void add_links(const WalkProblem<T>& problem, const Kernels<T>& k, Range hops, const T* links, const ChainPart& part,
               T* sum) {
  const int64_t n = problem.n, bundle = problem.width() * n, units = part.units.end - part.units.begin;
  const T one = 1;
  const auto counts = [&](int64_t m) { return problem.hop_weight(m) != 0; };
  bool begun = hops.begin > 0;
  for (int64_t m = hops.begin; m < hops.end;) {
    int64_t end = m;
    while (end < hops.end && counts(end)) ++end;
    for (int64_t c = part.vectors.begin; end > m && c < part.vectors.end; ++c) {
      const int64_t at = c * n + part.units.begin;
      k.dense_product(1, units,
                      {.depth = end - m,
                       .left = problem.hop_weights ? problem.hop_weights + m : &one,
                       .row_stride = 0,
                       .depth_stride = problem.hop_weights ? 1 : 0,
                       .right = links + (m - hops.begin) * bundle + at,
                       .ldright = bundle,
                       .add = begun ? sum + at : nullptr,
                       .ldadd = n,
                       .out = sum + at,
                       .ldout = n});
    }
    begun = begun || end > m;
    m = std::max(end, m + 1);
  }
  for (int64_t c = part.vectors.begin; !begun && c < part.vectors.end; ++c)
    std::fill(sum + c * n + part.units.begin, sum + c * n + part.units.end, T(0));
}

// Without the hops at the end whose walks have no gradient: what comes of them may have overflowed.
template <typename T, typename G>
WalkProblem<T> without_idle_hops(const WalkProblem<T>& problem, const G* grad_walks) {
  WalkProblem<T> counted = problem;
  const auto is_idle = [&](int64_t hop) {
    const G* of_hop = grad_walks + hop * problem.pairs();
    return std::all_of(of_hop, of_hop + problem.pairs(), [](G gradient) { return gradient == 0; });
  };
  while (problem.per_hop && counted.hops > 1 && is_idle(counted.hops - 1)) --counted.hops;
  return counted;
}

// Whether the chain, `bundle` numbers a hop, left the range of T, as far as this member's part tells: what has
// overflowed spreads to every element from hop to hop.
template <typename T>
bool chain_is_finite(const T* chain, int64_t hops, int64_t bundle, const Team& team) {
  const Range part = team.share(bundle);
  return all_finite(chain + (hops - 1) * bundle + part.begin, part.end - part.begin);
}

// Fills walks (terms, outputs, inputs). `chain` (hops, width, n), unless null, receives the narrower side's vectors.
template <typename Operand, typename T = typename Operand::Number>
void walk_forward(const WalkProblem<T>& problem, const Operand& a, T* walks, T* chain, Team& team, T* shared);
template <typename T>
int64_t walk_forward_scratch(const WalkProblem<T>& problem, bool keeps_chain);

// Where the gradient of a weight goes: rows so far apart, written or added to. Null: it is not wanted.
template <typename T>
struct GradientRows {
  T* data = nullptr;
  int64_t stride = 0;
  bool adds = false;
};

// Of the weights of a graph.
template <typename T>
struct WalkGradients {
  GradientRows<T> hh, in, out;
  bool adds() const { return hh.adds || in.adds || out.adds; }
};

// Whether what scales the gradients leaves room to numbers up to kModerate.
template <typename T>
bool scales_moderately(const WalkProblem<T>& problem) {
  return problem.alpha <= 16;
}

// From grad_walks (terms, outputs, inputs), the gradients. Nothing can be taken back that has been added: where that is
// asked for and a number might leave the range of T, false is returned to each member, and nothing has been added.
template <typename Operand, typename T = typename Operand::Number>
bool walk_backward(const WalkProblem<T>& problem, const Operand& a, const T* grad_walks, const T* chain,
                   const WalkGradients<T>& to, Team& team, T* shared);
template <typename T>
int64_t walk_backward_scratch(const WalkProblem<T>& problem, bool adds);

// The same for the sum of one input's walks to one output without hop weights, with the vectors of both sides in the
// chain (hops, 2, n), which take one pass over W.
template <typename T>
int64_t single_pathway_scratch(const WalkProblem<T>& problem, int64_t members);
template <typename Operand, typename T = typename Operand::Number>
void single_pathway_forward(const WalkProblem<T>& problem, const Operand& a, T* walks, T* chain, Team& team, T* shared);
template <typename Operand, typename T = typename Operand::Number>
bool single_pathway_backward(const WalkProblem<T>& problem, const Operand& a, const T* grad_walks, const T* chain,
                             const WalkGradients<T>& to, Team& team, T* shared);

}  // namespace rrnn::cpu
