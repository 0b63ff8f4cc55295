#define RRNN_ISA rrnn_avx2
#define RRNN_ISA_NAME "avx2"
#include "cpu/kernels/kernels_isa.h"
