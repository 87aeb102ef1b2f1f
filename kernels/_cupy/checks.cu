// Whether the values of an argument on the GPU are good. Each warp writes one byte, 1 if it met a
// bad value; the host then finds the value and names it.

#include "common.cuh"

// Called by all lanes of a warp, each with what it met.
__device__ inline void report(bool met_bad, unsigned char *bad) {
  met_bad = __any_sync(FULL_WARP, met_bad);
  if (threadIdx.x % 32 == 0) bad[thread_number() / 32] = met_bad;
}

extern "C" __global__ void outside(const long long *values, unsigned char *bad, long long size,
                                   long long count) {
  // values is (size,), bad is (warps,): is a value not in [0, count)?
  const long long step = thread_count();
  bool met_bad = false;
  for (long long i = thread_number(); i < size; i += step)
    met_bad |= values[i] < 0 || values[i] >= count;
  report(met_bad, bad);
}

extern "C" __global__ void no_distribution(const REAL *Y, unsigned char *bad, long long n,
                                           long long c) {
  // Y is (n, c), bad is (warps,): is a value negative, or a row's sum not 1? A warp takes a row.
  const long long step = thread_count() / 32;
  bool met_bad = false;
  for (long long r = thread_number() / 32; r < n; r += step) {
    double sum = 0;
    for (long long j = threadIdx.x % 32; j < c; j += 32) {
      const REAL y = Y[r * c + j];
      met_bad |= y < 0;
      sum += y;
    }
    for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(FULL_WARP, sum, lanes);
    met_bad |= fabs(sum - 1) > SUM_TOLERANCE;  // NaN passes, and goes on to the arithmetic
  }
  report(met_bad, bad);
}

#ifdef X_KIND

extern "C" __global__ void not_finite(const Feature *X, unsigned char *bad, long long n,
                                      long long d, long long stride) {
  // X is (n, d), its rows `stride` apart, bad is (warps,): is a value NaN or infinite?
  const long long step = thread_count(), rows = step / d, columns = step % d;
  long long row = thread_number() / d, column = thread_number() % d;
  bool met_bad = false;
  while (row < n) {
    met_bad |= !isfinite(load_feature(X, row * stride + column));
    row += rows, column += columns;
    if (column >= d) ++row, column -= d;
  }
  report(met_bad, bad);
}

#endif  // X_KIND
