// What the kernels share. Headers are put in place before NVRTC sees a file (kernel.py).
//
// Definitions a kernel is compiled with:
//   REAL         float or double: logits, weights and the arithmetic
//   X_KIND       how features are stored: 0 float32, 1 float64, 2 float16 (as its bits), 3 uint8,
//                4 bfloat16 (as its bits), 5 int8
//   Y_SOFT       0 if the targets are labels (n,), 1 if they are rows (n, c) of numbers
//   ROW_THREADS  how many threads work on one row: lanes of a warp, 4 to 32, or the whole block
//   ROW_VALUES   how many of the row's values each of them keeps in registers
//   ONE_TILE     1 if these are all of a row's, as of all rows of less than a warp
// u is the unit roundoff of REAL.

#define FULL_WARP 0xffffffffu

__device__ inline long long thread_number() {
  return blockIdx.x * (long long)blockDim.x + threadIdx.x;
}

__device__ inline long long thread_count() { return gridDim.x * (long long)blockDim.x; }

// ---- features

#ifdef X_KIND

#if X_KIND == 0
typedef float Feature;
#elif X_KIND == 1
typedef double Feature;
#elif X_KIND == 2 || X_KIND == 4
typedef unsigned short Feature;
#elif X_KIND == 3
typedef unsigned char Feature;
#else
typedef signed char Feature;
#endif

// The float16 with these bits.
__device__ inline float half_to_float(unsigned short bits) {
#ifdef __CUDA_ARCH__
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
#else
  const unsigned sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 31, fraction = bits & 1023;
  float size;
  if (exponent == 0)
    size = fraction * 5.9604644775390625e-8f;  // subnormal: a multiple of 2^-24
  else if (exponent == 31)
    size = __uint_as_float(0x7f800000u | fraction << 13);  // infinity or NaN
  else
    size = __uint_as_float((exponent + 112) << 23 | fraction << 13);
  return __uint_as_float(__float_as_uint(size) | sign);
#endif
}

__device__ inline REAL feature(Feature stored) {
#if X_KIND == 2
  return half_to_float(stored);
#elif X_KIND == 4
  return __uint_as_float((unsigned)stored << 16);  // the first half of a float32
#else
  return stored;
#endif
}

__device__ inline REAL load_feature(const Feature *X, long long offset) {
  return feature(X[offset]);
}

// Four neighbours, from an address that is aligned to four of them.
__device__ inline void load_four_features(const Feature *X, long long offset, REAL *four) {
#if X_KIND == 0
  const float4 q = *reinterpret_cast<const float4 *>(X + offset);
#elif X_KIND == 2 || X_KIND == 4
  const ushort4 q = *reinterpret_cast<const ushort4 *>(X + offset);
#elif X_KIND == 3
  const uchar4 q = *reinterpret_cast<const uchar4 *>(X + offset);
#elif X_KIND == 5
  const char4 q = *reinterpret_cast<const char4 *>(X + offset);
#endif
#if X_KIND == 1
  const double2 low = *reinterpret_cast<const double2 *>(X + offset);
  const double2 high = *reinterpret_cast<const double2 *>(X + offset + 2);
  four[0] = low.x, four[1] = low.y, four[2] = high.x, four[3] = high.y;
#else
  four[0] = feature(q.x), four[1] = feature(q.y), four[2] = feature(q.z), four[3] = feature(q.w);
#endif
}

#endif  // X_KIND

// ---- targets

#ifdef Y_SOFT
#if Y_SOFT
typedef REAL Target;
#else
typedef long long Target;
#endif
#endif

// ---- four REAL neighbours at once, from or to an address that is aligned to 16 bytes

