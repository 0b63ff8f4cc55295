// The penalty of infinite sums between all pairs of units in each of a batch of graphs, weight_hh (b, n, n).
#include <torch/csrc/stable/library.h>

// `converges`, (b), is not 0 where the sum was proved to converge and is accurate: 1, or 2 where the fastest inverse
// was not accurate and another one was made.
STABLE_TORCH_LIBRARY_FRAGMENT(rrnn_ext, m) {
  m.def(
      "all_pairs_penalty(Tensor weight_hh, Tensor? pair_weights, float alpha, bool rectify, int norm) "
      "-> (Tensor value, Tensor walks, Tensor converges)");
  m.def(
      "all_pairs_penalty_backward(Tensor grad_value, Tensor walks, Tensor weight_hh, Tensor? pair_weights, "
      "float alpha, bool rectify, int norm) -> Tensor");
}
