#include <algorithm>

#include "cuda/algorithms/inverse_by_halves.h"
#include "cuda/device/launch.h"
#include "cuda/kernels/gauss_jordan.h"

namespace rrnn::cuda {
namespace {

constexpr int kLeaf = 128;

// to = (I - a)^{-1} for (n, n) of each graph, n <= kLeaf, a block each.
template <typename T>
__global__ void __launch_bounds__(TileShape<T, kLeaf>::kThreads) invert_leaf(Matrix<const T> a, Matrix<T> to, int n) {
  SharedPieces shared(shared_memory());
  const Elimination<T, kLeaf> memory(shared);
  const int64_t graph = blockIdx.x;
  Tile<T, kLeaf> inverse;
  const bool aligned = a.has_vectors();
  load_identity_minus(inverse, [&](int i, int j) { return load_piece(a.at(graph, i, j), i < n ? n - j : 0, aligned); });
  gauss_jordan(inverse, n, true, memory);
  __syncthreads();
  inverse.each_vector([&](int i, int j, const Vector<T>& piece) {
    if (i >= n) return;
#pragma unroll
    for (int v = 0; v < Vector<T>::kSize; ++v)
      if (j + v < n) *to.at(graph, memory.place[i], memory.order[j + v]) = piece.at[v];
  });
}

// The units of the first half: a multiple of the vectors.
int first_half(int n) { return (n / 2 + 3) / 4 * 4; }

}  // namespace

int64_t halves_scratch(int64_t count, int64_t n) {
  if (n <= kLeaf) return 0;
  const int64_t half = first_half(static_cast<int>(n)), rest = n - half;
  return count * rest * (2 * half + rest) + halves_scratch(count, std::max(half, rest));
}

// to = (I - a)^{-1}: walks within the first half of the units, and those of the second half by way of the first.
template <typename T>
void invert_by_halves(int64_t count, Matrix<const T> a, Matrix<T> to, int n, T* scratch, cudaStream_t stream) {
  if (n <= kLeaf) {
    SharedPieces shared(nullptr);
    const Elimination<T, kLeaf> memory(shared);
    launch(invert_leaf<T>,
           {dim3(static_cast<unsigned>(count)), TileShape<T, kLeaf>::kThreads, static_cast<size_t>(shared.bytes())},
           stream, a, to, n);
    return;
  }
  const int half = first_half(n), rest = n - half;
  const Matrix<T> through = dense(scratch, half, rest), back = dense(scratch += count * half * rest, rest, half),
                  second = dense(scratch += count * half * rest, rest, rest);
  scratch += count * rest * rest;
  const Matrix<const T> into = a.block(0, half), out = a.block(half, 0), none{};
  const Matrix<T> first = to.block(0, 0), last = to.block(half, half);
  const auto product = [&](const Matrix<const T>& left, const Matrix<const T>& right, const Matrix<const T>& base,
                           const Matrix<T>& result, int rows, int columns, int depth) {
    launch_multiply<T>(count, left, right, {base, result, columns, none}, rows, depth, stream);
  };
  invert_by_halves(count, a, first, half, scratch, stream);
  product(first, into, none, through, half, rest, half);
  product(out, through, a.block(half, half), second, rest, rest, half);
  product(out, first, none, back, rest, half, half);
  invert_by_halves<T>(count, second, last, rest, scratch, stream);
  product(through, last, none, to.block(0, half), half, rest, rest);
  product(last, back, none, to.block(half, 0), rest, half, rest);
  product(through, to.block(half, 0), first, first, half, half, rest);
}

template void invert_by_halves(int64_t, Matrix<const float>, Matrix<float>, int, float*, cudaStream_t);
template void invert_by_halves(int64_t, Matrix<const double>, Matrix<double>, int, double*, cudaStream_t);

}  // namespace rrnn::cuda