__device__ inline void load_four(const float *from, float *four) {
  const float4 q = *reinterpret_cast<const float4 *>(from);
  four[0] = q.x, four[1] = q.y, four[2] = q.z, four[3] = q.w;
}
__device__ inline void load_four(const double *from, double *four) {
  const double2 low = *reinterpret_cast<const double2 *>(from);
  const double2 high = *reinterpret_cast<const double2 *>(from + 2);
  four[0] = low.x, four[1] = low.y, four[2] = high.x, four[3] = high.y;
}
__device__ inline void store_four(float *to, const float *four) {
  *reinterpret_cast<float4 *>(to) = make_float4(four[0], four[1], four[2], four[3]);
}
__device__ inline void store_four(double *to, const double *four) {
  *reinterpret_cast<double2 *>(to) = make_double2(four[0], four[1]);
  *reinterpret_cast<double2 *>(to + 2) = make_double2(four[2], four[3]);
}

// Do rows of `length` items allow four-at-a-time loads at every fourth column?
__device__ inline bool rows_are_aligned(const void *first, long long length, unsigned item_bytes) {
  const unsigned bytes = 4 * item_bytes < 16 ? 4 * item_bytes : 16;
  return length % 4 == 0 && reinterpret_cast<unsigned long long>(first) % bytes == 0;
}

// ---- sums that keep what rounding takes away (TwoSum: Knuth, TAOCP vol. 2, section 4.2.2)

// The number high + low, where low is small.
struct Pair {
  REAL high, low;
};

// a + b, never contracted with the multiplication that made a or b.
__device__ inline float plus(float a, float b) { return __fadd_rn(a, b); }
__device__ inline double plus(double a, double b) { return __dadd_rn(a, b); }

// a + b exactly: the rounded sum and its rounding error.
__device__ inline Pair two_sum(REAL a, REAL b) {
  const REAL sum = plus(a, b), b_part = plus(sum, -a);
  return {sum, plus(plus(a, -plus(sum, -b_part)), plus(b, -b_part))};
}

// a - b exactly.
__device__ inline Pair two_diff(REAL a, REAL b) { return two_sum(a, -b); }

__device__ inline void add(Pair &sum, REAL term) {
  const Pair s = two_sum(sum.high, term);
  sum.high = s.high;
  sum.low += s.low;
}

__device__ inline void add(Pair &sum, Pair term) {
  const Pair s = two_sum(sum.high, term.high);
  sum.high = s.high;
  sum.low = sum.low + term.low + s.low;
}

// a b to about u^2.
__device__ inline Pair times(Pair a, Pair b) {
  const REAL product = a.high * b.high;
  const REAL error = fma(a.high, b.high, -product);
  return {product, error + fma(a.high, b.low, a.low * b.high)};
}

// The rounded sum; low is NaN where high is not finite.
__device__ inline REAL rounded(Pair sum) {
  return isfinite(sum.high) ? sum.high + sum.low : sum.high;
}

// ---- the exponential

__device__ inline float infinity(float) { return __int_as_float(0x7f800000); }
__device__ inline double infinity(double) { return __longlong_as_double(0x7ff0000000000000ll); }

__device__ inline int nearest(float x) { return __float2int_rn(x); }
__device__ inline int nearest(double x) { return __double2int_rn(x); }

// 2^k, if it is a normal number.
__device__ inline float power_of_two(int k, float) { return __int_as_float((k + 127) << 23); }
__device__ inline double power_of_two(int k, double) {
  return __longlong_as_double((k + 1023ll) << 52);
}

