// The reverse chain of what reads the state of a network that ran, and the gradients it yields:
//   L_m = u_m (scale U G_m) + alpha (d_m (W L_{m+1}) + k_m' L_{m+1})
//   grad W = alpha sum_m (d_m X_m) L_{m+1}'      grad U = scale sum_m (u_m X_m) G_m'      grad B_m = L_m
//   grad d_m = alpha X_m (W L_{m+1})      grad u_m = X_m (scale U G_m)      grad k_m = alpha X_m L_{m+1}
// each of the last three summed over what reads a network. L is made and used up in blocks of hops.
#include <algorithm>
#include <vector>

#include "cpu/algorithms/driven_gains.h"
#include "cpu/algorithms/driven_walks.h"

namespace rrnn::cpu {
namespace {

// Working memory, from `start` on; null: only how much it is.
template <typename T>
struct Memory {
  int64_t size = 0;
  int64_t block;  // hops of the reverse chain that one product for the gradient of the weights takes
  T* copies;      // what the weights' products read, gate by gate
  T* reverse;     // (block, networks, width, n): the first part of L
  T* start;       // that of L_0
  T* others;      // two links: the other parts of L, of two hops in turn
  T* scaled;      // d X (gates, block, networks, width, n)
  T* brought;     // W L_{m+1} (gates, networks, width, n)
  T* lifted;      // scale U G, likewise
  T* weighted;    // the same times a hop weight
  T* lifting;     // U' (gates, inputs, n)
  T* incoming;    // u X (gates, hops or 1, networks, width, n)

  Memory(const DrivenProblem<T>& p, T* from) : block(hops_of_block(p.n, p.vectors(), p.hops)) {
    const auto take = [&](int64_t count) {
      size += count;
      return from ? from + size - count : nullptr;
    };
    const int64_t gated = p.gates * p.bundle();
    copies = take(p.gates * DenseOperand<T>::copy_size(p.n, p.n));
    reverse = take(block * p.bundle());
    start = take(p.bundle());
    others = take(2 * p.link());
    scaled = take(block * gated);
    brought = take(gated);
    lifted = take(gated);
    weighted = take(gated);
    lifting = take(p.rows() * p.inputs);
    incoming = take((p.per_hop ? p.hops : 1) * gated);
  }
};

template <typename T>
class DrivenBackward {
 public:
  DrivenBackward(const DrivenProblem<T>& problem, const T* grad_walks, const T* chain, const DrivenGradients<T>& to,
                 Team& team, T* shared)
      : p_(problem),
        grad_walks_(grad_walks),
        chain_(chain),
        to_(to),
        team_(team),
        memory_(problem, shared),
        first_(weights(0)),
        k_(first_.kernels()),
        part_(chain_part(p_.vectors(), p_.n, first_, team, to.of_gains() ? p_.width : 1)),
        gains_(p_, k_, part_) {}

  void run() {
    for (int64_t gate = 0; gate < p_.gates; ++gate)
      k_.transpose(team_.share(p_.n, 16), p_.inputs, p_.weight_ih + gate * p_.n * p_.inputs, p_.inputs,
                   memory_.lifting + gate * p_.n * p_.inputs, p_.n, false);
    ready_.reserve(p_.gates);
    for (int64_t gate = 0; gate < p_.gates; ++gate)
      ready_.push_back(prepared(p_.vectors() * (p_.hops - 1), weights(gate), true, team_,
                                memory_.copies + gate * DenseOperand<T>::copy_size(p_.n, p_.n)));
    team_.wait();
    if (!p_.per_hop) lift(0);
    bool accumulate = false;
    for (int64_t end = p_.hops - 1; end > 0;) {
      // The short block comes first: a full one never writes over the L_{m+1} it starts from, which is in its first
      // slot.
      const int64_t begin = end - (end % memory_.block ? end % memory_.block : memory_.block);
      for (int64_t m = end; m > begin; --m) {
        gains_.scale_rows(p_.gains, m - 1, chain_ + (m - 1) * p_.link(), T(1), false,
                          memory_.scaled + (m - 1 - begin) * p_.bundle(), memory_.block * p_.bundle());
        advance(m, memory_.reverse + (m - 1 - begin) * p_.bundle());
      }
      if (part_.alone) team_.wait();
      weights_gradient((end - begin) * p_.vectors(), accumulate);
      accumulate = true;
      end = begin;
      team_.wait();
    }
    if (!accumulate) {
      const Range rows = team_.share(p_.rows());
      std::fill(to_.weight_hh + rows.begin * p_.n, to_.weight_hh + rows.end * p_.n, T(0));
    }
    advance(0, memory_.start);
    input_weights_gradient();
    if (!p_.enters_each_hop) entering_gradient(memory_.start);
  }

