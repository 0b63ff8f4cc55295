// Sums of elementwise products: what scales the rows of a matrix before or after a product with it.
#pragma once

#include "cpu/kernels/dense_product.h"
#include "cpu/kernels/kernels.h"
#include "cpu/kernels/simd.h"

namespace RRNN_ISA {

using rrnn::cpu::HadamardSum;

// TERMS of 0: as many as there are.
template <typename T, int TERMS>
void hadamard_sum_of(const HadamardSum<T>& of) {
  constexpr int V = kLanes<T>;
  const int64_t terms = TERMS ? TERMS : of.terms;
  const Vector<T> scale = broadcast(of.scale);
  for (int64_t c = 0; c < of.vectors; ++c) {
    const T *from = of.from + c * of.vector_stride, *add = of.add ? of.add + c * of.add_stride : nullptr;
    T* out = of.out + c * of.out_stride;
    const auto part = [&](auto partial, int64_t j, int rest) {
      const auto read = [&](const T* at) { return partial() ? load_first(at + j, rest) : load(at + j); };
      Vector<T> sum = read(of.factors) * read(from);
#pragma GCC unroll 4
      for (int64_t t = 1; t < terms; ++t)
        sum += read(of.factors + t * of.factor_stride) * read(from + t * of.term_stride);
      Vector<T> value = add ? read(add) : Vector<T>{};
      value += scale * sum;
      if constexpr (partial())
        store_first(out + j, value, rest);
      else
        store(out + j, value);
    };
    int64_t j = 0;
    for (; j + V <= of.units; j += V) part(std::false_type{}, j, V);
    if (j < of.units) part(std::true_type{}, j, static_cast<int>(of.units - j));
  }
}

template <typename T>
void hadamard_sum(const HadamardSum<T>& of) {
  switch (of.terms) {
    case 1:
      return hadamard_sum_of<T, 1>(of);
    case 2:
      return hadamard_sum_of<T, 2>(of);
    case 3:
      return hadamard_sum_of<T, 3>(of);
    case 4:
      return hadamard_sum_of<T, 4>(of);
    default:
      return hadamard_sum_of<T, 0>(of);
  }
}

}  // namespace RRNN_ISA
