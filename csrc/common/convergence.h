// How sure the kernels of infinite sums must be of what they say.
#pragma once

#include <cstdint>

#include "common/edge.h"

namespace rrnn {

// The relative error that they may leave; where it could be more they leave the sum open, for more precision than they
// have.
inline constexpr double kTolerance = 1.0 / 2048;

// What is known of a graph's sum, in the dtype of the weights: that it converges and that what comes out is within
// kTolerance of it, or nothing. (Weights that are not finite make NaN, about which there is nothing to prove.) kMended:
// both, where the inverse that is fastest was not accurate enough and another way was taken.
inline constexpr int kOpen = 0, kProved = 1, kMended = 2;

// Numbers of either sign between 1/2 and 3/2, the same each time; of no pattern that a matrix could have too. Vectors
// of them show the error of an inverse, and how much a power of a matrix shrinks.
template <typename T>
RRNN_INLINE T probe(uint32_t index) {
  uint32_t bits = (index + 1) * 2654435761u;
  bits ^= bits >> 16;
  bits *= 0x85ebca6bu;
  bits ^= bits >> 13;
  const T size = T(0.5) + static_cast<T>(bits >> 8) / (1 << 24);
  return bits & 1 ? size : -size;
}

// ||A^m|| < 1, whatever A is, where A^m makes so many vectors of probes shorter than this, but for a probability of
// 1e-9: that the part which a probe has of a given direction is below t has a probability of at most sqrt(2) t, as the
// entries have a density of at most 1/2, and the part one of at most sqrt(1/2) (Rudelson & Vershynin 2015).
inline constexpr int64_t kShrunkProbes = 4;
inline constexpr double kShrunkProbe = 4e-3;

// Of what a probe shows: it may show the error smaller than it is.
inline constexpr double kProbeTolerance = kTolerance / 4;

// ||A^m|| below this, for some m, counts as below 1 whatever rounding did to it: a proof that rho(A) < 1.
inline constexpr double kShrunk = 0.99;

// The solution of a pathway: its residual in units of rounding of its own length, at most; that of the recurrences of
// biconjugate gradients, and that of a product, which is the truth. And how many steps may go by until then.
inline constexpr int kResidual = 1, kTrueResidual = 16, kMostPathwaySteps = 200;

// A x < x proves that the walks have a sum, for an x > 0 of n units, where the gain is more than this part of x:
// more than rounding makes of none.
template <typename T>
RRNN_INLINE T proof_margin(T unit_of_rounding, int64_t n) {
  return unit_of_rounding * static_cast<T>(n);
}

// x and y of a pathway give the sum v . x up to y . r for the residual r = u - (I - A) x, and r itself is known up to
// the rounding of a product, a few units of rounding (sqrt(n) where a long sum is unlucky) of (I + A) x <= 2 x: so many
// units of rounding of y . x in all.
RRNN_INLINE double pathway_roundings(int64_t n) { return 4 + std::sqrt(static_cast<double>(n)) / 2; }

}  // namespace rrnn
