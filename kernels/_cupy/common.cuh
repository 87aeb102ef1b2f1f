// What the kernels share. Headers are put in place before NVRTC sees a file (kernel.py).
//
// Definitions a kernel is compiled with:
//   REAL         float or double: logits, weights and the arithmetic
//   X_KIND       how features are stored: 0 float32, 1 float64, 2 float16 (as its bits), 3 uint8
//   Y_SOFT       0 if the targets are labels (n,), 1 if they are rows (n, c) of numbers
//   ROW_THREADS  how many threads work on one row: 32, a warp, or the whole block if more
//   ROW_VALUES   how many of the row's values each of them keeps in registers
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
#elif X_KIND == 2
typedef unsigned short Feature;
#else
typedef unsigned char Feature;
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
#elif X_KIND == 2
  const ushort4 q = *reinterpret_cast<const ushort4 *>(X + offset);
#elif X_KIND == 3
  const uchar4 q = *reinterpret_cast<const uchar4 *>(X + offset);
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

#define ROW_WARPS (ROW_THREADS / 32)

__device__ inline int row_thread() { return threadIdx.x % ROW_THREADS; }

__device__ inline long long first_row() { return thread_number() / ROW_THREADS; }

__device__ inline long long row_step() { return thread_count() / ROW_THREADS; }

// What the row's threads wrote before it, all of them may read after it.
__device__ inline void row_barrier() {
#if ROW_WARPS == 1
  __syncwarp();
#else
  __syncthreads();
#endif
}

// Reductions over the row's threads; each gets the result. A butterfly over the warp, then the
// warps in their order: the same bits whichever row, block or GPU it is.

__device__ inline Pair row_sum(Pair sum) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const REAL high = __shfl_xor_sync(FULL_WARP, sum.high, lanes);
    const REAL low = __shfl_xor_sync(FULL_WARP, sum.low, lanes);
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
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const REAL other = __shfl_xor_sync(FULL_WARP, most.value, lanes);
    const long long at = __shfl_xor_sync(FULL_WARP, most.at, lanes);
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

// ---- rows in registers: a tile of ROW_THREADS x ROW_VALUES columns at a time

#ifdef ROW_VALUES

__device__ inline long long row_tiles(long long c) {
  return (c + ROW_THREADS * ROW_VALUES - 1) / (ROW_THREADS * ROW_VALUES);
}

// Where this thread's i-th value of a tile is; neighbouring threads have neighbouring columns.
__device__ inline long long column(long long tile, int i) {
  return (tile * ROW_VALUES + i) * ROW_THREADS + row_thread();
}

// Past the end of the row it is -inf, which is never the largest and whose exponential is 0.
__device__ inline void load_tile(const REAL *row, long long c, long long tile, REAL *v) {
#pragma unroll
  for (int i = 0; i < ROW_VALUES; ++i) {
    const long long j = column(tile, i);
    v[i] = j < c ? row[j] : -infinity(REAL());
  }
}

__device__ inline Largest tile_largest(const REAL *v, long long tile) {
  Largest most = {v[0], column(tile, 0)};
#pragma unroll
  for (int i = 1; i < ROW_VALUES; ++i) most = larger(most, Largest{v[i], column(tile, i)});
  return row_largest(most);
}

// e^(v - largest) for a tile.
__device__ inline void tile_exponentials(const REAL *v, REAL largest, REAL *e) {
#pragma unroll
  for (int i = 0; i < ROW_VALUES; ++i) e[i] = exponential(v[i], largest).high;
}

// What the softmax needs to know about a row.
struct RowSoftmax {
  Largest largest;
  Pair others;  // sum e^(v_j - largest) over all columns but the largest's, which adds exactly 1
};

// One pass over the row, online: where a later tile has a larger value, the sum so far is scaled.
// The scale is a Pair, so that this costs next to nothing in accuracy. v and e are left with the
// values and exponentials of the last tile; most rows have no other.
__device__ inline RowSoftmax row_softmax(const REAL *row, long long c, REAL *v, REAL *e) {
  RowSoftmax s;
  Pair others = {0, 0};  // this thread's part
  for (long long tile = 0; tile < row_tiles(c); ++tile) {
    load_tile(row, c, tile, v);
    const Largest top = tile_largest(v, tile);
    if (tile == 0) {
      s.largest = top;
    } else if (larger(s.largest, top).at == top.at) {
      if (row_thread() == 0) add(others, REAL(1));  // the largest so far becomes one of the others
      others = times(others, exponential(s.largest.value, top.value));
      s.largest = top;
    }
    tile_exponentials(v, s.largest.value, e);
#pragma unroll
    for (int i = 0; i < ROW_VALUES; ++i)
      if (column(tile, i) != s.largest.at) add(others, e[i]);
  }
  s.others = row_sum(others);
  s.others.high += s.largest.value - s.largest.value;  // NaN if the largest is not finite
  return s;
}

// sum_j e^(v_j - largest) as a Pair.
__device__ inline Pair row_total(const RowSoftmax &s) {
  Pair total = {1, 0};
  add(total, s.others);
  return total;
}

// sum_{j!=label} e^(v_j - largest), if e_label is that of the label.
__device__ inline REAL row_total_without(const RowSoftmax &s, long long label, REAL e_label) {
  if (label == s.largest.at) return rounded(s.others);
  Pair total = row_total(s);
  add(total, -e_label);
  return rounded(total);
}

#ifdef Y_SOFT

// log sum_j e^{v_j} - v_y, or the mean of that over soft targets. v holds the last tile's values.
__device__ inline REAL cross_entropy_of_row(const REAL *row, const RowSoftmax &s, const Target *y,
                                            long long c, REAL *v) {
  // y is (c,), or one label
  // log sum_j e^{v_j} = v_k + log1p(sum_{j!=k} e^{v_j - v_k}), v_k the largest: nothing cancels.
  const REAL largest = s.largest.value, tail = log1p(rounded(s.others));
#if Y_SOFT
  Pair sum = {0, 0};
  const long long last = row_tiles(c) - 1;
  for (long long tile = last; tile >= 0; --tile) {
    if (tile < last) load_tile(row, c, tile, v);
#pragma unroll
    for (int i = 0; i < ROW_VALUES; ++i) {
      const REAL y_j = column(tile, i) < c ? y[column(tile, i)] : 0;
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
