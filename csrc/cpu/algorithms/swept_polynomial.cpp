#include "cpu/algorithms/swept_polynomial.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>

#include "cpu/algorithms/scratch.h"
#include "cpu/algorithms/team.h"
#include "cpu/kernels/kernels.h"

namespace rrnn::cpu {

namespace {

template <typename T>
SparseSweep<T> sweep_of(const SweptMatrix<T>& a, int width) {
  return {a.rows.n,      a.rows.crow, a.rows.columns, a.values, a.rectify, a.alpha, width,
          Sweep::kApply, nullptr,     nullptr,        nullptr,  T(0),      T(0)};
}

// How many vectors are swept together where there are `count`, at most kSweptTogether.
template <typename T>
int width_of(int64_t count) {
  constexpr int kMany = kSweptTogether<T>;
  return count == 1 ? 1 : count <= kMany / 2 ? kMany / 2 : kMany;
}

// body(first, count, width, memory) for groups of vectors, by all threads that the work is worth. The memory, of
// `vectors_each` times n x width numbers, is that of the thread's group before.
template <typename T, typename F>
void in_groups(const SweptMatrix<T>& a, int64_t vectors, int64_t sweeps, int64_t vectors_each, const F& body) {
  constexpr int64_t kMany = kSweptTogether<T>, kStep = kMany / 2;
  const int64_t steps = (vectors + kStep - 1) / kStep, most = std::min(kMany, vectors);
  const double flops = 2.0 * static_cast<double>((a.edges + a.rows.n) * vectors * sweeps);
  const int64_t threads = std::min(worthwhile_threads(flops), steps);
  torch::stable::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
    const Scratch<T> memory = scratch<T>(vectors_each * a.rows.n * width_of<T>(most));
    const int64_t last = std::min(vectors, steps * end / threads * kStep);
    for (int64_t first = steps * begin / threads * kStep; first < last; first += kMany) {
      const int64_t count = std::min(kMany, last - first);
      body(first, count, width_of<T>(count), memory.get());
    }
  });
}

// Some vectors of (n, all), side by side, `stride` apart from unit to unit; zeros after them.
template <typename T>
void gather(int64_t n, const T* from, int64_t all, int64_t count, int width, T* to, int64_t stride) {
  for (int64_t r = 0; r < n; ++r) {
    std::copy_n(from + r * all, count, to + r * stride);
    std::fill(to + r * stride + count, to + r * stride + width, T(0));
  }
}

template <typename T>
void scatter(int64_t n, const T* from, int64_t all, int64_t count, int width, T* to) {
  for (int64_t r = 0; r < n; ++r) std::copy_n(from + r * width, count, to + r * all);
}

}  // namespace

template <typename T>
void swept(const SweptMatrix<T>& a, int64_t width, const T* vectors, T* image) {
  const int64_t n = a.rows.n;
  in_groups(a, width, 1, 3, [&](int64_t first, int64_t count, int together, T* memory) {
    SparseSweep<T> sweep = sweep_of(a, together);
    sweep.swept = memory, sweep.x = memory + 2 * n * together;
    gather(n, vectors + first, width, count, together, sweep.swept, 2 * together);
    kernels<T>(0).sparse_sweep(sweep);
    scatter(n, sweep.x, width, count, together, image + first);
  });
}

template <typename T>
void swept_polynomial(const SweptMatrix<T>& a, const double* roots, int64_t count, int64_t width, const T* right,
                      T* x) {
  const int64_t n = a.rows.n;
  in_groups(a, width, count + 1, 5, [&](int64_t first, int64_t vectors, int together, T* memory) {
    const int64_t state = 2 * n * together;
    const auto& run = kernels<T>(0).sparse_sweep;
    SparseSweep<T> sweep = sweep_of(a, together);
    sweep.swept = memory, sweep.next = memory + state, sweep.x = memory + 2 * state;
    gather(n, right + first, width, vectors, together, sweep.x, together);
    std::fill_n(sweep.swept, state, T(0));
    sweep.what = Sweep::kStart;
    run(sweep);
    for (int64_t i = 0; i < count; ++i) {
      const double real = roots[2 * i], imaginary = roots[2 * i + 1], size = real * real + imaginary * imaginary;
      if (imaginary == 0) {
        sweep.what = Sweep::kRoot, sweep.c = static_cast<T>(1 / real);
        run(sweep);
        continue;
      }
      sweep.what = Sweep::kFirstOfTwo, sweep.c = static_cast<T>(2 * real / size), sweep.d = static_cast<T>(1 / size);
      run(sweep);
      SparseSweep<T> second = sweep;
      second.what = Sweep::kSecondOfTwo, second.swept = sweep.next, second.next = sweep.swept;
      run(second);
      ++i;  // the other one of the pair
    }
    scatter(n, sweep.x, width, vectors, together, x + first);
  });
}

template void swept<float>(const SweptMatrix<float>&, int64_t, const float*, float*);
template void swept<double>(const SweptMatrix<double>&, int64_t, const double*, double*);
template void swept_polynomial<float>(const SweptMatrix<float>&, const double*, int64_t, int64_t, const float*, float*);
template void swept_polynomial<double>(const SweptMatrix<double>&, const double*, int64_t, int64_t, const double*,
                                       double*);

}  // namespace rrnn::cpu
