#include "cpu/algorithms/shrinking_powers.h"

#include <algorithm>
#include <cmath>

#include "common/convergence.h"
#include "common/edge.h"
#include "cpu/algorithms/square_product.h"

namespace rrnn::cpu {
namespace {

// Spectral radii up to about 1 - 2^-10 show themselves within so many squarings.
constexpr int kSquarings = 12;

// Vectors on their way through A', hop by hop, and how many hops it takes until they prove something.
template <typename T>
class Probes {
 public:
  Probes(const Kernels<T>& k, int64_t n, T* scratch)
      : k_(k), n_(n), vectors_(scratch), images_(scratch + kShrunkProbes * n) {
    for (int64_t i = 0; i < kShrunkProbes * n; ++i) vectors_[i] = probe<T>(static_cast<uint32_t>(i));
    length_ = length();
  }

  void advance(const T* a, int64_t hops) {
    const double before = length_;
    for (int64_t hop = 0; hop < hops; ++hop) {
      k_.product_transposed({0, n_}, n_, a, n_, vectors_, n_, kShrunkProbes, T(1), nullptr, 0, images_, n_, false);
      std::swap(vectors_, images_);
    }
    length_ = length();
    growth_ = (std::log(length_) - std::log(before)) / static_cast<double>(hops);
  }

  // As they are now, whatever powers of A brought them here.
  bool shrank() const { return length_ < kShrunk * kShrunkProbe; }
  // Of the last ones, if it goes on like that; infinite or NaN where it will not.
  double hops_left() const { return growth_ < 0 ? std::log(kShrunk * kShrunkProbe / length_) / growth_ : INFINITY; }
  void square() { growth_ *= 2; }

 private:
  // Of the longest one.
  double length() const {
    double squares = 0;
    for (int64_t c = 0; c < kShrunkProbes; ++c)
      squares = std::max(k_.walk_sizes(Norm::kL2, n_, vectors_ + c * n_), squares);
    return std::sqrt(squares);
  }

  const Kernels<T>& k_;
  int64_t n_;
  T *vectors_, *images_;
  double length_, growth_ = 0;
};

}  // namespace

// By squarings, 2 n^3 flops each, whose norms are certain, until the probes, 8 n^2 flops a hop, are near: a squaring
// halves what is left of their way.
template <typename T>
bool powers_shrink(const Kernels<T>& k, int64_t n, double squares, T* a, T* other, T* scratch) {
  if (std::sqrt(squares) < kShrunk) return true;
  Probes<T> probes(k, n, scratch);
  probes.advance(a, std::max<int64_t>(1, n / 8));
  for (int squarings = 0; std::sqrt(squares) < 1e6; ++squarings) {
    for (double budget = static_cast<double>(n) / 2; probes.hops_left() <= budget;) {
      const double hops = std::floor(std::max(probes.hops_left(), 0.0)) + 1;
      probes.advance(a, static_cast<int64_t>(hops));
      if (probes.shrank()) return true;
      budget -= hops;
    }
    if (squarings == kSquarings) return false;
    multiply(k, n, a, a, T(1), other);
    std::swap(a, other);
    probes.square();
    squares = k.walk_sizes(Norm::kL2, n * n, a);
    if (std::sqrt(squares) < kShrunk) return true;
  }
  return false;
}

#define RRNN_INSTANTIATE(T) template bool powers_shrink(const Kernels<T>&, int64_t, double, T*, T*, T*);
RRNN_INSTANTIATE(float)
RRNN_INSTANTIATE(double)

}  // namespace rrnn::cpu
