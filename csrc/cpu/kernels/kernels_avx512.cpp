#define RRNN_ISA rrnn_avx512
#define RRNN_ISA_NAME "avx512"
#include "cpu/kernels/kernels_isa.h"
