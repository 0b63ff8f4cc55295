// Vectors as wide as the instruction set this translation unit is compiled for.
// Every kernels_<isa>.cpp includes this inside its own namespace, so one library holds all of them.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__AVX512F__) || defined(__AVX2__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"  // GCC 12 warns of its own _mm512_undefined
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

namespace RRNN_ISA {

#if defined(__AVX512F__)
inline constexpr int kVectorBytes = 64;
inline constexpr int kRegisters = 32;
#elif defined(__AVX2__)
inline constexpr int kVectorBytes = 32;
inline constexpr int kRegisters = 16;
#else
inline constexpr int kVectorBytes = 16;
inline constexpr int kRegisters = 16;
#endif

template <typename T>
struct VectorOf;
template <>
struct VectorOf<float> {
  typedef float type __attribute__((vector_size(kVectorBytes)));
  typedef int32_t bits __attribute__((vector_size(kVectorBytes)));
};
template <>
struct VectorOf<double> {
  typedef double type __attribute__((vector_size(kVectorBytes)));
  typedef int64_t bits __attribute__((vector_size(kVectorBytes)));
};

template <typename T>
using Vector = typename VectorOf<T>::type;
template <typename T>
using Word = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;  // a lane's bits
template <typename T>
inline constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(T));

template <typename T>
inline Vector<T> load(const T* from) {
  Vector<T> v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

// Keeps a loaded vector in a register: GCC otherwise loads it again for every product it enters.
template <typename T>
inline void hold(Vector<T>& v) {
#if defined(__AVX512F__)
  asm("" : "+v"(v));
#elif defined(__x86_64__)
  asm("" : "+x"(v));
#else
  (void)v;
#endif
}

template <typename T>
inline void store(T* to, Vector<T> v) {
  std::memcpy(to, &v, sizeof v);
}

template <typename T>
inline Vector<T> broadcast(T value) {
  return value - Vector<T>{};
}

// All bits of the first `count` lanes.
template <typename T>
inline typename VectorOf<T>::bits first_lanes(int count) {
  typename VectorOf<T>::bits lanes{};
#pragma GCC unroll 16
  for (int lane = 0; lane < kLanes<T>; ++lane) lanes[lane] = lane;
  return lanes < static_cast<decltype(lanes[0] + 0)>(count);
}

// The first `count` lanes from memory, zero in the others; nothing past them is touched.
template <typename T>
inline Vector<T> load_first(const T* from, int count) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float>)
    return (Vector<T>)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), from);
  else
    return (Vector<T>)_mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << count) - 1), from);
#elif defined(__AVX2__)
  if constexpr (std::is_same_v<T, float>)
    return (Vector<T>)_mm256_maskload_ps(from, (__m256i)first_lanes<T>(count));
  else
    return (Vector<T>)_mm256_maskload_pd(from, (__m256i)first_lanes<T>(count));
#else
  Vector<T> v{};
  for (int lane = 0; lane < count; ++lane) v[lane] = from[lane];
  return v;
#endif
}

template <typename T>
inline void store_first(T* to, Vector<T> v, int count) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float>)
    _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << count) - 1), (__m512)v);
  else
    _mm512_mask_storeu_pd(to, static_cast<__mmask8>((1u << count) - 1), (__m512d)v);
#elif defined(__AVX2__)
  if constexpr (std::is_same_v<T, float>)
    _mm256_maskstore_ps(to, (__m256i)first_lanes<T>(count), (__m256)v);
  else
    _mm256_maskstore_pd(to, (__m256i)first_lanes<T>(count), (__m256d)v);
#else
  for (int lane = 0; lane < count; ++lane) to[lane] = v[lane];
#endif
}

// phi of all lanes, by their sign bits.
template <bool Rectify, typename T>
inline Vector<T> rectified(Vector<T> v) {
  if constexpr (Rectify) {
    using Bits = typename VectorOf<T>::bits;
    const Bits keep = Bits{} + static_cast<Word<T>>(~(Word<T>{1} << (8 * sizeof(T) - 1)));
    return (Vector<T>)((Bits)v & keep);
  } else {
    return v;
  }
}

// The largest of all lanes, as whole numbers.
template <typename T>
inline Word<T> largest_lane(typename VectorOf<T>::bits v) {
#if defined(__AVX512F__)
  if constexpr (std::is_same_v<T, float>)
    return _mm512_reduce_max_epi32((__m512i)v);
  else
    return _mm512_reduce_max_epi64((__m512i)v);
#else
  Word<T> largest = v[0];
  for (int lane = 1; lane < kLanes<T>; ++lane) largest = v[lane] > largest ? v[lane] : largest;
  return largest;
#endif
}

// The sum over all lanes of each of COUNT vectors; together, because a tree of pairwise adds costs a third of
// COUNT separate ones.
template <typename T, int COUNT>
inline void horizontal_sums(const Vector<T>* v, T* sums) {
#if defined(__AVX2__)
  if constexpr (std::is_same_v<T, float> && COUNT == 8) {
    __m256 half[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
#if defined(__AVX512F__)
      half[i] = _mm256_add_ps(_mm512_castps512_ps256((__m512)v[i]), _mm512_extractf32x8_ps((__m512)v[i], 1));
#else
      half[i] = (__m256)v[i];
#endif
    }
    const __m256 a = _mm256_hadd_ps(_mm256_hadd_ps(half[0], half[1]), _mm256_hadd_ps(half[2], half[3]));
    const __m256 b = _mm256_hadd_ps(_mm256_hadd_ps(half[4], half[5]), _mm256_hadd_ps(half[6], half[7]));
    const __m256 low = _mm256_permute2f128_ps(a, b, 0x20), high = _mm256_permute2f128_ps(a, b, 0x31);
    _mm256_storeu_ps(sums, _mm256_add_ps(low, high));
    return;
  }
#endif
  if constexpr (COUNT % 8 == 0 && COUNT > 8) {
    for (int i = 0; i < COUNT; i += 8) horizontal_sums<T, 8>(v + i, sums + i);
  } else {
    for (int i = 0; i < COUNT; ++i) {
#if defined(__AVX512F__)
      if constexpr (std::is_same_v<T, float>)
        sums[i] = _mm512_reduce_add_ps((__m512)v[i]);
      else
        sums[i] = _mm512_reduce_add_pd((__m512d)v[i]);
#else
      sums[i] = v[i][0];
      for (int lane = 1; lane < kLanes<T>; ++lane) sums[i] += v[i][lane];
#endif
    }
  }
}

}  // namespace RRNN_ISA
