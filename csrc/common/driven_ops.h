// The ops of walks through a network that ran, from tensors to pointers and back, for every device.
#pragma once

#include <algorithm>
#include <optional>
#include <tuple>

#include "common/driven_arguments.h"

namespace rrnn {

// Device has forward, backward, norm and slope, each of (a tensor of the device, a problem, pointers).
template <typename Device>
struct DrivenOps {
  using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

  static std::tuple<Tensor, Tensor> walks(Tensor weight_hh, Tensor weight_ih, Tensor entering, Tensor gains,
                                          std::optional<Tensor> input_gains, std::optional<Tensor> carries,
                                          std::optional<Tensor> hop_weights, double alpha, int64_t edges, bool per_hop,
                                          bool keep) {
    return forward({weight_hh, weight_ih, entering, gains, input_gains, carries, hop_weights, alpha, edges, per_hop},
                   keep);
  }

  static Gradients walks_backward(Tensor grad_walks, Tensor chain, Tensor weight_hh, Tensor weight_ih, Tensor entering,
                                  Tensor gains, std::optional<Tensor> input_gains, std::optional<Tensor> carries,
                                  std::optional<Tensor> hop_weights, double alpha, int64_t edges, bool per_hop,
                                  bool of_gains) {
    const DrivenArguments given(weight_hh, weight_ih, entering, gains, input_gains, carries, hop_weights, alpha, edges,
                                per_hop);
    return backward(given, given.check_walks("grad_walks", grad_walks), chain, of_gains);
  }

  static std::tuple<Tensor, Tensor, Tensor> penalty(Tensor weight_hh, Tensor weight_ih, Tensor entering, Tensor gains,
                                                    std::optional<Tensor> input_gains, std::optional<Tensor> carries,
                                                    std::optional<Tensor> hop_weights,
                                                    std::optional<Tensor> pair_weights, double alpha, int64_t edges,
                                                    bool per_hop, int64_t norm, bool keep) {
    const DrivenArguments given(weight_hh, weight_ih, entering, gains, input_gains, carries, hop_weights, alpha, edges,
                                per_hop);
    const std::optional<Tensor> pairs = given.checked("pair_weights", pair_weights, {given.width, given.inputs});
    auto [walks, chain] = forward(given, keep);
    Tensor value = empty_of(weight_hh, {});
    dispatch(weight_hh, [&](auto zero) {
      using T = decltype(zero);
      Device::norm(walks, given.norm<T>(norm, walks, pairs), at<T>(value, 0, 1));
    });
    return {value, walks, chain};
  }

  static Gradients penalty_backward(Tensor grad_value, Tensor walks, Tensor chain, Tensor weight_hh, Tensor weight_ih,
                                    Tensor entering, Tensor gains, std::optional<Tensor> input_gains,
                                    std::optional<Tensor> carries, std::optional<Tensor> hop_weights,
                                    std::optional<Tensor> pair_weights, double alpha, int64_t edges, bool per_hop,
                                    int64_t norm, bool of_gains) {
    const DrivenArguments given(weight_hh, weight_ih, entering, gains, input_gains, carries, hop_weights, alpha, edges,
                                per_hop);
    const std::optional<Tensor> pairs = given.checked("pair_weights", pair_weights, {given.width, given.inputs});
    const Tensor found = given.check_walks("walks", walks);
    const Tensor grad = *given.checked("grad_value", grad_value, {});
    Tensor grad_walks = given.empty_walks();
    dispatch(weight_hh, [&](auto zero) {
      using T = decltype(zero);
      Device::slope(found, given.norm<T>(norm, found, pairs), static_cast<const T*>(grad.const_data_ptr()),
                    at<T>(grad_walks, 0, 0));
    });
    return backward(given, grad_walks, chain, of_gains);
  }

 private:
  static std::tuple<Tensor, Tensor> forward(const DrivenArguments& given, bool keep) {
    Tensor walks = given.empty_walks(), chain = given.empty_chain(keep);
    if (given.is_empty()) return {walks, chain};
    dispatch(given.weight_hh, [&](auto zero) {
      using T = decltype(zero);
      Device::forward(given.weight_hh, given.problem<T>(), at<T>(walks, 0, 0), at<T>(chain, 0, 0));
    });
    return {walks, chain};
  }

  static Gradients backward(const DrivenArguments& given, const Tensor& grad_walks, const Tensor& chain,
                            bool of_gains) {
    const Tensor links = given.check_chain(chain);
    const auto like = [](const Tensor& tensor) {
      std::vector<int64_t> sizes;
      for (int64_t d = 0; d < tensor.dim(); ++d) sizes.push_back(tensor.size(d));
      return empty_of(tensor, sizes.data(), tensor.dim());
    };
    const auto of = [&](const std::optional<Tensor>& tensor) {
      return of_gains && tensor ? like(*tensor) : empty_of(given.weight_hh, {0});
    };
    Tensor hh = like(given.weight_hh), ih = like(given.weight_ih), entering = like(given.entering);
    Tensor gains = of(given.gains), input_gains = of(given.input_gains), carries = of(given.carries);
    dispatch(given.weight_hh, [&](auto zero) {
      using T = decltype(zero);
      const auto to = [](const Tensor& tensor) { return at<T>(tensor, 0, 0); };
      Device::backward(given.weight_hh, given.problem<T>(), to(grad_walks), to(links),
                       DrivenGradients<T>{to(hh), to(ih), to(entering), to(gains), to(input_gains), to(carries)});
    });
    return {hh, ih, entering, gains, input_gains, carries};
  }
};

}  // namespace rrnn
