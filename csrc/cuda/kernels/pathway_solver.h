// What a team of blocks does to solve for one pathway: see cuda/algorithms/solve_pathway.cu.
#pragma once

#include "common/convergence.h"
#include "common/edge.h"
#include "cuda/device/barriers.h"
#include "cuda/device/device.h"
#include "cuda/device/numbers.h"
#include "cuda/kernels/tile.h"

namespace rrnn::cuda::pathway_solver {

inline constexpr int kThreads = 256, kWarps = kThreads / kWarp;
inline constexpr int kRowsAtOnce = 8;
inline constexpr int kPanel = 2048;  // columns whose sums stay in shared memory
inline constexpr int kDots = kWarps;
inline constexpr int kMaxStarts = 4, kMaxHops = 1 << 15;
// Passes over W for one problem at most: the steps and a look of each start, and the hops of the series.
inline constexpr int kMaxPasses = kMaxStarts * (kMostPathwaySteps + 2) + kMaxHops;

template <typename T>
struct Rounding {
  static constexpr T kUnit = sizeof(T) == sizeof(float) ? T(1.1920929e-7) : T(2.220446049250313e-16);
};

// What a round adds up over the team: s . r; (I - A) p . q after a pass over W; the results of the step along p and
// q; a look at x and y after a pass; a hop of the series after a pass.
enum class Round { kResiduals, kPass, kStep, kLook, kHop };
__device__ inline bool passes_over_weights(Round round) {
  return round == Round::kPass || round == Round::kLook || round == Round::kHop;
}

// How far a team has come with a problem: where a launch leaves off, before a pass, the next one goes on.
struct Progress {
  int64_t graph;
  Round round = Round::kResiduals;
  int starts = 0, steps = 0, hops = 0;
  double rho = 0;
};

// Device memory of one team of blocks; they share all of it.
template <typename T>
struct Vectors {
  T *r, *s, *p, *q, *ones, *x, *y;  // (n)
  T *image, *ones_image;            // A p and A ones, (n)
  T* column_image;                  // A' q, (n)
  T* row_parts;                     // (n, kWarps) twice
  T* column_parts;                  // (blocks, n)
  double* dots;                     // (2, blocks, kDots)

  __host__ __device__ Vectors(SharedPieces& pieces, int64_t n, int64_t blocks) {
    for (T** vector : {&r, &s, &p, &q, &ones, &x, &y, &image, &ones_image, &column_image}) *vector = pieces.take<T>(n);
    row_parts = pieces.take<T>(2 * n * kWarps);
    column_parts = pieces.take<T>(blocks * n);
    dots = pieces.take<double>(2 * blocks * kDots);
  }
};

template <typename T>
struct SolverMemory {
  T* columns;       // the block's parts of a panel's column sums; kThreads vectors or a panel
  double* sums;     // (kWarps)
  double* results;  // (kDots)

  __host__ __device__ explicit SolverMemory(SharedPieces& shared)
      : columns(shared.take<T>(kPanel)), sums(shared.take<double>(kWarps)), results(shared.take<double>(kDots)) {}
};

// The blocks that work on one problem: all of a cooperative launch, or one.
template <typename T>
struct Solver {
  int n, block, blocks;
  T alpha;
  const T *weights, *sources, *targets;
  const Vectors<T>& at;
  const SolverMemory<T>& memory;

  __device__ void barrier() const {
    if (blocks > 1)
      grid_barrier();
    else
      __syncthreads();
  }

  // A block has the units from its own first one to the next block's, and their rows of W.
  __device__ int first_unit(int of_block) const {
    const int64_t groups = (n + kRowsAtOnce - 1) / kRowsAtOnce, unit = groups * of_block / blocks * kRowsAtOnce;
    return static_cast<int>(unit < n ? unit : n);
  }

  // body(i) for this block's units.
  template <typename F>
  __device__ __forceinline__ void each_unit(const F& body) const {
    const int end = first_unit(block + 1);
#pragma unroll 1
    for (int i = first_unit(block) + threadIdx.x; i < end; i += kThreads) body(i);
  }

