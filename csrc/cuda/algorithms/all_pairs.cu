// All pairs of graphs of any size, meant for some hundred units: proof of convergence by squarings in one launch (two
// in float32), beside it the inverse by halves, check and penalty in one launch, the gradient in two products. Inverses
// that the check finds inaccurate take Newton's iteration in float64 and another launch for the penalty.
//
// Per graph, for n units, s squarings (5 for spectral radius 0.9 and n = 256) and elements of e bytes:
//   forward   2 n^3 (1 + s) flops, about n^2 (3 s + 12) e bytes, which mostly stay in the L2 cache;
//   gradient  4 n^3 flops, 9 n^2 e bytes.
// Floor time on an H100 (60 Tflop/s in float32) for 64 of 256^2 at s = 5: 215 us + 72 us.
#include <algorithm>

#include "common/edge.h"
#include "cuda/algorithms/all_pairs.h"
#include "cuda/algorithms/inverse_by_halves.h"
#include "cuda/device/fork.h"
#include "cuda/device/launch.h"
#include "cuda/device/numbers.h"
#include "cuda/kernels/newton.h"
#include "cuda/kernels/powers.h"
#include "cuda/kernels/product.h"
#include "cuda/kernels/squarings.h"

namespace rrnn::cuda {
namespace {

template <typename T>
__global__ void copy_edges(AllPairs<T> graphs, T* a) {
  const int64_t count = graphs.count * graphs.n * graphs.n, stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t e = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; e < count; e += stride)
    a[e] = graphs.template edge_of<T>(graphs.weight_hh[e]);
}

constexpr int kProbes = 4, kFinishThreads = 512;

// Signs of the kProbes vectors at a unit, as bits.
__device__ __forceinline__ unsigned probes(int unit) {
  unsigned bits = unit * 2654435761u;
  bits ^= bits >> 16;
  bits *= 0x85ebca6bu;
  return bits ^ bits >> 13;
}

template <typename T>
__device__ T block_max(T value, T* pieces) {
  for (int with = kWarp / 2; with > 0; with /= 2) {
    const T other = __shfl_xor_sync(kWholeWarp, value, with);
    value = value < other ? other : value;
  }
  if (threadIdx.x % kWarp == 0) pieces[threadIdx.x / kWarp] = value;
  __syncthreads();
  for (unsigned warp = 0; warp < blockDim.x / kWarp; ++warp) value = value < pieces[warp] ? pieces[warp] : value;
  __syncthreads();
  return value;
}

// A block for each graph: looks at the inverse in walks, takes the identity off it, and adds up the penalty. An inverse
// that is not good enough is left as it is and called kInaccurate in `states`, which say kOpen or kProved before. Or,
// once those are `mended`, the same for them, without a look. images: (2 kProbes, n) of each graph.
template <typename T>
__global__ void __launch_bounds__(kFinishThreads, 1)
    finish(AllPairs<T> graphs, int* states, bool mended, T* value, T* walks, T* converges, T* images) {
  SharedPieces shared(shared_memory());
  T* pieces = shared.take<T>(kFinishThreads / kWarp);
  double* sums = shared.take<double>(kFinishThreads / kWarp);
  const int n = graphs.n, lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  const int64_t graph = blockIdx.x, size = static_cast<int64_t>(n) * n;
  const T* weights = graphs.weight_hh + graph * size;
  const T* pairs = graphs.pair_weights;
  if (pairs && graphs.own_pair_weights) pairs += graph * size;
  walks += graph * size;
  images += graph * 2 * kProbes * n;
  T* residuals = images + kProbes * n;

  const int state = states[graph];
  if (mended && state != kMended) return;
  bool finite = true;
  double total = 0;
  // Part of what returns to unit i, (A X)_ii: X_ii - 1 would be nothing where the walks are small.
  const auto returns = [&](int64_t i, int first, int step) {
    T sum = 0;
    for (int64_t m = first; m < n; m += step) sum += graphs.template edge_of<T>(weights[i * n + m]) * walks[m * n + i];
    return sum;
  };
  const auto pass = [&] {
    total = 0;
    for (int i = warp; i < n; i += warps) {
      const T own = warp_sum(returns(i, lane, kWarp));
      T image[kProbes] = {}, sum = 0;
      for (int j = lane; j < n; j += kWarp) {
        const T element = walks[static_cast<int64_t>(i) * n + j];
        const unsigned bits = probes(j);
#pragma unroll
        for (int p = 0; p < kProbes; ++p) image[p] += bits >> p & 1 ? element : -element;
        const T walk = walk_size(i == j ? own : element, graphs.norm);
        sum += pairs ? weighed(pairs[static_cast<int64_t>(i) * n + j], walk) : walk;
      }
      total += static_cast<double>(sum);
#pragma unroll
      for (int p = 0; p < kProbes; ++p) {
        image[p] = warp_sum(image[p]);
        if (lane == 0) images[p * n + i] = image[p];
      }
    }
    __syncthreads();
  };
  // r = (I - A) X z - z against X z: a backward stable inverse leaves a few units of rounding times sqrt(n) |A| |X|.
  // And X r, which is about the error.
  const auto is_good = [&] {
    T residual = 0, largest = 0, error = 0;
    bool numbers = true;
    for (int i = warp; i < n; i += warps) {
      T image[kProbes] = {};
      for (int j = lane; j < n; j += kWarp) {
        const T a = graphs.template edge_of<T>(weights[static_cast<int64_t>(i) * n + j]);
        finite = finite && is_finite(a);
#pragma unroll
        for (int p = 0; p < kProbes; ++p) image[p] += a * images[p * n + j];
      }
      const unsigned bits = probes(i);
#pragma unroll
      for (int p = 0; p < kProbes; ++p) {
        const T own = images[p * n + i], left = own - warp_sum(image[p]) - (bits >> p & 1 ? T(1) : T(-1));
        numbers = numbers && is_finite(left);
        if (lane == 0) residuals[p * n + i] = left;
        residual = residual < magnitude(left) ? magnitude(left) : residual;
        largest = largest < magnitude(own) ? magnitude(own) : largest;
      }
    }
    finite = __syncthreads_and(finite);
    for (int i = warp; i < n; i += warps) {
      T image[kProbes] = {};
      for (int j = lane; j < n; j += kWarp) {
        const T element = walks[static_cast<int64_t>(i) * n + j];
#pragma unroll
        for (int p = 0; p < kProbes; ++p) image[p] += element * residuals[p * n + j];
      }
#pragma unroll
      for (int p = 0; p < kProbes; ++p) {
        const T left = magnitude(warp_sum(image[p]));
        numbers = numbers && is_finite(left);
        error = error < left ? left : error;
      }
    }
    numbers = __syncthreads_and(numbers);
    residual = block_max(residual, pieces);
    largest = block_max(largest, pieces);
    error = block_max(error, pieces);
    const bool stable = residual <= 16 * Powers<T>::kRounding * sqrt(static_cast<T>(n)) * largest;
    return numbers && stable && error <= T(kProbeTolerance) * largest;
  };
  pass();
  const bool good = mended || is_good(), proved = state != kOpen && finite;
  const double sum = block_sum(total, sums);
  if (threadIdx.x == 0) {
    value[graph] = good && proved ? static_cast<T>(sum) : not_a_number<T>();
    converges[graph] = !finite ? kProved : good ? state : kOpen;
    if (proved && !good) states[graph] = kInaccurate;
  }
  if (!proved) {
    for (int64_t e = threadIdx.x; e < size; e += blockDim.x) walks[e] = not_a_number<T>();
  } else if (good) {
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) walks[i * n + i] = returns(i, 0, 1);
  }
}