// e^(v - largest) for v <= largest, off by about u/8; 0 for v = -inf.
//
// Rounding v - largest alone would cost |v| u, so its rounding error is carried. The difference is
// k ln 2 + g with |g| <= ln 2 / 2, and e^g = 1 + g + g^2/2 (1 + g/3 (1 + g/4 (...))), where only
// the last, small term is rounded. It is the same arithmetic on every GPU and in the emulator.
__device__ inline Pair exponential(REAL v, REAL largest) {
  const bool is_float = sizeof(REAL) == 4;
  // Where e^x vanishes: float32 flushes its subnormals to 0.
  const REAL underflow = is_float ? -87.3365 : -745.2;
  // ln 2 in two parts, the first of so few bits that k times it is exact
  const REAL ln2_high = is_float ? 0.693145751953125 : 6.93147180369123816490e-01;
  const REAL ln2_low = is_float ? 1.428606820309417e-06 : 1.90821492927058770002e-10;
  const int terms = is_float ? 7 : 14;
  const Pair d = two_diff(v, largest);
  if (d.high < underflow || v == -infinity(REAL())) return {0, 0};
  const int k = nearest(d.high * REAL(1.4426950408889634));
  const Pair g = two_sum(fma(-REAL(k), ln2_high, d.high), -REAL(k) * ln2_low);
  REAL tail = 1;
#pragma unroll
  for (int i = terms; i > 2; --i) tail = fma(g.high * (REAL(1) / i), tail, REAL(1));
  const REAL most = 1 + g.high, rest = g.high * g.high / 2 * tail;
  const REAL lost = plus(rest, g.high - (most - 1));
  const Pair e = two_sum(most, fma(plus(most, rest), g.low + d.low, lost));
  // In two steps, since 2^k may be subnormal.
  const REAL half = power_of_two(k / 2, REAL()), other_half = power_of_two(k - k / 2, REAL());
  return {e.high * half * other_half, e.low * half * other_half};
}

// ---- the largest of a row

struct Largest {
  REAL value;
  long long at;  // its column
};

// NaN beats every number, and the first of equals beats the others, as in numpy.argmax.
__device__ inline Largest larger(Largest a, Largest b) {
  const bool a_is_nan = a.value != a.value, b_is_nan = b.value != b.value;
  const bool equal = a.value == b.value || (a_is_nan && b_is_nan);
  const bool takes_b = equal ? b.at < a.at : b_is_nan || (!a_is_nan && b.value > a.value);
  return takes_b ? b : a;
}

// ---- rows: ROW_THREADS threads share one, and go on to the next in steps of the whole grid

#ifdef ROW_THREADS

#define ROW_WARPS ((ROW_THREADS + 31) / 32)
#define ROW_SHARERS (ROW_THREADS < 32 ? ROW_THREADS : 32)  // lanes of a warp that share a row

__device__ inline int row_thread() { return threadIdx.x % ROW_THREADS; }

// Which of its warp's rows this thread has.
__device__ inline int row_in_warp() { return threadIdx.x % 32 / ROW_SHARERS; }

// The first row of this warp.
__device__ inline long long first_row() { return thread_number() / ROW_THREADS - row_in_warp(); }

__device__ inline long long row_step() { return thread_count() / ROW_THREADS; }

struct RowPlace {
  long long row, columns;
};

// This thread's row, where `first` is its warp's first. Lanes without a row share the last one's
// labels and have no columns, so that all lanes take part in the reductions.
__device__ inline RowPlace row_at(long long first, long long n, long long c) {
  const long long row = first + row_in_warp();
  if (ROW_THREADS >= 32 || row < n) return {row, c};
  return {n - 1, 0};
}

__device__ inline bool is_first_of(const RowPlace &at) {
  return row_thread() == 0 && at.columns > 0;
}

// What the row's threads wrote before it, all of them may read after it.
__device__ inline void row_barrier() {
#if ROW_WARPS == 1
  __syncwarp();
#else
  __syncthreads();
#endif
}

// The lanes that take part in a reduction. A kernel whose rows go different ways within a warp
// defines ROWS_DIVERGE, and names the row's own; all lanes of the warp cost one instruction less.
__device__ inline unsigned lanes_of_reduction() {
#ifdef ROWS_DIVERGE
  return (0xffffffffu >> (32 - ROW_SHARERS)) << (row_in_warp() * ROW_SHARERS);
#else
  return FULL_WARP;
#endif
}

// Reductions over the row's threads; each gets the result. A butterfly over the lanes, then the
// warps in their order: the same bits whichever row, block or GPU it is.

