// Without recurrent weights a thread takes a neuron of a sample through all of time, with its state in registers. With
// them, a block takes the neurons of a sample: what all of them need of a step is in shared memory, in one of two
// buffers, so that a barrier a step is enough. The sum over the units that spiked reads their rows of the weights, one
// after another, side by side over the threads.
#include <algorithm>

#include "cuda/algorithms/lif.h"
#include "cuda/device/device.h"
#include "cuda/device/launch.h"
#include "cuda/kernels/outer_product.h"

namespace rrnn::cuda {
namespace {

constexpr int kThreads = 128, kMostThreads = 512;

// A neuron of a sample of a group.
struct Place {
  int64_t group, unit, moment, first, stride;  // moment: in (groups, samples, n); first: in a record, at step 0

  template <typename T>
  __device__ Place(const LifLayer<T>& layer, int64_t column)
      : group(column / layer.neurons()),
        unit(column % layer.n),
        moment(column),
        first(group * layer.size() + column % layer.neurons()),
        stride(layer.neurons()) {}

  __device__ int64_t at(int64_t step) const { return first + step * stride; }
};

template <typename T>
__device__ LifNeuron<T> neuron_of(const LifLayer<T>& layer, const Place& place) {
  const int64_t at = place.group * layer.n + place.unit;
  return {layer.leak[at], layer.kind.synaptic ? layer.leak_syn[at] : T(0), layer.threshold[at],
          layer.kind.subtract ? T(0) : layer.reset[at]};
}

template <typename T>
__device__ LifCarry<T> state_of(const LifKind& kind, const T* potential, const T* synaptic, const T* waiting,
                                int64_t moment) {
  return {potential[moment], kind.synaptic ? synaptic[moment] : T(0), kind.refractory ? waiting[moment] : T(0)};
}

template <typename T>
__device__ void keep_state(const LifForward<T>& call, const LifCarry<T>& carry, int64_t moment) {
  call.last_potential[moment] = carry.potential;
  if (call.kind.synaptic) call.last_synaptic[moment] = carry.synaptic;
  if (call.kind.refractory) call.last_waiting[moment] = carry.waiting;
}

// One step of one neuron; gives its spike.
template <typename T>
__device__ T forward_step(const LifForward<T>& call, const LifNeuron<T>& neuron, int64_t at, T input,
                          LifCarry<T>& carry) {
  T potential;
  const T spike = lif_advance<T>(call.kind, neuron, input, call.kind.levels ? call.levels[at] : T(0), call.refractory,
                                 T(1), carry, potential);
  call.spikes[at] = spike;
  if (call.potentials) call.potentials[at] = potential;
  if (call.synaptics) call.synaptics[at] = carry.synaptic;
  return spike;
}

template <typename T>
__global__ void __launch_bounds__(kThreads) forward_kernel(const __grid_constant__ LifForward<T> call) {
  const int64_t column = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (column >= call.groups * call.neurons()) return;
  const Place place(call, column);
  const LifNeuron<T> neuron = neuron_of(call, place);
  LifCarry<T> carry = state_of(call.kind, call.potential, call.synaptic, call.waiting, column);
  for (int64_t t = 0; t < call.steps; ++t) forward_step(call, neuron, place.at(t), call.current[place.at(t)], carry);
  keep_state(call, carry, column);
}

// The state of a block's neurons is in the results' memory, which each thread reads and writes for its own.
template <typename T>
__global__ void __launch_bounds__(kMostThreads) recurrent_forward_kernel(const __grid_constant__ LifForward<T> call) {
  const int64_t n = call.n, words = (n + 31) / 32, sample = blockIdx.x, group = sample / call.samples;
  SharedPieces pieces(shared_memory());
  T* spikes = pieces.take<T>(2 * n);  // of two steps in turn
  unsigned* spiking = pieces.take<unsigned>(2 * words);
  const auto show = [&](int buffer, int64_t unit, T spike) {
    const unsigned word = __ballot_sync(kWholeWarp, unit < n && spike != T(0));
    if (unit < n) spikes[buffer * n + unit] = spike;
    if (unit < n && unit % 32 == 0) spiking[buffer * words + unit / 32] = word;
  };
  for (int64_t first = 0; first < n; first += blockDim.x) {
    const int64_t unit = first + threadIdx.x, column = sample * n + unit;
    show(1, unit, unit < n ? call.initial_spikes[column] : T(0));
    if (unit < n) keep_state(call, state_of(call.kind, call.potential, call.synaptic, call.waiting, column), column);
  }
  __syncthreads();
  for (int64_t t = 0; t < call.steps; ++t) {
    const int now = t % 2, before = 1 - now;
    for (int64_t first = 0; first < n; first += blockDim.x) {
      const int64_t unit = first + threadIdx.x, column = sample * n + unit;
      T spike = 0;
      if (unit < n) {
        const Place place(call, column);
        const T* weights = call.weight_rec + group * n * n + unit;
        T input = call.current[place.at(t)];
        for (int64_t word = 0; word < words; ++word)
          for (unsigned bits = spiking[before * words + word]; bits; bits &= bits - 1) {
            const int64_t source = word * 32 + __ffs(static_cast<int>(bits)) - 1;
            input += spikes[before * n + source] * weights[source * n];
          }
        LifCarry<T> carry = state_of<T>(call.kind, call.last_potential, call.last_synaptic, call.last_waiting, column);
        spike = forward_step(call, neuron_of(call, place), place.at(t), input, carry);
        keep_state(call, carry, column);
      }
      show(now, unit, spike);
    }
    __syncthreads();
  }
}

// The steps from the last one back that a spike holds.
template <typename T>
__device__ T held_at_end(const LifBackward<T>& call, int64_t moment) {
  if (!call.kind.refractory) return T(0);
  const T waiting = call.last_waiting[moment];
  return waiting > T(0) ? call.refractory - waiting : T(0);
}

// One step back of one neuron; gives the gradient of its input. `carry.waiting` counts the steps that are held.
template <typename T>
__device__ T backward_step(const LifBackward<T>& call, const LifNeuron<T>& neuron, const Place& place, int64_t t,
                           T grad_spike, LifCarry<T>& carry, LifParameterGradient<T>& grad) {
  const int64_t at = place.at(t), in_group = place.first - place.group * call.size();
  LifPast<T> past{call.spikes[at], call.potentials[at], T(0), T(0), T(0)};
  if (call.kind.refractory) {
    T mark;
    const T* from = call.held_from(place.group, t, mark) + in_group;
    past.held = *from == mark ? call.refractory : carry.waiting;
    carry.waiting = past.held > T(1) ? past.held - T(1) : T(0);
  }
  if (call.grad_leak) {
    past.before = t == 0 ? call.potential[place.moment]
                         : lif_after<T>(call.kind, neuron, call.spikes[at - place.stride],
                                        call.potentials[at - place.stride], T(1));
    if (call.kind.synaptic)
      past.synaptic_before = t == 0 ? call.synaptic[place.moment] : call.synaptics[at - place.stride];
  }
  const T surrogate = surrogate_derivative<T>(call.surrogate, past.potential - neuron.threshold, call.slope,
                                              T(1.57079632679489661923), T(1));
  const T input = lif_retreat<T>(call.kind, neuron, surrogate, grad_spike, past, T(1), carry, grad);
  call.grad_current[at] = input;
  return input;
}

template <typename T>
__device__ LifCarry<T> last_gradients(const LifBackward<T>& call, int64_t moment) {
  return {call.grad_last_potential ? call.grad_last_potential[moment] : T(0),
          call.kind.synaptic && call.grad_last_synaptic ? call.grad_last_synaptic[moment] : T(0),
          held_at_end(call, moment)};
}

template <typename T>
__device__ void keep_gradients(const LifBackward<T>& call, const LifCarry<T>& carry, int64_t moment) {
  call.grad_potential[moment] = carry.potential;
  if (call.kind.synaptic) call.grad_synaptic[moment] = carry.synaptic;
}

template <typename T>
__device__ void keep_gradients(const LifBackward<T>& call, const LifParameterGradient<T>& grad, int64_t moment) {
  if (!call.grad_leak) return;
  call.grad_leak[moment] = grad.leak;
  call.grad_threshold[moment] = grad.threshold;
  if (call.kind.synaptic) call.grad_leak_syn[moment] = grad.leak_syn;
  if (!call.kind.subtract) call.grad_reset[moment] = grad.reset;
}

template <typename T>
__device__ T upstream_of(const LifBackward<T>& call, const Place& place, int64_t t) {
  const T* given = call.upstream(place.group, t);
  return given ? given[place.first - place.group * call.size()] : T(0);
}

template <typename T>
__global__ void __launch_bounds__(kThreads) backward_kernel(const __grid_constant__ LifBackward<T> call) {
  const int64_t column = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (column >= call.groups * call.neurons()) return;
  const Place place(call, column);
  const LifNeuron<T> neuron = neuron_of(call, place);
  LifCarry<T> carry = last_gradients(call, column);
  LifParameterGradient<T> grad{};
  for (int64_t t = call.steps - 1; t >= 0; --t)
    backward_step(call, neuron, place, t, upstream_of(call, place, t), carry, grad);
  keep_gradients(call, carry, column);
  keep_gradients(call, grad, column);
}

template <typename T>
__global__ void __launch_bounds__(kMostThreads) recurrent_backward_kernel(const __grid_constant__ LifBackward<T> call) {
  const int64_t n = call.n, sample = blockIdx.x, group = sample / call.samples;
  SharedPieces pieces(shared_memory());
  T* inputs = pieces.take<T>(2 * n);  // gradients of the inputs of two steps in turn
  T* held = pieces.take<T>(n);
  for (int64_t unit = threadIdx.x; unit < n; unit += blockDim.x) {
    const int64_t column = sample * n + unit;
    const LifCarry<T> carry = last_gradients(call, column);
    held[unit] = carry.waiting;
    keep_gradients(call, carry, column);
    keep_gradients(call, LifParameterGradient<T>{}, column);
  }
  for (int64_t t = call.steps - 1; t >= 0; --t) {
    const int now = t % 2, after = 1 - now;
    for (int64_t unit = threadIdx.x; unit < n; unit += blockDim.x) {
      const int64_t column = sample * n + unit;
      const Place place(call, column);
      T grad_spike = upstream_of(call, place, t);
      if (t + 1 < call.steps) {
        const T* weights = call.weight_rec + group * n * n + unit;
        for (int64_t target = 0; target < n; ++target) grad_spike += inputs[after * n + target] * weights[target * n];
      }
      LifCarry<T> carry{call.grad_potential[column], call.kind.synaptic ? call.grad_synaptic[column] : T(0),
                        held[unit]};
      LifParameterGradient<T> grad{};
      if (call.grad_leak)
        grad = {call.grad_leak[column], call.kind.synaptic ? call.grad_leak_syn[column] : T(0),
                call.grad_threshold[column], call.kind.subtract ? T(0) : call.grad_reset[column]};
      inputs[now * n + unit] = backward_step(call, neuron_of(call, place), place, t, grad_spike, carry, grad);
      held[unit] = carry.waiting;
      keep_gradients(call, carry, column);
      keep_gradients(call, grad, column);
    }
    __syncthreads();
  }
}

template <typename T>
LaunchShape a_thread_each(const LifLayer<T>& layer) {
  const int64_t columns = layer.groups * layer.neurons();
  return {dim3(static_cast<unsigned>((columns + kThreads - 1) / kThreads)), kThreads};
}

// A block for each sample, of whole warps.
template <typename T>
LaunchShape a_block_each(const LifLayer<T>& layer, int64_t shared_bytes) {
  const auto threads = static_cast<unsigned>(std::min<int64_t>(kMostThreads, (layer.n + 31) / 32 * 32));
  return {dim3(static_cast<unsigned>(layer.groups * layer.samples)), threads, static_cast<size_t>(shared_bytes)};
}

}  // namespace

template <typename T>
void lif_forward(const LifForward<T>& call, cudaStream_t stream) {
  if (call.groups * call.neurons() == 0) return;
  if (!call.weight_rec) return launch(forward_kernel<T>, a_thread_each(call), stream, call);
  SharedPieces pieces(nullptr);
  pieces.take<T>(2 * call.n);
  pieces.take<unsigned>(2 * ((call.n + 31) / 32));
  launch(recurrent_forward_kernel<T>, a_block_each(call, pieces.bytes()), stream, call);
}

template <typename T>
void lif_backward(const LifBackward<T>& call, cudaStream_t stream) {
  if (call.weight_rec && call.groups * call.n > 0) {
    if (call.samples > 0) {
      SharedPieces pieces(nullptr);
      pieces.take<T>(2 * call.n);
      pieces.take<T>(call.n);
      launch(recurrent_backward_kernel<T>, a_block_each(call, pieces.bytes()), stream, call);
    }
    // Each step's inputs met the spikes of the step before.
    const int64_t depth = std::max<int64_t>(0, call.steps - 1) * call.samples;
    outer_product(OuterProduct<T>{call.groups,
                                  call.n,
                                  depth,
                                  1,
                                  nullptr,
                                  {call.grad_current + (depth > 0 ? call.neurons() : 0), call.size(), call.n},
                                  {call.spikes, call.size(), call.n},
                                  T(1),
                                  nullptr,
                                  {call.grad_weight_rec, call.n * call.n, call.n, false}},
                  stream);
  } else if (call.groups * call.neurons() > 0) {
    launch(backward_kernel<T>, a_thread_each(call), stream, call);
  }
}

#define RRNN_INSTANTIATE(T)                                      \
  template void lif_forward(const LifForward<T>&, cudaStream_t); \
  template void lif_backward(const LifBackward<T>&, cudaStream_t);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn::cuda
