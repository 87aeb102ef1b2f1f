// The linear layer on the tensor cores: what linear.cu computes, where it is wide and deep enough.
//
// -D REAL (float), X_KIND

#include "common.cuh"
#include "tensor.cuh"

// Writes this thread's part of the tile, times s, to where it lies in a matrix (rows, columns), plus
// the bias.
template <bool across>
__device__ inline void store_tile(const float sums[MINE][MINE], float s, const float *bias,
                                  float *result, long long row, long long column, long long rows,
                                  long long columns) {
#pragma unroll
  for (int j = 0; j < MINE; ++j) {
    const long long c = column + tile_column(j);
    if (c >= columns) continue;
    const float plus_bias = bias ? bias[c] : 0;
#pragma unroll
    for (int i = 0; i < MINE; ++i) {
      const long long r = row + tile_row<across>(i);
      if (r < rows) result[r * columns + c] = sums[i][j] * s + plus_bias;
    }
  }
}

__device__ inline bool any_nan(const float sums[MINE][MINE]) {
  bool found = false;
#pragma unroll
  for (int i = 0; i < MINE; ++i)
#pragma unroll
    for (int j = 0; j < MINE; ++j) found |= sums[i][j] != sums[i][j];
  return found;
}

// What is infinite becomes NaN on the way: infinity is split into infinity and NaN, and multiplied
// with the zeros past the end of the depth. So where a sum is NaN the results that are NaN are taken
// again by FMAs, one product after the other. a(r, k) and b(k, c) are the factors.
template <bool across, class A, class B>
__device__ inline void repair_tile(float s, const float *bias, float *result, long long row,
                                   long long column, long long rows, long long columns,
                                   long long begin, long long end, A a, B b) {
#pragma unroll 1
  for (int i = 0; i < MINE * MINE; ++i) {
    const long long r = row + tile_row<across>(i / MINE), c = column + tile_column(i % MINE);
    if (r >= rows || c >= columns) continue;
    float &found = result[r * columns + c];
    if (found == found) continue;
    float sum = 0;
    for (long long k = begin; k < end; ++k) sum = fma(a(r, k), b(k, c), sum);
    found = sum * s + (bias ? bias[c] : 0);
  }
}

extern "C" __global__ void __launch_bounds__(THREADS_OF_TILE)
    linear_forward_tensor(const Feature *X, const REAL *W, const REAL *b, REAL *V, REAL s,
                          long long first, long long n, long long d, long long stride,
                          long long c, long long part) {
  // as in linear.cu: X (first + n or more, d), W (d, c), b (c,) or null, V (n, c) or (parts, n, c).
  // The block's tile: rows blockIdx.x, classes blockIdx.y, and of the features part blockIdx.z.
  extern __shared__ __align__(16) char memory[];
  const long long row = blockIdx.x * (long long)TILE, column = blockIdx.y * (long long)TILE;
  const long long begin = blockIdx.z * part, end = min(d, begin + part);
  X += first * stride;
  V += blockIdx.z * n * c;
  float sums[MINE][MINE] = {};
  multiply_tile<false>(
      sums, memory, begin, end, [&](long long r) { return X + min(row + r, n - 1) * stride; },
      SLAB, copies_units(X, stride), [&](int j) { return W + column_there(column, j, c); }, c,
      rows_are_aligned(W, c, sizeof(float)), [](const float *) {});
  store_tile<false>(sums, s, b, V, row, column, n, c);
  if (any_nan(sums))
    repair_tile<false>(
        s, b, V, row, column, n, c, begin, end,
        [&](long long r, long long k) { return load_feature(X, r * stride + k); },
        [&](long long k, long long j) { return W[k * c + j]; });
}

extern "C" __global__ void __launch_bounds__(THREADS_OF_TILE)
    linear_backward_tensor(const REAL *dV, const Feature *X, REAL *dW, REAL s, long long n,
                           long long d, long long stride, long long c, long long part) {
  // as in linear.cu: dV (n, c), X (n, d), dW (d, c) or (parts, d, c). The block's tile: features
  // blockIdx.x, classes blockIdx.y, and of the rows part blockIdx.z.
  extern __shared__ __align__(16) char memory[];
  const long long feature = blockIdx.x * (long long)TILE, column = blockIdx.y * (long long)TILE;
  const long long begin = blockIdx.z * part, end = min(n, begin + part);
  dW += blockIdx.z * d * c;
  float sums[MINE][MINE] = {};
  multiply_tile<true>(
      sums, memory, begin, end, [&](long long r) { return X + r * stride + feature; },
      d - feature, copies_units(X, stride),
      [&](int j) { return dV + column_there(column, j, c); }, c,
      rows_are_aligned(dV, c, sizeof(float)), [](const float *) {});
  store_tile<true>(sums, s, nullptr, dW, feature, column, d, c);
  if (any_nan(sums))
    repair_tile<true>(
        s, nullptr, dW, feature, column, d, c, begin, end,
        [&](long long f, long long k) { return load_feature(X, k * stride + f); },
        [&](long long k, long long j) { return dV[k * c + j]; });
}
