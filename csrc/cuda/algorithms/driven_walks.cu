// A hop is one thin product with the stacked weights of all gates, between kernels with a thread for each unit of each
// vector. What meets the rows of the weights is (networks, width, gates, n), so that all gates are one product.
#include "cuda/algorithms/driven_walks.h"
#include "cuda/algorithms/hop.h"
#include "cuda/device/device.h"
#include "cuda/device/launch.h"

namespace rrnn::cuda {
namespace {

constexpr int kThreads = 256;

LaunchShape shape_of(int64_t count) {
  return {dim3(static_cast<unsigned>((count + kThreads - 1) / kThreads)), kThreads};
}

__device__ __forceinline__ int64_t own_index() { return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; }

// A unit of a vector, by the index of a thread.
template <typename T>
struct Place {
  int64_t vector, unit, network;
  __device__ Place(const DrivenProblem<T>& p, int64_t at)
      : vector(at / p.n), unit(at % p.n), network(vector / p.width) {}
};

// to (vectors, rows) = the gains of a hop times its link, at one unit of a vector; zeros, whatever is there, where no
// walk that has a weight comes from `beyond` hops further on.
template <typename T>
__device__ __forceinline__ void rows_of(const DrivenProblem<T>& p, const Place<T>& own, const T* gains, int64_t hop,
                                        const T* link, int64_t beyond, T* to) {
  const bool counts = hop + beyond < p.weighted_hops();
  link += own.vector * p.n + own.unit;
  for (int64_t gate = 0; gate < p.gates; ++gate) {
    T sum = 0;
    for (int64_t part = 0; counts && part < p.parts; ++part)
      sum += gains[p.gains_at(hop, own.network, part) + gate * p.n + own.unit] * link[part * p.bundle()];
    to[own.vector * p.rows() + gate * p.n + own.unit] = sum;
  }
}

// X_0: what enters at the first hop, of each network, in the first part; and what meets the weights, unless `rows` is
// null.
template <typename T>
__global__ void __launch_bounds__(kThreads) begin_kernel(const __grid_constant__ DrivenProblem<T> p, T* link, T* rows) {
  const int64_t at = own_index();
  if (at >= p.bundle()) return;
  const Place<T> own(p, at);
  link[at] = p.entering[p.enters_each_hop ? at : own.vector % p.width * p.n + own.unit];
  for (int64_t part = 1; part < p.parts; ++part) link[part * p.bundle() + at] = 0;
  if (rows) rows_of(p, own, p.gains, 0, link, 1, rows);
}

// to (hops, vectors, rows) = the gains of each hop times its link, for so many hops.
template <typename T>
__global__ void __launch_bounds__(kThreads) rows_kernel(const __grid_constant__ DrivenProblem<T> p, const T* gains,
                                                        int64_t hops, const T* links, T* to, int64_t beyond) {
  const int64_t index = own_index(), hop = index / p.bundle();
  if (hop < hops)
    rows_of(p, Place<T>(p, index % p.bundle()), gains, hop, links + hop * p.link(), beyond,
            to + hop * p.vectors() * p.rows());
}

// sum (vectors, rows) over the hops of their weights times what meets the input weights. What has a weight of zero
// takes no part.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    incoming_sum_kernel(const __grid_constant__ DrivenProblem<T> p, const T* chain, T* to) {
  const int64_t index = own_index();
  if (index >= p.vectors() * p.rows()) return;
  const int64_t vector = index / p.rows(), row = index % p.rows(), network = vector / p.width;
  T sum = 0;
  for (int64_t hop = 0; hop < p.hops; ++hop) {
    T own = 0;
    for (int64_t part = 0; part < p.parts; ++part)
      own += p.input_gains[p.gains_at(hop, network, part) + row] *
             chain[hop * p.link() + part * p.bundle() + vector * p.n + row % p.n];
    sum += weighed(p.hop_weight(hop), own);
  }
  to[index] = sum;
}

// The link after `hop`, from what the weights brought (vectors, n), and what of it meets them, unless `rows` is null.
template <typename T>
__global__ void __launch_bounds__(kThreads) link_kernel(const __grid_constant__ DrivenProblem<T> p, int64_t hop,
                                                        const T* link, const T* brought, T* next, T* rows) {
  const int64_t at = own_index();
  if (at >= p.bundle()) return;
  const Place<T> own(p, at);
  const T* enters = p.enters(hop + 1);
  for (int64_t before = 0; before < p.parts; ++before) {
    T sum = before == 0 ? brought[at] : T(0);
    for (int64_t after = 0; p.carries && after < p.parts; ++after)
      sum += p.carries[p.carries_at(hop, own.network, after) + before * p.n + own.unit] * link[after * p.bundle() + at];
    next[before * p.bundle() + at] = p.alpha * sum + (before == 0 && enters ? enters[at] : T(0));
  }
  if (rows) rows_of<T>(p, own, p.gains, hop + 1, next, 1, rows);
}

// L of `hop`, of all parts, from that of the next hop, what the weights brought from there, and what the walks have.
template <typename T>
__global__ void __launch_bounds__(kThreads) reverse_kernel(const __grid_constant__ DrivenProblem<T> p, int64_t hop,
                                                           const T* lifted, const T* brought, const T* next, T* here) {
  const int64_t at = own_index();
  if (at >= p.bundle()) return;
  const Place<T> own(p, at);
  const int64_t first_row = own.vector * p.rows() + own.unit, weighted = p.weighted_hops();
  for (int64_t part = 0; part < p.parts; ++part) {
    const int64_t gains = p.gains_at(hop, own.network, part) + own.unit;
    T in = 0, moved = 0;
    for (int64_t gate = 0; hop < weighted && gate < p.gates; ++gate)
      in += p.input_gains[gains + gate * p.n] * weighed(p.hop_weight(hop), lifted[first_row + gate * p.n]);
    for (int64_t gate = 0; hop + 1 < weighted && gate < p.gates; ++gate)
      moved += p.gains[gains + gate * p.n] * brought[first_row + gate * p.n];
    for (int64_t before = 0; hop + 1 < weighted && p.carries && before < p.parts; ++before)
      moved +=
          p.carries[p.carries_at(hop, own.network, part) + before * p.n + own.unit] * next[before * p.bundle() + at];
    here[part * p.bundle() + at] = in + p.alpha * moved;
  }
}

// The first parts of the links of so many hops, one after another.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    first_parts_kernel(const __grid_constant__ DrivenProblem<T> p, int64_t hops, const T* links, T* to) {
  const int64_t at = own_index();
  if (at < hops * p.bundle()) to[at] = links[at / p.bundle() * p.link() + at % p.bundle()];
}

