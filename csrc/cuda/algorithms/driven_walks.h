// Walks through a network that ran, their gradients and the norm of them.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "common/driven_problem.h"

namespace rrnn::cuda {

// Fills walks (terms, networks, width, inputs) and, unless it is null, chain (hops, parts, networks, width, n).
// `memory` is room for so many numbers.
template <typename T>
void driven_forward(const DrivenProblem<T>& problem, T* walks, T* chain, T* memory, cudaStream_t stream);
template <typename T>
int64_t driven_forward_memory(const DrivenProblem<T>& problem);

// From grad_walks, of the shape of the walks.
template <typename T>
void driven_backward(const DrivenProblem<T>& problem, const T* grad_walks, const T* chain, const DrivenGradients<T>& to,
                     T* memory, cudaStream_t stream);
template <typename T>
int64_t driven_backward_memory(const DrivenProblem<T>& problem);

// The norm and the gradient by the walks, of the shape of the walks.
template <typename T>
void driven_norm(const DrivenNorm<T>& norm, T* value, T* memory, cudaStream_t stream);
template <typename T>
int64_t driven_norm_memory(const DrivenNorm<T>& norm);
template <typename T>
void driven_slope(const DrivenNorm<T>& norm, const T* grad_value, T* grad_walks, cudaStream_t stream);

}  // namespace rrnn::cuda
