// All pairs of graphs of up to 128 units, a block each, everything on chip: proof of convergence, inverse and penalty
// in one launch (in float32, and in float64 in a second one where float32 leaves it open), the gradient in another.
//
// Per graph, for n units, s squarings (5 for spectral radius 0.9 and n = 64) and elements of e bytes:
//   forward   2 n^3 (1 + s) flops, 2 n^2 e bytes;   gradient  4 n^3 flops, 3 n^2 e bytes.
// Floor times on an H100 (60 Tflop/s in float32, 3 TB/s) at s = 5, forward + gradient: 4096 of 32^2 36 + 28 us,
// 1024 of 64^2 72 + 28 us.
#include <algorithm>
#include <type_traits>

#include "common/edge.h"
#include "cuda/algorithms/all_pairs.h"
#include "cuda/device/launch.h"
#include "cuda/device/numbers.h"
#include "cuda/kernels/gauss_jordan.h"
#include "cuda/kernels/powers.h"

namespace rrnn::cuda {
namespace {

// to = A, (n, n) with zeros around it, or its transpose, for a(i, j) read along the rows.
template <typename T, int N, bool TRANSPOSED, typename F>
__device__ __forceinline__ void fill(T* to, int n, const F& a) {
  for (int e = threadIdx.x; e < N * N; e += blockDim.x) {
    const int i = e / N, j = e % N;
    to[TRANSPOSED ? j * TileShape<T, N>::kPitch + i : i * TileShape<T, N>::kPitch + j] =
        i < n && j < n ? a(i, j) : T(0);
  }
}

// The smaller one of the norms ||A||_1 and ||A||_inf of a in shared memory, for all threads.
template <typename T, int N>
__device__ T smaller_norm(const T* a, int n, T* sums) {
  constexpr int kPitch = TileShape<T, N>::kPitch;
  for (int line = threadIdx.x; line < 2 * N; line += blockDim.x) {
    T sum = 0;
    for (int k = 0; k < N; ++k) {
      const int skewed = (line + k) % N;  // rows that start in different banks
      sum += magnitude(line < N ? a[k * kPitch + line] : a[(line - N) * kPitch + skewed]);
    }
    sums[line] = sum;
  }
  __syncthreads();
  T columns = 0, rows = 0;
  for (int line = 0; line < n; ++line) {
    columns = columns < sums[line] ? sums[line] : columns;
    rows = rows < sums[N + line] ? sums[N + line] : rows;
  }
  __syncthreads();
  return columns < rows ? columns : rows;
}

// Whether the powers of a, in shared memory, are seen to shrink. Overwrites a, which all threads see.
template <typename T, int N>
__device__ bool powers_shrink(T* a, int n, double* pieces) {
  using Shape = TileShape<T, N>;
  Tile<T, N> power;
#pragma unroll
  for (int r = 0; r < Shape::kRows; ++r)
#pragma unroll
    for (int c = 0; c < Shape::kColumns; ++c) power.at[r][c] = a[power.row(r) * Shape::kPitch + power.column(c)];
  const int depth = (n + Shape::kVector - 1) / Shape::kVector * Shape::kVector;
  for (int squarings = 0;; ++squarings) {
    const double square = block_sum(static_cast<double>(power.sum_of_squares()), pieces);
    if (Powers<T>::shrinks(square)) return true;
    if (squarings == Powers<T>::kSquarings || Powers<T>::leaves(square)) return false;
    power.store_shared(a, Shape::kPitch);
    __syncthreads();
    power.clear();
    power.add_product(a, Shape::kPitch, a, Shape::kPitch, depth);
  }
}

// Whether X, the inverse of I - A in shared memory, is seen to be within kTolerance: of z it makes w' = z' X, from
// which w' (I - A) leaves the residual r', and so the error is about r' X. (From the left: then neighbours read
// neighbours.) `a(i, j)` is A; both vectors are room for 2 N numbers. The same for all threads.
template <typename T, int N, typename F>
__device__ bool is_accurate(const T* inverse, int n, const F& a, T* vector, T* image) {
  constexpr int kProbes = 2, kPitch = TileShape<T, N>::kPitch;
  constexpr T kAllowed = T(kProbeTolerance);
  const int j = threadIdx.x;
  T sums[kProbes];
  const auto times = [&](const T* from, const auto& element) {
    for (T& sum : sums) sum = 0;
    for (int i = 0; j < n && i < n; ++i) {
      const T e = element(i);
#pragma unroll
      for (int p = 0; p < kProbes; ++p) sums[p] += from[p * N + i] * e;
    }
  };
  const auto of_inverse = [&](int i) { return inverse[i * kPitch + j]; };
  for (int at = threadIdx.x; at < kProbes * N; at += blockDim.x) vector[at] = probe<T>(at);
  __syncthreads();
  times(vector, of_inverse);
  for (int p = 0; j < N && p < kProbes; ++p) image[p * N + j] = sums[p];
  __syncthreads();
  times(image, [&](int i) { return a(i, j); });
  for (int p = 0; j < N && p < kProbes; ++p) vector[p * N + j] += sums[p] - image[p * N + j];
  __syncthreads();
  times(vector, of_inverse);
  bool accurate = true;
  for (int p = 0; j < n && p < kProbes; ++p) {
    T largest = 0;
    for (int i = 0; i < n; ++i) largest = max(largest, magnitude(image[p * N + i]));
    accurate = accurate && magnitude(sums[p]) <= kAllowed * largest;
  }
  return __syncthreads_and(accurate);
}

template <typename T>
__device__ void fill_with_nan(T* to, int count) {
  for (int e = threadIdx.x; e < count; e += blockDim.x) to[e] = not_a_number<T>();
}

template <typename T, int N>
struct ForwardMemory {
  T* matrix;
  Elimination<T, N> elimination;
  double* pieces;