// What reads all networks at the first hop has the sum of their gradients.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    entering_kernel(const __grid_constant__ DrivenProblem<T> p, const T* link, T* to) {
  const int64_t at = own_index(), size = p.width * p.n;
  if (at >= size) return;
  T sum = 0;
  for (int64_t network = 0; network < p.networks; ++network) sum += link[network * size + at];
  to[at] = sum;
}

// Of the gains of all hops, the rows (hops, networks, parts, gates, n): sums over what reads each network.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    gains_kernel(const __grid_constant__ DrivenProblem<T> p, const T* chain, const T* lifted, const T* brought,
                 const __grid_constant__ DrivenGradients<T> to) {
  const int64_t at = own_index();
  if (at >= p.gains_at(p.hops, 0, 0)) return;
  const int64_t row = at % p.rows(), part = at / p.rows() % p.parts, network = at / p.gains_at(0, 1, 0) % p.networks;
  const int64_t hop = at / p.gains_at(1, 0, 0), size = p.vectors() * p.rows();
  const T* x = chain + hop * p.link() + part * p.bundle() + row % p.n;
  const int64_t weighted = p.weighted_hops();
  T of_inputs = 0, of_states = 0;
  for (int64_t c = network * p.width; hop < weighted && c < (network + 1) * p.width; ++c) {
    of_inputs += x[c * p.n] * weighed(p.hop_weight(hop), lifted[(p.per_hop ? hop : 0) * size + c * p.rows() + row]);
    if (hop + 1 < weighted) of_states += x[c * p.n] * brought[hop * size + c * p.rows() + row];
  }
  of_states *= p.alpha;
  to.gains[at] = to.input_gains ? of_states : of_states + of_inputs;
  if (to.input_gains) to.input_gains[at] = of_inputs;
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    carries_kernel(const __grid_constant__ DrivenProblem<T> p, const T* chain, const T* reverse, T* to) {
  const int64_t at = own_index();
  if (at >= p.carries_at(p.hops, 0, 0)) return;
  const int64_t unit = at % p.n, before = at / p.n % p.parts, after = at / (p.n * p.parts) % p.parts;
  const int64_t network = at / p.carries_at(0, 1, 0) % p.networks, hop = at / p.carries_at(1, 0, 0);
  T sum = 0;
  for (int64_t c = network * p.width; hop + 1 < p.weighted_hops() && c < (network + 1) * p.width; ++c)
    sum += chain[hop * p.link() + after * p.bundle() + c * p.n + unit] *
           reverse[(hop + 1) * p.link() + before * p.bundle() + c * p.n + unit];
  to[at] = p.alpha * sum;
}

// One of the matrices of the weights: (rows, columns).
template <typename T>
Hop<T> matrix(const DrivenProblem<T>& p, bool of_inputs) {
  return {1,
          static_cast<int>(p.rows()),
          static_cast<int>(of_inputs ? p.inputs : p.n),
          of_inputs ? p.weight_ih : p.weight_hh,
          of_inputs ? p.scale : T(1),
          false};
}

// Hands out pieces of memory; from null on only counts.
template <typename T>
class Pieces {
 public:
  explicit Pieces(T* memory) : memory_(memory) {}
  T* take(int64_t count) {
    size_ += count;
    return memory_ ? memory_ + size_ - count : nullptr;
  }
  int64_t size() const { return size_; }

 private:
  T* memory_;
  int64_t size_ = 0;
};

template <typename T>
struct ForwardMemory {
  T *links, *rows, *brought, *incoming;
  int64_t size;
  ForwardMemory(const DrivenProblem<T>& p, T* memory) {
    Pieces<T> pieces(memory);
    const int64_t terms = p.per_hop ? p.hops : 1;
    links = pieces.take(p.hops * p.link());  // where no chain is to be kept
    rows = pieces.take(p.vectors() * p.rows());
    brought = pieces.take(p.bundle());
    incoming = pieces.take(terms * p.vectors() * p.rows());
    size = pieces.size();
  }
};

template <typename T>
struct BackwardMemory {
  T *reverse, *first_parts, *lifted, *brought, *rows;
  int64_t size;
  BackwardMemory(const DrivenProblem<T>& p, T* memory) {
    Pieces<T> pieces(memory);
    const int64_t gated = p.vectors() * p.rows();
    reverse = pieces.take(p.hops * p.link());
    first_parts = pieces.take(p.hops * p.bundle());
    lifted = pieces.take((p.per_hop ? p.hops : 1) * gated);
    brought = pieces.take(p.hops * gated);
    rows = pieces.take(p.hops * gated);
    size = pieces.size();
  }
};

// The gradients where nothing is read or comes in.
template <typename T>
void clear(const DrivenProblem<T>& p, const DrivenGradients<T>& to, cudaStream_t stream) {
  const auto zero = [&](T* numbers, int64_t count) {
    if (numbers && count) check_cuda(cudaMemsetAsync(numbers, 0, count * sizeof(T), stream), "memset");
  };
  zero(to.weight_hh, p.rows() * p.n);
  zero(to.weight_ih, p.rows() * p.inputs);
  zero(to.entering, p.enters_each_hop ? p.hops * p.bundle() : p.width * p.n);
  zero(to.gains, p.gains_at(p.hops, 0, 0));
  zero(to.input_gains, p.gains_at(p.hops, 0, 0));
  zero(to.carries, p.carries_at(p.hops, 0, 0));
}

}  // namespace

