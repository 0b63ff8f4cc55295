// Barriers for more than one block. A header of their own: cooperative_groups.h takes seconds to compile.
#pragma once

#include <cooperative_groups.h>
#include <cuda_runtime.h>

namespace rrnn::cuda {

// For all threads of a cooperative launch; what they wrote to global memory before is visible after.
__device__ __forceinline__ void grid_barrier() { cooperative_groups::this_grid().sync(); }

// The same for a cluster of blocks, in code compiled for a device that has clusters (see compiled_for).
__device__ __forceinline__ void cluster_barrier() {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  __syncwarp();
  cooperative_groups::this_cluster().sync();
#endif
}

}  // namespace rrnn::cuda
