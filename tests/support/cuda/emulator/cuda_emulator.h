// CUDA C++ for the CPU: what a header-free .cu file uses, in plain C++ and calls to the runtime.
// __global__ and __shared__ are no macros: the loader (emulator.py) rewrites them, because a shared
// array needs one copy a block, and a kernel an entry that takes its arguments from an array.
// __CUDA_ARCH__ is not defined: inline PTX stands behind it, with plain C++ beside it.
#pragma once
#include "interface.h"

#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

constexpr int warpSize = 32;

namespace emulator {

inline int lane() {
  return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % warpSize;
}

template <class To, class From>
inline To bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "the two types have one size");
  To to;
  __builtin_memcpy(&to, &from, sizeof to);
  return to;
}

// A value the compiler cannot look through: it keeps __fmul_rn and its like out of an fma.
template <class T>
inline T opaque(T value) {
#ifdef __x86_64__
  __asm__("" : "+x"(value));
#else
  __asm__("" : "+w"(value));
#endif
  return value;
}

template <class T>
struct Same {
  using type = T;
};

// ---- kernels as the loader sees them: an entry, and a signature such as "*f4 i8"

template <int...>
struct Indices {};

template <class... T, int... i>
__attribute__((no_sanitize("thread"))) void call(void (*kernel)(T...), void **arguments,
                                                 Indices<i...>) {
  kernel(*static_cast<T *>(arguments[i])...);
}

template <class... T>
void call(void (*kernel)(T...), void **arguments) {
  call(kernel, arguments, Indices<__integer_pack(sizeof...(T))...>());
}

// 'b', 'f', 'i', 'u'; 'v' for void, for vector types, whose arrays may be of any dtype, and structs.
template <class T>
constexpr char kind() {
  if constexpr (__is_class(T) || __is_same(T, const void) || __is_same(T, void)) {
    return 'v';
  } else {
    return T(0.5) == T(1) ? 'b' : T(0.5) != T(0) ? 'f' : T(-1) < T(0) ? 'i' : 'u';
  }
}

template <class T>
constexpr char size() {
  if constexpr (kind<T>() == 'v') {
    return '0';
  } else {
    return '0' + sizeof(T);
  }
}

template <class T>
struct Argument {
  static constexpr char code[] = {' ', kind<T>(), size<T>()};
};
template <class T>
struct Argument<T *> {
  static constexpr char code[] = {'*', kind<T>(), size<T>()};
};
template <class T>
struct Argument<const T *> {
  static constexpr char code[] = {'c', kind<T>(), size<T>()};
};

template <class... T>
const char *signature(void (*)(T...)) {
  static char text[3 * sizeof...(T) + 1];
  char *at = text;
  ((__builtin_memcpy(at, Argument<T>::code, 3), at += 3), ...);
  return text;
}

}  // namespace emulator

// ---- synchronisation. The last argument is never given: it is the place of the call.

#define EMULATOR_HERE emulator::Site site = emulator::Site::here()

inline void __syncthreads(EMULATOR_HERE) { emulator::syncthreads(site); }
inline void __syncwarp(unsigned mask = 0xffffffffu, EMULATOR_HERE) {
  emulator::syncwarp(mask, site);
}
inline void __nanosleep(unsigned nanoseconds, EMULATOR_HERE) { emulator::yield(nanoseconds, site); }
inline void __trap(EMULATOR_HERE) { emulator::trap(site); }
inline void __threadfence() { emulator::fence(); }
inline void __threadfence_block() { emulator::fence(); }

