// Walks of finite length through a sparse matrix, their penalty and the gradients of both.
#pragma once

#include <cstdint>

#include "common/sparse_walk_problem.h"
#include "cpu/algorithms/team.h"

namespace rrnn::cpu {

// How many vectors of the narrower side are carried together, and so what memory there has to be for: the chain of so
// many vectors, hop by hop.
inline constexpr int64_t kMostVectors = 16;

template <typename T>
int64_t sparse_walks_scratch(const SparseWalksCall<T>& call);
template <typename T>
double flops_of(const SparseWalksCall<T>& call);

// `mirrored`: the values by columns, which a problem from the outputs and gradients need.
template <typename T>
void sparse_walks(const SparseWalksCall<T>& call, const T* mirrored, Team& team, T* shared);

}  // namespace rrnn::cpu
