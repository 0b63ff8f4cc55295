// Neurons without recurrent weights are columns of (steps, samples * n) that know nothing of one another: a thread
// takes as many side by side as have their state in the first-level cache, through all of time. With recurrent weights,
// a sample's neurons stay together and the samples know nothing of one another. A step of the forward pass adds up the
// weights' rows of the units that spiked, for a few percent of the flops of a product; so does the gradient of the
// weights; the gradient of the spikes is a product.
#include "cpu/algorithms/lif.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cpu/algorithms/scratch.h"
#include "cpu/kernels/kernels.h"

namespace rrnn::cpu {
namespace {

constexpr int64_t kColumns = 2048;

// Columns [begin, end) of a group, for one thread.
struct Part {
  int64_t group, begin, end;
  int64_t count() const { return end - begin; }
};

template <typename T>
std::vector<Part> parts_of(const LifLayer<T>& layer) {
  const int64_t neurons = layer.neurons();
  int64_t size = kColumns;
  if (layer.weight_rec) {
    const auto threads = static_cast<int64_t>(torch::stable::get_num_threads());
    const int64_t each = std::max<int64_t>(1, threads / layer.groups);
    size = (layer.samples + each - 1) / each * layer.n;
  }
  std::vector<Part> parts;
  for (int64_t group = 0; group < layer.groups; ++group)
    for (int64_t begin = 0; begin < neurons; begin += size)
      parts.push_back({group, begin, std::min(neurons, begin + size)});
  return parts;
}

// body(index) for each part.
template <typename F>
void for_parts(const std::vector<Part>& parts, const F& body) {
  torch::stable::parallel_for(0, static_cast<int64_t>(parts.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t index = begin; index < end; ++index) body(index);
  });
}

// Arrays of one number a column, in one piece of memory.
template <typename T>
class Columns {
 public:
  Columns(const LifLayer<T>& layer, const Part& part, int64_t arrays)
      : layer_(layer), part_(part), room_((part.count() + 15) / 16 * 16), memory_(scratch<T>(arrays * room_)) {}

  T* zeros() {
    T* array = take();
    std::fill_n(array, part_.count(), T(0));
    return array;
  }
  // Of (groups, samples, n).
  T* copy(const T* moment) {
    T* array = take();
    std::copy_n(of(moment), part_.count(), array);
    return array;
  }
  // Of (groups, n): each neuron's own, sample by sample.
  const T* spread(const T* parameter) {
    if (!parameter) return nullptr;
    T* array = take();
    const T* own = parameter + part_.group * layer_.n;
    for (int64_t k = 0, unit = part_.begin % layer_.n; k < part_.count();
         ++k, unit = unit + 1 == layer_.n ? 0 : unit + 1)
      array[k] = own[unit];
    return array;
  }
  T* take() { return memory_.get() + room_ * taken_++; }

  // The part's numbers in (groups, samples, n), and of one step in (groups, steps, samples, n).
  template <typename P>
  P* of(P* moment) const {
    return moment ? moment + part_.group * layer_.neurons() + part_.begin : nullptr;
  }
  template <typename P>
  P* of(P* record, int64_t step) const {
    return record ? record + part_.group * layer_.size() + step * layer_.neurons() + part_.begin : nullptr;
  }
  void fill(LifStep<T>& step) {
    step.kind = layer_.kind;
    step.count = part_.count();
    step.leak = spread(layer_.leak);
    step.leak_syn = spread(layer_.leak_syn);
    step.threshold = spread(layer_.threshold);
    step.reset = spread(layer_.reset);
  }
  static constexpr int64_t kOfStep = 4;

 private:
  const LifLayer<T>& layer_;
  const Part part_;
  const int64_t room_;
  const Scratch<T> memory_;
  int64_t taken_ = 0;
};

// The units of a sample that spiked, and what with.
template <typename T>
struct Events {
  explicit Events(int64_t n) : at(n), factors(n) {}

  void find(const T* spikes) {
    count = 0;
    for (int64_t unit = 0; unit < static_cast<int64_t>(at.size()); ++unit) {
      at[count] = static_cast<int32_t>(unit);
      factors[count] = spikes[unit];
      count += spikes[unit] != T(0);
    }
  }

  std::vector<int32_t> at;
  std::vector<T> factors;
  int64_t count = 0;
};

template <typename T>
void transpose(int64_t n, const T* from, T* to) {
  constexpr int64_t kBlock = 16;
  for (int64_t r = 0; r < n; r += kBlock)
    for (int64_t c = 0; c < n; c += kBlock)
      for (int64_t i = r; i < std::min(n, r + kBlock); ++i)
        for (int64_t j = c; j < std::min(n, c + kBlock); ++j) to[j * n + i] = from[i * n + j];
}

// The flops of the elementwise part alone: enough to tell a small call from a large one.
template <typename T>
const Kernels<T>& kernels_for(const LifLayer<T>& layer) {
  return kernels<T>(10.0 * static_cast<double>(layer.groups * layer.size()));
}

}  // namespace

