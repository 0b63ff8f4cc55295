// A single hop of some vectors through a matrix, and what the gradient of the matrix takes of one: the pieces of a
// chain whose matrix is spread over several machines.
#include <torch/csrc/stable/library.h>

// weight_hh (rows, columns) need not be square; vectors (w, columns) become (w, rows), A x each for A = alpha
// phi(weight_hh), or where `transposed` (w, rows) become (w, columns), A' x each. The gradient of weight_hh is
// alpha phi'(weight_hh) left' right for left (d, rows) and right (d, columns). Or all of a batch, (b, rows, columns).
STABLE_TORCH_LIBRARY_FRAGMENT(rrnn_ext, m) {
  m.def("hop(Tensor weight_hh, Tensor vectors, float alpha, bool rectify, bool transposed) -> Tensor");
  m.def("hop_gradient(Tensor weight_hh, Tensor left, Tensor right, float alpha, bool rectify) -> Tensor");
}
