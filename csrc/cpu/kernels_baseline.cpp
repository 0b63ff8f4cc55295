#define RRNN_ISA rrnn_baseline
#define RRNN_ISA_NAME "baseline"
#include "kernels_isa.h"
