// Included once by every kernels_<isa>.cpp, with RRNN_ISA naming its namespace and RRNN_ISA_NAME the set.
#include "apply.h"
#include "dense_product.h"
#include "gauss_jordan.h"
#include "line_pass.h"
#include "outer_product.h"

namespace RRNN_ISA {

template <typename T>
extern const rrnn::Kernels<T> table{apply<T>,         apply_transposed<T>, outer_product<T>, line_pass<T>,
                                    dense_product<T>, gauss_jordan<T>,     RRNN_ISA_NAME};

template const rrnn::Kernels<float> table<float>;
template const rrnn::Kernels<double> table<double>;

}  // namespace RRNN_ISA
