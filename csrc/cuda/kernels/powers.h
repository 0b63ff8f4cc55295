// The proof of convergence: ||A^m||_F < 1 for some m = 2^k means that the spectral radius is below 1.
#pragma once

#include "common/convergence.h"
#include "cuda/device/device.h"

namespace rrnn::cuda {

// Of a graph that was proved to converge and whose inverse is not accurate enough, before it is mended.
inline constexpr int kInaccurate = 3;

// Squaring doubles the relative error that rounding has left: few squarings in float32, which settle radii up to about
// 1 - 2^-10, and many in float64, up to 1 - 2^-34. Both are told the square of a power's norm.
template <typename T>
struct Powers;

template <>
struct Powers<float> {
  static constexpr float kRounding = 1.1920929e-7f;
  static constexpr int kSquarings = 12;
  static constexpr bool kDecides = false;  // what is open after it may still converge
  __host__ __device__ static bool shrinks(double square) { return square < kShrunk * kShrunk; }
  __host__ __device__ static bool leaves(double square) { return !(square < 1e12); }
};

template <>
struct Powers<double> {
  static constexpr double kRounding = 2.220446049250313e-16;
  static constexpr int kSquarings = 36;
  static constexpr bool kDecides = true;
  __host__ __device__ static bool shrinks(double square) { return square < kShrunk * kShrunk; }
  __host__ __device__ static bool leaves(double square) { return !(square < 1e300); }
};

}  // namespace rrnn::cuda
