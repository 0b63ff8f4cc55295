// The barriers of cooperative_groups, for cuda_runtime.h beside it.
#pragma once

#include "cuda_runtime.h"

namespace cooperative_groups {

struct grid_group {
  void sync() const {
    emulation::Barrier* barrier = emulation::self().block->grid;
    if (!barrier) emulation::fail("a grid barrier in a launch that is not cooperative");
    emulation::wait(*barrier);
  }
};
struct cluster_group {
  void sync() const { emulation::wait(*emulation::self().block->cluster); }
};
inline grid_group this_grid() { return {}; }
inline cluster_group this_cluster() { return {}; }

}  // namespace cooperative_groups
