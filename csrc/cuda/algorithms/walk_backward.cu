// The reverse chain and the gradients it yields, for a chain X of the narrower side that starts from the inputs:
//   L_{hops-1} = c phi(V)' G_{hops-1},  L_m = c phi(V)' G_m + A' L_{m+1}
//   grad phi(W) = alpha [L_1 .. L_{hops-1}] [X_0 .. X_{hops-2}]'   grad phi(U) = L_0   grad phi(V) = c sum_m G_m X_m'
// or the mirror image. Where G is the same for all hops and the other side's chain Y was made too,
// L_m = c (Y_0 + .. + Y_{hops-1-m}) G, without a second pass through W.
#include <algorithm>

#include "common/edge.h"
#include "cuda/algorithms/finite_walks.h"
#include "cuda/device/device.h"
#include "cuda/device/launch.h"
#include "cuda/device/vector.h"
#include "cuda/kernels/chains.h"
#include "cuda/kernels/outer_product.h"

namespace rrnn::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;
// Blocks that a multiprocessor is to hold: for more of them the compiler would spill registers.
[[maybe_unused]] constexpr int kResident = 3;
constexpr int kUnits = kWarp;  // of a block that works unit by unit: one for each lane
constexpr int kOthersOfWarp = 8, kOthers = kWarps * kOthersOfWarp;
// Rows of kUnits units on chip.
template <typename T>
constexpr int kStaged = (32 << 10) / (kUnits * static_cast<int>(sizeof(T)));

// dR at a pair of inputs and outputs.
template <typename T>
__device__ __forceinline__ T gradient_at(const WalkGradient<T>& gradient, int64_t graph, int64_t term, int64_t pair) {
  const WalkNorm<T>& norm = gradient.norm;
  const int64_t at = (graph * norm.terms + term) * norm.pairs + pair;
  if (gradient.given) return gradient.given[at];
  T scale = gradient.grad_value ? gradient.grad_value[graph] : gradient.strength;
  if (norm.term_weights) scale *= norm.term_weights[graph * norm.term_weights_stride + term];
  if (norm.pair_weights) scale *= norm.pair_weights[graph * norm.pair_weights_stride + pair];
  return weighed(scale, walk_size_derivative(norm.walks[at], norm.norm));
}

// What the kernels here share.
template <typename T>
struct Backward {
  WalkBatch<T> problem;
  WalkGradient<T> gradient;
  const T* chain;        // of the narrower side
  const T* other_chain;  // of the other one, or null
  T* reverse;            // L, (graphs, hops, width, n)
  T* lifted;             // c phi(other)' G, (graphs, terms, width, n)
  GradientRows<T> grad_start, grad_other;
  int* depths;  // (graphs) vectors of the chain that the gradient of W takes, where weights may be zero; or null: all

  // From hop to hop, and from graph to graph.
  __host__ __device__ int64_t bundle() const { return problem.width() * problem.n; }
  __host__ __device__ int64_t reverse_stride() const { return problem.hops * bundle(); }
  __host__ __device__ int64_t chain_hop_stride() const {
    return bundle() + (other_chain ? problem.other_width() * problem.n : 0);
  }
  __host__ __device__ int64_t chain_stride() const { return problem.hops * chain_hop_stride(); }
};

// grad other = c sum over vectors (of all terms) of G z, z = X_m or the weighted sum of all X: for kUnits units from
// `first_unit` and kOthers vectors of the other side from `first_other` on. `staged` is room for kWarps * kUnits
// numbers.
template <typename T>
__device__ void other_gradient(const Backward<T>& backward, int64_t graph, int64_t first_unit, int64_t first_other,
                               T* staged) {
  const WalkBatch<T>& problem = backward.problem;
  const int64_t n = problem.n, others = problem.other_width(), hop_stride = backward.chain_hop_stride();
  const int width = static_cast<int>(problem.width());
  const int depth = !problem.per_hop ? width : backward.depths[graph] + width;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t r = first_unit + lane;
  const T* chain = backward.chain + graph * backward.chain_stride();
  T sums[kOthersOfWarp] = {};
  for (int first = 0; first < depth; first += kWarps) {
    const int own = first + warp;
    T z = 0;
    if (own < depth && r < n) {
      if (problem.per_hop) {
        z = chain[own * n + r];
      } else {
#pragma unroll 4
        for (int64_t m = 0; m < problem.hops; ++m) {
          const T x = chain[m * hop_stride + own * n + r];
          z += problem.hop_weights ? weighed(problem.hop_weights[graph * problem.hop_weights_stride + m], x) : x;
        }
      }
    }
    __syncthreads();
    staged[warp * kUnits + lane] = z;
    __syncthreads();
    for (int d = first; d < min(first + kWarps, depth); ++d) {
      const T of_unit = staged[(d - first) * kUnits + lane];
#pragma unroll
      for (int j = 0; j < kOthersOfWarp; ++j) {
        const int64_t q = first_other + warp + j * kWarps;
        if (q < others)
          sums[j] += gradient_at(backward.gradient, graph, d / width, problem.pair(d % width, q)) * of_unit;
      }
    }
  }
#pragma unroll
  for (int j = 0; j < kOthersOfWarp; ++j) {
    const int64_t q = first_other + warp + j * kWarps;
    if (q >= others || r >= n) continue;
    const int64_t row = problem.from_inputs() ? q : r, column = problem.from_inputs() ? r : q;
    const T weight = problem.other()[graph * others * n + row * (problem.from_inputs() ? n : others) + column];
    backward.grad_other.give(graph, row, column,
                             times_phi_derivative(problem.edges() * sums[j], weight, problem.rectify));
  }
}

