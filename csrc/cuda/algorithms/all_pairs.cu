// All pairs of graphs of any size, meant for some hundred units: proof of convergence by squarings in one launch (two
// in float32), the inverse by halves, check and penalty in one launch, the gradient in two products.
//
// Per graph, for n units, s squarings (5 for spectral radius 0.9 and n = 256) and elements of e bytes:
//   forward   2 n^3 (1 + s) flops, about n^2 (3 s + 12) e bytes, which mostly stay in the L2 cache;
//   gradient  4 n^3 flops, 9 n^2 e bytes.
// Floor time on an H100 (60 Tflop/s in float32) for 64 of 256^2 at s = 5: 215 us + 72 us.
#include <algorithm>
#include <type_traits>

#include "common/edge.h"
#include "cuda/algorithms/all_pairs.h"
#include "cuda/device/barriers.h"
#include "cuda/device/launch.h"
#include "cuda/device/numbers.h"
#include "cuda/kernels/gauss_jordan.h"
#include "cuda/kernels/powers.h"
#include "cuda/kernels/product.h"

namespace rrnn::cuda {
namespace {

int64_t tiles_across(int64_t n) { return (n + kTile - 1) / kTile; }

template <typename T>
Matrix<T> dense(T* data, int64_t rows, int64_t columns) {
  return {data, rows * columns, columns, 1};
}

// ------------------------------------------------------------------------------------------------ proof of convergence

// The powers of `group` graphs at a time, computed in T.
template <typename T>
struct Squaring {
  int64_t count;
  int n;
  const float* singles;   // weight_hh in float32,
  const double* doubles;  // or in float64; the other one is null
  T alpha;
  bool rectify;
  bool only_open;  // the graphs that `proofs` calls so
  int* proofs;     // (count)
  int group;
  // A power and the next one take turns.
  T* powers;        // (2, group, n, n)
  double* squares;  // (2, group, tiles): the sum of squares of each tile

