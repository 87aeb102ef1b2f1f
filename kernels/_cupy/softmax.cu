// The softmax: p_i = e^{v_i} / sum_j e^{v_j}, and the product with its whole Jacobian.

#include "common.cuh"

#if ONE_TILE

__device__ inline REAL row_maximum(const REAL *v) {
  REAL most = v[0];
#pragma unroll
  for (int i = 1; i < ROW_VALUES; ++i) most = fmax(most, v[i]);
#pragma unroll
  for (int lanes = ROW_SHARERS / 2; lanes > 0; lanes /= 2)
    most = fmax(most, __shfl_xor_sync(FULL_WARP, most, lanes));
#if ROW_WARPS > 1
  __shared__ REAL parts[ROW_WARPS];
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = most;
  __syncthreads();  // all of them are there; the barriers of row_sum come before the next ones
  for (int w = 0; w < ROW_WARPS; ++w) most = fmax(most, parts[w]);
#endif
  return most;
}

// The sum of a row's values, none below 0: four at a time plainly, which costs it 2u.
__device__ inline Pair sum_of_row(const REAL *e) {
  Pair sum = {e[0], 0};
#if ROW_VALUES >= 4
  sum.high = plus(plus(e[0], e[1]), plus(e[2], e[3]));
#pragma unroll
  for (int i = 4; i < ROW_VALUES; i += 4)
    add(sum, plus(plus(e[i], e[i + 1]), plus(e[i + 2], e[i + 3])));
#endif
  return row_sum(sum);
}

extern "C" __global__ void softmax_forward(const REAL *V, REAL *P, long long n, long long c) {
  // V is (n, c), P is (n, c); P may be V
  for (long long first = first_row(); first < n; first += row_step()) {
    const RowPlace at = row_at(first, n, c);
    REAL e[ROW_VALUES];
    load_tile(V + at.row * c, at.columns, 0, e);
    const REAL largest = row_maximum(e);
    tile_exponentials(e, scale_of(largest), e);
    // NaN if a logit is NaN or the largest is not finite
    const REAL total = rounded(sum_of_row(e)) + (largest - largest), inverse = 1 / total;
#pragma unroll
    for (int i = 0; i < ROW_VALUES; ++i)
      if (is_inside(at.columns, 0, i))
        P[at.row * c + column(0, i)] = quotient(e[i], total, inverse);
  }
}

#else

extern "C" __global__ void softmax_forward(const REAL *V, REAL *P, long long n, long long c) {
  // V is (n, c), P is (n, c); P may be V
  for (long long first = first_row(); first < n; first += row_step()) {
    const RowPlace at = row_at(first, n, c);
    REAL v[ROW_VALUES], e[ROW_VALUES];
    const REAL *row = V + at.row * c;
    const RowSoftmax s = row_softmax(row, at, c, v, e);
    const REAL total = rounded(row_total(s)), inverse = 1 / total;
    // Backwards, because the last tile is in registers already.
    const long long last = row_tiles(c) - 1;
    for (long long tile = last; tile >= 0; --tile) {
      if (tile < last) {
        load_tile(row, at.columns, tile, v);
        tile_exponentials(v, s.scale, e);
      }
#pragma unroll
      for (int i = 0; i < ROW_VALUES; ++i)
        if (is_inside(at.columns, tile, i))
          P[at.row * c + column(tile, i)] = quotient(e[i], total, inverse);
    }
  }
}

#endif

extern "C" __global__ void softmax_backward(const REAL *dP, const REAL *P, REAL *dV, long long n,
                                            long long c) {
  // dP is (n, c), P is (n, c), dV is (n, c): dv_i = p_i (dp_i - sum_j dp_j p_j); dV may be dP or P
  // Half the difference is taken, since dp_i - sum_j dp_j p_j may overflow where p_i is small.
  for (long long first = first_row(); first < n; first += row_step()) {
    const RowPlace at = row_at(first, n, c);
    REAL dp[ROW_VALUES], p[ROW_VALUES];
    const REAL *dp_row = dP + at.row * c, *p_row = P + at.row * c;
    const long long last = row_tiles(c) - 1;
    Pair sum = {0, 0};
    for (long long tile = 0; tile <= last; ++tile) {
      load_tile(dp_row, at.columns, tile, dp);
      load_tile(p_row, at.columns, tile, p);
#pragma unroll
      for (int i = 0; i < ROW_VALUES; ++i)
        if (is_inside(at.columns, tile, i)) add(sum, dp[i] * p[i]);
    }
    const REAL half_mean = rounded(row_sum(sum)) / 2;
    // Backwards, because the last tile is in registers already.
    for (long long tile = last; tile >= 0; --tile) {
      if (tile < last) {
        load_tile(dp_row, at.columns, tile, dp);
        load_tile(p_row, at.columns, tile, p);
      }
#pragma unroll
      for (int i = 0; i < ROW_VALUES; ++i)
        if (is_inside(at.columns, tile, i))
          dV[at.row * c + column(tile, i)] = 2 * p[i] * (dp[i] / 2 - half_mean);
    }
  }
}
