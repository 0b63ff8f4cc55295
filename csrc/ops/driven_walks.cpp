// Walks through a network that ran and the penalty of them. common/driven_problem.h has the formula.
#include <torch/csrc/stable/library.h>

// Of k networks that share weight_hh (g n, n) and weight_ih (g n, i) of g gates: gains (hops, k, parts, g n),
// input_gains likewise (none: the gains), carries (hops, k, parts, parts, n), entering (w, n), or (hops, k, w, n).
// `walks` is (terms, k, w, i), terms = hops where per_hop, else 1. `chain`, where it is to be kept for the gradient, is
// (hops, parts, k, w, n). hop_weights (hops) are of the sum, and of the norms of the terms where per_hop; pair_weights
// (w, i). The value is the mean over the networks. alpha is a factor of
// each hop, and of so many edges of a walk besides. Without of_gains the last three gradients are empty, and so is that
// of what was not given.
STABLE_TORCH_LIBRARY_FRAGMENT(rrnn_ext, m) {
  m.def(
      "driven_walks(Tensor weight_hh, Tensor weight_ih, Tensor entering, Tensor gains, Tensor? input_gains, "
      "Tensor? carries, Tensor? hop_weights, float alpha, int edges, bool per_hop, bool keep) "
      "-> (Tensor walks, Tensor chain)");
  m.def(
      "driven_walks_backward(Tensor grad_walks, Tensor chain, Tensor weight_hh, Tensor weight_ih, Tensor entering, "
      "Tensor gains, Tensor? input_gains, Tensor? carries, Tensor? hop_weights, float alpha, int edges, "
      "bool per_hop, bool of_gains) -> (Tensor grad_hh, Tensor grad_ih, Tensor grad_entering, Tensor grad_gains, "
      "Tensor grad_input_gains, Tensor grad_carries)");
  m.def(
      "driven_walks_penalty(Tensor weight_hh, Tensor weight_ih, Tensor entering, Tensor gains, Tensor? input_gains, "
      "Tensor? carries, Tensor? hop_weights, Tensor? pair_weights, float alpha, int edges, bool per_hop, int norm, "
      "bool keep) -> (Tensor value, Tensor walks, Tensor chain)");
  m.def(
      "driven_walks_penalty_backward(Tensor grad_value, Tensor walks, Tensor chain, Tensor weight_hh, "
      "Tensor weight_ih, Tensor entering, Tensor gains, Tensor? input_gains, Tensor? carries, Tensor? hop_weights, "
      "Tensor? pair_weights, float alpha, int edges, bool per_hop, int norm, bool of_gains) "
      "-> (Tensor grad_hh, Tensor grad_ih, Tensor grad_entering, Tensor grad_gains, Tensor grad_input_gains, "
      "Tensor grad_carries)");
}