template <typename T>
__device__ __forceinline__ void start_gradient(const Backward<T>& backward, int64_t graph, int64_t c, int64_t r,
                                               T grad) {
  if (!backward.grad_start.data) return;
  const WalkBatch<T>& problem = backward.problem;
  const int64_t n = problem.n, width = problem.width();
  const int64_t row = problem.from_inputs() ? r : c, column = problem.from_inputs() ? c : r;
  const T weight = problem.start()[graph * n * width + row * (problem.from_inputs() ? width : n) + column];
  backward.grad_start.give(graph, row, column, times_phi_derivative(grad, weight, problem.rectify));
}

// L and the gradients of both sides from the chains of both, kUnits units for a block of L and the start, and for one
// of the other side where its gradient is wanted: n / kUnits blocks are few for a device.
template <typename T>
__global__ void __launch_bounds__(kThreads, kResident)
    reverse_of_both_kernel(const __grid_constant__ Backward<T> backward) {
  const WalkBatch<T>& problem = backward.problem;
  const int width = static_cast<int>(problem.width()), others = static_cast<int>(problem.other_width());
  const int64_t n = problem.n;
  const int hops = static_cast<int>(problem.hops), tiles = (static_cast<int>(n) + kUnits - 1) / kUnits;
  const int graph = blockIdx.x / tiles, first_unit = blockIdx.x % tiles * kUnits;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  SharedPieces pieces(shared_memory());
  T* gradient = pieces.take<T>(width * others);     // c G
  T* sums = pieces.take<T>(width * kUnits);         // L_m
  T* staged = pieces.take<T>(kStaged<T> * kUnits);  // Y of some hops
  if (blockIdx.y > 0) return other_gradient(backward, graph, first_unit, 0, staged);
  for (int at = threadIdx.x; at < width * others; at += kThreads)
    gradient[at] = problem.edges() * gradient_at(backward.gradient, graph, 0, problem.pair(at / others, at % others));
  for (int at = threadIdx.x; at < width * kUnits; at += kThreads) sums[at] = 0;

  const T* other_chain = backward.other_chain + graph * backward.chain_stride();
  T* reverse = backward.reverse + graph * backward.reverse_stride();
  const int hops_at_once = kStaged<T> / others;
  for (int first = 0; first < hops; first += hops_at_once) {
    const int count = min(hops_at_once, hops - first);
    __syncthreads();
    for (int row = warp; row < count * others; row += kWarps) {
      const int64_t from = (first + row / others) * backward.chain_hop_stride() + row % others * n;
      staged[row * kUnits + lane] = first_unit + lane < n ? other_chain[from + first_unit + lane] : T(0);
    }
    __syncthreads();
    for (int c = warp; c < width; c += kWarps) {
      T sum = sums[c * kUnits + lane];
      for (int step = 0; step < count; ++step) {
        for (int q = 0; q < others; ++q) sum += gradient[c * others + q] * staged[(step * others + q) * kUnits + lane];
        const int64_t vector = static_cast<int64_t>(hops - 1 - first - step) * width + c;
        if (first_unit + lane < n) reverse[vector * n + first_unit + lane] = sum;
      }
      sums[c * kUnits + lane] = sum;
    }
  }
  for (int c = warp; c < width; c += kWarps)
    if (first_unit + lane < n) start_gradient(backward, graph, c, first_unit + lane, sums[c * kUnits + lane]);
}

