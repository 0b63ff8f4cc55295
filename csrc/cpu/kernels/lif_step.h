// The arguments of the kernels of leaky integrate-and-fire neurons. A pointer is null where there is none of it.
#pragma once

#include <cstdint>

#include "common/lif_neuron.h"

namespace rrnn::cpu {

// `count` neurons that lie side by side.
template <typename T>
struct LifStep {
  LifKind kind;
  int64_t count;
  const T *leak, *leak_syn, *threshold, *reset;
};

template <typename T>
struct LifForwardStep : LifStep<T> {
  T refractory;
  const T *input, *levels;
  T *potential, *synaptic, *waiting;   // the state, which is moved on
  T *spikes, *potentials, *synaptics;  // the record
};

template <typename T>
struct LifBackwardStep : LifStep<T> {
  Surrogate surrogate;
  T slope, refractory;
  const T *grad_spikes, *spikes, *potentials;
  const T *spikes_before, *potentials_before, *synaptics_before;  // the first is null where the second is a state
  const T* held_from;                                             // where it is `held_mark`, `held` begins
  T held_mark;
  T *held, *potential, *synaptic;  // the gradients' state, which is moved back
  T* grad_current;
  T *grad_leak, *grad_leak_syn, *grad_threshold, *grad_reset;  // added to; all or none
};

}  // namespace rrnn::cpu
