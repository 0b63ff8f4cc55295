#define RRNN_ISA rrnn_avx2
#define RRNN_ISA_NAME "avx2"
#include "kernels_isa.h"