template <typename T>
void lif_forward(const LifForward<T>& call) {
  const int64_t n = call.n;
  const auto& k = kernels_for(call);
  const std::vector<Part> parts = parts_of(call);
  for_parts(parts, [&](int64_t index) {
    const Part& part = parts[index];
    Columns<T> columns(call, part, Columns<T>::kOfStep + 4);
    LifForwardStep<T> step{};
    columns.fill(step);
    step.refractory = call.refractory;
    step.potential = columns.copy(call.potential);
    step.synaptic = call.kind.synaptic ? columns.copy(call.synaptic) : nullptr;
    step.waiting = call.kind.refractory ? columns.copy(call.waiting) : nullptr;
    T* input = call.weight_rec ? columns.take() : nullptr;
    Events<T> events(call.weight_rec ? n : 0);
    for (int64_t t = 0; t < call.steps; ++t) {
      step.input = columns.of(call.current, t);
      if (call.weight_rec) {
        const T* spikes = t == 0 ? columns.of(call.initial_spikes) : columns.of(call.spikes, t - 1);
        for (int64_t at = 0; at < part.count(); at += n) {
          events.find(spikes + at);
          k.add_rows(n, events.count, events.at.data(), events.factors.data(), call.weight_rec + part.group * n * n, n,
                     step.input + at, input + at);
        }
        step.input = input;
      }
      step.levels = columns.of(call.levels, t);
      step.spikes = columns.of(call.spikes, t);
      step.potentials = columns.of(call.potentials, t);
      step.synaptics = columns.of(call.synaptics, t);
      k.lif_forward(step);
    }
    std::copy_n(step.potential, part.count(), columns.of(call.last_potential));
    if (step.synaptic) std::copy_n(step.synaptic, part.count(), columns.of(call.last_synaptic));
    if (step.waiting) std::copy_n(step.waiting, part.count(), columns.of(call.last_waiting));
  });
}

template <typename T>
void lif_backward(const LifBackward<T>& call) {
  const int64_t n = call.n, steps = call.steps;
  const auto& k = kernels_for(call);
  const std::vector<Part> parts = parts_of(call);
  // Each part's own, transposed: a spike adds to a row.
  const int64_t weights = call.weight_rec ? n * n : 0;
  const Scratch<T> grad_weights = scratch<T>(weights * static_cast<int64_t>(parts.size()));
  for_parts(parts, [&](int64_t index) {
    const Part& part = parts[index];
    Columns<T> columns(call, part, Columns<T>::kOfStep + 4);
    LifBackwardStep<T> step{};
    columns.fill(step);
    step.surrogate = call.surrogate;
    step.slope = call.slope;
    step.refractory = call.refractory;
    step.potential = call.grad_last_potential ? columns.copy(call.grad_last_potential) : columns.zeros();
    if (call.kind.synaptic)
      step.synaptic = call.grad_last_synaptic ? columns.copy(call.grad_last_synaptic) : columns.zeros();
    if (call.kind.refractory) {
      // Of the steps that a spike holds, those that lie behind us.
      step.held = columns.copy(call.last_waiting);
      for (int64_t c = 0; c < part.count(); ++c)
        step.held[c] = step.held[c] > T(0) ? call.refractory - step.held[c] : T(0);
    }
    for (T* gradient :
         {step.grad_leak = columns.of(call.grad_leak), step.grad_leak_syn = columns.of(call.grad_leak_syn),
         step.grad_threshold = columns.of(call.grad_threshold), step.grad_reset = columns.of(call.grad_reset)})
      if (gradient) std::fill_n(gradient, part.count(), T(0));
    T* upstream = call.weight_rec ? columns.take() : nullptr;
    T* grad_weight = grad_weights.get() + index * weights;
    std::fill_n(grad_weight, weights, T(0));
    Events<T> events(call.weight_rec ? n : 0);
    for (int64_t t = steps - 1; t >= 0; --t) {
      const T* given = call.upstream(part.group, t);
      step.grad_spikes = given ? given + part.begin : nullptr;
      if (call.weight_rec && t + 1 < steps) {
        k.product_transposed({0, n}, n, call.weight_rec + part.group * n * n, n, columns.of(call.grad_current, t + 1),
                             n, part.count() / n, T(1), step.grad_spikes, n, upstream, n, false);
        step.grad_spikes = upstream;
      }
      step.spikes = columns.of(call.spikes, t);
      step.potentials = columns.of(call.potentials, t);
      step.spikes_before = t > 0 ? columns.of(call.spikes, t - 1) : nullptr;
      step.potentials_before = t > 0 ? columns.of(call.potentials, t - 1) : columns.of(call.potential);
      step.synaptics_before = t > 0 ? columns.of(call.synaptics, t - 1) : columns.of(call.synaptic);
      if (call.kind.refractory) step.held_from = call.held_from(part.group, t, step.held_mark) + part.begin;
      step.grad_current = columns.of(call.grad_current, t);
      k.lif_backward(step);
      for (int64_t at = 0; call.weight_rec && t > 0 && at < part.count(); at += n) {
        events.find(step.spikes_before + at);
        k.add_to_rows(n, events.count, events.at.data(), events.factors.data(), step.grad_current + at, grad_weight, n);
      }
    }
    std::copy_n(step.potential, part.count(), columns.of(call.grad_potential));
    if (step.synaptic) std::copy_n(step.synaptic, part.count(), columns.of(call.grad_synaptic));
  });
  if (!call.weight_rec) return;
  std::fill_n(call.grad_weight_rec, call.groups * weights, T(0));
  torch::stable::parallel_for(0, call.groups, 1, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) {
      T* total = nullptr;
      for (size_t index = 0; index < parts.size(); ++index) {
        if (parts[index].group != g) continue;
        T* own = grad_weights.get() + static_cast<int64_t>(index) * weights;
        if (!total) {
          total = own;
          continue;
        }
        for (int64_t i = 0; i < weights; ++i) total[i] += own[i];
      }
      if (total) transpose(n, total, call.grad_weight_rec + g * weights);
    }
  });
}

#define RRNN_INSTANTIATE(T)                        \
  template void lif_forward(const LifForward<T>&); \
  template void lif_backward(const LifBackward<T>&);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn::cpu
