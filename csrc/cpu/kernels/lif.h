// Time steps of leaky integrate-and-fire neurons, forwards and back, and what spikes do with weights: only the rows
// of those that spiked are touched.
#pragma once

#include "cpu/kernels/kernels.h"
#include "cpu/kernels/lif_step.h"
#include "cpu/kernels/simd.h"

namespace RRNN_ISA {

// body(kind), which is known when this is compiled for the plainest neurons.
inline void for_kind(const rrnn::LifKind& kind, const auto& body) {
  if (kind.synaptic || kind.refractory || kind.levels)
    body([kind] { return kind; });
  else if (kind.subtract)
    body([] { return rrnn::LifKind{false, true, false, false}; });
  else
    body([] { return rrnn::LifKind{false, false, false, false}; });
}

template <typename T>
inline rrnn::LifNeuron<Vector<T>> read_neuron(const rrnn::LifKind& kind, const rrnn::cpu::LifStep<T>& step,
                                              const auto& read, int64_t k) {
  const Vector<T> none{};
  return {read(step.leak + k), kind.synaptic ? read(step.leak_syn + k) : none, read(step.threshold + k),
          kind.subtract ? none : read(step.reset + k)};
}

// body(k, read, write) for vectors of `count` numbers; of the last one, what is inside.
template <typename T>
inline void for_vectors(int64_t count, const auto& body) {
  constexpr int V = kLanes<T>;
  int64_t k = 0;
  for (; k + V <= count; k += V)
    body(k, [](const T* from) { return load(from); }, [](T* to, Vector<T> v) { store(to, v); });
  const int rest = static_cast<int>(count - k);
  if (rest > 0)
    body(
        k, [rest](const T* from) { return load_first(from, rest); },
        [rest](T* to, Vector<T> v) { store_first(to, v, rest); });
}

template <typename T>
void lif_forward(const rrnn::cpu::LifForwardStep<T>& given) {
  const rrnn::cpu::LifForwardStep<T> step = given;  // what nothing that is written can change
  const Vector<T> one = broadcast(T(1)), none{}, refractory = broadcast(step.refractory);
  for_kind(step.kind, [&](const auto& kind_of) {
    for_vectors<T>(step.count, [&](int64_t k, const auto& read, const auto& write) {
      const rrnn::LifKind kind = kind_of();
      const rrnn::LifNeuron<Vector<T>> neuron = read_neuron<T>(kind, step, read, k);
      rrnn::LifCarry<Vector<T>> carry{read(step.potential + k), kind.synaptic ? read(step.synaptic + k) : none,
                                      kind.refractory ? read(step.waiting + k) : none};
      Vector<T> potential;
      write(step.spikes + k,
            rrnn::lif_advance<Vector<T>>(kind, neuron, read(step.input + k), kind.levels ? read(step.levels + k) : none,
                                         refractory, one, carry, potential));
      write(step.potential + k, carry.potential);
      if (step.potentials) write(step.potentials + k, potential);
      if (kind.synaptic) write(step.synaptic + k, carry.synaptic);
      if (step.synaptics) write(step.synaptics + k, carry.synaptic);
      if (kind.refractory) write(step.waiting + k, carry.waiting);
    });
  });
}

template <typename T>
void lif_backward(const rrnn::cpu::LifBackwardStep<T>& given) {
  const rrnn::cpu::LifBackwardStep<T> step = given;
  const Vector<T> one = broadcast(T(1)), none{}, slope = broadcast(step.slope),
                  half_pi = broadcast(T(1.57079632679489661923)), refractory = broadcast(step.refractory);
  for_kind(step.kind, [&](const auto& kind_of) {
    for_vectors<T>(step.count, [&](int64_t k, const auto& read, const auto& write) {
      const rrnn::LifKind kind = kind_of();
      const rrnn::LifNeuron<Vector<T>> neuron = read_neuron<T>(kind, step, read, k);
      rrnn::LifPast<Vector<T>> past{read(step.spikes + k), read(step.potentials + k), none, none, none};
      rrnn::LifParameterGradient<Vector<T>> grad{};
      if (kind.refractory) {
        const Vector<T> from = read(step.held_from + k), held = read(step.held + k);
        past.held = from == broadcast(step.held_mark) ? refractory : held;
        write(step.held + k, past.held > one ? past.held - one : none);
      }
      if (step.grad_leak) {
        past.before = read(step.potentials_before + k);
        if (step.spikes_before)
          past.before = rrnn::lif_after<Vector<T>>(kind, neuron, read(step.spikes_before + k), past.before, one);
        if (step.synaptics_before) past.synaptic_before = read(step.synaptics_before + k);
      }
      rrnn::LifCarry<Vector<T>> carry{read(step.potential + k), kind.synaptic ? read(step.synaptic + k) : none, none};
      const Vector<T> surrogate =
          rrnn::surrogate_derivative<Vector<T>>(step.surrogate, past.potential - neuron.threshold, slope, half_pi, one);
      write(step.grad_current + k,
            rrnn::lif_retreat<Vector<T>>(kind, neuron, surrogate, step.grad_spikes ? read(step.grad_spikes + k) : none,
                                         past, one, carry, grad));
      write(step.potential + k, carry.potential);
      if (kind.synaptic) write(step.synaptic + k, carry.synaptic);
      if (!step.grad_leak) return;
      const auto add = [&](T* to, Vector<T> v) { write(to + k, read(to + k) + v); };
      add(step.grad_leak, grad.leak);
      add(step.grad_threshold, grad.threshold);
      if (kind.synaptic) add(step.grad_leak_syn, grad.leak_syn);
      if (!kind.subtract) add(step.grad_reset, grad.reset);
    });
  });
}

// out[k] = base[k] + sum_e factors[e] rows[at[e]][k] for k < cols, e < events; the sums stay in registers.
template <typename T>
void add_rows(int64_t cols, int64_t events, const int32_t* at, const T* factors, const T* rows, int64_t ldrows,
              const T* base, T* out) {
  constexpr int V = kLanes<T>, kWide = 8;
  int64_t k = 0;
  for (; k + kWide * V <= cols; k += kWide * V) {
    Vector<T> sum[kWide];
#pragma GCC unroll 8
    for (int v = 0; v < kWide; ++v) sum[v] = load(base + k + v * V);
    for (int64_t e = 0; e < events; ++e) {
      const Vector<T> factor = broadcast(factors[e]);
      const T* row = rows + at[e] * ldrows + k;
#pragma GCC unroll 8
      for (int v = 0; v < kWide; ++v) sum[v] += factor * load(row + v * V);
    }
#pragma GCC unroll 8
    for (int v = 0; v < kWide; ++v) store(out + k + v * V, sum[v]);
  }
  for_vectors<T>(cols - k, [&](int64_t j, const auto& read, const auto& write) {
    Vector<T> sum = read(base + k + j);
    for (int64_t e = 0; e < events; ++e) sum += broadcast(factors[e]) * read(rows + at[e] * ldrows + k + j);
    write(out + k + j, sum);
  });
}

// rows[at[e]][k] += factors[e] x[k] for k < cols, e < events.
template <typename T>
void add_to_rows(int64_t cols, int64_t events, const int32_t* at, const T* factors, const T* x, T* rows,
                 int64_t ldrows) {
  for (int64_t e = 0; e < events; ++e) {
    const Vector<T> factor = broadcast(factors[e]);
    T* row = rows + at[e] * ldrows;
    for_vectors<T>(cols, [&](int64_t k, const auto& read, const auto& write) {
      write(row + k, read(row + k) + factor * read(x + k));
    });
  }
}

}  // namespace RRNN_ISA