// The gradients of both sides, kUnits units a block.
template <typename T>
__global__ void __launch_bounds__(kThreads, kResident)
    side_gradients_kernel(const __grid_constant__ Backward<T> backward) {
  const WalkBatch<T>& problem = backward.problem;
  const int tiles = (static_cast<int>(problem.n) + kUnits - 1) / kUnits;
  const int graph = blockIdx.x / tiles, first_unit = blockIdx.x % tiles * kUnits;
  if (backward.grad_other.data)
    for (int64_t first = static_cast<int64_t>(blockIdx.y) * kOthers; first < problem.other_width();
         first += static_cast<int64_t>(gridDim.y) * kOthers)
      other_gradient(backward, graph, first_unit, first, reinterpret_cast<T*>(shared_memory()));
  const int64_t unit = first_unit + threadIdx.x % kWarp;
  if (blockIdx.y > 0 || unit >= problem.n) return;
  const T* reverse = backward.reverse + graph * backward.reverse_stride();
  for (int64_t c = threadIdx.x / kWarp; c < problem.width(); c += kWarps)
    start_gradient(backward, graph, c, unit, reverse[c * problem.n + unit]);
}

// depths: beyond the last hop that has a weight, or whose walks have a gradient, the chain may have overflowed. A block
// for a graph.
template <typename T>
__device__ void find_depth(const Backward<T>& backward, int64_t graph) {
  const WalkBatch<T>& problem = backward.problem;
  int64_t last = problem.hops - 1;
  for (; last > 0; --last) {
    bool takes_part = problem.hop_weights && problem.hop_weights[graph * problem.hop_weights_stride + last] != 0;
    if (problem.per_hop)
      for (int64_t pair = threadIdx.x; pair < problem.pairs(); pair += kThreads)
        takes_part = takes_part || gradient_at(backward.gradient, graph, last, pair) != 0;
    if (__syncthreads_or(takes_part)) break;
  }
  if (threadIdx.x == 0) backward.depths[graph] = static_cast<int>(last * problem.width());
}

// What the reverse chain starts from; the first blocks find the depths, where they are wanted.
template <typename T>
__global__ void __launch_bounds__(kThreads) lift_kernel(const __grid_constant__ Backward<T> backward) {
  const WalkBatch<T>& problem = backward.problem;
  const int64_t n = problem.n, width = problem.width(), others = problem.other_width();
  const int64_t before = backward.depths ? problem.graphs : 0, block = blockIdx.x - before;
  if (block < 0) return find_depth(backward, blockIdx.x);
  const int64_t total = problem.graphs * problem.terms() * width * n, step = (gridDim.x - before) * kThreads;
  for (int64_t at = block * kThreads + threadIdx.x; at < total; at += step) {
    const int64_t r = at % n, c = at / n % width, term = at / n / width % problem.terms();
    const int64_t graph = at / n / width / problem.terms();
    T sum = 0;
    if (problem.other()) {
      const T* other = problem.other() + graph * others * n;
      for (int64_t q = 0; q < others; ++q)
        sum += edge(problem.from_inputs() ? other[q * n + r] : other[r * others + q], T(1), problem.rectify) *
               gradient_at(backward.gradient, graph, term, problem.pair(c, q));
    } else {
      sum = gradient_at(backward.gradient, graph, term, problem.pair(c, r));
    }
    backward.lifted[at] = problem.edges() * sum;
  }
}

unsigned blocks_for(int64_t threads) {
  constexpr int64_t kMost = 1 << 16;
  return static_cast<unsigned>(std::clamp<int64_t>((threads + kThreads - 1) / kThreads, 1, kMost));
}

// The chain that runs the other way, from the last hop to the first.
template <typename T>
Chains<T> reverse_chains(const Backward<T>& backward) {
  const WalkBatch<T>& problem = backward.problem;
  Chains<T> chains{static_cast<int>(problem.graphs),
                   static_cast<int>(problem.n),
                   static_cast<int>(problem.hops),
                   problem.weight_hh,
                   problem.alpha,
                   problem.rectify,
                   {},
                   {}};
  Bundle<T>& bundle = problem.from_inputs() ? chains.backwards : chains.forwards;
  bundle.width = static_cast<int>(problem.width());
  bundle.chain = backward.reverse;
  bundle.chain_stride = backward.reverse_stride();
  bundle.hop_stride = backward.bundle();
  bundle.last_hop_first = true;
  bundle.inflow = backward.lifted;
  bundle.inflow_terms = static_cast<int>(problem.terms());
  bundle.hop_weights = problem.hop_weights;
  bundle.hop_weights_stride = static_cast<int>(problem.hop_weights_stride);
  return chains;
}

// Rounded up to whole vectors: what follows is read in vectors.
template <typename T>
int64_t whole(int64_t count) {
  constexpr int64_t kSize = Vector<T>::kSize;
  return (count + kSize - 1) / kSize * kSize;
}

}  // namespace