  // Totals over the team of kDots values of each thread, once the others have passed the barrier. `half` alternates:
  // then the next values do not get in the way of these.
  __device__ void give_dots(const double (&values)[kDots], int half) const {
    for (int d = 0; d < kDots; ++d) {
      const double sum = block_sum(values[d], memory.sums);
      if (threadIdx.x == 0) at.dots[(half * blocks + block) * kDots + d] = sum;
    }
  }
  __device__ void take_dots(double (&totals)[kDots], int half) const {
    const int warp = threadIdx.x / kWarp;
    if (warp < kDots) {
      double sum = 0;
      for (int other = threadIdx.x % kWarp; other < blocks; other += kWarp)
        sum += at.dots[(half * blocks + other) * kDots + warp];
      sum = warp_sum(sum);
      if (threadIdx.x % kWarp == 0) memory.results[warp] = sum;
    }
    __syncthreads();
    for (int d = 0; d < kDots; ++d) totals[d] = memory.results[d];
    __syncthreads();
  }

  // image = A right for this block's rows, and ones_image = A ones where asked for; column_parts: this block's part of
  // A' left. One pass over the rows. Ends with a barrier of the block alone.
  __device__ __forceinline__ void products(const T* right, const T* left, bool with_ones) const {
    constexpr int kVector = Vector<T>::kSize, kChunk = kWarp * kVector;
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    const int begin = first_unit(block), end = first_unit(block + 1);
    const bool aligned = whole_vectors<T>(n, weights);
    for (int panel = 0; panel < n || panel == 0; panel += kPanel) {
      const int width = n - panel < kPanel ? n - panel : kPanel;
      // Warps side by side take different columns; where there are few of those, several take different rows.
      const int chunks = (width + kChunk - 1) / kChunk;
      const int across = chunks < kWarps ? (chunks > 0 ? chunks : 1) : kWarps, down = kWarps / across;
      const int slot = warp % across, split = warp / across;
      const int pitch = chunks * kChunk;  // down * pitch is at most kPanel
      for (int e = threadIdx.x; e < down * pitch; e += kThreads) memory.columns[e] = 0;
      __syncthreads();
#pragma unroll 1
      for (int row = begin + split * kRowsAtOnce; split < down && row < end; row += down * kRowsAtOnce) {
        T sums[kRowsAtOnce] = {}, ones_sums[kRowsAtOnce] = {}, lefts[kRowsAtOnce];
#pragma unroll
        for (int r = 0; r < kRowsAtOnce; ++r) lefts[r] = row + r < end ? left[row + r] : T(0);
#pragma unroll 1
        for (int chunk = slot; chunk < chunks; chunk += across) {
          const int j = panel + chunk * kChunk + lane * kVector;
          Vector<T> weight[kRowsAtOnce];
          load_rows(weight, row, end, j, aligned);
          const Vector<T> factor = load_piece(right + j, n - j, true);
          Vector<T> ones{};
          if (with_ones) ones = load_piece(at.ones + j, n - j, true);
          Vector<T>* columns =
              reinterpret_cast<Vector<T>*>(memory.columns + split * pitch + chunk * kChunk + lane * kVector);
          Vector<T> column = *columns;
#pragma unroll
          for (int r = 0; r < kRowsAtOnce; ++r)
#pragma unroll
            for (int v = 0; v < kVector; ++v) {
              const T size = magnitude(weight[r].at[v]);
              sums[r] += size * factor.at[v];
              ones_sums[r] += size * ones.at[v];
              column.at[v] += size * lefts[r];
            }
          *columns = column;
        }
#pragma unroll
        for (int r = 0; r < kRowsAtOnce; ++r) {
          const T sum = warp_sum(sums[r]), ones_sum = with_ones ? warp_sum(ones_sums[r]) : T(0);
          if (lane == 0 && row + r < end) {
            T* part = at.row_parts + (static_cast<int64_t>(row + r) * kWarps + slot) * 2;
            part[0] = panel == 0 ? sum : part[0] + sum;
            if (with_ones) part[1] = panel == 0 ? ones_sum : part[1] + ones_sum;
          }
        }
      }
      __syncthreads();
      T* columns = at.column_parts + static_cast<int64_t>(block) * n + panel;
      for (int j = threadIdx.x; j < width; j += kThreads) {
        T sum = 0;
        for (int d = 0; d < down; ++d) sum += memory.columns[d * pitch + j];
        columns[j] = sum;
      }
      __syncthreads();
    }
    // The first panel is the widest: it has used the most slots.
    const int chunks = ((n < kPanel ? n : kPanel) + kChunk - 1) / kChunk, slots = chunks < kWarps ? chunks : kWarps;
    for (int i = begin + threadIdx.x; i < end; i += kThreads) {
      const T* parts = at.row_parts + static_cast<int64_t>(i) * kWarps * 2;
      T sum = 0, ones_sum = 0;
      for (int part = 0; part < slots; ++part) {
        sum += parts[2 * part];
        if (with_ones) ones_sum += parts[2 * part + 1];
      }
      at.image[i] = alpha * sum;
      if (with_ones) at.ones_image[i] = alpha * ones_sum;
    }
    __syncthreads();
  }

