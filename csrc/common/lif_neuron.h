// One time step of a leaky integrate-and-fire neuron and its gradient, for a number or for a vector of them.
#pragma once

#if defined(__CUDACC__)
#define RRNN_LIF_INLINE __host__ __device__ __forceinline__
#else
#define RRNN_LIF_INLINE inline __attribute__((always_inline))
#endif

namespace rrnn {

// What the neurons of a call have.
struct LifKind {
  bool synaptic;    // a synaptic current between the input and the potential
  bool subtract;    // a spike takes the threshold off the potential, rather than setting it to the reset
  bool refractory;  // a spike is followed by steps in which the potential stays
  bool levels;      // a spike may come between two looks at the potential
};

template <typename V>
struct LifNeuron {
  V leak, leak_syn, threshold, reset;  // a step leaves this share of the potential and of the synaptic current
};

template <typename V>
struct LifCarry {
  V potential, synaptic, waiting;  // waiting: the steps that the neuron is refractory for yet
};

// Moves `carry` on by a step and gives the spike; `potential` is what it was looked at.
template <typename V>
RRNN_LIF_INLINE V lif_advance(const LifKind& kind, const LifNeuron<V>& neuron, V input, V level, V refractory, V one,
                              LifCarry<V>& carry, V& potential) {
  const V zero = one - one, before = carry.potential;
  if (kind.synaptic) input = carry.synaptic = neuron.leak_syn * carry.synaptic + input;
  potential = neuron.leak * before + input;
  if (kind.refractory) potential = carry.waiting > zero ? before : potential;
  auto spiking = potential >= neuron.threshold;
  if (kind.levels) spiking |= (neuron.threshold - before) * (neuron.threshold - potential) < level;
  if (kind.refractory) {
    spiking &= carry.waiting <= zero;
    const V left = carry.waiting > one ? carry.waiting - one : zero;
    carry.waiting = spiking ? refractory : left;
  }
  carry.potential = spiking ? (kind.subtract ? potential - neuron.threshold : neuron.reset) : potential;
  return spiking ? one : potential - potential;  // a potential that is no number makes no number of the spike
}

// In the order of rrnn_ext/spiking/surrogate.py.
enum class Surrogate : int { kFastSigmoid, kAtan, kTriangle };
inline constexpr int kSurrogates = 3;

// What stands for d spike / d potential at this distance from the threshold.
template <typename V>
RRNN_LIF_INLINE V surrogate_derivative(Surrogate surrogate, V distance, V slope, V half_pi, V one) {
  const V zero = one - one;
  if (surrogate == Surrogate::kAtan) {
    const V x = half_pi * slope * distance;
    return one / (one + x * x);
  }
  const V x = slope * (distance < zero ? -distance : distance);
  if (surrogate == Surrogate::kTriangle) return x > one ? zero : one - x;  // not a number where x is none
  return one / ((one + x) * (one + x));
}

// What a step's gradient is made from, all of it known before: the spike and the potential looked at, the potential
// and the synaptic current that the step began with, and the number of steps from this one back that the potential
// stayed.
template <typename V>
struct LifPast {
  V spike, potential, before, synaptic_before, held;
};

template <typename V>
struct LifParameterGradient {
  V leak, leak_syn, threshold, reset;
};

// Takes the gradients by the potential and the synaptic current after the step, in `carry`, to those before it, adds to
// the parameters' and gives the input's.
template <typename V>
RRNN_LIF_INLINE V lif_retreat(const LifKind& kind, const LifNeuron<V>& neuron, V surrogate, V grad_spike,
                              const LifPast<V>& past, V one, LifCarry<V>& carry, LifParameterGradient<V>& grad) {
  const V zero = one - one, after = carry.potential;
  const auto spiked = past.spike > zero;
  V direct = grad_spike * surrogate;
  if (kind.refractory) direct = past.held > zero ? zero : direct;
  const V reset = spiked ? after : zero;  // what the reset passes on, and nothing flows through its choice
  grad.threshold -= kind.subtract ? direct + reset : direct;
  grad.reset += reset;
  const V potential = (kind.subtract ? after : after - reset) + direct;
  V input = potential;
  carry.potential = neuron.leak * potential;
  if (kind.refractory) {
    input = past.held > zero ? zero : input;
    carry.potential = past.held > zero ? potential : carry.potential;
  }
  grad.leak += input * past.before;
  if (!kind.synaptic) return input;
  input += carry.synaptic;
  grad.leak_syn += input * past.synaptic_before;
  carry.synaptic = neuron.leak_syn * input;
  return input;
}

// The potential that a step left, from what it was looked at.
template <typename V>
RRNN_LIF_INLINE V lif_after(const LifKind& kind, const LifNeuron<V>& neuron, V spike, V potential, V one) {
  return spike > one - one ? (kind.subtract ? potential - neuron.threshold : neuron.reset) : potential;
}

}  // namespace rrnn
