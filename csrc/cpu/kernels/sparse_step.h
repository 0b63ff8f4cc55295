// What the kernels of sparse matrices are told. Vectors are stored unit by unit: element c of unit r lies at
// x[r * ldx + c].
#pragma once

#include <cstdint>

namespace rrnn::cpu {

// y[r] = scale * sum_k phi(values[k]) x[columns[k]] (+ add_scale * add[r]) for k from crow[r] to crow[r + 1] and rows
// from `begin` to `end`; `width` numbers each. What is null is left out.
template <typename T>
struct SparseProduct {
  int64_t begin, end;
  const int32_t* crow;
  const int32_t* columns;
  const T* values;
  bool rectify;
  int64_t width;
  const T* x;
  int64_t ldx;
  T scale;
  const T* add;
  int64_t ldadd;
  T add_scale;
  T* y;
  int64_t ldy;
  T* sum = nullptr;  // += sum_scale * y
  int64_t ldsum = 0;
  T sum_scale = 0;
  // And grad[k] += scale * left[r] . x[columns[k]], where the width is 1, 4, 8 or 16.
  T* grad = nullptr;
  const T* left = nullptr;
  int64_t ldleft = 0;
};

// grad[k] (+)= scale * left[r] . right[columns[k]], of `depth` numbers, for the same k and r; times sign(sign_of[k]) at
// the end where sign_of is given.
template <typename T>
struct SparseGradient {
  int64_t begin, end;
  const int32_t* crow;
  const int32_t* columns;
  int64_t depth;
  const T* left;
  int64_t ldleft;
  const T* right;
  int64_t ldright;
  T scale;
  bool accumulate;
  const T* sign_of;  // or null
  T* grad;
};

}  // namespace rrnn::cpu
