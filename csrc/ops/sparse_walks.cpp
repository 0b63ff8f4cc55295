// Walks of finitely many hops through a sparse matrix and the penalty of them.
#include <torch/csrc/stable/library.h>

// values (edges,) in rows crow (n + 1,) and columns (edges,), and the same by columns: the k-th value by columns is
// values[t_from[k]]. weight_in is (n, i), or int64 (i,), the units whose columns of the identity it has; weight_out is
// (o, n) or int64 (o,). A side left out is the identity. `walks` is (terms, o, i), terms = hops where per_hop, else 1.
// A gradient of a side that is not dense is (0, 0). Nothing is kept from a forward: a backward walks again, and that of
// the penalty gives its value too.
#define RRNN_SPARSE_GRAPH "Tensor values, Tensor crow, Tensor columns, Tensor t_crow, Tensor t_columns, Tensor t_from"
#define RRNN_SPARSE_WALKS RRNN_SPARSE_GRAPH ", Tensor? weight_in, Tensor? weight_out, Tensor? hop_weights"
#define RRNN_HOPS "float alpha, SymInt hops, bool rectify, bool per_hop"

STABLE_TORCH_LIBRARY_FRAGMENT(rrnn_ext, m) {
  m.def("sparse_walks(" RRNN_SPARSE_WALKS ", " RRNN_HOPS ") -> Tensor");
  m.def("sparse_walks_backward(Tensor grad_walks, " RRNN_SPARSE_WALKS ", " RRNN_HOPS
        ") -> (Tensor grad_values, Tensor grad_in, Tensor grad_out)");
  m.def("sparse_walks_penalty(" RRNN_SPARSE_WALKS ", Tensor? pair_weights, " RRNN_HOPS ", int norm) -> Tensor");
  m.def("sparse_walks_penalty_backward(Tensor grad_value, " RRNN_SPARSE_WALKS ", Tensor? pair_weights, " RRNN_HOPS
        ", int norm) -> (Tensor value, Tensor grad_values, Tensor grad_in, Tensor grad_out)");
}
