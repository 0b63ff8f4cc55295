// Gains and carries between the products of a driven chain, for some units of some vectors. What meets the weights lies
// gate by gate, (gates, networks, width, n), so that each gate's product is one with a square matrix.
#pragma once

#include <cstdint>

#include "common/driven_problem.h"
#include "cpu/algorithms/finite_walks.h"
#include "cpu/kernels/kernels.h"

namespace rrnn::cpu {

template <typename T>
class DrivenGains {
 public:
  DrivenGains(const DrivenProblem<T>& problem, const Kernels<T>& kernels, const ChainPart& part)
      : p_(problem), k_(kernels), part_(part) {}

  // to (gates, ...), whose gates lie so far apart, = scale * the gains of a hop times x (parts, ...), (+ to)
  void scale_rows(const T* gains, int64_t hop, const T* x, T scale, bool accumulate, T* to, int64_t gate_stride) const {
    each_network([&](int64_t network, int64_t at, int64_t vectors) {
      for (int64_t gate = 0; gate < p_.gates; ++gate) {
        T* out = to + gate * gate_stride + at;
        sum({.vectors = vectors,
             .terms = p_.parts,
             .factors = gains + p_.gains_at(hop, network, 0) + gate * p_.n,
             .factor_stride = p_.rows(),
             .from = x + at,
             .term_stride = p_.bundle(),
             .scale = scale,
             .add = accumulate ? out : nullptr,
             .out = out});
      }
    });
  }

  // to (parts, ...) = alpha * the carries of a hop times x (parts, ...); the first part + enters, unless that is null.
  void carry(int64_t hop, const T* x, const T* enters, T* to) const {
    each_network([&](int64_t network, int64_t at, int64_t vectors) {
      for (int64_t before = 0; before < p_.parts; ++before)
        sum({.vectors = vectors,
             .terms = p_.parts,
             .factors = p_.carries + p_.carries_at(hop, network, 0) + before * p_.n,
             .factor_stride = p_.parts * p_.n,
             .from = x + at,
             .term_stride = p_.bundle(),
             .scale = p_.alpha,
             .add = before == 0 && enters ? enters + at : nullptr,
             .out = to + before * p_.bundle() + at});
    });
  }

  // One part of scale_rows' transpose: to (...) = scale * the gains of a hop times brought (gates, ...), (+ to)
  void gather_rows(const T* gains, int64_t hop, int64_t own_part, const T* brought, T scale, bool accumulate,
                   T* to) const {
    each_network([&](int64_t network, int64_t at, int64_t vectors) {
      sum({.vectors = vectors,
           .terms = p_.gates,
           .factors = gains + p_.gains_at(hop, network, own_part),
           .factor_stride = p_.n,
           .from = brought + at,
           .term_stride = p_.bundle(),
           .scale = scale,
           .add = accumulate ? to + at : nullptr,
           .out = to + at});
    });
  }

  // One part of carry's transpose: to (...) += alpha * carries to the parts before, from the first on, times those.
  void gather_carried(int64_t hop, int64_t own_part, int64_t first, int64_t parts, const T* before, T* to) const {
    each_network([&](int64_t network, int64_t at, int64_t vectors) {
      sum({.vectors = vectors,
           .terms = parts,
           .factors = p_.carries + p_.carries_at(hop, network, own_part) + first * p_.n,
           .factor_stride = p_.n,
           .from = before + at,
           .term_stride = p_.bundle(),
           .scale = p_.alpha,
           .add = to + at,
           .out = to + at});
    });
  }

  // The gradient of gains or carries (n) of each network: place(network) (+)= scale * the sum over its vectors of x
  // times y, which at a scale of zero take no part.
  template <typename F>
  void sum_over_vectors(const T* x, const T* y, T scale, bool accumulate, const F& place) const {
    each_network([&](int64_t network, int64_t at, int64_t vectors) {
      T* out = place(network) + part_.units.begin;
      if (scale == 0) {
        if (!accumulate) std::fill_n(out, part_.units.end - part_.units.begin, T(0));
        return;
      }
      k_.hadamard_sum({.units = part_.units.end - part_.units.begin,
                       .vectors = 1,
                       .terms = vectors,
                       .factors = x + at + part_.units.begin,
                       .factor_stride = p_.n,
                       .from = y + at + part_.units.begin,
                       .vector_stride = 0,
                       .term_stride = p_.n,
                       .scale = scale,
                       .add = accumulate ? out : nullptr,
                       .add_stride = 0,
                       .out = out,
                       .out_stride = 0});
    });
  }

  // to (...) = from, this member's part; zeros where it is null.
  void copy(const T* from, T* to) const {
    for (int64_t c = part_.vectors.begin; c < part_.vectors.end; ++c) {
      T* out = to + c * p_.n;
      if (from)
        std::copy(from + c * p_.n + part_.units.begin, from + c * p_.n + part_.units.end, out + part_.units.begin);
      else
        std::fill(out + part_.units.begin, out + part_.units.end, T(0));
    }
  }

 private:
  struct Sum {
    int64_t vectors, terms;
    const T* factors;
    int64_t factor_stride;
    const T* from;
    int64_t term_stride;
    T scale;
    const T* add;
    T* out;
  };

  void sum(const Sum& of) const {
    const int64_t first = part_.units.begin;
    k_.hadamard_sum({.units = part_.units.end - first,
                     .vectors = of.vectors,
                     .terms = of.terms,
                     .factors = of.factors + first,
                     .factor_stride = of.factor_stride,
                     .from = of.from + first,
                     .vector_stride = p_.n,
                     .term_stride = of.term_stride,
                     .scale = of.scale,
                     .add = of.add ? of.add + first : nullptr,
                     .add_stride = p_.n,
                     .out = of.out + first,
                     .out_stride = p_.n});
  }

  // part(network, where its vectors of this member begin, how many they are)
  template <typename F>
  void each_network(const F& part) const {
    for (int64_t c = part_.vectors.begin; c < part_.vectors.end;) {
      const int64_t network = c / p_.width, end = std::min(part_.vectors.end, (network + 1) * p_.width);
      part(network, c * p_.n, end - c);
      c = end;
    }
  }

  const DrivenProblem<T>& p_;
  const Kernels<T>& k_;
  const ChainPart& part_;
};

}  // namespace rrnn::cpu
