// The ops of leaky integrate-and-fire neurons on CUDA tensors.
#include "cuda/algorithms/lif.h"

#include <torch/csrc/stable/library.h>

#include "common/lif_arguments.h"
#include "cuda/device/stream.h"

namespace rrnn::cuda {
namespace {

constexpr auto kForward = [](const auto& call, const Tensor& current) {
  const CurrentDevice device(current);
  lif_forward(call, device.stream());
};
constexpr auto kBackward = [](const auto& call, const Tensor& spikes) {
  const CurrentDevice device(spikes);
  lif_backward(call, device.stream());
};

}  // namespace
}  // namespace rrnn::cuda

STABLE_TORCH_LIBRARY_IMPL(rrnn_ext, RRNN_CUDA_KEY, m) {
  m.impl("lif", TORCH_BOX(&rrnn::lif_op<rrnn::cuda::kForward>));
  m.impl("lif_backward", TORCH_BOX(&rrnn::lif_backward_op<rrnn::cuda::kBackward>));
}
