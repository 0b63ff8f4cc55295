// The infinite sum of one pathway in each of a batch of graphs, weight_hh (b, n, n), vectors (b, n).
#include <torch/csrc/stable/library.h>

// `found`, (b), is 1 where the sum was proved to converge, and 0 where that is open.
STABLE_TORCH_LIBRARY_FRAGMENT(rrnn_ext, m) {
  m.def("pathway(Tensor weight_hh, Tensor sources, Tensor targets, float alpha) -> (Tensor x, Tensor y, Tensor found)");
  m.def("pathway_backward(Tensor scale, Tensor weight_hh, Tensor x, Tensor y, float alpha) -> Tensor");
}
