// The ops of walks through a network that ran, on CUDA tensors. csrc/cpu/ops/driven_walks.cpp has those of CPU tensors.
#include "cuda/algorithms/driven_walks.h"

#include <torch/csrc/stable/library.h>

#include <limits>

#include "common/driven_ops.h"
#include "cuda/device/stream.h"
#include "cuda/device/workspace.h"

namespace rrnn::cuda {
namespace {

struct DrivenOnCuda {
  template <typename T>
  static void forward(const Tensor& like, const DrivenProblem<T>& problem, T* walks, T* chain) {
    const CurrentDevice current(like);
    check_sizes(problem);
    const Workspace memory = Workspace::of<T>(like, driven_forward_memory(problem));
    driven_forward(problem, walks, chain, memory.get<T>(), current.stream());
  }

  template <typename T>
  static void backward(const Tensor& like, const DrivenProblem<T>& problem, const T* grad_walks, const T* chain,
                       const DrivenGradients<T>& to) {
    const CurrentDevice current(like);
    check_sizes(problem);
    const Workspace memory = Workspace::of<T>(like, driven_backward_memory(problem));
    driven_backward(problem, grad_walks, chain, to, memory.get<T>(), current.stream());
  }

  template <typename T>
  static void norm(const Tensor& walks, const DrivenNorm<T>& norm, T* value) {
    const CurrentDevice current(walks);
    const Workspace memory = Workspace::of<T>(walks, driven_norm_memory(norm));
    driven_norm(norm, value, memory.get<T>(), current.stream());
  }

  template <typename T>
  static void slope(const Tensor& walks, const DrivenNorm<T>& norm, const T* grad_value, T* grad_walks) {
    const CurrentDevice current(walks);
    driven_slope(norm, grad_value, grad_walks, current.stream());
  }

 private:
  // Vectors and rows are counted in 32 bits.
  template <typename T>
  static void check_sizes(const DrivenProblem<T>& problem) {
    const int64_t vectors = problem.hops * problem.vectors(), most = std::numeric_limits<int32_t>::max();
    STD_TORCH_CHECK(vectors <= most && problem.rows() <= most && problem.inputs <= most,
                    "hops x networks x width, the rows of weight_hh and the columns of weight_ih must be below 2^31 on "
                    "CUDA, got ",
                    vectors, ", ", problem.rows(), " and ", problem.inputs);
  }
};

}  // namespace
}  // namespace rrnn::cuda

STABLE_TORCH_LIBRARY_IMPL(rrnn_ext, RRNN_CUDA_KEY, m) {
  using Ops = rrnn::DrivenOps<rrnn::cuda::DrivenOnCuda>;
  m.impl("driven_walks", TORCH_BOX(&Ops::walks));
  m.impl("driven_walks_backward", TORCH_BOX(&Ops::walks_backward));
  m.impl("driven_walks_penalty", TORCH_BOX(&Ops::penalty));
  m.impl("driven_walks_penalty_backward", TORCH_BOX(&Ops::penalty_backward));
}