  __host__ __device__ explicit ForwardMemory(SharedPieces& shared)
      : matrix(shared.take<T>(N * TileShape<T, N>::kPitch)),
        elimination(shared),
        pieces(shared.take<double>(TileShape<T, N>::kThreads / kWarp)) {}
};

// Blocks of a multiprocessor: graphs of one warp each need all of its slots to hide their waits. Only the devices of
// data centres have 32.
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ == 800 || (__CUDA_ARCH__ >= 900 && __CUDA_ARCH__ < 1100)
constexpr int kSlots = 32;
#else
constexpr int kSlots = 16;
#endif
template <int N>
constexpr int kResident = N == 32 ? kSlots : 1;

// The vector of A at (i, j), with zeros outside (n, n).
template <typename T, typename Given>
__device__ __forceinline__ Vector<T> load_edges(const AllPairs<Given>& graphs, const Given* weights, int i, int j,
                                                bool aligned) {
  const int n = graphs.n, left = i < n ? n - j : 0;
  Vector<T> piece;
  if constexpr (std::is_same_v<T, Given>) {
    piece = load_piece(weights + i * n + j, left, aligned);
#pragma unroll
    for (T& weight : piece.at) weight = graphs.template edge_of<T>(weight);
  } else {
#pragma unroll
    for (int v = 0; v < Vector<T>::kSize; ++v)
      piece.at[v] = v < left ? graphs.template edge_of<T>(weights[i * n + j + v]) : T(0);
  }
  return piece;
}

// In T. Where that is more than the precision of what is given, it does what was left open alone: that is rare.
template <typename T, int N, typename Given>
__global__ void __launch_bounds__(TileShape<T, N>::kThreads, kResident<N>)
    forward(AllPairs<Given> graphs, Given* value, Given* walks, Given* converges) {
  using Shape = TileShape<T, N>;
  SharedPieces shared(shared_memory());
  const ForwardMemory<T, N> memory(shared);
  const int n = graphs.n;
  const int64_t graph = blockIdx.x, size = static_cast<int64_t>(n) * n;
  if constexpr (!std::is_same_v<T, Given>)
    if (converges[graph] != kOpen) return;
  const Given* weights = graphs.weight_hh + graph * size;
  walks += graph * size;

  const auto a = [&](int i, int j) { return graphs.template edge_of<T>(weights[i * n + j]); };
  bool finite = true;
  fill<T, N, false>(memory.matrix, n, [&](int i, int j) {
    const T element = a(i, j);
    finite = finite && is_finite(element);
    return element;
  });
  finite = __syncthreads_and(finite);
  const T norm = smaller_norm<T, N>(memory.matrix, n, memory.elimination.column);
  const bool dominant = norm < 1 - n * Powers<T>::kRounding;
  const auto end_without_a_number = [&](int knowledge) {
    fill_with_nan(walks, n * n);
    if (threadIdx.x > 0) return;
    value[graph] = not_a_number<Given>();
    converges[graph] = knowledge;
  };
  if (!finite) return end_without_a_number(kProved);
  if (!dominant && !powers_shrink<T, N>(memory.matrix, n, memory.pieces)) return end_without_a_number(kOpen);

  Tile<T, N> inverse;
  const bool aligned = whole_vectors<Given>(n, weights);
  load_identity_minus(inverse, [&](int i, int j) { return load_edges<T>(graphs, weights, i, j, aligned); });
  gauss_jordan(inverse, n, !dominant, memory.elimination);
  __syncthreads();
  inverse.each_vector([&](int i, int j, const Vector<T>& piece) {
    if (i >= n) return;
    T* row = memory.matrix + memory.elimination.place[i] * Shape::kPitch;
#pragma unroll
    for (int v = 0; v < Shape::kVector; ++v)
      if (j + v < n) row[memory.elimination.order[j + v]] = piece.at[v];
  });
  __syncthreads();
  if (!is_accurate<T, N>(memory.matrix, n, a, memory.elimination.column, memory.elimination.row))
    return end_without_a_number(kOpen);
  const Given* pairs = graphs.pair_weights;
  if (pairs && graphs.own_pair_weights) pairs += graph * size;
  T total = 0;
  for (int e = threadIdx.x; e < n * N; e += blockDim.x) {
    const int i = e / N, j = e % N;
    if (j >= n) continue;
    T walk = memory.matrix[i * Shape::kPitch + j];
    if (i == j) {  // what returns to a unit is not X - 1, where a small walk would drown in the 1
      walk = 0;
      for (int m = 0; m < n; ++m) walk += a(i, m) * memory.matrix[m * Shape::kPitch + i];
    }
    walks[i * n + j] = static_cast<Given>(walk);
    const T size_of_walk = walk_size(walk, graphs.norm);
    total += pairs ? weighed(pairs[i * n + j], size_of_walk) : size_of_walk;
  }
  const double sum = block_sum(static_cast<double>(total), memory.pieces);
  if (threadIdx.x > 0) return;
  value[graph] = static_cast<Given>(sum);
  converges[graph] = kProved;
}

// The tile of float64 for what float32 leaves open, which needs fewer sizes.
constexpr int settling_tile(int tile) { return tile < 64 ? 64 : tile; }

template <typename T, int N>
struct BackwardMemory {
  T *transposed, *grad;

