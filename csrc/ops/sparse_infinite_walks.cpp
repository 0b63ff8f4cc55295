// What sums over all walks through a sparse matrix are made of, besides single hops.
#include <torch/csrc/stable/library.h>

// The strong component of each unit, (n,) int32, of the graph of rows crow (n + 1,) and columns (edges,), int32: units
// are in the same one where each reaches the other. On the CPU alone.
STABLE_TORCH_LIBRARY_FRAGMENT(rrnn_ext, m) {
  m.def("sparse_infinite_walks_components(Tensor crow, Tensor columns) -> Tensor");
}
