#define RRNN_ISA rrnn_baseline
#define RRNN_ISA_NAME "baseline"
#include "cpu/kernels/kernels_isa.h"
