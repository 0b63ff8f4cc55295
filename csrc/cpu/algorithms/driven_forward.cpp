// The chain of what reads the state, X_{m+1} = alpha (W' (d_m X_m) + k_m X_m) + B_{m+1}, and the walks that it yields,
// P_m = scale (u_m X_m) U.
#include <algorithm>

#include "cpu/algorithms/driven_gains.h"
#include "cpu/algorithms/driven_walks.h"

namespace rrnn::cpu {
namespace {

// X_0: what enters at the first hop, of each network, in the first part.
template <typename T>
void begin_chain(const DrivenProblem<T>& p, const DrivenGains<T>& gains, const ChainPart& part, T* link) {
  for (int64_t c = part.vectors.begin; c < part.vectors.end; ++c) {
    const T* from = p.entering + (p.enters_each_hop ? c : c % p.width) * p.n;
    std::copy(from + part.units.begin, from + part.units.end, link + c * p.n + part.units.begin);
  }
  for (int64_t other = 1; other < p.parts; ++other) gains.copy(nullptr, link + other * p.bundle());
}

// walks (vectors, inputs) = scale * sum over gates of `scaled` (gates, vectors, n) times U.
template <typename T>
void read_out(const DrivenProblem<T>& p, const Kernels<T>& k, const T* scaled, T* walks, Range vectors, Range inputs) {
  T* to = walks + vectors.begin * p.inputs;
  for (int64_t gate = 0; gate < p.gates; ++gate)
    k.product_transposed(inputs, p.n, p.weight_ih + gate * p.n * p.inputs, p.inputs,
                         scaled + gate * p.bundle() + vectors.begin * p.n, p.n, vectors.end - vectors.begin, p.scale,
                         gate ? to : nullptr, p.inputs, to, p.inputs, false);
}

}  // namespace

template <typename T>
int64_t driven_forward_scratch(const DrivenProblem<T>& p) {
  return 2 * p.link() + 5 * p.gates * p.bundle();
}

template <typename T>
void driven_forward(const DrivenProblem<T>& p, T* walks, T* chain, Team& team, T* shared) {
  const int64_t n = p.n, bundle = p.bundle(), gated = p.gates * bundle;
  const auto weights = [&](int64_t gate) {
    return DenseOperand<T>(p.weight_hh + gate * n * n, n, p.alpha, false, flops_of(p));
  };
  const DenseOperand<T> first = weights(0);
  const ChainPart part = chain_part(p.vectors(), n, first, team);
  const DrivenGains<T> gains(p, first.kernels(), part);
  const Range inputs = part.alone ? Range{0, p.inputs} : team.share(p.inputs);
  T* ring = shared;                 // two links in turn where no chain is kept
  T* rows = ring + 2 * p.link();    // what meets the weights, two hops in turn: others still read that of the last hop
  T* inputs_of = rows + 2 * gated;  // what meets the input weights, likewise
  T* sum = inputs_of + 2 * gated;   // over the hops
  const auto link = [&](int64_t m) { return chain ? chain + m * p.link() : ring + m % 2 * p.link(); };
  const auto exchange = [&] {
    if (!part.alone) team.wait();
  };

  begin_chain(p, gains, part, link(0));
  bool begun = false;
  for (int64_t m = 0; m < p.hops; ++m) {
    const T* x = link(m);
    T *scaled = rows + m % 2 * gated, *incoming = inputs_of + m % 2 * gated;
    const bool last = m + 1 == p.hops;
    if (!last) gains.scale_rows(p.gains, m, x, T(1), false, scaled, bundle);
    if (p.per_hop) {
      gains.scale_rows(p.input_gains, m, x, T(1), false, incoming, bundle);
    } else if (p.hop_weight(m) != 0) {  // what has a weight of zero takes no part, whatever is there
      gains.scale_rows(p.input_gains, m, x, p.hop_weight(m), begun, sum, bundle);
      begun = true;
    }
    exchange();
    if (p.per_hop) read_out(p, first.kernels(), incoming, walks + m * p.vectors() * p.inputs, part.vectors, inputs);
    if (last) break;
    T* next = link(m + 1);
    const T* enters = p.enters(m + 1);
    if (p.carries)
      gains.carry(m, x, enters, next);
    else
      for (int64_t other = 1; other < p.parts; ++other) gains.copy(nullptr, next + other * bundle);
    const T* add = p.carries ? next : enters;
    for (int64_t gate = 0; gate < p.gates; ++gate) {
      advance_chain<DenseOperand<T>, T>(n, weights(gate), scaled + gate * bundle, add, next, false, m % 2, part);
      add = next;
    }
  }
  if (!p.per_hop) {
    for (int64_t gate = 0; !begun && gate < p.gates; ++gate) gains.copy(nullptr, sum + gate * bundle);
    exchange();
    read_out(p, first.kernels(), sum, walks, part.vectors, inputs);
  }
  team.wait();
}

#define RRNN_INSTANTIATE(T)                                         \
  template int64_t driven_forward_scratch(const DrivenProblem<T>&); \
  template void driven_forward(const DrivenProblem<T>&, T*, T*, Team&, T*);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn::cpu
