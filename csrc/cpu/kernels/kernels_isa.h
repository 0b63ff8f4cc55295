// Included once by every kernels_<isa>.cpp, with RRNN_ISA naming its namespace and RRNN_ISA_NAME the set.
#include "cpu/kernels/all_within.h"
#include "cpu/kernels/dense_product.h"
#include "cpu/kernels/gauss_jordan.h"
#include "cpu/kernels/hadamard_sum.h"
#include "cpu/kernels/lif.h"
#include "cpu/kernels/outer_product.h"
#include "cpu/kernels/product.h"
#include "cpu/kernels/sparse_gradient.h"
#include "cpu/kernels/sparse_product.h"
#include "cpu/kernels/sparse_sides.h"
#include "cpu/kernels/sparse_sweep.h"
#include "cpu/kernels/transpose.h"
#include "cpu/kernels/two_sided_product.h"
#include "cpu/kernels/walk_sizes.h"

namespace RRNN_ISA {

inline constexpr int64_t kTransposedBytes = kRegisters == 32 ? rrnn::cpu::kNearBytes : 1 << 16;

template <typename T>
extern const rrnn::cpu::Kernels<T> table{
    product<T>,        product_transposed<T>, outer_product<T>,  two_sided_product<T>, dense_product<T>,
    hadamard_sum<T>,   transpose<T>,          all_within<T>,     walk_sizes<T>,        walk_slopes<T>,
    gauss_jordan<T>,   lif_forward<T>,        lif_backward<T>,   add_rows<T>,          add_to_rows<T>,
    sparse_product<T>, sparse_gradient<T>,    sparse_sweep<T>,   begin_bundle<T>,      read_out<T>,
    lift<T>,           start_gradient<T>,     other_gradient<T>, kTransposedBytes,     RRNN_ISA_NAME};

template const rrnn::cpu::Kernels<float> table<float>;
template const rrnn::cpu::Kernels<double> table<double>;

}  // namespace RRNN_ISA
