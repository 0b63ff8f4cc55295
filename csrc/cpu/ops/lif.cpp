// The ops of leaky integrate-and-fire neurons on CPU tensors.
#include "cpu/algorithms/lif.h"

#include <torch/csrc/stable/library.h>

#include "common/lif_arguments.h"

namespace rrnn::cpu {
namespace {

constexpr auto kForward = [](const auto& call, const Tensor&) { lif_forward(call); };
constexpr auto kBackward = [](const auto& call, const Tensor&) { lif_backward(call); };

}  // namespace
}  // namespace rrnn::cpu

STABLE_TORCH_LIBRARY_IMPL(rrnn_ext, CPU, m) {
  m.impl("lif", TORCH_BOX(&rrnn::lif_op<rrnn::cpu::kForward>));
  m.impl("lif_backward", TORCH_BOX(&rrnn::lif_backward_op<rrnn::cpu::kBackward>));
}
