// A single hop of vectors through a sparse matrix, and the gradient of its stored values.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "common/sparse_rows.h"

namespace rrnn::cuda {

// A matrix by rows, or its transpose by columns, whose k-th value is then values[from[k]].
template <typename T>
struct SparseMatrix {
  SparseRows rows;
  const T* values;
  const int32_t* from;  // null: values[k]
  T alpha;
  bool rectify;
};

// What else there is at each number of a hop. Null numbers are none, a null factor is 1; what has one of 0 takes no
// part.
template <typename T>
struct SparseExtra {
  const T *add = nullptr, *add_factor = nullptr;  // to += *add_factor * add
  T* sum = nullptr;                               // sum += *sum_factor * to
  const T* sum_factor = nullptr;
};

// to (n, width) = A from, vectors unit by unit.
template <typename T>
void sparse_hop(const SparseMatrix<T>& a, int width, const T* from, const SparseExtra<T>& extra, T* to,
                cudaStream_t stream);

// grad[k] (+)= alpha phi'(values[k]) left[r] . right[columns[k]] for vectors (n, depth), for a matrix by rows.
template <typename T>
void sparse_hop_gradient(const SparseMatrix<T>& a, int depth, const T* left, const T* right, bool accumulate, T* grad,
                         cudaStream_t stream);

}  // namespace rrnn::cuda