  __device__ T edge_at(int64_t e) const {
    return edge(singles ? static_cast<T>(singles[e]) : static_cast<T>(doubles[e]), alpha, rectify);
  }
};

template <typename T>
__global__ void __launch_bounds__(TileShape<T, kTile>::kThreads, kProductBlocks<T>) square_repeatedly(Squaring<T> run) {
  SharedPieces shared(shared_memory());
  const ProductMemory<T> memory(shared);
  double* pieces = shared.take<double>(TileShape<T, kTile>::kThreads / kWarp);
  const int n = run.n, across = (n + kTile - 1) / kTile, tiles = across * across;
  const int64_t size = static_cast<int64_t>(n) * n;

  for (int64_t first = 0; first < run.count; first += run.group) {
    const int here = static_cast<int>(run.group < run.count - first ? run.group : run.count - first);
    if (run.only_open) {
      bool open = false;
      for (int graph = threadIdx.x; graph < here; graph += blockDim.x)
        open = open || run.proofs[first + graph] == kOpen;
      if (!__syncthreads_or(open)) continue;
    }
    // A is the first power. What is not open counts as a power that has shrunk.
    for (int t = blockIdx.x; t < here * tiles; t += gridDim.x) {
      const int graph = t / tiles, i0 = t % tiles / across * kTile, j0 = t % tiles % across * kTile;
      const bool open = !run.only_open || run.proofs[first + graph] == kOpen;
      double square = 0;
      for (int e = threadIdx.x; open && e < kTile * kTile; e += blockDim.x) {
        const int i = i0 + e / kTile, j = j0 + e % kTile;
        if (i >= n || j >= n) continue;
        const T a = run.edge_at((first + graph) * size + i * n + j);
        run.powers[graph * size + i * n + j] = a;
        square += static_cast<double>(a) * a;
      }
      square = block_sum(square, pieces);
      if (threadIdx.x == 0) run.squares[t] = square;
    }
    grid_barrier();
    const auto square_of = [&](int graph, int half) {
      double square = 0;
      for (int t = threadIdx.x; t < tiles; t += blockDim.x)
        square += run.squares[(half * run.group + graph) * tiles + t];
      return block_sum(square, pieces);
    };
    for (int squarings = 0; squarings < Powers<T>::kSquarings; ++squarings) {
      const int half = squarings % 2;
      for (int t = blockIdx.x; t < here * tiles; t += gridDim.x) {
        const int graph = t / tiles, i0 = t % tiles / across * kTile, j0 = t % tiles % across * kTile;
        double square = square_of(graph, half);
        if (Powers<T>::shrinks(square) || Powers<T>::leaves(square)) {
          if (threadIdx.x == 0)
            run.squares[(half ^ 1) * run.group * tiles + t] = run.squares[half * run.group * tiles + t];
          continue;
        }
        const Matrix<const T> power{run.powers + half * run.group * size, size, n, 1};
        Tile<T, kTile> next;
        multiply_tile(next, power, power, graph, n, n, n, i0, j0, memory);
        const Matrix<T> to{run.powers + (half ^ 1) * run.group * size, size, n, 1};
        const bool aligned = to.has_vectors();
        next.each_vector([&](int i, int j, const Vector<T>& piece) {
          if (i0 + i < n && j0 + j < n) store_piece(to.at(graph, i0 + i, j0 + j), piece, n - j0 - j, aligned);
        });
        square = block_sum(static_cast<double>(next.sum_of_squares()), pieces);
        if (threadIdx.x == 0) run.squares[(half ^ 1) * run.group * tiles + t] = square;
      }
      grid_barrier();
    }
    for (int graph = blockIdx.x; graph < here; graph += gridDim.x) {
      const bool proved = Powers<T>::shrinks(square_of(graph, Powers<T>::kSquarings % 2));
      if (threadIdx.x == 0) run.proofs[first + graph] = proved ? kProved : kOpen;
    }
    grid_barrier();
  }
}

// How many graphs' powers are computed at once: enough to fill the device, few enough to stay in the L2 cache.
template <typename T>
int squaring_group(int64_t count, int n) {
  const int64_t tiles_at_once = sizeof(T) == sizeof(float) ? 1024 : 512;
  const int64_t group = tiles_at_once / std::max<int64_t>(1, tiles_across(n) * tiles_across(n));
  return static_cast<int>(std::min(count, std::max<int64_t>(1, group)));
}

template <typename T, typename Weight>
Squaring<T> squaring(const AllPairs<Weight>& graphs, bool only_open, int* proofs, SharedPieces& scratch) {
  const int group = squaring_group<T>(graphs.count, graphs.n);
  Squaring<T> run{graphs.count, graphs.n, nullptr, nullptr, graphs.alpha, graphs.rectify,
                  only_open,    proofs,   group,   nullptr, nullptr};
  if constexpr (std::is_same_v<Weight, float>)
    run.singles = graphs.weight_hh;
  else
    run.doubles = graphs.weight_hh;
  run.powers = scratch.take<T>(2 * static_cast<int64_t>(group) * graphs.n * graphs.n);
  run.squares = scratch.take<double>(2 * group * tiles_across(graphs.n) * tiles_across(graphs.n));
  return run;
}

template <typename T>
void launch_squaring(const Squaring<T>& run, cudaStream_t stream) {
  SharedPieces shared(nullptr);
  const ProductMemory<T> memory(shared);
  constexpr int kThreads = TileShape<T, kTile>::kThreads;
  shared.take<double>(kThreads / kWarp);
  const int64_t tiles = std::max<int64_t>(1, run.group * tiles_across(run.n) * tiles_across(run.n));
  const int64_t resident = resident_blocks(square_repeatedly<T>, kThreads, shared.bytes());
  const int64_t blocks = std::min(tiles, resident * device_properties().multiprocessors);
  launch(square_repeatedly<T>,
         {dim3(static_cast<unsigned>(blocks)), kThreads, static_cast<size_t>(shared.bytes()), true}, stream, run);
}

// ------------------------------------------------------------------------------------------------------------- inverse

constexpr int kLeaf = 128;

template <typename T>
__global__ void copy_edges(AllPairs<T> graphs, T* a) {
  const int64_t count = graphs.count * graphs.n * graphs.n, stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t e = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; e < count; e += stride)
    a[e] = edge(graphs.weight_hh[e], graphs.alpha, graphs.rectify);
}

// to = (I - a)^{-1} for (n, n) of each graph, n <= kLeaf, a block each.
template <typename T>
__global__ void __launch_bounds__(TileShape<T, kLeaf>::kThreads) invert_leaf(Matrix<const T> a, Matrix<T> to, int n) {
  SharedPieces shared(shared_memory());
  const Elimination<T, kLeaf> memory(shared);
  const int64_t graph = blockIdx.x;
  Tile<T, kLeaf> inverse;
  const bool aligned = a.has_vectors();
  load_identity_minus(inverse, [&](int i, int j) { return load_piece(a.at(graph, i, j), i < n ? n - j : 0, aligned); });
  gauss_jordan(inverse, n, true, memory);
  __syncthreads();
  inverse.each_vector([&](int i, int j, const Vector<T>& piece) {
    if (i >= n) return;
#pragma unroll
    for (int v = 0; v < Vector<T>::kSize; ++v)
      if (j + v < n) *to.at(graph, memory.place[i], memory.order[j + v]) = piece.at[v];
  });
}

// to = phi'(W) (base + the product).
template <typename T>
struct AddTo {
  Matrix<const T> base;  // or null
  Matrix<T> to;
  int columns;
  Matrix<const T> weight_hh;  // or null: without phi'