  __host__ __device__ explicit BackwardMemory(SharedPieces& shared)
      : transposed(shared.take<T>(N * TileShape<T, N>::kPitch)), grad(shared.take<T>(N * TileShape<T, N>::kPitch)) {}
};

// (Q' G) Q' with Q' and G in shared memory; Q' G takes the place of G.
template <typename T, int N>
__global__ void __launch_bounds__(TileShape<T, N>::kThreads, kResident<N>)
    backward(AllPairs<T> graphs, const T* grad_value, const T* walks, T* grad_hh) {
  using Shape = TileShape<T, N>;
  SharedPieces shared(shared_memory());
  const BackwardMemory<T, N> memory(shared);
  const int n = graphs.n;
  const int64_t graph = blockIdx.x, size = static_cast<int64_t>(n) * n;
  const T* weights = graphs.weight_hh + graph * size;
  walks += graph * size;
  grad_hh += graph * size;
  const T* pairs = graphs.pair_weights;
  if (pairs && graphs.own_pair_weights) pairs += graph * size;
  const T scale = static_cast<T>(graphs.alpha) * grad_value[graph];

  for (int e = threadIdx.x; e < N * N; e += blockDim.x) {
    const int i = e / N, j = e % N;
    T walk = 0, grad = 0;
    if (i < n && j < n) {
      walk = walks[i * n + j];
      grad = (pairs ? scale * pairs[i * n + j] : scale) * walk_size_derivative(walk, graphs.norm);
      if (i == j) walk += 1;
    }
    memory.transposed[j * Shape::kPitch + i] = walk;
    memory.grad[i * Shape::kPitch + j] = grad;
  }
  __syncthreads();
  const int depth = (n + Shape::kVector - 1) / Shape::kVector * Shape::kVector;
  Tile<T, N> product;
  product.clear();
  product.add_product(memory.transposed, Shape::kPitch, memory.grad, Shape::kPitch, depth);
  __syncthreads();
  product.store_shared(memory.grad, Shape::kPitch);
  __syncthreads();
  product.clear();
  product.add_product(memory.grad, Shape::kPitch, memory.transposed, Shape::kPitch, depth);
  const bool aligned = whole_vectors<T>(n, weights, grad_hh);
  product.each_vector([&](int i, int j, Vector<T> piece) {
    if (i >= n || j >= n) return;
    if (graphs.rectify) {
      const Vector<T> weight = load_piece(weights + i * n + j, n - j, aligned);
#pragma unroll
      for (int v = 0; v < Shape::kVector; ++v)
        piece.at[v] = times_phi_derivative(piece.at[v], weight.at[v], graphs.rectify);
    }
    store_piece(grad_hh + i * n + j, piece, n - j, aligned);
  });
}

template <typename Memory>
int64_t shared_bytes() {
  SharedPieces count(nullptr);
  Memory memory(count);
  return count.bytes();
}

template <typename T, int N>
bool fits() {
  const int64_t settle_bytes = sizeof(T) == sizeof(float) ? shared_bytes<ForwardMemory<double, settling_tile(N)>>() : 0;
  return std::max({shared_bytes<ForwardMemory<T, N>>(), shared_bytes<BackwardMemory<T, N>>(), settle_bytes}) <=
         device_properties().shared_per_block;
}

// In float64, two matrices of 128^2 are more than any chip's shared memory, and one size of tile will do.
template <typename T>
constexpr int kSmallest = sizeof(T) == sizeof(float) ? 32 : 64;
template <typename T>
constexpr int kLargest = sizeof(T) == sizeof(float) ? 128 : 64;

// body(N as a constant) for the smallest tile that holds n units.
template <typename T, typename F>
void with_tile(int n, const F& body) {
  if (n <= kSmallest<T>)
    body(std::integral_constant<int, kSmallest<T>>());
  else if (n <= 64)
    body(std::integral_constant<int, 64>());
  else
    body(std::integral_constant<int, kLargest<T>>());
}

}  // namespace

template <typename T>
int small_all_pairs_limit() {
  return fits<T, kLargest<T>>() ? kLargest<T> : fits<T, 64>() ? 64 : fits<T, kSmallest<T>>() ? kSmallest<T> : 0;
}

template <typename T>
void small_all_pairs_forward(const AllPairs<T>& graphs, T* value, T* walks, T* converges, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(graphs.count));
  with_tile<T>(graphs.n, [&](auto size) {
    constexpr int N = size;
    const size_t bytes = shared_bytes<ForwardMemory<T, N>>();
    launch(forward<T, N, T>, {grid, TileShape<T, N>::kThreads, bytes}, stream, graphs, value, walks, converges);
    if constexpr (sizeof(T) == sizeof(float)) {
      constexpr int kSettling = settling_tile(N);
      const size_t settle_bytes = shared_bytes<ForwardMemory<double, kSettling>>();
      launch(forward<double, kSettling, T>, {grid, TileShape<double, kSettling>::kThreads, settle_bytes}, stream,
             graphs, value, walks, converges);
    }
  });
}

template <typename T>
void small_all_pairs_backward(const AllPairs<T>& graphs, const T* grad_value, const T* walks, T* grad_hh,
                              cudaStream_t stream) {
  with_tile<T>(graphs.n, [&](auto size) {
    constexpr int N = size;
    const size_t bytes = shared_bytes<BackwardMemory<T, N>>();
    launch(backward<T, N>, {dim3(static_cast<unsigned>(graphs.count)), TileShape<T, N>::kThreads, bytes}, stream,
           graphs, grad_value, walks, grad_hh);
  });
}

#define RRNN_INSTANTIATE(T)                                                            \
  template int small_all_pairs_limit<T>();                                             \
  template void small_all_pairs_forward(const AllPairs<T>&, T*, T*, T*, cudaStream_t); \
  template void small_all_pairs_backward(const AllPairs<T>&, const T*, const T*, T*, cudaStream_t);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn::cuda