  // The vectors at column j of kRowsAtOnce rows, with zeros from row `end` and column n on.
  __device__ __forceinline__ void load_rows(Vector<T> (&to)[kRowsAtOnce], int row, int end, int j, bool aligned) const {
    const T* from = weights + static_cast<int64_t>(row) * n + j;
    if (aligned && j < n && row + kRowsAtOnce <= end) {
#pragma unroll
      for (int r = 0; r < kRowsAtOnce; ++r) to[r] = Vector<T>::load(from + static_cast<int64_t>(r) * n);
    } else {
#pragma unroll
      for (int r = 0; r < kRowsAtOnce; ++r)
#pragma unroll
        for (int v = 0; v < Vector<T>::kSize; ++v)
          to[r].at[v] = row + r < end && j + v < n ? from[static_cast<int64_t>(r) * n + v] : T(0);
    }
  }

  // column_image = A' left for this block's units, from all blocks' parts.
  __device__ void gather_columns() const {
    if (blocks == 1) {
      each_unit([&](int i) { at.column_image[i] = alpha * at.column_parts[i]; });
    } else {
      const int lane = threadIdx.x % kWarp, end = first_unit(block + 1);
      for (int i = first_unit(block) + threadIdx.x / kWarp; i < end; i += kWarps) {
        T sum = 0;
        for (int other = lane; other < blocks; other += kWarp)
          sum += at.column_parts[static_cast<int64_t>(other) * n + i];
        sum = warp_sum(sum);
        if (lane == 0) at.column_image[i] = alpha * sum;
      }
    }
    __syncthreads();
  }

  __device__ static bool is_small(double residual, double of, double factor) {
    constexpr double kUnit = Rounding<T>::kUnit;
    return residual <= factor * factor * kUnit * kUnit * of;
  }

  enum class Outcome { kFound, kUndecided, kNotFinite, kUnfinished };

  // The residuals and search directions from x = y = 0 on; or the first terms of the series.
  __device__ void start(bool series) const {
    each_unit([&](int i) {
      const T source = sources[i], target = targets[i];
      at.p[i] = at.r[i] = source;
      at.q[i] = at.s[i] = target;
      at.x[i] = series ? source : 0;
      at.y[i] = series ? target : 0;
      at.ones[i] = 1;
    });
  }

  // Goes on from there, with at most so many passes.
  __device__ Outcome solve(Progress& progress, int& passes) const {
    auto& [graph, round, starts, steps, hops, rho] = progress;
    T length = 0;
    if (round == Round::kResiduals) start(false);
    for (int half = 0;; half ^= 1) {
      double values[kDots] = {}, totals[kDots];
      if (passes_over_weights(round)) {
        if (passes-- == 0) return Outcome::kUnfinished;
        const bool looks = round == Round::kLook;
        barrier();
        products(looks ? at.x : at.p, looks ? at.y : at.q, round == Round::kHop);
        if (round != Round::kPass) barrier();
      }
      if (round != Round::kResiduals && round != Round::kPass) gather_columns();
      each_unit([&](int i) {
        if (round == Round::kResiduals)
          values[0] += static_cast<double>(at.s[i]) * at.r[i];
        else if (round == Round::kPass)
          values[0] += static_cast<double>(at.q[i]) * (at.p[i] - at.image[i]);
        else if (round == Round::kStep)
          take_step(i, length, values);
        else if (round == Round::kLook)
          look(i, values);
        else
          add_hop(i, values);
      });
      give_dots(values, half);
      barrier();
      take_dots(totals, half);

      bool settled = true;  // by the iteration
      if (round == Round::kResiduals) {
        rho = totals[0];
        round = Round::kPass;
      } else if (round == Round::kPass) {
        length = static_cast<T>(rho / totals[0]);
        settled = is_finite(length) && ++steps <= kMostPathwaySteps;
        round = Round::kStep;
      } else if (round == Round::kStep) {
        if (is_small(totals[0], totals[2], kResidual) && is_small(totals[1], totals[3], kResidual)) {
          round = Round::kLook;
        } else {
          const T turn = static_cast<T>(totals[4] / rho);
          rho = totals[4];
          each_unit([&](int i) {
            at.p[i] = at.r[i] + turn * at.p[i];
            at.q[i] = at.s[i] + turn * at.q[i];
          });
          round = Round::kPass;
        }
      } else if (round == Round::kLook) {
        const bool proved = totals[4] == 0 || totals[5] == 0;
        if (proved && is_small(totals[0], totals[2], kTrueResidual) && is_small(totals[1], totals[3], kTrueResidual))
          return is_within_tolerance(totals) ? Outcome::kFound : Outcome::kUndecided;
        settled = proved && ++starts < kMaxStarts;
        steps = 0;
        round = Round::kResiduals;
      } else {
        if (totals[1] > 0) return hops == 0 ? Outcome::kNotFinite : Outcome::kUndecided;
        totals[6] += hops * Rounding<T>::kUnit / 4 * totals[7];  // of the additions to x and y
        if (totals[0] == 0) return is_within_tolerance(totals) ? Outcome::kFound : Outcome::kUndecided;
        if (totals[2] == 0 || ++hops == kMaxHops) return Outcome::kUndecided;
      }
      if (!settled) {
        start(true);
        round = Round::kHop;
      }
    }
  }