  __device__ void operator()(int64_t graph, int i, int j, Vector<T> piece) const {
    if (base.data) {
      const Vector<T> old = load_piece(base.at(graph, i, j), columns - j, base.has_vectors());
#pragma unroll
      for (int v = 0; v < Vector<T>::kSize; ++v) piece.at[v] += old.at[v];
    }
    if (weight_hh.data) {
      const Vector<T> weight = load_piece(weight_hh.at(graph, i, j), columns - j, weight_hh.has_vectors());
#pragma unroll
      for (int v = 0; v < Vector<T>::kSize; ++v) piece.at[v] = times_phi_derivative(piece.at[v], weight.at[v], true);
    }
    store_piece(to.at(graph, i, j), piece, columns - j, to.has_vectors());
  }
};

template <typename T>
void launch_multiply(int64_t count, const Matrix<const T>& left, const Matrix<const T>& right, const AddTo<T>& finish,
                     int rows, int depth, cudaStream_t stream) {
  SharedPieces shared(nullptr);
  const ProductMemory<T> memory(shared);
  const int64_t blocks = count * tiles_across(rows) * tiles_across(finish.columns);
  if (blocks == 0) return;
  launch(multiply<T, AddTo<T>>,
         {dim3(static_cast<unsigned>(blocks)), TileShape<T, kTile>::kThreads, static_cast<size_t>(shared.bytes())},
         stream, left, right, finish, rows, finish.columns, depth);
}

// The units of the first half: a multiple of the vectors.
int first_half(int n) { return (n / 2 + 3) / 4 * 4; }

int64_t halves_scratch(int64_t count, int64_t n) {
  if (n <= kLeaf) return 0;
  const int64_t half = first_half(static_cast<int>(n)), rest = n - half;
  return count * rest * (2 * half + rest) + halves_scratch(count, std::max(half, rest));
}

// to = (I - a)^{-1}: walks within the first half of the units, and those of the second half by way of the first.
// Without pivoting between the halves, so look at the result.
template <typename T>
void invert_by_halves(int64_t count, Matrix<const T> a, Matrix<T> to, int n, T* scratch, cudaStream_t stream) {
  if (n <= kLeaf) {
    SharedPieces shared(nullptr);
    const Elimination<T, kLeaf> memory(shared);
    launch(invert_leaf<T>,
           {dim3(static_cast<unsigned>(count)), TileShape<T, kLeaf>::kThreads, static_cast<size_t>(shared.bytes())},
           stream, a, to, n);
    return;
  }
  const int half = first_half(n), rest = n - half;
  const Matrix<T> through = dense(scratch, half, rest), back = dense(scratch += count * half * rest, rest, half),
                  second = dense(scratch += count * half * rest, rest, rest);
  scratch += count * rest * rest;
  const Matrix<const T> into = a.block(0, half), out = a.block(half, 0), none{};
  const Matrix<T> first = to.block(0, 0), last = to.block(half, half);
  const auto product = [&](const Matrix<const T>& left, const Matrix<const T>& right, const Matrix<const T>& base,
                           const Matrix<T>& result, int rows, int columns, int depth) {
    launch_multiply<T>(count, left, right, {base, result, columns, none}, rows, depth, stream);
  };
  invert_by_halves(count, a, first, half, scratch, stream);
  product(first, into, none, through, half, rest, half);
  product(out, through, a.block(half, half), second, rest, rest, half);
  product(out, first, none, back, rest, half, half);
  invert_by_halves<T>(count, second, last, rest, scratch, stream);
  product(through, last, none, to.block(0, half), half, rest, rest);
  product(last, back, none, to.block(half, 0), rest, half, rest);
  product(through, to.block(half, 0), first, first, half, half, rest);
}

// ---------------------------------------------------------------------------------------------------- check and
// penalty

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

// m (n, n) becomes its inverse, with row pivoting, by one block: slow, and for graphs that halves do badly.
template <typename T>
__device__ void invert_with_pivots(T* m, int64_t n, T* row, T* column, int* pivots, T* pieces) {
  for (int64_t k = 0; k < n; ++k) {
    T largest = 0;
    for (int64_t i = k + threadIdx.x; i < n; i += blockDim.x) {
      const T size = magnitude(m[i * n + k]);
      largest = largest < size ? size : largest;
    }
    largest = block_max(largest, pieces);
    int64_t candidate = n;
    for (int64_t i = k + threadIdx.x; i < n && candidate == n; i += blockDim.x)
      if (magnitude(m[i * n + k]) == largest) candidate = i;
    // The first one; the maximum of what is still above it, so that NaN leaves the diagonal.
    const int64_t above = static_cast<int64_t>(block_max(static_cast<T>(n - candidate), pieces));
    const int64_t pivot = above > 0 ? n - above : k;
    const T scale = 1 / m[pivot * n + k];
    __syncthreads();
    for (int64_t j = threadIdx.x; j < n; j += blockDim.x) {
      const T chosen = j == k ? T(1) : m[pivot * n + j];
      m[pivot * n + j] = m[k * n + j];
      m[k * n + j] = row[j] = chosen * scale;
    }
    if (threadIdx.x == 0) pivots[k] = static_cast<int>(pivot);
    __syncthreads();
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
      column[i] = i == k ? T(0) : m[i * n + k];
      if (i != k) m[i * n + k] = 0;
    }
    __syncthreads();
    for (int64_t e = threadIdx.x; e < n * n; e += blockDim.x) m[e] -= column[e / n] * row[e % n];
    __syncthreads();
  }
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x)
    for (int64_t k = n; k-- > 0;) {
      const T swapped = m[i * n + k];
      m[i * n + k] = m[i * n + pivots[k]];
      m[i * n + pivots[k]] = swapped;
    }
  __syncthreads();
}

