// Whether arithmetic left the range of its type. The processor notes that by itself, so it costs nothing to know.
#pragma once

#include <cfenv>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace rrnn::cpu {

// What this thread does from here on. An infinity that was there before goes unnoticed.
class OverflowWatch {
 public:
#if defined(__x86_64__)  // vectors and scalars alike report to this register, which <cfenv> is slower to reach
  OverflowWatch() {
    asm volatile("" ::: "memory");
    __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() & ~kReports);
    asm volatile("" ::: "memory");
  }
  bool overflowed() const {
    asm volatile("" ::: "memory");
    return __builtin_ia32_stmxcsr() & kReports;
  }

 private:
  static constexpr unsigned kReports = 1 | 8;  // inf - inf and the like; overflow
#else
  OverflowWatch() { std::feclearexcept(FE_OVERFLOW | FE_INVALID); }
  bool overflowed() const { return std::fetestexcept(FE_OVERFLOW | FE_INVALID); }
#endif
};

// A sum of a million products of two numbers up to this, times a thousand, is far from overflow.
template <typename T>
inline constexpr T kModerate = sizeof(T) == 4 ? T(0x1p46) : T(0x1p480);

template <typename T>
bool all_finite(const T* numbers, int64_t count) {
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  constexpr Bits kExponent = sizeof(T) == 4 ? Bits{0x7f800000} : static_cast<Bits>(0x7ff0000000000000);
  Bits outside = 0;  // not a bool: this one vectorises
  for (int64_t i = 0; i < count; ++i) {
    Bits bits;
    std::memcpy(&bits, numbers + i, sizeof bits);
    outside |= (bits & kExponent) == kExponent;
  }
  return outside == 0;
}

}  // namespace rrnn::cpu
