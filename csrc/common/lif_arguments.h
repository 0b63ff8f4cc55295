// From the arguments of the ops of leaky integrate-and-fire neurons to pointers: checks and memory, for every device.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "common/checks.h"
#include "common/lif_call.h"
#include "common/tensors.h"

namespace rrnn {

// The tensors of a call, dense, and their checks. It keeps what it made dense.
class LifArguments {
 public:
  explicit LifArguments(const Tensor& record)
      : record_(record), groups_(size(0)), steps_(size(1)), samples_(size(2)), n_(size(3)) {
    check_floating(record);
  }

  int64_t groups() const { return groups_; }
  int64_t samples() const { return samples_; }
  int64_t n() const { return n_; }

  template <typename T>
  LifLayer<T> layer(const std::optional<Tensor>& weight_rec, bool levels, const Tensor& leak,
                    const std::optional<Tensor>& leak_syn, const Tensor& threshold, const std::optional<Tensor>& reset,
                    int64_t refractory) {
    STD_TORCH_CHECK(refractory >= 0, "refractory must be at least 0 steps, got ", refractory);
    // Events count units in 32 bits, and so do the blocks of a launch.
    STD_TORCH_CHECK(n_ < (int64_t{1} << 31), "n must be below 2^31, got ", n_);
    return {{leak_syn.has_value(), !reset.has_value(), refractory > 0, levels},
            groups_,
            steps_,
            samples_,
            n_,
            data<T>("weight_rec", weight_rec, {groups_, n_, n_}),
            data<T>("leak", leak, {groups_, n_}),
            data<T>("leak_syn", leak_syn, {groups_, n_}),
            data<T>("threshold", threshold, {groups_, n_}),
            data<T>("reset", reset, {groups_, n_}),
            static_cast<T>(refractory)};
  }

  template <typename T>
  const T* record(const char* name, const std::optional<Tensor>& tensor) {
    return data<T>(name, tensor, {groups_, steps_, samples_, n_});
  }
  template <typename T>
  const T* moment(const char* name, const std::optional<Tensor>& tensor, bool needed = false) {
    STD_TORCH_CHECK(tensor || !needed, name, " must be given");
    return data<T>(name, tensor, {groups_, samples_, n_});
  }

  // Memory for a result; empty where it is not wanted.
  Tensor empty_record(bool wanted = true) const {
    return wanted ? empty_of(record_, {groups_, steps_, samples_, n_}) : none();
  }
  Tensor empty_moment(bool wanted = true) const { return wanted ? empty_of(record_, {groups_, samples_, n_}) : none(); }
  Tensor empty_weight(bool wanted) const { return wanted ? empty_of(record_, {groups_, n_, n_}) : none(); }

  template <typename T>
  const T* data(const char* name, const std::optional<Tensor>& tensor, std::initializer_list<int64_t> shape) {
    if (!tensor) return nullptr;
    check_like(name, *tensor, record_);
    bool fits = tensor->dim() == static_cast<int64_t>(shape.size());
    std::string wanted;
    int64_t d = 0;
    for (const int64_t each : shape) {
      fits = fits && tensor->size(d++) == each;
      wanted += (wanted.empty() ? "" : ", ") + std::to_string(each);
    }
    STD_TORCH_CHECK(fits, name, " must be (", wanted, "), got ", shape_of(*tensor));
    kept_.push_back(dense(*tensor));
    return static_cast<const T*>(kept_.back().const_data_ptr());
  }

 private:
  int64_t size(int64_t d) const {
    STD_TORCH_CHECK(record_.dim() == 4, "current must be (groups, steps, samples, n), got ", shape_of(record_));
    return record_.size(d);
  }
  Tensor none() const { return empty_of(record_, {groups_, 0}); }

