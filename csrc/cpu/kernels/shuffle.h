// Vectors of any length whose lanes change places.
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

namespace RRNN_ISA {

template <typename V>
using LaneOf = std::remove_cv_t<std::remove_reference_t<decltype(std::declval<V&>()[0])>>;
template <typename V>
inline constexpr int kLanesOf = static_cast<int>(sizeof(V) / sizeof(LaneOf<V>));
template <typename V>
using AllLanes = std::make_integer_sequence<int, kLanesOf<V>>;

// Lane i of the result is lane At[i] of a and b, one after the other.
template <int... At, typename V>
inline V shuffled(const V& a, const V& b) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, At...);
#else  // GCC has that from version 12 on only
  using Word = std::conditional_t<sizeof(LaneOf<V>) == 4, int32_t, int64_t>;
  typedef Word Places __attribute__((vector_size(sizeof(V))));
  return __builtin_shuffle(a, b, Places{At...});
#endif
}

// Which lane of two vectors of COUNT comes to a lane of their exchange by STEP: the first result takes the lanes
// without the bit STEP of both, the second those with it.
template <int COUNT, int STEP, bool Second>
constexpr int exchanged(int lane) {
  if (Second) return lane & STEP ? COUNT + lane : lane + STEP;
  return lane & STEP ? COUNT + lane - STEP : lane;
}

template <int STEP, bool Second, typename V, int... Lane>
inline V exchange_of(const V& a, const V& b, std::integer_sequence<int, Lane...>) {
  return shuffled<exchanged<kLanesOf<V>, STEP, Second>(Lane)...>(a, b);
}

template <int STEP, bool Second, typename V>
inline V exchange_of(const V& a, const V& b) {
  return exchange_of<STEP, Second>(a, b, AllLanes<V>());
}

}  // namespace RRNN_ISA
