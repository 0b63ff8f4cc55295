// The chain of walks through a network that runs, another matrix at each step, and its gradients.
#include <torch/csrc/stable/library.h>

// weight_hh (g n, n), gains (hops, k, parts, g n), carries (hops, k, parts, parts, n), entering (1 or hops + 1, k, w,
// n); chain (hops + 1, k, w, parts, n). rrnn_ext/ops/driven_walks.py has the formula, and the kernels of devices that
// have none of their own. grad_links, of the chain's shape, is the gradient of what enters each part at each hop.
// Without of_gains grad_gains and grad_carries are empty, and grad_carries is so without carries.
STABLE_TORCH_LIBRARY_FRAGMENT(rrnn_ext, m) {
  m.def("driven_walks(Tensor weight_hh, Tensor gains, Tensor? carries, Tensor entering, float alpha) -> Tensor chain");
  m.def(
      "driven_walks_backward(Tensor grad_chain, Tensor chain, Tensor weight_hh, Tensor gains, Tensor? carries, "
      "float alpha, bool of_gains) -> (Tensor grad_hh, Tensor grad_gains, Tensor grad_carries, Tensor grad_links)");
}