// A lane that asks outside [lowest, end of its segment) gets its own value back.
#define EMULATOR_SHUFFLE(name, operand, source_lane, lowest)                             \
  template <class T>                                                                     \
  inline T name(unsigned mask, T value, int operand, int width = warpSize,               \
                EMULATOR_HERE) {                                                         \
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");       \
    const int lane = emulator::lane(), first = lane & -width;                            \
    int from = source_lane;                                                              \
    if (from < (lowest) || from >= first + width) from = lane;                           \
    unsigned long long word = 0;                                                         \
    __builtin_memcpy(&word, &value, sizeof value);                                       \
    word = emulator::shuffle(mask, word, from, #name, site);                             \
    __builtin_memcpy(&value, &word, sizeof value);                                       \
    return value;                                                                        \
  }
EMULATOR_SHUFFLE(__shfl_sync, source, first + (source & (width - 1)), first)
EMULATOR_SHUFFLE(__shfl_up_sync, delta, lane - delta, first)
EMULATOR_SHUFFLE(__shfl_down_sync, delta, lane + delta, first)
EMULATOR_SHUFFLE(__shfl_xor_sync, lanes, lane ^ lanes, 0)

inline unsigned __ballot_sync(unsigned mask, int value, EMULATOR_HERE) {
  return emulator::ballot(mask, value, "__ballot_sync", site);
}
inline int __any_sync(unsigned mask, int value, EMULATOR_HERE) {
  return emulator::ballot(mask, value, "__any_sync", site) != 0;
}
inline int __all_sync(unsigned mask, int value, EMULATOR_HERE) {
  return emulator::ballot(mask, value, "__all_sync", site) == mask;
}
inline unsigned __activemask() { return emulator::active_mask(); }

// ---- atomics. CUDA's are relaxed; for a barrier use __atomic_* with release and acquire.

template <class T>
inline T atomicAdd(T *address, typename emulator::Same<T>::type value) {
  return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}
template <class T>
inline T atomicExch(T *address, typename emulator::Same<T>::type value) {
  return __atomic_exchange_n(address, value, __ATOMIC_RELAXED);
}
template <class T>
inline T atomicCAS(T *address, T expected, typename emulator::Same<T>::type value) {
  __atomic_compare_exchange_n(address, &expected, value, false, __ATOMIC_RELAXED,
                              __ATOMIC_RELAXED);
  return expected;
}

// ---- vector types: copies in memory go through touch_vector, which checks the alignment

#define EMULATOR_VECTOR(name, T, count, ...)                                   \
  struct alignas(count * sizeof(T)) name {                                     \
    T __VA_ARGS__;                                                             \
    name() = default;                                                          \
    name(const name &other) { *this = other; }                                 \
    name &operator=(const name &other) {                                       \
      emulator::touch_vector(&other, sizeof other, false);                     \
      emulator::touch_vector(this, sizeof other, true);                        \
      __builtin_memcpy(static_cast<void *>(this), &other, sizeof other);       \
      return *this;                                                            \
    }
#define EMULATOR_VECTOR2(name, T)                                              \
  EMULATOR_VECTOR(name, T, 2, x, y)                                            \
    name(T x_, T y_) : x(x_), y(y_) {}                                         \
  };                                                                           \
  inline name make_##name(T x, T y) { return name(x, y); }
#define EMULATOR_VECTOR4(name, T)                                              \
  EMULATOR_VECTOR(name, T, 4, x, y, z, w)                                      \
    name(T x_, T y_, T z_, T w_) : x(x_), y(y_), z(z_), w(w_) {}               \
  };                                                                           \
  inline name make_##name(T x, T y, T z, T w) { return name(x, y, z, w); }
#define EMULATOR_VECTORS(name, T) EMULATOR_VECTOR2(name##2, T) EMULATOR_VECTOR4(name##4, T)

EMULATOR_VECTORS(char, signed char) EMULATOR_VECTORS(uchar, unsigned char)
EMULATOR_VECTORS(short, short) EMULATOR_VECTORS(ushort, unsigned short)
EMULATOR_VECTORS(int, int) EMULATOR_VECTORS(uint, unsigned) EMULATOR_VECTORS(float, float)
EMULATOR_VECTOR2(longlong2, long long) EMULATOR_VECTOR2(ulonglong2, unsigned long long)
EMULATOR_VECTOR2(double2, double)

template <class T> inline T __ldg(const T *address) { return *address; }
template <class T> inline T __ldca(const T *address) { return *address; }
template <class T> inline T __ldcg(const T *address) { return *address; }
template <class T> inline T __ldcs(const T *address) { return *address; }
template <class T> inline void __stcg(T *address, T value) { *address = value; }
template <class T> inline void __stcs(T *address, T value) { *address = value; }

// ---- mathematics: the C library's, so the fast forms (__expf) are as accurate as the slow ones

