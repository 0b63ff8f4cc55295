// Walks of finitely many hops and the penalty of them.
#include <torch/csrc/stable/library.h>

// One graph: weight_hh (n, n), weight_in (n, i), weight_out (o, n); or a batch of them, (b, n, n) and so on. A side
// left out is the identity. `walks` is (terms, o, i), terms = hops where per_hop, else 1. `chain` is what the backward
// needs, (hops, width, n): of no vectors, of the narrower side's, or of both sides', as chain_kind says (ChainKind).
STABLE_TORCH_LIBRARY_FRAGMENT(rrnn_ext, m) {
  m.def(
      "finite_walks(Tensor weight_hh, Tensor? weight_in, Tensor? weight_out, Tensor? hop_weights, float alpha, "
      "SymInt hops, bool rectify, bool per_hop, int chain_kind) -> (Tensor walks, Tensor chain)");
  m.def(
      "finite_walks_backward(Tensor grad_walks, Tensor chain, Tensor weight_hh, Tensor? weight_in, "
      "Tensor? weight_out, Tensor? hop_weights, float alpha, SymInt hops, bool rectify, bool per_hop) "
      "-> (Tensor grad_hh, Tensor grad_in, Tensor grad_out)");
  m.def(
      "finite_walks_penalty(Tensor weight_hh, Tensor? weight_in, Tensor? weight_out, Tensor? hop_weights, "
      "Tensor? pair_weights, float alpha, SymInt hops, bool rectify, bool per_hop, int norm, int chain_kind) "
      "-> (Tensor value, Tensor walks, Tensor chain)");
  m.def(
      "finite_walks_penalty_backward(Tensor grad_value, Tensor walks, Tensor chain, Tensor weight_hh, "
      "Tensor? weight_in, Tensor? weight_out, Tensor? hop_weights, Tensor? pair_weights, float alpha, SymInt hops, "
      "bool rectify, bool per_hop, int norm) -> (Tensor grad_hh, Tensor grad_in, Tensor grad_out)");
}
