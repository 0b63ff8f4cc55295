// Where the stored values of a sparse square matrix stand.
#pragma once

#include <cstdint>

namespace rrnn {

// By rows: those of row r are the k from crow[r] to crow[r + 1], in columns[k].
struct SparseRows {
  int64_t n;
  const int32_t* crow;
  const int32_t* columns;
};

}  // namespace rrnn