// A block for each graph: looks at the inverse in walks, makes it anew where it is not good enough, takes the identity
// off it, and adds up the penalty. images: (2 kProbes, n) of each graph; pivots: (n).
template <typename T>
__global__ void __launch_bounds__(kFinishThreads, 1)
    finish(AllPairs<T> graphs, const int* proofs, T* value, T* walks, T* converges, T* images, int* pivots) {
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
  pivots += graph * n;

  bool good = proofs[graph] != kOpen, finite = true;
  double total = 0;
  // Part of what returns to unit i, (A X)_ii: X_ii - 1 would be nothing where the walks are small.
  const auto returns = [&](int64_t i, int first, int step) {
    T sum = 0;
    for (int64_t m = first; m < n; m += step)
      sum += edge(weights[i * n + m], graphs.alpha, graphs.rectify) * walks[m * n + i];
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
  bool stable = false, accurate = false;
  const auto look = [&] {
    T residual = 0, largest = 0, error = 0;
    bool numbers = true;
    for (int i = warp; i < n; i += warps) {
      T image[kProbes] = {};
      for (int j = lane; j < n; j += kWarp) {
        const T a = edge(weights[static_cast<int64_t>(i) * n + j], graphs.alpha, graphs.rectify);
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
    stable = numbers && residual <= 16 * Powers<T>::kRounding * sqrt(static_cast<T>(n)) * largest;
    accurate = numbers && error <= T(kProbeTolerance) * largest;
  };
  pass();
  look();
  if (good && finite && !stable) {
    for (int64_t e = threadIdx.x; e < size; e += blockDim.x)
      walks[e] = (e / n == e % n ? T(1) : T(0)) - edge(weights[e], graphs.alpha, graphs.rectify);
    __syncthreads();
    invert_with_pivots(walks, n, images, images + n, pivots, pieces);
    pass();
    look();
  }
  good = good && finite && accurate;
  const double sum = block_sum(total, sums);
  if (threadIdx.x == 0) {
    value[graph] = good ? static_cast<T>(sum) : not_a_number<T>();
    converges[graph] = good || !finite ? kProved : kOpen;
  }
  if (good) {
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) walks[i * n + i] = returns(i, 0, 1);
  } else {
    for (int64_t e = threadIdx.x; e < size; e += blockDim.x) walks[e] = not_a_number<T>();
  }
}

// -------------------------------------------------------------------------------------------------------------
// gradient

// grad_walks = alpha grad_value times the derivative of the penalty.
template <typename T>
__global__ void walk_gradient(AllPairs<T> graphs, const T* grad_value, const T* walks, T* grad_walks) {
  const int64_t size = static_cast<int64_t>(graphs.n) * graphs.n, count = graphs.count * size;
  for (int64_t e = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; e < count;
       e += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    const T scale = graphs.alpha * grad_value[e / size];
    const T weight = graphs.pair_weights ? scale * graphs.pair_weights[graphs.own_pair_weights ? e : e % size] : scale;
    grad_walks[e] = weight * walk_size_derivative(walks[e], graphs.norm);
  }
}

// Blocks of 256 threads for work element by element.
dim3 element_blocks(int64_t elements) {
  return dim3(static_cast<unsigned>(std::clamp<int64_t>((elements + 1023) / 1024, 1, 4096)));
}

// What the forward takes from its scratch after the proof.
template <typename T>
struct InverseScratch {
  T *edges, *halves, *images;
  int* pivots;

  InverseScratch(int64_t count, int64_t n, SharedPieces& scratch)
      : edges(scratch.take<T>(count * n * n)),
        halves(scratch.take<T>(halves_scratch(count, n))),
        images(scratch.take<T>(count * 2 * kProbes * n)),
        pivots(scratch.take<int>(count * n)) {}
};

}  // namespace

template <typename T>
int64_t all_pairs_scratch(const AllPairs<T>& graphs) {
  SharedPieces proof(nullptr), settling(nullptr), inverse(nullptr);
  for (SharedPieces* pieces : {&proof, &settling, &inverse}) pieces->take<int>(graphs.count);
  squaring<T>(graphs, false, nullptr, proof);
  squaring<double>(graphs, true, nullptr, settling);
  const InverseScratch<T> needs(graphs.count, graphs.n, inverse);
  return std::max({proof.bytes(), settling.bytes(), inverse.bytes()});
}

// Proof, proof in float64 and inverse follow one another in the same scratch, behind what the proofs have found.
template <typename T>
void all_pairs_forward(const AllPairs<T>& graphs, T* value, T* walks, T* converges, void* scratch,
                       cudaStream_t stream) {
  SharedPieces proof(static_cast<unsigned char*>(scratch));
  int* proofs = proof.take<int>(graphs.count);
  SharedPieces settling = proof, inverse = proof;
  launch_squaring(squaring<T>(graphs, false, proofs, proof), stream);
  if constexpr (!Powers<T>::kDecides) launch_squaring(squaring<double>(graphs, true, proofs, settling), stream);

  const InverseScratch<T> memory(graphs.count, graphs.n, inverse);
  launch(copy_edges<T>, {element_blocks(graphs.count * graphs.n * graphs.n), 256}, stream, graphs, memory.edges);
  invert_by_halves<T>(graphs.count, dense(memory.edges, graphs.n, graphs.n), dense(walks, graphs.n, graphs.n), graphs.n,
                      memory.halves, stream);
  SharedPieces shared(nullptr);
  shared.take<T>(kFinishThreads / kWarp);
  shared.take<double>(kFinishThreads / kWarp);
  launch(finish<T>, {dim3(static_cast<unsigned>(graphs.count)), kFinishThreads, static_cast<size_t>(shared.bytes())},
         stream, graphs, proofs, value, walks, converges, memory.images, memory.pivots);
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