__device__ inline Pair row_sum(Pair sum) {
#pragma unroll
  for (int lanes = ROW_SHARERS / 2; lanes > 0; lanes /= 2) {
    const REAL high = __shfl_xor_sync(lanes_of_reduction(), sum.high, lanes);
    const REAL low = __shfl_xor_sync(lanes_of_reduction(), sum.low, lanes);
    add(sum, Pair{high, low});
  }
#if ROW_WARPS > 1
  __shared__ Pair parts[ROW_WARPS];
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = sum;
  __syncthreads();
  sum = parts[0];
  for (int w = 1; w < ROW_WARPS; ++w) add(sum, parts[w]);
  __syncthreads();  // the next reduction writes to parts again
#endif
  return sum;
}

__device__ inline Largest row_largest(Largest most) {
#pragma unroll
  for (int lanes = ROW_SHARERS / 2; lanes > 0; lanes /= 2) {
    const REAL other = __shfl_xor_sync(lanes_of_reduction(), most.value, lanes);
#if ONE_TILE
    const int at = __shfl_xor_sync(lanes_of_reduction(), (int)most.at, lanes);
#else
    const long long at = __shfl_xor_sync(lanes_of_reduction(), most.at, lanes);
#endif
    most = larger(most, Largest{other, at});
  }
#if ROW_WARPS > 1
  __shared__ Largest parts[ROW_WARPS];
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = most;
  __syncthreads();
  for (int w = 0; w < ROW_WARPS; ++w) most = larger(most, parts[w]);
  __syncthreads();  // the next reduction writes to parts again
#endif
  return most;
}

#endif  // ROW_THREADS

// ---- rows in registers: a tile of ROW_THREADS x ROW_VALUES columns at a time, or all (ONE_TILE)

#ifdef ROW_VALUES

#define TILE_COLUMNS_OF_ROW (ROW_THREADS * ROW_VALUES)

__device__ inline long long row_tiles(long long c) {
#if ONE_TILE
  return 1;
#else
  return (c + TILE_COLUMNS_OF_ROW - 1) / TILE_COLUMNS_OF_ROW;
#endif
}

// Where this thread's i-th value of a tile is; neighbouring threads have neighbouring columns.
__device__ inline long long column(long long tile, int i) {
#if ONE_TILE
  return i * ROW_THREADS + row_thread();
#else
  return (tile * ROW_VALUES + i) * ROW_THREADS + row_thread();
#endif
}

__device__ inline bool is_inside(long long columns, long long tile, int i) {
#if ONE_TILE
  return i * ROW_THREADS + row_thread() < (int)columns;
#else
  // In 64 bits once for all i, not for each: so much is left from this thread's first column on.
  const long long left = columns - tile * TILE_COLUMNS_OF_ROW - row_thread();
  return i * ROW_THREADS < (int)min(left, (long long)TILE_COLUMNS_OF_ROW);
#endif
}

// Past the end of the row it is -inf, which is never the largest and whose exponential is 0.
__device__ inline void load_tile(const REAL *row, long long columns, long long tile, REAL *v) {
#pragma unroll
  for (int i = 0; i < ROW_VALUES; ++i)
    v[i] = is_inside(columns, tile, i) ? row[column(tile, i)] : -infinity(REAL());
}

__device__ inline Largest tile_largest(const REAL *v, long long tile) {
  REAL most = v[0];
  bool is_nan = v[0] != v[0];
#pragma unroll
  for (int i = 1; i < ROW_VALUES; ++i) {
    most = fmax(most, v[i]);  // leaves NaN out
    is_nan = is_nan || v[i] != v[i];
  }
  int at = 0;
#pragma unroll
  for (int i = ROW_VALUES - 1; i >= 0; --i)
    if (is_nan ? v[i] != v[i] : v[i] == most) at = i;
  return row_largest({is_nan ? infinity(REAL()) - infinity(REAL()) : most, column(tile, at)});
}