#define EMULATOR_MATH1(name)                                            \
  inline float name##f(float x) { return __builtin_##name##f(x); }      \
  inline float name(float x) { return __builtin_##name##f(x); }         \
  inline double name(double x) { return __builtin_##name(x); }
EMULATOR_MATH1(exp) EMULATOR_MATH1(exp2) EMULATOR_MATH1(expm1) EMULATOR_MATH1(tanh)
EMULATOR_MATH1(log) EMULATOR_MATH1(log2) EMULATOR_MATH1(log1p) EMULATOR_MATH1(sqrt)
EMULATOR_MATH1(fabs) EMULATOR_MATH1(floor) EMULATOR_MATH1(ceil) EMULATOR_MATH1(rint)

#define EMULATOR_MATH2(name)                                                         \
  inline float name##f(float x, float y) { return __builtin_##name##f(x, y); }       \
  inline float name(float x, float y) { return __builtin_##name##f(x, y); }          \
  inline double name(double x, double y) { return __builtin_##name(x, y); }
EMULATOR_MATH2(fmin) EMULATOR_MATH2(fmax) EMULATOR_MATH2(pow) EMULATOR_MATH2(copysign)

inline float fmaf(float x, float y, float z) { return __builtin_fmaf(x, y, z); }
inline float fma(float x, float y, float z) { return __builtin_fmaf(x, y, z); }
inline double fma(double x, double y, double z) { return __builtin_fma(x, y, z); }
inline float ldexpf(float x, int e) { return __builtin_ldexpf(x, e); }
inline double ldexp(double x, int e) { return __builtin_ldexp(x, e); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __fdividef(float x, float y) { return x / y; }
template <class T> inline bool isnan(T x) { return __builtin_isnan(x); }
template <class T> inline bool isinf(T x) { return __builtin_isinf(x); }
template <class T> inline bool isfinite(T x) { return __builtin_isfinite(x); }

#define EMULATOR_ROUNDED(prefix, suffix, T)                                                        \
  inline T prefix##add_rn(T x, T y) { return emulator::opaque(x) + emulator::opaque(y); }          \
  inline T prefix##sub_rn(T x, T y) { return emulator::opaque(x) - emulator::opaque(y); }          \
  inline T prefix##mul_rn(T x, T y) { return emulator::opaque(x * y); }                            \
  inline T prefix##div_rn(T x, T y) { return x / y; }                                              \
  inline T prefix##rcp_rn(T x) { return T(1) / x; }                                                \
  inline T prefix##sqrt_rn(T x) { return sqrt(x); }                                                \
  inline T __fma##suffix##_rn(T x, T y, T z) { return fma(x, y, z); }
EMULATOR_ROUNDED(__f, f, float)
EMULATOR_ROUNDED(__d, , double)

#define EMULATOR_CAST(name, To, From) \
  inline To name(From x) { return emulator::bits<To>(x); }
EMULATOR_CAST(__float_as_uint, unsigned, float)
EMULATOR_CAST(__float_as_int, int, float)
EMULATOR_CAST(__uint_as_float, float, unsigned)
EMULATOR_CAST(__int_as_float, float, int)
EMULATOR_CAST(__double_as_longlong, long long, double)
EMULATOR_CAST(__longlong_as_double, double, long long)

inline int __float2int_rn(float x) { return static_cast<int>(__builtin_lrintf(x)); }
inline int __double2int_rn(double x) { return static_cast<int>(__builtin_lrint(x)); }
inline float __double2float_rn(double x) { return static_cast<float>(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }

#define EMULATOR_MIN_MAX(T)                               \
  inline T min(T x, T y) { return y < x ? y : x; }        \
  inline T max(T x, T y) { return x < y ? y : x; }
EMULATOR_MIN_MAX(int) EMULATOR_MIN_MAX(unsigned)
EMULATOR_MIN_MAX(long) EMULATOR_MIN_MAX(unsigned long)
EMULATOR_MIN_MAX(long long) EMULATOR_MIN_MAX(unsigned long long)
inline float min(float x, float y) { return fminf(x, y); }
inline float max(float x, float y) { return fmaxf(x, y); }
inline double min(double x, double y) { return fmin(x, y); }
inline double max(double x, double y) { return fmax(x, y); }
