// The penalty of walks of finitely many hops and its gradient, in one call.
#include <torch/csrc/stable/library.h>

// Graphs and options as for finite_walks_penalty. Gradients are strength times those of the penalty; of what is not
// given they are empty. The second op adds them to tensors of the shape of the weights whose rows have no gaps; to one
// of a side without the batch's dimension, the sum over the batch. Where they are left out, nobody wants them.
STABLE_TORCH_LIBRARY_FRAGMENT(rrnn_ext, m) {
  m.def(
      "penalty_value_and_grad(float strength, Tensor weight_hh, Tensor? weight_in, Tensor? weight_out, Tensor? "
      "hop_weights, "
      "Tensor? pair_weights, float alpha, SymInt hops, bool rectify, bool per_hop, int norm) "
      "-> (Tensor value, Tensor grad_hh, Tensor grad_in, Tensor grad_out)");
  m.def(
      "penalty_value_and_grad_accumulate(Tensor(a!)? grad_hh, Tensor(b!)? grad_in, Tensor(c!)? grad_out, "
      "float strength, Tensor weight_hh, Tensor? weight_in, Tensor? weight_out, Tensor? hop_weights, "
      "Tensor? pair_weights, float alpha, SymInt hops, bool rectify, bool per_hop, int norm) -> Tensor value");
}
