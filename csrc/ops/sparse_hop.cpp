// A single hop of vectors through a sparse matrix.
#include <torch/csrc/stable/library.h>

// values (edges,) in rows crow (n + 1,) and columns (edges,), and the same by columns: the k-th value by columns is
// values[t_from[k]]. Indices are int32. vectors (n, width), one unit's numbers together: A vectors for A = alpha
// phi(W). The gradient is alpha phi'(W)(r, c) left[r] . right[c] for each value at (r, c); left and right are (n,
// depth).
STABLE_TORCH_LIBRARY_FRAGMENT(rrnn_ext, m) {
  m.def(
      "sparse_hop(Tensor values, Tensor crow, Tensor columns, Tensor t_crow, Tensor t_columns, Tensor t_from, "
      "Tensor vectors, float alpha, bool rectify) -> Tensor");
  m.def(
      "sparse_hop_gradient(Tensor values, Tensor crow, Tensor columns, Tensor t_crow, Tensor t_columns, "
      "Tensor t_from, Tensor left, Tensor right, float alpha, bool rectify) -> Tensor");
}