// grad_walks = alpha grad_value times the derivative of the penalty.
template <typename T>
__global__ void walk_gradient(AllPairs<T> graphs, const T* grad_value, const T* walks, T* grad_walks) {
  const int64_t size = static_cast<int64_t>(graphs.n) * graphs.n, count = graphs.count * size;
  for (int64_t e = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; e < count;
       e += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    const T scale = static_cast<T>(graphs.alpha) * grad_value[e / size];
    const T weight = graphs.pair_weights ? scale * graphs.pair_weights[graphs.own_pair_weights ? e : e % size] : scale;
    grad_walks[e] = weight * walk_size_derivative(walks[e], graphs.norm);
  }
}

// Blocks of 256 threads for work element by element.
dim3 element_blocks(int64_t elements) {
  return dim3(static_cast<unsigned>(std::clamp<int64_t>((elements + 1023) / 1024, 1, 4096)));
}

// The scratch of the forward: proofs, that in float64 in the place of the other one, beside the inverse; and then what
// mends inverses, in the place of all of them.
template <typename T>
struct ForwardScratch {
  int* states;  // of the graphs: what is known of each
  Squaring<T> proof;
  Squaring<double> settling;
  T *edges, *halves, *images;
  Newton<T> mending;
  int64_t bytes;

  ForwardScratch(const AllPairs<T>& graphs, T* walks, void* memory) {
    const int64_t count = graphs.count, n = graphs.n;
    SharedPieces pieces(static_cast<unsigned char*>(memory));
    states = pieces.take<int>(count);
    SharedPieces proofs = pieces, proofs_in_float64 = pieces, last = pieces;
    proof = squaring<T>(graphs, false, states, proofs);
    settling = squaring<double>(graphs, true, states, proofs_in_float64);
    pieces.take<unsigned char>(std::max(proofs.bytes(), proofs_in_float64.bytes()) - pieces.bytes());
    edges = pieces.take<T>(count * n * n);
    halves = pieces.take<T>(halves_scratch(count, n));
    images = pieces.take<T>(count * 2 * kProbes * n);
    mending = newton<T>(graphs, states, walks, last);
    bytes = std::max(pieces.bytes(), last.bytes());
  }
};

}  // namespace

