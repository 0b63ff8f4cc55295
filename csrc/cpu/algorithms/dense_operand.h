// A = alpha phi(W) of a dense W, as the loops over hops use it: an operand. What is stored in another way is another
// class with these functions; the loops are templates on it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/edge.h"
#include "cpu/algorithms/team.h"
#include "cpu/kernels/kernels.h"

namespace rrnn::cpu {

template <typename T>
class DenseOperand {
 public:
  using Number = T;

  // weights (rows, columns); `flops` is what is to be done with them in all.
  DenseOperand(const T* weights, int64_t rows, int64_t columns, T alpha, bool rectify, double flops)
      : weights_(weights),
        rows_(rows),
        columns_(columns),
        alpha_(alpha),
        rectify_(rectify),
        kernels_(rrnn::cpu::kernels<T>(flops)) {}
  // weights (n, n)
  DenseOperand(const T* weights, int64_t n, T alpha, bool rectify, double flops)
      : DenseOperand(weights, n, n, alpha, rectify, flops) {}

  // Room for what `prepare` copies of (rows, columns).
  static int64_t copy_size(int64_t rows, int64_t columns) { return is_near(rows, columns) ? rows * columns : 0; }
  // Before many products with A (`forwards`) or many with A': a copy of W in the order, and with the signs, in which it
  // is read the fastest, where W fits the second-level cache. This member's part of it; wait for the others'.
  void prepare(bool forwards, const Team& team, T* copy) {
    if (forwards && bytes() <= kernels_.transposed_bytes) {
      kernels_.transpose(team.share(rows_, 16), columns_, weights_, columns_, copy, rows_, rectify_);
      transposed_ = copy;
    } else if (!forwards && rectify_ && is_near(rows_, columns_)) {
      const Range rows = team.share(rows_);
      for (int64_t i = rows.begin * columns_; i < rows.end * columns_; ++i) copy[i] = phi(weights_[i], true);
      rectified_ = copy;
    }
  }

  int64_t bytes() const { return rows_ * columns_ * static_cast<int64_t>(sizeof(T)); }
  T alpha() const { return alpha_; }
  // Whose signs are the derivative of phi(W), or null: ones.
  const T* signs() const { return rectify_ ? weights_ : nullptr; }
  // A itself, these rows, in a type that may be wider.
  template <typename Wider>
  void write(Range rows, Wider* to) const {
    for (int64_t i = rows.begin * columns_; i < rows.end * columns_; ++i)
      to[i] = edge<Wider>(weights_[i], alpha_, rectify_);
  }
  // Those that suit so many flops, for what else there is to do.
  const Kernels<T>& kernels() const { return kernels_; }

  // to = A from (+ add) at `units`, the rows of W, for bundles of so many vectors. Where `reverse`, the rows of W are
  // read from the last to the first: passes that take turns meet in the cache.
  void product(Range units, int64_t vectors, const T* from, const T* add, T* to, bool reverse) const {
    if (transposed_)
      return kernels_.product_transposed(units, columns_, transposed_, rows_, from, columns_, vectors, alpha_, add,
                                         rows_, to, rows_, false);
    sweep(units, kRowsOfPiece, reverse, [&](Range rows) {
      kernels_.product(rows, columns_, weights_, columns_, from, columns_, vectors, alpha_, add, rows_, to, rows_,
                       rectify_);
    });
  }

  // to = A' from (+ add) at `units`, the columns of W.
  void product_transposed(Range units, int64_t vectors, const T* from, const T* add, T* to, bool reverse) const {
    if (is_near(rows_, columns_)) {
      const T* weights = rectified_ ? rectified_ : weights_;
      return kernels_.product_transposed(units, rows_, weights, columns_, from, rows_, vectors, alpha_, add, columns_,
                                         to, columns_, rectify_ && !rectified_);
    }
    // Every row of W adds to all of these units: by pieces of rows, each upon what the ones before it left.
    sweep({0, rows_}, kRowsOfPiece, reverse, [&](Range rows) {
      kernels_.product_transposed(units, rows.end - rows.begin, weights_ + rows.begin * columns_, columns_,
                                  from + rows.begin, rows_, vectors, alpha_, add, columns_, to, columns_, rectify_);
      add = to;
    });
  }

  // x_next = A x at `units`, and y_next += A' y as far as y at `units` goes into it: one pass over W for both.
  void two_sided_product(Range units, const T* x, const T* y, T* x_next, T* y_next, bool reverse) const {
    sweep(units, kRowsOfTwoSidedPiece, reverse, [&](Range rows) {
      kernels_.two_sided_product(rows, columns_, weights_, columns_, x, y, alpha_, x_next, y_next, rectify_);
    });
  }

  // grad (+)= scale alpha phi'(W) sum_c left[c] right[c]' at `units` of left, for bundles whose vectors lie so far
  // apart, and rows of the gradient that lie so far apart.
  void gradient(Range units, int64_t depth, const T* left, int64_t left_stride, const T* right, int64_t right_stride,
                T scale, bool accumulate, T* grad, int64_t grad_stride) const {
    kernels_.outer_product(units, columns_, depth, left, left_stride, right, right_stride, alpha_ * scale, accumulate,
                           signs(), columns_, grad, grad_stride);
  }

 private:
  static bool is_near(int64_t rows, int64_t columns) {
    return rows * columns * static_cast<int64_t>(sizeof(T)) <= kNearBytes;
  }

  static constexpr int64_t kRowsOfPiece = 480;  // a multiple of the kernels' tiles
  static constexpr int64_t kRowsOfTwoSidedPiece = 64;

  const T* weights_;
  int64_t rows_, columns_;
  T alpha_;
  bool rectify_;
  const Kernels<T>& kernels_;
  const T* transposed_ = nullptr;  // phi(W)'
  const T* rectified_ = nullptr;   // phi(W)
};

}  // namespace rrnn::cpu