template <typename T>
int64_t walk_backward_scratch(const WalkBatch<T>& problem, ChainKind kind) {
  if (problem.empty()) return 0;
  Backward<T> backward{};
  backward.problem = problem;
  const int64_t reverse = problem.graphs * backward.reverse_stride();
  if (kind == ChainKind::kBoth) return reverse;
  const Chains<T> chains = reverse_chains(backward);
  return whole<T>(reverse + problem.graphs * (problem.terms() * problem.width() * problem.n + 1)) +
         plan_chains(chains).exchange_size(chains.forwards.width, chains.backwards.width);
}

template <typename T>
void walk_backward(const WalkBatch<T>& problem, ChainKind kind, const WalkGradient<T>& gradient, const T* chain,
                   const WalkGradients<T>& to, T* scratch, cudaStream_t stream) {
  const int64_t n = problem.n, width = problem.width();
  if (problem.empty()) {
    const auto clear = [&](const GradientRows<T>& rows, int64_t count) {
      if (rows.data && !rows.adds && count)
        check_cuda(cudaMemsetAsync(rows.data, 0, count * sizeof(T), stream), "memset");
    };
    clear(to.hh, problem.graphs * n * n);
    clear(to.in, problem.graphs * n * problem.inputs);
    clear(to.out, problem.graphs * n * problem.outputs);
    return;
  }
  const bool both = kind == ChainKind::kBoth;
  const T* from_outputs = both ? chain + problem.inputs * n : chain;
  Backward<T> backward{problem,
                       gradient,
                       problem.from_inputs() ? chain : from_outputs,
                       !both                   ? nullptr
                       : problem.from_inputs() ? from_outputs
                                               : chain,
                       scratch,
                       nullptr,
                       problem.from_inputs() ? to.in : to.out,
                       problem.from_inputs() ? to.out : to.in,
                       nullptr};
  const int64_t reverse_size = problem.graphs * backward.reverse_stride();
  const unsigned unit_tiles = static_cast<unsigned>(problem.graphs * ((n + kUnits - 1) / kUnits));
  if (both) {
    SharedPieces pieces(nullptr);
    pieces.take<T>(width * problem.other_width());
    pieces.take<T>(width * kUnits);
    pieces.take<T>(kStaged<T> * kUnits);
    launch(reverse_of_both_kernel<T>,
           {dim3(unit_tiles, backward.grad_other.data ? 2 : 1), kThreads, static_cast<size_t>(pieces.bytes())}, stream,
           backward);
  } else {
    backward.lifted = scratch + reverse_size;
    const int64_t lifted_size = problem.graphs * problem.terms() * width * n;
    if (problem.per_hop || problem.hop_weights) backward.depths = reinterpret_cast<int*>(backward.lifted + lifted_size);
    const unsigned depth_blocks = backward.depths ? static_cast<unsigned>(problem.graphs) : 0;
    launch(lift_kernel<T>, {dim3(depth_blocks + blocks_for(lifted_size)), kThreads}, stream, backward);
    const Chains<T> chains = reverse_chains(backward);
    advance_chains(chains, plan_chains(chains), scratch + whole<T>(reverse_size + lifted_size + problem.graphs),
                   stream);
    if (backward.grad_start.data || backward.grad_other.data) {
      const int64_t other_tiles = std::clamp<int64_t>((problem.other_width() + kOthers - 1) / kOthers, 1, 1024);
      launch(side_gradients_kernel<T>,
             {dim3(unit_tiles, backward.grad_other.data ? static_cast<unsigned>(other_tiles) : 1), kThreads,
              kWarps * kUnits * sizeof(T)},
             stream, backward);
    }
  }
  if (!to.hh.data) return;
  const T* reverse = backward.reverse + width * n;  // from L_1 on
  OuterProduct<T> product{problem.graphs,
                          n,
                          (problem.hops - 1) * width,
                          width,
                          backward.depths,
                          {reverse, backward.reverse_stride(), backward.bundle()},
                          {backward.chain, backward.chain_stride(), backward.chain_hop_stride()},
                          problem.alpha,
                          problem.rectify ? problem.weight_hh : nullptr,
                          to.hh};
  if (!problem.from_inputs()) std::swap(product.left, product.right);
  outer_product(product, stream);
}

#define RRNN_INSTANTIATE(T)                                                                     \
  template int64_t walk_backward_scratch(const WalkBatch<T>&, ChainKind);                       \
  template void walk_backward(const WalkBatch<T>&, ChainKind, const WalkGradient<T>&, const T*, \
                              const WalkGradients<T>&, T*, cudaStream_t);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn::cuda