// ---- the exponentials of a row, scaled alike
//
// Of double e^(v - largest). Of float e^v / 2^N, where N is the whole number next to largest / ln 2.
// With v = (n + f) ln 2 that is 2^(n - N) 2^f, and v - largest, whose rounding would have to be
// carried, is not needed. f is exact but for u/4, 2^f is a polynomial: off by less than 2u. Logits
// beyond LARGE are too coarse for n: there it is e^(v - largest) once more. And so it is of all
// with ACCURATE, which a kernel defines that multiplies exponentials: off by u/8, and slower.

constexpr float LARGE = 1 << 20;
constexpr float WHOLE = 12582912;  // 1.5 * 2^23: a number added to it is rounded to a whole one

struct Scale {
  REAL largest;
  REAL shift;  // WHOLE - N
};

__device__ inline bool is_power(const Scale &s) {
#ifdef ACCURATE
  return false;
#else
  return sizeof(REAL) == 4 && fabs(s.largest) <= LARGE;
#endif
}

__device__ inline Scale scale_of(REAL largest) {
  const Scale none = {largest, WHOLE};
  if (!is_power(none)) return none;
  return {largest, WHOLE - plus(fma(largest, REAL(1.44269502f), REAL(WHOLE)), -REAL(WHOLE))};
}

// e^v / 2^N of float; 0 below 2^-125.
__device__ inline float over_power(float v, float shift) {
  const float log2_e = 1.44269502f, log2_e_rest = 1.92596299e-8f;
  const float whole = fma(v, log2_e, shift), n = __fadd_rn(whole, -shift);
  const float f = fma(v, log2_e_rest, fma(v, log2_e, -n));
  float e = 1.52527338e-5f;  // (ln 2)^i / i!, from i = 7 on
  e = fma(e, f, 1.54035304e-4f);
  e = fma(e, f, 1.33335581e-3f);
  e = fma(e, f, 9.61812911e-3f);
  e = fma(e, f, 5.55041087e-2f);
  e = fma(e, f, 2.40226507e-1f);
  e = fma(e, f, 6.93147181e-1f);
  e = fma(e, f, 1.0f);
  // The last bits of `whole` are n - N. A product, since NaN must stay NaN.
  const float power = __uint_as_float((__float_as_uint(whole) << 23) + 0x3f800000u);
  return whole < WHOLE - 125 ? 0.0f : e * power;
}

// The same of v - largest, in its two parts.
__device__ inline float over_largest(float v, float largest) {
#ifdef ACCURATE
  return exponential(v, largest).high;
#else
  const Pair d = two_diff(v, largest);
  const float e = over_power(d.high, WHOLE);
  return v == -infinity(float()) || e == 0 ? 0 : fma(e, (float)d.low, e);
#endif
}
__device__ inline double over_largest(double v, double largest) {
  return exponential(v, largest).high;
}

__device__ inline REAL scaled_exponential(REAL v, const Scale &s) {
  return is_power(s) ? (REAL)over_power(v, s.shift) : over_largest(v, s.largest);
}

// Those of a tile; v and e may be one array.
__device__ inline void tile_exponentials(const REAL *v, const Scale &s, REAL *e) {
  if (is_power(s)) {
#pragma unroll
    for (int i = 0; i < ROW_VALUES; ++i) e[i] = over_power(v[i], s.shift);
  } else {
#pragma unroll
    for (int i = 0; i < ROW_VALUES; ++i) e[i] = over_largest(v[i], s.largest);
  }
}

// The exponential of the largest: 1, or for powers next to 1.
__device__ inline REAL top_of(const Scale &s) {
  return is_power(s) ? scaled_exponential(s.largest, s) : 1;
}

// The values and exponentials of a tile of a row once more; those of tile `held` are in v and e.
__device__ inline void reload_tile(const REAL *row, const RowPlace &at, const Scale &s,
                                   long long tile, long long held, REAL *v, REAL *e) {
  if (tile == held) return;
  load_tile(row, at.columns, tile, v);
  tile_exponentials(v, s, e);
}

// What numbers of one scale are multiplied with to be of another.
__device__ inline Pair ratio(const Scale &from, REAL from_top, const Scale &to, REAL to_top) {
  if (is_power(from) && is_power(to)) {
    const REAL power = to.shift - from.shift;
    return {power < -126 ? 0 : power_of_two((int)power, REAL()), 0};
  }
  return times(exponential(from.largest, to.largest), Pair{to_top / from_top, 0});
}

