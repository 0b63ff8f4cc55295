// Which units of a graph reach one another.
#pragma once

#include <cstdint>

#include "common/sparse_rows.h"

namespace rrnn::cpu {

// labels[r]: the strong component of unit r, from 0. A component comes after those that its units lead to by rows, so
// that a stored value (r, columns[k]) between two components has labels[columns[k]] < labels[r].
void strong_components(const SparseRows& rows, int32_t* labels);

}  // namespace rrnn::cpu
