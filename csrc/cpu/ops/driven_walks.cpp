// The ops of walks through a network that runs, on CPU tensors: checks and memory.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>

#include <optional>
#include <tuple>

#include "common/checks.h"
#include "common/tensors.h"
#include "cpu/algorithms/driven_chain.h"
#include "cpu/algorithms/scratch.h"

namespace rrnn::cpu {
namespace {

using torch::stable::Tensor;

// What both ops are given, dense; `width` vectors of each of the networks.
struct DrivenCall {
  Tensor weight_hh, gains;
  std::optional<Tensor> carries;
  double alpha;
  int64_t n, rows, hops, count, parts, width;

  DrivenCall(const Tensor& hh, const Tensor& gain, const std::optional<Tensor>& carry, double alpha, int64_t width)
      : weight_hh(dense(hh)), gains(dense(gain)), alpha(alpha), width(width) {
    check_floating(hh);
    check_like("gains", gain, hh);
    STD_TORCH_CHECK(hh.dim() == 2 && hh.size(1) > 0 && hh.size(0) % hh.size(1) == 0,
                    "weight_hh must be (gates x n, n), got ", shape_of(hh));
    n = hh.size(1);
    rows = hh.size(0);
    STD_TORCH_CHECK(gain.dim() == 4 && gain.size(3) == rows, "gains must be (hops, count, parts, ", rows, "), got ",
                    shape_of(gain));
    hops = gain.size(0);
    count = gain.size(1);
    parts = gain.size(2);
    if (!carry) return;
    check_like("carries", *carry, hh);
    STD_TORCH_CHECK(carry->dim() == 5 && carry->size(0) == hops && carry->size(1) == count && carry->size(2) == parts &&
                        carry->size(3) == parts && carry->size(4) == n,
                    "carries must be (", hops, ", ", count, ", ", parts, ", ", parts, ", ", n, "), got ",
                    shape_of(*carry));
    carries = dense(*carry);
  }

  Tensor links() const {
    const int64_t sizes[] = {hops + 1, count, width, parts, n};
    return empty_of(weight_hh, sizes, 5);
  }

  template <typename T>
  DrivenChain<T> problem() const {
    const auto data = [](const Tensor& tensor) { return static_cast<const T*>(tensor.const_data_ptr()); };
    return {n,
            rows,
            parts,
            count,
            width,
            hops,
            data(weight_hh),
            data(gains),
            carries ? data(*carries) : nullptr,
            static_cast<T>(alpha)};
  }
};

Tensor driven_walks(Tensor weight_hh, Tensor gains, std::optional<Tensor> carries, Tensor entering, double alpha) {
  STD_TORCH_CHECK(entering.dim() == 4, "entering must be (1 or hops + 1, count, width, n), got ", shape_of(entering));
  const DrivenCall call(weight_hh, gains, carries, alpha, entering.size(2));
  check_like("entering", entering, weight_hh);
  STD_TORCH_CHECK((entering.size(0) == 1 || entering.size(0) == call.hops + 1) && entering.size(1) == call.count &&
                      entering.size(3) == call.n,
                  "entering must be (1 or ", call.hops + 1, ", ", call.count, ", width, ", call.n, "), got ",
                  shape_of(entering));
  const Tensor from = dense(entering);
  Tensor chain = call.links();
  if (chain.numel() == 0) return chain;
  dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    const DrivenChain<T> problem = call.problem<T>();
    const Scratch<T> shared = scratch<T>(driven_forward_scratch(problem));
    run_team(problem.flops(), [&](Team& team) {
      driven_chain_forward(problem, static_cast<const T*>(from.const_data_ptr()), from.size(0), at<T>(chain, 0, 0),
                           team, shared.get());
    });
  });
  return chain;
}

std::tuple<Tensor, Tensor, Tensor, Tensor> driven_walks_backward(Tensor grad_chain, Tensor chain, Tensor weight_hh,
                                                                 Tensor gains, std::optional<Tensor> carries,
                                                                 double alpha, bool of_gains) {
  STD_TORCH_CHECK(chain.dim() == 5, "chain must come from the forward op, got ", shape_of(chain));
  const DrivenCall call(weight_hh, gains, carries, alpha, chain.size(2));
  Tensor grad_links = call.links(), grad_hh = empty_of(weight_hh, {call.rows, call.n});
  for (const auto& [name, given] : {std::pair{"grad_chain", &grad_chain}, std::pair{"chain", &chain}}) {
    check_like(name, *given, weight_hh);
    STD_TORCH_CHECK(given->dim() == 5 && given->numel() == grad_links.numel() && given->size(0) == call.hops + 1, name,
                    " must be ", shape_of(grad_links), ", got ", shape_of(*given));
  }
  const bool of_carries = of_gains && call.carries;
  Tensor grad_gains =
      of_gains ? empty_of(weight_hh, {call.hops, call.count, call.parts, call.rows}) : empty_of(weight_hh, {0});
  const int64_t sizes[] = {call.hops, call.count, call.parts, call.parts, call.n};
  Tensor grad_carries = of_carries ? empty_of(weight_hh, sizes, 5) : empty_of(weight_hh, {0});
  const Tensor gradient = dense(grad_chain), links = dense(chain);
  dispatch(weight_hh, [&](auto zero) {
    using T = decltype(zero);
    const DrivenChain<T> problem = call.problem<T>();
    if (grad_links.numel() == 0) {
      if (grad_hh.numel() > 0) std::fill_n(at<T>(grad_hh, 0, 0), grad_hh.numel(), T(0));
      if (grad_gains.numel() > 0) std::fill_n(at<T>(grad_gains, 0, 0), grad_gains.numel(), T(0));
      if (grad_carries.numel() > 0) std::fill_n(at<T>(grad_carries, 0, 0), grad_carries.numel(), T(0));
      return;
    }
    const Scratch<T> shared = scratch<T>(driven_backward_scratch(problem));
    run_team(2 * problem.flops(), [&](Team& team) {
      driven_chain_backward(problem, static_cast<const T*>(gradient.const_data_ptr()),
                            static_cast<const T*>(links.const_data_ptr()), at<T>(grad_hh, 0, 0),
                            at<T>(grad_gains, 0, 0), at<T>(grad_carries, 0, 0), at<T>(grad_links, 0, 0), team,
                            shared.get());
    });
  });
  return {grad_hh, grad_gains, grad_carries, grad_links};
}

}  // namespace
}  // namespace rrnn::cpu

STABLE_TORCH_LIBRARY_IMPL(rrnn_ext, CPU, m) {
  m.impl("driven_walks", TORCH_BOX(&rrnn::cpu::driven_walks));
  m.impl("driven_walks_backward", TORCH_BOX(&rrnn::cpu::driven_walks_backward));
}