template <typename T>
int64_t driven_forward_memory(const DrivenProblem<T>& p) {
  return ForwardMemory<T>(p, nullptr).size;
}

template <typename T>
void driven_forward(const DrivenProblem<T>& p, T* walks, T* chain, T* memory, cudaStream_t stream) {
  const ForwardMemory<T> own(p, memory);
  T* links = chain ? chain : own.links;
  const int64_t vectors = p.vectors();
  const LaunchShape units = shape_of(p.bundle());
  const auto rows_after = [&](int64_t m) { return m + 1 < p.hops ? own.rows : nullptr; };
  launch(begin_kernel<T>, units, stream, p, links, rows_after(0));
  for (int64_t m = 0; m + 1 < p.hops; ++m) {
    const T* x = links + m * p.link();
    hop<T>(matrix(p, false), true, static_cast<int>(vectors), own.rows, own.brought, stream);
    launch(link_kernel<T>, units, stream, p, m, x, static_cast<const T*>(own.brought), links + (m + 1) * p.link(),
           rows_after(m + 1));
  }
  const T* all = links;
  if (p.per_hop)
    launch(rows_kernel<T>, shape_of(p.hops * p.bundle()), stream, p, p.input_gains, p.hops, all, own.incoming,
           int64_t{0});
  else
    launch(incoming_sum_kernel<T>, shape_of(vectors * p.rows()), stream, p, all, own.incoming);
  hop<T>(matrix(p, true), true, static_cast<int>(p.terms() * vectors), own.incoming, walks, stream);
}

