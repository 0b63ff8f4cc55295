// The arguments of the ops of leaky integrate-and-fire neurons, as pointers: layers (`groups`) of neurons side by side,
// each with parameters of its own. A pointer is null where there is none of it.
#pragma once

#include <cstdint>

#include "common/lif_neuron.h"

namespace rrnn {

template <typename T>
struct LifLayer {
  LifKind kind;
  int64_t groups, steps, samples, n;
  const T* weight_rec;                           // (groups, n, n), forwards (source, target), back (target, source)
  const T *leak, *leak_syn, *threshold, *reset;  // (groups, n)
  T refractory;                                  // in steps

  RRNN_LIF_INLINE int64_t neurons() const { return samples * n; }  // of a group
  RRNN_LIF_INLINE int64_t size() const { return steps * neurons(); }
};

// (groups, steps, samples, n) and, of a single moment, (groups, samples, n).
template <typename T>
struct LifForward : LifLayer<T> {
  const T *current, *levels;
  const T *potential, *synaptic, *initial_spikes, *waiting;
  T *spikes, *potentials, *synaptics;
  T *last_potential, *last_synaptic, *last_waiting;
};

template <typename T>
struct LifBackward : LifLayer<T> {
  Surrogate surrogate;
  T slope;
  const T* grad_spikes;  // (groups, steps, samples, n), or where `constant` (groups, 1, samples, n), for each step
  bool constant;
  const T *grad_last_potential, *grad_last_synaptic;
  const T *spikes, *potentials, *synaptics;
  const T *potential, *synaptic, *waiting, *last_waiting;
  T *grad_current, *grad_weight_rec;
  T *grad_leak, *grad_leak_syn, *grad_threshold, *grad_reset;  // (groups, samples, n), all or none
  T *grad_potential, *grad_synaptic;

  RRNN_LIF_INLINE const T* upstream(int64_t group, int64_t step) const {
    if (!grad_spikes) return nullptr;
    return grad_spikes + (constant ? group : group * this->steps + step) * this->neurons();
  }
  // Where a step's potential stays from, looking back: at the steps `refractory` after a spike, and where the wait ends
  // that the first step began with. `held_from` holds `held_mark` there.
  RRNN_LIF_INLINE const T* held_from(int64_t group, int64_t step, T& mark) const {
    const auto back = static_cast<int64_t>(this->refractory);
    mark = step >= back ? T(1) : static_cast<T>(step + 1);
    return step >= back ? spikes + (group * this->steps + step - back) * this->neurons()
                        : waiting + group * this->neurons();
  }
};

}  // namespace rrnn