 private:
  // Without alpha, which is multiplied in after the gains.
  DenseOperand<T> weights(int64_t gate) const {
    return {p_.weight_hh + gate * p_.n * p_.n, p_.n, T(1), false, flops_of(p_)};
  }

  // lifted (gates, ...) = scale * U G of a term.
  void lift(int64_t term) {
    const int64_t first = part_.vectors.begin, count = part_.vectors.end - first;
    const T* gradient = grad_walks_ + (term * p_.vectors() + first) * p_.inputs;
    for (int64_t gate = 0; gate < p_.gates; ++gate)
      k_.product_transposed(part_.units, p_.inputs, memory_.lifting + gate * p_.n * p_.inputs, p_.n, gradient,
                            p_.inputs, count, p_.scale, nullptr, 0, memory_.lifted + gate * p_.bundle() + first * p_.n,
                            p_.n, false);
  }

  // What a hop has of them.
  const T* inflow(int64_t m) const {
    const T weight = p_.hop_weight(m);
    if (weight == 1) return memory_.lifted;
    for (int64_t row = 0; row < p_.gates * p_.vectors(); ++row) {
      const int64_t vector = row % p_.vectors();
      if (vector < part_.vectors.begin || vector >= part_.vectors.end) continue;
      for (int64_t at = row * p_.n + part_.units.begin; at < row * p_.n + part_.units.end; ++at)
        memory_.weighted[at] = weighed(weight, memory_.lifted[at]);
    }
    return memory_.weighted;
  }

  // L_m from L_{m+1}: its first part to `to`, its others to their place of this hop.
  void advance(int64_t m, T* to) {
    const int64_t bundle = p_.bundle();
    const bool is_last = m + 1 == p_.hops;
    const T* x = chain_ + m * p_.link();
    if (p_.per_hop) lift(m);
    if (!is_last)
      for (int64_t gate = 0; gate < p_.gates; ++gate)
        advance_chain<DenseOperand<T>, T>(p_.n, ready_[gate], next_, nullptr, memory_.brought + gate * bundle, true,
                                          m % 2, part_);
    const T* in = inflow(m);
    for (int64_t own = 0; own < p_.parts; ++own) {
      T* here = own == 0 ? to : other(m, own);
      gains_.gather_rows(p_.input_gains, m, own, in, T(1), false, here);
      if (is_last) continue;
      gains_.gather_rows(p_.gains, m, own, memory_.brought, p_.alpha, true, here);
      if (!p_.carries) continue;
      gains_.gather_carried(m, own, 0, 1, next_, here);
      if (p_.parts > 1) gains_.gather_carried(m, own, 1, p_.parts - 1, other(m + 1, 1), here);
    }
    if (to_.of_gains()) gains_gradient(m, x, in, is_last);
    if (p_.enters_each_hop) gains_.copy(to, to_.entering + m * bundle);
    if (!part_.alone) team_.wait();
    next_ = to;
  }

  // The parts after the first, of two hops in turn.
  T* other(int64_t m, int64_t own) { return memory_.others + m % 2 * p_.link() + own * p_.bundle(); }

