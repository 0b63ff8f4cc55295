// Leaky integrate-and-fire neurons over time, on a CUDA device.
#pragma once

#include <cuda_runtime.h>

#include "common/lif_call.h"

namespace rrnn::cuda {

template <typename T>
void lif_forward(const LifForward<T>& call, cudaStream_t stream);

template <typename T>
void lif_backward(const LifBackward<T>& call, cudaStream_t stream);

}  // namespace rrnn::cuda
