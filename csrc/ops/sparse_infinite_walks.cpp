// What sums over all walks through a sparse matrix are made of, besides single hops. On the CPU alone: components are
// of a graph without numbers, and a sweep goes from unit to unit.
#include <torch/csrc/stable/library.h>

// crow (n + 1,) and columns (edges,) are int32, the rows of the matrix as in sparse_hop.cpp; A = alpha phi(W).
//
// components: the strong component of each unit, (n,) int32: units are in the same one where each reaches the other.
// sweep: G v for vectors (n, width), where I - G = (I - L)^{-1} (A - L), the iteration of Gauss and Seidel, and L is
// what of A stands below the diagonal. polynomial: X (n, width) = (I - p(G)) (I - A)^{-1} right, p(G) = prod_i (1 - G /
// roots[i]); roots (count, 2) float64 are real and imaginary parts, and the two of a pair stand side by side.
STABLE_TORCH_LIBRARY_FRAGMENT(rrnn_ext, m) {
  m.def("sparse_infinite_walks_components(Tensor crow, Tensor columns) -> Tensor");
  m.def(
      "sparse_infinite_walks_sweep(Tensor values, Tensor crow, Tensor columns, Tensor vectors, float alpha, "
      "bool rectify) -> Tensor");
  m.def(
      "sparse_infinite_walks_polynomial(Tensor values, Tensor crow, Tensor columns, Tensor right, Tensor roots, "
      "float alpha, bool rectify) -> Tensor");
}