  void gains_gradient(int64_t m, const T* x, const T* in, bool is_last) {
    const int64_t bundle = p_.bundle(), n = p_.n;
    for (int64_t own = 0; own < p_.parts; ++own) {
      const T* part = x + own * bundle;
      for (int64_t gate = 0; gate < p_.gates; ++gate) {
        const auto of = [&](T* gradient) {
          return [=, this](int64_t network) { return gradient + p_.gains_at(m, network, own) + gate * n; };
        };
        T* input_gains = to_.input_gains ? to_.input_gains : to_.gains;
        gains_.sum_over_vectors(part, in + gate * bundle, T(1), false, of(input_gains));
        if (!is_last)
          gains_.sum_over_vectors(part, memory_.brought + gate * bundle, p_.alpha, !to_.input_gains, of(to_.gains));
        else if (to_.input_gains)
          gains_.sum_over_vectors(part, part, T(0), false, of(to_.gains));
      }
      for (int64_t before = 0; to_.carries && before < p_.parts; ++before) {
        const auto place = [&](int64_t network) { return to_.carries + p_.carries_at(m, network, own) + before * n; };
        if (is_last)
          gains_.sum_over_vectors(part, part, T(0), false, place);
        else
          gains_.sum_over_vectors(part, before == 0 ? next_ : other(m + 1, before), p_.alpha, false, place);
      }
    }
  }

  void weights_gradient(int64_t depth, bool accumulate) {
    for (int64_t gate = 0; gate < p_.gates; ++gate)
      ready_[gate].gradient(team_.share(p_.n, 8), depth, memory_.scaled + gate * memory_.block * p_.bundle(), p_.n,
                            memory_.reverse, p_.n, p_.alpha, accumulate, to_.weight_hh + gate * p_.n * p_.n, p_.n);
  }

  void input_weights_gradient() {
    const int64_t hops = p_.per_hop ? p_.hops : 1, bundle = p_.bundle();
    bool begun = false;
    for (int64_t m = 0; m < p_.hops; ++m) {
      const T* x = chain_ + m * p_.link();
      if (p_.per_hop) {
        gains_.scale_rows(p_.input_gains, m, x, T(1), false, memory_.incoming + m * bundle, hops * bundle);
      } else if (p_.hop_weight(m) != 0) {
        gains_.scale_rows(p_.input_gains, m, x, p_.hop_weight(m), begun, memory_.incoming, bundle);
        begun = true;
      }
    }
    for (int64_t gate = 0; !p_.per_hop && !begun && gate < p_.gates; ++gate)
      gains_.copy(nullptr, memory_.incoming + gate * bundle);
    team_.wait();
    for (int64_t gate = 0; gate < p_.gates; ++gate)
      k_.outer_product(team_.share(p_.n, 16), p_.inputs, hops * p_.vectors(), memory_.incoming + gate * hops * bundle,
                       p_.n, grad_walks_, p_.inputs, p_.scale, false, nullptr, p_.inputs,
                       to_.weight_ih + gate * p_.n * p_.inputs, p_.inputs);
  }

  // What reads all networks at the first hop has the sum of their gradients. After the others are done.
  void entering_gradient(const T* link) {
    const int64_t size = p_.width * p_.n;
    const Range own = team_.share(size, 16);
    for (int64_t network = 0; network < p_.networks; ++network)
      for (int64_t at = own.begin; at < own.end; ++at)
        to_.entering[at] = network ? to_.entering[at] + link[network * size + at] : link[at];
  }

  const DrivenProblem<T>& p_;
  const T *grad_walks_, *chain_;
  const DrivenGradients<T>& to_;
  Team& team_;
  const Memory<T> memory_;
  const DenseOperand<T> first_;
  const Kernels<T>& k_;
  const ChainPart part_;
  const DrivenGains<T> gains_;
  std::vector<DenseOperand<T>> ready_;
  const T* next_ = nullptr;  // the first part of L_{m+1}
};

}  // namespace

template <typename T>
int64_t driven_backward_scratch(const DrivenProblem<T>& p) {
  return Memory<T>(p, nullptr).size;
}

template <typename T>
void driven_backward(const DrivenProblem<T>& p, const T* grad_walks, const T* chain, const DrivenGradients<T>& to,
                     Team& team, T* shared) {
  DrivenBackward<T>(p, grad_walks, chain, to, team, shared).run();
}

#define RRNN_INSTANTIATE(T)                                          \
  template int64_t driven_backward_scratch(const DrivenProblem<T>&); \
  template void driven_backward(const DrivenProblem<T>&, const T*, const T*, const DrivenGradients<T>&, Team&, T*);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn::cpu
