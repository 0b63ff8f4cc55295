// Leaky integrate-and-fire neurons over time, on all threads.
#pragma once

#include "common/lif_call.h"

namespace rrnn::cpu {

template <typename T>
void lif_forward(const LifForward<T>& call);

template <typename T>
void lif_backward(const LifBackward<T>& call);

}  // namespace rrnn::cpu
