// Schemas of the ops of leaky integrate-and-fire neurons.
//
// `groups` layers of n neurons side by side, each with its own weights and parameters, each run for `samples` samples
// through `steps` steps: tensors are (groups, steps, samples, n), of a single moment (groups, samples, n), parameters
// (groups, n). weight_rec is (groups, n, n); `levels` are those of rrnn_ext/spiking/bridge.py. Synaptic currents are
// there where leak_syn is, `initial_spikes` where weight_rec is, waiting steps where refractory > 0; reset is left out
// where the threshold is subtracted. What is not there is empty, (groups, 0), in the results.
//
// keep: 0 nothing for a gradient, 1 the potentials, 2 the synaptic currents too, for the gradient by leak_syn.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY_FRAGMENT(rrnn_ext, m) {
  m.def(
      "lif(Tensor current, Tensor? weight_rec, Tensor? levels, Tensor leak, Tensor? leak_syn, Tensor threshold, "
      "Tensor? reset, Tensor potential, Tensor? synaptic, Tensor? initial_spikes, Tensor? waiting, SymInt refractory, "
      "int surrogate, float slope, int keep) -> (Tensor spikes, Tensor potentials, Tensor synaptics, "
      "Tensor last_potential, Tensor last_synaptic, Tensor last_waiting)");
  // grad_spikes may have one step, for all. The gradients of weight_rec leave out what initial_spikes bring; those of
  // parameters are for each sample, and empty without `parameters`.
  m.def(
      "lif_backward(Tensor? grad_spikes, Tensor? grad_potential, Tensor? grad_synaptic, Tensor spikes, "
      "Tensor potentials, Tensor? synaptics, Tensor? last_waiting, Tensor? weight_rec, Tensor leak, Tensor? leak_syn, "
      "Tensor threshold, Tensor? reset, Tensor potential, Tensor? synaptic, Tensor? waiting, SymInt refractory, "
      "int surrogate, float slope, bool parameters) -> (Tensor grad_current, Tensor grad_weight_rec, Tensor grad_leak, "
      "Tensor grad_leak_syn, Tensor grad_threshold, Tensor grad_reset, Tensor grad_potential, Tensor grad_synaptic)");
}
