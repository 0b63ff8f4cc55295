#include "cpu/kernels/kernels.h"

#define RRNN_DECLARE(isa)                                           \
  namespace rrnn_##isa {                                            \
    template <typename T>                                           \
    extern const rrnn::cpu::Kernels<T> table;                       \
    extern template const rrnn::cpu::Kernels<float> table<float>;   \
    extern template const rrnn::cpu::Kernels<double> table<double>; \
  }

RRNN_DECLARE(baseline)
#ifdef RRNN_AVX2
RRNN_DECLARE(avx2)
#endif
#ifdef RRNN_AVX512
RRNN_DECLARE(avx512)
#endif

namespace rrnn::cpu {

namespace {

// From how many flops on 512-bit vectors win. Where the processor changes its clock and power for them, it takes many:
// on an Ice Lake server, a call of 20 us lost 20 us. AMD's do not: on a Zen 5, calls of 6 us were 1.2 times faster.
#ifdef RRNN_AVX512
double least_flops_for_avx512() { return __builtin_cpu_is("amd") ? 0 : 2e6; }
#endif

}  // namespace

template <typename T>
const Kernels<T>& kernels([[maybe_unused]] double flops) {
#ifdef RRNN_AVX512
  static const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  static const double least_flops = least_flops_for_avx512();
  if (avx512 && flops >= least_flops) return rrnn_avx512::table<T>;
#endif
#ifdef RRNN_AVX2
  static const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx2) return rrnn_avx2::table<T>;
#endif
  return rrnn_baseline::table<T>;
}

template const Kernels<float>& kernels<float>(double);
template const Kernels<double>& kernels<double>(double);

}  // namespace rrnn::cpu