  Tensor record_;
  int64_t groups_, steps_, samples_, n_;
  std::vector<Tensor> kept_;
};

template <typename T>
T* result(const Tensor& tensor) {
  return at<T>(tensor, 0, 0);
}

// The ops of a device, `run(LifForward<T> or LifBackward<T>, a tensor of the call)`.
template <auto run>
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> lif_op(
    Tensor current, std::optional<Tensor> weight_rec, std::optional<Tensor> levels, Tensor leak,
    std::optional<Tensor> leak_syn, Tensor threshold, std::optional<Tensor> reset, Tensor potential,
    std::optional<Tensor> synaptic, std::optional<Tensor> initial_spikes, std::optional<Tensor> waiting,
    int64_t refractory, int64_t, double, int64_t keep) {
  LifArguments arguments(current);
  Tensor spikes = arguments.empty_record(), potentials = arguments.empty_record(keep > 0),
         synaptics = arguments.empty_record(keep > 1), last_potential = arguments.empty_moment(),
         last_synaptic = arguments.empty_moment(leak_syn.has_value()),
         last_waiting = arguments.empty_moment(refractory > 0);
  dispatch(current, [&](auto zero) {
    using T = decltype(zero);
    LifForward<T> call{};
    std::optional<Tensor> by_source;  // so that what a spike brings lies together
    if (weight_rec) by_source = torch::stable::transpose(*weight_rec, 1, 2);
    static_cast<LifLayer<T>&>(call) =
        arguments.layer<T>(by_source, levels.has_value(), leak, leak_syn, threshold, reset, refractory);
    call.current = arguments.record<T>("current", current);
    call.levels = arguments.record<T>("levels", levels);
    call.potential = arguments.moment<T>("potential", potential);
    call.synaptic = arguments.moment<T>("synaptic", synaptic, leak_syn.has_value());
    call.initial_spikes = arguments.moment<T>("initial_spikes", initial_spikes, weight_rec.has_value());
    call.waiting = arguments.moment<T>("waiting", waiting, refractory > 0);
    call.spikes = result<T>(spikes);
    call.potentials = result<T>(potentials);
    call.synaptics = result<T>(synaptics);
    call.last_potential = result<T>(last_potential);
    call.last_synaptic = result<T>(last_synaptic);
    call.last_waiting = result<T>(last_waiting);
    run(call, current);
  });
  return {spikes, potentials, synaptics, last_potential, last_synaptic, last_waiting};
}

template <auto run>
std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> lif_backward_op(
    std::optional<Tensor> grad_spikes, std::optional<Tensor> grad_potential, std::optional<Tensor> grad_synaptic,
    Tensor spikes, Tensor potentials, std::optional<Tensor> synaptics, std::optional<Tensor> last_waiting,
    std::optional<Tensor> weight_rec, Tensor leak, std::optional<Tensor> leak_syn, Tensor threshold,
    std::optional<Tensor> reset, Tensor potential, std::optional<Tensor> synaptic, std::optional<Tensor> waiting,
    int64_t refractory, int64_t surrogate, double slope, bool parameters) {
  LifArguments arguments(spikes);
  STD_TORCH_CHECK(surrogate >= 0 && surrogate < kSurrogates, "surrogate must be 0 to ", kSurrogates - 1, ", got ",
                  surrogate);
  const bool syn = leak_syn.has_value();
  Tensor grad_current = arguments.empty_record(), grad_weight = arguments.empty_weight(weight_rec.has_value()),
         grad_leak = arguments.empty_moment(parameters), grad_leak_syn = arguments.empty_moment(parameters && syn),
         grad_threshold = arguments.empty_moment(parameters),
         grad_reset = arguments.empty_moment(parameters && reset.has_value()),
         grad_first_potential = arguments.empty_moment(), grad_first_synaptic = arguments.empty_moment(syn);
  dispatch(spikes, [&](auto zero) {
    using T = decltype(zero);
    LifBackward<T> call{};
    static_cast<LifLayer<T>&>(call) =
        arguments.layer<T>(weight_rec, false, leak, leak_syn, threshold, reset, refractory);
    call.surrogate = static_cast<Surrogate>(surrogate);
    call.slope = static_cast<T>(slope);
    call.constant = grad_spikes && grad_spikes->dim() == 4 && grad_spikes->size(1) == 1;
    call.grad_spikes = call.constant ? arguments.data<T>("grad_spikes", grad_spikes,
                                                         {arguments.groups(), 1, arguments.samples(), arguments.n()})
                                     : arguments.record<T>("grad_spikes", grad_spikes);
    call.grad_last_potential = arguments.moment<T>("grad_potential", grad_potential);
    call.grad_last_synaptic = syn ? arguments.moment<T>("grad_synaptic", grad_synaptic) : nullptr;
    call.spikes = arguments.record<T>("spikes", spikes);
    call.potentials = arguments.record<T>("potentials, which are there with keep,", potentials);
    STD_TORCH_CHECK(synaptics || !(parameters && syn), "synaptics must be given for the gradient of leak_syn");
    call.synaptics = arguments.record<T>("synaptics", synaptics);
    call.potential = arguments.moment<T>("potential", potential);
    call.synaptic = arguments.moment<T>("synaptic", synaptic, syn);
    call.waiting = arguments.moment<T>("waiting", waiting, refractory > 0);
    call.last_waiting = arguments.moment<T>("last_waiting", last_waiting, refractory > 0);
    call.grad_current = result<T>(grad_current);
    call.grad_weight_rec = result<T>(grad_weight);
    call.grad_leak = result<T>(grad_leak);
    call.grad_leak_syn = result<T>(grad_leak_syn);
    call.grad_threshold = result<T>(grad_threshold);
    call.grad_reset = result<T>(grad_reset);
    call.grad_potential = result<T>(grad_first_potential);
    call.grad_synaptic = result<T>(grad_first_synaptic);
    run(call, spikes);
  });
  return {grad_current, grad_weight,          grad_leak,          grad_leak_syn, grad_threshold,
          grad_reset,   grad_first_potential, grad_first_synaptic};
}

}  // namespace rrnn