template <typename T>
int64_t all_pairs_scratch(const AllPairs<T>& graphs) {
  return ForwardScratch<T>(graphs, nullptr, nullptr).bytes;
}

template <typename T>
void all_pairs_forward(const AllPairs<T>& graphs, T* value, T* walks, T* converges, void* scratch,
                       cudaStream_t stream) {
  const ForwardScratch<T> memory(graphs, walks, scratch);
  Fork inverse(stream);  // few graphs do not fill a device with either
  launch_squaring(memory.proof, stream);
  if constexpr (!Powers<T>::kDecides) launch_squaring(memory.settling, stream);
  launch(copy_edges<T>, {element_blocks(graphs.count * graphs.n * graphs.n), 256}, inverse.stream(), graphs,
         memory.edges);
  invert_by_halves<T>(graphs.count, dense(memory.edges, graphs.n, graphs.n), dense(walks, graphs.n, graphs.n), graphs.n,
                      memory.halves, inverse.stream());
  inverse.join();

  SharedPieces shared(nullptr);
  shared.take<T>(kFinishThreads / kWarp);
  shared.take<double>(kFinishThreads / kWarp);
  const auto launch_finish = [&](bool mended) {
    launch(finish<T>, {dim3(static_cast<unsigned>(graphs.count)), kFinishThreads, static_cast<size_t>(shared.bytes())},
           stream, graphs, memory.states, mended, value, walks, converges, memory.images);
  };
  launch_finish(false);
  launch_newton(memory.mending, stream);
  launch_finish(true);
}

template <typename T>
int64_t all_pairs_backward_scratch(const AllPairs<T>& graphs) {
  return graphs.count * graphs.n * graphs.n * static_cast<int64_t>(sizeof(T));
}

// G, then H = G + walks' G, then grad = H + H walks'.
template <typename T>
void all_pairs_backward(const AllPairs<T>& graphs, const T* grad_value, const T* walks, T* grad_hh, void* scratch,
                        cudaStream_t stream) {
  const int n = graphs.n;
  const Matrix<T> grad = dense(grad_hh, n, n), half = dense(static_cast<T*>(scratch), n, n);
  const Matrix<const T> back = dense(walks, n, n).transposed(), none{};
  launch(walk_gradient<T>, {element_blocks(graphs.count * n * n), 256}, stream, graphs, grad_value, walks, grad_hh);
  launch_multiply<T>(graphs.count, back, grad, {grad, half, n, none}, n, n, stream);
  launch_multiply<T>(graphs.count, half, back, {half, grad, n, graphs.rectify ? dense(graphs.weight_hh, n, n) : none},
                     n, n, stream);
}

#define RRNN_INSTANTIATE(T)                                                             \
  template int64_t all_pairs_scratch(const AllPairs<T>&);                               \
  template void all_pairs_forward(const AllPairs<T>&, T*, T*, T*, void*, cudaStream_t); \
  template int64_t all_pairs_backward_scratch(const AllPairs<T>&);                      \
  template void all_pairs_backward(const AllPairs<T>&, const T*, const T*, T*, void*, cudaStream_t);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn::cuda
