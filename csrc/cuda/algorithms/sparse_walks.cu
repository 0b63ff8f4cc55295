// The chain X_0 = phi(U), X_{m+1} = A X_m and the reverse chain, hop by hop and for a few vectors of the narrower side
// after the other; csrc/cpu/algorithms/sparse_walks.cpp has the formulas. Vectors are stored unit by unit, (n, width).
// Each number is written by one thread that knows its whole sum, so that each run has the same bits.
#include <algorithm>

#include "cuda/algorithms/sparse_hop.h"
#include "cuda/algorithms/sparse_walks.h"
#include "cuda/device/device.h"
#include "cuda/device/launch.h"

namespace rrnn::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostVectors = 32;  // carried together

// Vectors of the start from `first` on, `width` of them, and what is said of them.
template <typename T>
struct Part {
  SparseWalkProblem<T> problem;
  int64_t first, width;
};

__device__ __forceinline__ int64_t thread_number() { return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; }

LaunchShape shape_of(int64_t count) {
  return {dim3(static_cast<unsigned>((count + kThreads - 1) / kThreads)), kThreads};
}

// X_0 and, unless it is null, the sum so far, *factor X_0; what has a factor of 0 takes no part.
template <typename T>
__global__ void __launch_bounds__(kThreads) begin_kernel(Part<T> part, T* bundle, const T* factor, T* sum) {
  const int64_t at = thread_number();
  if (at >= part.problem.n() * part.width) return;
  const int64_t unit = at / part.width, vector = part.first + at % part.width;
  const Side<T>& side = part.problem.start;
  const T x = side.dense ? phi(side.dense[side.place(unit, vector)], part.problem.rectify)
                         : T(side.unit_of(vector) == unit ? 1 : 0);
  bundle[at] = x;
  if (sum) sum[at] = weighed(factor ? *factor : T(1), x);
}

// to = *factor from, likewise.
template <typename T>
__global__ void __launch_bounds__(kThreads) scale_kernel(int64_t count, const T* from, const T* factor, T* to) {
  const int64_t at = thread_number();
  if (at < count) to[at] = weighed(factor ? *factor : T(1), from[at]);
}

// ends (others, width) = c phi(other)' bundle, a warp for each.
template <typename T>
__global__ void __launch_bounds__(kThreads) read_out_kernel(Part<T> part, const T* bundle, T* ends) {
  const int64_t at = thread_number() / kWarp;
  const Side<T>& side = part.problem.other;
  if (at >= side.count * part.width) return;
  const int64_t q = at / part.width, c = at % part.width;
  const int lane = threadIdx.x % kWarp;
  T sum = 0;
  if (side.dense)
    for (int64_t unit = lane; unit < part.problem.n(); unit += kWarp)
      sum += phi(side.dense[side.place(unit, q)], part.problem.rectify) * bundle[unit * part.width + c];
  else if (lane == 0)
    sum = bundle[side.unit_of(q) * part.width + c];
  sum = warp_sum(sum);
  if (lane == 0) ends[at] = part.problem.edges() * sum;
}

// bundle = c phi(other) ends, for a side that is dense or has all units.
template <typename T>
__global__ void __launch_bounds__(kThreads) lift_kernel(Part<T> part, const T* ends, T* bundle) {
  const int64_t at = thread_number();
  if (at >= part.problem.n() * part.width) return;
  const int64_t unit = at / part.width, c = at % part.width;
  const Side<T>& side = part.problem.other;
  T sum = 0;
  if (side.dense)
    for (int64_t q = 0; q < side.count; ++q)
      sum += phi(side.dense[side.place(unit, q)], part.problem.rectify) * ends[q * part.width + c];
  else if (!side.units)
    sum = ends[at];
  bundle[at] = part.problem.edges() * sum;
}