// a / total, if inverse is 1 / total: off by little more than half a unit of the last place.
__device__ inline REAL quotient(REAL a, REAL total, REAL inverse) {
  const REAL q = a * inverse;
  return fma(fma(-q, total, a), inverse, q);
}

// ---- the softmax of a row

// What it needs to know about a row.
struct RowSoftmax {
  Largest largest;
  Scale scale;
  REAL top;     // the exponential of the largest
  Pair others;  // the sum of the exponentials of all columns but the largest's
};

__device__ inline void set_largest(RowSoftmax &s, Largest largest) {
  s.largest = largest;
  s.scale = scale_of(largest.value);
  s.top = top_of(s.scale);
}

// One pass over the row, online: where a later tile has a larger value, the sum so far is scaled.
// The scale is a Pair, so that this costs next to nothing in accuracy. v and e are left with the
// values and exponentials of the last tile; most rows have no other.
__device__ inline RowSoftmax row_softmax(const REAL *row, RowPlace at, long long c, REAL *v,
                                         REAL *e) {
  RowSoftmax s;
  Pair others = {0, 0};  // this thread's part
  for (long long tile = 0; tile < row_tiles(c); ++tile) {
    load_tile(row, at.columns, tile, v);
    const Largest top = tile_largest(v, tile);
    if (tile == 0) {
      set_largest(s, top);
    } else if (larger(s.largest, top).at == top.at) {
      const RowSoftmax before = s;
      set_largest(s, top);
      if (row_thread() == 0) add(others, before.top);  // is one of the others now
      others = times(others, ratio(before.scale, before.top, s.scale, s.top));
    }
    tile_exponentials(v, s.scale, e);
#pragma unroll
    for (int i = 0; i < ROW_VALUES; ++i)
      if (column(tile, i) != s.largest.at) add(others, e[i]);
  }
  s.others = row_sum(others);
  s.others.high += s.largest.value - s.largest.value;  // NaN if the largest is not finite
  return s;
}

// The sum of all exponentials, as a Pair.
__device__ inline Pair row_total(const RowSoftmax &s) {
  Pair total = {s.top, 0};
  add(total, s.others);
  return total;
}

// The same without the label's, which is e_label.
__device__ inline REAL row_total_without(const RowSoftmax &s, long long label, REAL e_label) {
  if (label == s.largest.at) return rounded(s.others);
  Pair total = row_total(s);
  add(total, -e_label);
  return rounded(total);
}

#ifdef Y_SOFT

// log sum_j e^{v_j} - v_y, or the mean of that over soft targets. v holds the last tile's values.
__device__ inline REAL cross_entropy_of_row(const REAL *row, RowPlace at, const RowSoftmax &s,
                                            const Target *y, long long c, REAL *v) {
  // y is (c,), or one label
  // log sum_j e^{v_j} = v_k + log1p(sum_{j!=k} e^{v_j - v_k}), v_k the largest: nothing cancels.
  const REAL largest = s.largest.value, tail = log1p(rounded(s.others) / s.top);
#if Y_SOFT
  Pair sum = {0, 0};
  const long long last = row_tiles(c) - 1;
  for (long long tile = last; tile >= 0; --tile) {
    if (tile < last) load_tile(row, at.columns, tile, v);
#pragma unroll
    for (int i = 0; i < ROW_VALUES; ++i) {
      const REAL y_j = is_inside(at.columns, tile, i) ? y[column(tile, i)] : 0;
      // A target of 0 counts nothing, whatever its logit.
      add(sum, y_j == 0 ? 0 * tail : y_j * (tail + (largest - v[i])));
    }
  }
  return rounded(row_sum(sum));
#else
  return tail + (largest - row[*y]);
#endif
}

#endif  // Y_SOFT
#endif  // ROW_VALUES