  // The bound of pathway_roundings for the error of v . x, and v . x, as the last two values.
  __device__ void weigh_error(int i, T residual, double (&values)[kDots]) const {
    const double x = at.x[i], y = magnitude(at.y[i]);
    const double roundings = pathway_roundings(n) * Rounding<T>::kUnit;
    values[6] += y * (roundings * magnitude(x) + magnitude(residual));
    values[7] += x * targets[i];
  }
  __device__ static bool is_within_tolerance(const double (&totals)[kDots]) {
    return totals[6] <= kTolerance * totals[7];
  }

  __device__ void take_step(int i, T length, double (&values)[kDots]) const {
    const T x = at.x[i] + length * at.p[i], y = at.y[i] + length * at.q[i];
    const T r = at.r[i] - length * (at.p[i] - at.image[i]), s = at.s[i] - length * (at.q[i] - at.column_image[i]);
    at.x[i] = x;
    at.y[i] = y;
    at.r[i] = r;
    at.s[i] = s;
    values[0] += static_cast<double>(r) * r;
    values[1] += static_cast<double>(s) * s;
    values[2] += static_cast<double>(x) * x;
    values[3] += static_cast<double>(y) * y;
    values[4] += static_cast<double>(s) * r;
  }

  // The true residuals, which the recurrences drift from, also as new search directions; and where x and y fail to
  // prove that the sum converges.
  __device__ void look(int i, double (&values)[kDots]) const {
    const T margin = proof_margin(Rounding<T>::kUnit, n);
    const T x = at.x[i], y = at.y[i], gain = x - at.image[i], dual_gain = y - at.column_image[i];
    const T r = sources[i] - gain, s = targets[i] - dual_gain;
    at.p[i] = at.r[i] = r;
    at.q[i] = at.s[i] = s;
    values[0] += static_cast<double>(r) * r;
    values[1] += static_cast<double>(s) * s;
    values[2] += static_cast<double>(x) * x;
    values[3] += static_cast<double>(y) * y;
    values[4] += x > 0 && gain > margin * x ? 0 : 1;
    values[5] += y > 0 && dual_gain > margin * y ? 0 : 1;
    weigh_error(i, r, values);
  }

  // What the terms of the series from here on add is at most max A^k 1 times the whole, in the largest element of x and
  // in the sum of y: where that is above rounding, where it is no number, and where it has not grown (where it has
  // grown in all units, the spectral radius is above 1).
  __device__ void add_hop(int i, double (&values)[kDots]) const {
    const T growth = 1 + Rounding<T>::kUnit * static_cast<T>(n);
    const T p = at.image[i], q = at.column_image[i], ones = at.ones_image[i];
    values[0] += ones <= Rounding<T>::kUnit ? 0 : 1;
    values[1] += is_finite(ones) ? 0 : 1;
    values[2] += ones > at.ones[i] * growth ? 0 : 1;
    at.p[i] = p;
    at.q[i] = q;
    at.ones[i] = ones;
    at.x[i] += p;
    at.y[i] += q;
    weigh_error(i, 0, values);
  }
};

}  // namespace rrnn::cuda::pathway_solver