// The same for a side of some units, added to a bundle of zeros: a unit may be there several times.
template <typename T>
__global__ void lift_units_kernel(Part<T> part, const T* ends, T* bundle) {
  const int64_t c = threadIdx.x;
  const Side<T>& side = part.problem.other;
  for (int64_t q = 0; q < side.count; ++q)
    bundle[side.unit_of(q) * part.width + c] += part.problem.edges() * ends[q * part.width + c];
}

template <typename T>
__global__ void __launch_bounds__(kThreads) start_gradient_kernel(Part<T> part, const T* bundle, T* grad) {
  const int64_t at = thread_number();
  if (at >= part.problem.n() * part.width) return;
  const Side<T>& side = part.problem.start;
  const int64_t place = side.place(at / part.width, part.first + at % part.width);
  grad[place] = times_phi_derivative(bundle[at], side.dense[place], part.problem.rectify);
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    other_gradient_kernel(Part<T> part, const T* ends, const T* bundle, bool accumulate, T* grad) {
  const int64_t at = thread_number();
  const Side<T>& side = part.problem.other;
  if (at >= side.count * part.problem.n()) return;
  const int64_t q = at % side.count, unit = at / side.count, place = side.place(unit, q);
  T sum = 0;
  for (int64_t c = 0; c < part.width; ++c) sum += ends[q * part.width + c] * bundle[unit * part.width + c];
  const T value = times_phi_derivative(part.problem.edges() * sum, side.dense[place], part.problem.rectify);
  grad[place] = accumulate ? grad[place] + value : value;
}

// Where element `at` of (terms, others, width) stands in (terms, outputs, inputs).
template <typename T>
__device__ __forceinline__ int64_t place_of(const Part<T>& part, int64_t at) {
  const int64_t ends = part.problem.other.count * part.width, term = at / ends, rest = at % ends;
  return term * part.problem.pairs() + part.problem.pair(part.first + rest % part.width, rest / part.width);
}

template <typename T>
__global__ void __launch_bounds__(kThreads) copy_kernel(Part<T> part, int64_t count, const T* ends, T* walks) {
  const int64_t at = thread_number();
  if (at < count) walks[place_of(part, at)] = ends[at];
}

// The weights of a walk's size: of its hop where the hops are apart, of its pair.
template <typename T>
struct Sizes {
  Norm norm;
  const T* pair_weights;

  __device__ __forceinline__ T of_term(const Part<T>& part, int64_t at) const {
    return part.problem.per_hop ? part.problem.hop_weight(at / (part.problem.other.count * part.width)) : T(1);
  }
  __device__ __forceinline__ T of_pair(const Part<T>& part, int64_t at) const {
    return pair_weights ? pair_weights[place_of(part, at) % part.problem.pairs()] : T(1);
  }
};

// One block: *sum (+)= the sizes, and *value is that.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    value_kernel(Part<T> part, Sizes<T> sizes, int64_t count, const T* ends, bool accumulate, double* sum, T* value) {
  double* pieces = reinterpret_cast<double*>(shared_memory());
  double own = 0;
  for (int64_t at = threadIdx.x; at < count; at += kThreads) {
    const T size = weighed(sizes.of_pair(part, at), walk_size(ends[at], sizes.norm));
    own += weighed(sizes.of_term(part, at), size);
  }
  const double total = block_sum(own, pieces);
  if (threadIdx.x > 0) return;
  *sum = accumulate ? *sum + total : total;
  *value = static_cast<T>(*sum);
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    slope_kernel(Part<T> part, Sizes<T> sizes, int64_t count, const T* grad_value, const T* ends, T* gradient) {
  const int64_t at = thread_number();
  if (at >= count) return;
  const T slope = weighed(sizes.of_pair(part, at), walk_size_derivative(ends[at], sizes.norm));
  gradient[at] = *grad_value * weighed(sizes.of_term(part, at), slope);
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    given_kernel(Part<T> part, int64_t count, const T* grad_walks, T* gradient) {
  const int64_t at = thread_number();
  if (at < count) gradient[at] = grad_walks[place_of(part, at)];
}

template <typename T>
class Run {
 public:
  Run(const SparseWalksCall<T>& call, void* memory, cudaStream_t stream)
      : call_(call), problem_(call.problem), stream_(stream), most_(std::min(problem_.start.count, kMostVectors)) {
    SharedPieces pieces(static_cast<unsigned char*>(memory));
    total_ = pieces.take<double>(1);
    const int64_t bundle = problem_.n() * most_, ends = problem_.terms() * problem_.other.count * most_;
    chain_ = pieces.take<T>(links() * bundle);
    for (T*& each : spare_) each = pieces.take<T>(bundle);
    sum_ = pieces.take<T>(bundle);
    lifted_ = pieces.take<T>(bundle);
    ends_ = pieces.take<T>(ends);
    gradient_ = pieces.take<T>(ends);
    bytes_ = pieces.bytes();
  }

  int64_t bytes() const { return bytes_; }

  void all() {
    for (int64_t first = 0; first < problem_.start.count; first += most_)
      vectors({problem_, first, std::min(most_, problem_.start.count - first)});
  }

 private:
  int64_t links() const { return call_.gradients ? problem_.hops : 2; }
  T* link(int64_t m) const { return chain_ + m % links() * problem_.n() * most_; }
  int64_t ends_of(const Part<T>& part) const { return problem_.other.count * part.width; }
  const T* factor(int64_t m) const { return problem_.hop_weights ? problem_.hop_weights + m : nullptr; }

  // The matrix by rows, or the transposed one.
  SparseMatrix<T> matrix(bool forth) const {
    return {forth ? problem_.forth : problem_.back, call_.values, forth == problem_.from_inputs ? nullptr : call_.from,
            problem_.alpha, problem_.rectify};
  }

  void vectors(const Part<T>& part) const {
    const int64_t bundle = problem_.n() * part.width, ends = ends_of(part), count = problem_.terms() * ends;
    T* sum = problem_.per_hop ? nullptr : sum_;
    launch(begin_kernel<T>, shape_of(bundle), stream_, part, link(0), factor(0), sum);
    for (int64_t m = 0; m < problem_.hops; ++m) {
      if (problem_.per_hop) read_out(part, link(m), ends_ + m * ends);
      if (m + 1 < problem_.hops)
        sparse_hop<T>(matrix(true), static_cast<int>(part.width), link(m), {.sum = sum, .sum_factor = factor(m + 1)},
                      link(m + 1), stream_);
    }
    if (!problem_.per_hop) read_out(part, sum_, ends_);
    if (call_.walks && count > 0)
      launch(copy_kernel<T>, shape_of(count), stream_, part, count, static_cast<const T*>(ends_), call_.walks);
    const Sizes<T> sizes{call_.norm, call_.pair_weights};
    if (call_.value)
      launch(value_kernel<T>, {dim3(1), kThreads, kThreads / kWarp * sizeof(double)}, stream_, part, sizes, count,
             static_cast<const T*>(ends_), part.first > 0, total_, call_.value);
    if (!call_.gradients) return;
    if (count > 0 && call_.grad_walks)
      launch(given_kernel<T>, shape_of(count), stream_, part, count, call_.grad_walks, gradient_);
    else if (count > 0)
      launch(slope_kernel<T>, shape_of(count), stream_, part, sizes, count, call_.grad_value,
             static_cast<const T*>(ends_), gradient_);
    backward(part);
  }

  void read_out(const Part<T>& part, const T* bundle, T* ends) const {
    if (ends_of(part) > 0) launch(read_out_kernel<T>, shape_of(ends_of(part) * kWarp), stream_, part, bundle, ends);
  }

  void lift(const Part<T>& part, int64_t m) const {
    const T* ends = gradient_ + (problem_.per_hop ? m * ends_of(part) : 0);
    launch(lift_kernel<T>, shape_of(problem_.n() * part.width), stream_, part, ends, lifted_);
    if (problem_.other.units)
      launch(lift_units_kernel<T>, {dim3(1), dim3(static_cast<unsigned>(part.width))}, stream_, part, ends, lifted_);
  }

  // L_m from L_{m+1}, null of the last hop.
  void advance(const Part<T>& part, int64_t m, const T* next, T* to) const {
    if (problem_.per_hop) lift(part, m);
    const T* weight = problem_.per_hop ? nullptr : factor(m);
    const int64_t bundle = problem_.n() * part.width;
    if (next)
      sparse_hop<T>(matrix(false), static_cast<int>(part.width), next, {.add = lifted_, .add_factor = weight}, to,
                    stream_);
    else
      launch(scale_kernel<T>, shape_of(bundle), stream_, bundle, static_cast<const T*>(lifted_), weight, to);
  }

  void backward(const Part<T>& part) const {
    const int64_t hops = problem_.hops;
    if (!problem_.per_hop) lift(part, 0);
    const SparseMatrix<T> given{call_.rows, call_.values, nullptr, problem_.alpha, problem_.rectify};
    const T* next = nullptr;
    for (int64_t m = hops - 1; m > 0; --m) {
      T* to = spare_[m % 2];
      advance(part, m, next, to);
      next = to;
      const T* x = link(m - 1);
      sparse_hop_gradient<T>(given, static_cast<int>(part.width), problem_.from_inputs ? next : x,
                             problem_.from_inputs ? x : next, part.first > 0 || m < hops - 1, call_.grad_values,
                             stream_);
    }
    if (call_.grad_start) {
      advance(part, 0, next, spare_[0]);
      launch(start_gradient_kernel<T>, shape_of(problem_.n() * part.width), stream_, part,
             static_cast<const T*>(spare_[0]), call_.grad_start);
    }
    const int64_t elements = problem_.other.count * problem_.n();
    if (!call_.grad_other || elements == 0) return;
    for (int64_t m = 0; m < problem_.terms(); ++m)
      launch(other_gradient_kernel<T>, shape_of(elements), stream_, part,
             static_cast<const T*>(gradient_ + m * ends_of(part)),
             static_cast<const T*>(problem_.per_hop ? link(m) : sum_), part.first > 0 || m > 0, call_.grad_other);
  }

  const SparseWalksCall<T>& call_;
  const SparseWalkProblem<T>& problem_;
  cudaStream_t stream_;
  int64_t most_, bytes_;  // vectors that are carried together
  double* total_;
  T *chain_, *spare_[2], *sum_, *lifted_, *ends_, *gradient_;
};

}  // namespace

template <typename T>
int64_t sparse_walks_scratch(const SparseWalksCall<T>& call) {
  return Run<T>(call, nullptr, nullptr).bytes();
}

template <typename T>
void sparse_walks(const SparseWalksCall<T>& call, void* memory, cudaStream_t stream) {
  const auto clear = [&](T* numbers, int64_t count) {
    if (numbers && count) check_cuda(cudaMemsetAsync(numbers, 0, count * sizeof(T), stream), "memset");
  };
  const SparseWalkProblem<T>& problem = call.problem;
  const bool none = problem.start.count == 0 || problem.n() == 0;  // no walk is there
  if (none || problem.hops == 1) clear(call.grad_values, call.edges);
  if (!none) return Run<T>(call, memory, stream).all();
  clear(call.value, 1);
  clear(call.walks, problem.terms() * problem.pairs());
  clear(call.grad_start, problem.n() * problem.start.count);
  clear(call.grad_other, problem.n() * problem.other.count);
}

#define RRNN_INSTANTIATE(T)                                         \
  template int64_t sparse_walks_scratch(const SparseWalksCall<T>&); \
  template void sparse_walks(const SparseWalksCall<T>&, void*, cudaStream_t);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn::cuda