template <typename T>
int64_t driven_backward_memory(const DrivenProblem<T>& p) {
  return BackwardMemory<T>(p, nullptr).size;
}

template <typename T>
void driven_backward(const DrivenProblem<T>& p, const T* grad_walks, const T* chain, const DrivenGradients<T>& to,
                     T* memory, cudaStream_t stream) {
  if (p.vectors() * p.inputs == 0) return clear(p, to, stream);
  const BackwardMemory<T> own(p, memory);
  const int64_t vectors = p.vectors(), gated = vectors * p.rows(), before_last = p.hops - 1;
  const int terms = static_cast<int>(p.terms() * vectors);
  const LaunchShape units = shape_of(p.bundle());
  hop<T>(matrix(p, true), false, terms, grad_walks, own.lifted, stream);
  const T* next = nullptr;
  for (int64_t m = before_last; m >= 0; --m) {
    T *here = own.reverse + m * p.link(), *brought = own.brought + m * gated;
    if (next) hop<T>(matrix(p, false), false, static_cast<int>(vectors), next, brought, stream);
    const T* lifted = own.lifted + (p.per_hop ? m * gated : 0);
    launch(reverse_kernel<T>, units, stream, p, m, lifted, static_cast<const T*>(brought), next, here);
    next = here;
  }

  const T *reverse = own.reverse, *first_parts = own.first_parts, *rows = own.rows;
  launch(first_parts_kernel<T>, shape_of(p.hops * p.bundle()), stream, p, p.hops, reverse,
         p.enters_each_hop ? to.entering : own.first_parts);
  if (p.enters_each_hop)
    first_parts = to.entering;
  else
    launch(entering_kernel<T>, shape_of(p.width * p.n), stream, p, first_parts, to.entering);
  if (before_last > 0)
    launch(rows_kernel<T>, shape_of(before_last * p.bundle()), stream, p, p.gains, before_last, chain, own.rows,
           int64_t{1});
  Hop<T> weights = matrix(p, false);
  weights.alpha = p.alpha;
  hop_gradient<T>(weights, static_cast<int>(before_last * vectors), rows, first_parts + p.bundle(), to.weight_hh,
                  stream);
  if (p.per_hop)
    launch(rows_kernel<T>, shape_of(p.hops * p.bundle()), stream, p, p.input_gains, p.hops, chain, own.rows,
           int64_t{0});
  else
    launch(incoming_sum_kernel<T>, shape_of(gated), stream, p, chain, own.rows);
  hop_gradient<T>(matrix(p, true), terms, rows, grad_walks, to.weight_ih, stream);
  if (!to.of_gains()) return;
  launch(gains_kernel<T>, shape_of(p.gains_at(p.hops, 0, 0)), stream, p, chain, static_cast<const T*>(own.lifted),
         static_cast<const T*>(own.brought), to);
  if (to.carries)
    launch(carries_kernel<T>, shape_of(p.carries_at(p.hops, 0, 0)), stream, p, chain, reverse, to.carries);
}

#define RRNN_INSTANTIATE(T)                                                                                 \
  template int64_t driven_forward_memory(const DrivenProblem<T>&);                                          \
  template void driven_forward(const DrivenProblem<T>&, T*, T*, T*, cudaStream_t);                          \
  template int64_t driven_backward_memory(const DrivenProblem<T>&);                                         \
  template void driven_backward(const DrivenProblem<T>&, const T*, const T*, const DrivenGradients<T>&, T*, \
                                cudaStream_t);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn::cuda
