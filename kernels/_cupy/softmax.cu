// The softmax: p_i = e^{v_i} / sum_j e^{v_j}, and the product with its whole Jacobian.

#include "common.cuh"

__device__ inline REAL thread_maximum(const REAL *v) {
  REAL most = v[0];
#pragma unroll
  for (int i = 1; i < ROW_VALUES; ++i) most = fmax(most, v[i]);
  return most;
}

__device__ inline REAL row_maximum(REAL most) {
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

// The sum of a thread's values, none below 0: four at a time plainly, which costs it 2u.
__device__ inline Pair thread_sum(const REAL *e) {
  Pair sum = {e[0], 0};
#if ROW_VALUES >= 4
  sum.high = plus(plus(e[0], e[1]), plus(e[2], e[3]));
#pragma unroll
  for (int i = 4; i < ROW_VALUES; i += 4)
    add(sum, plus(plus(e[i], e[i + 1]), plus(e[i + 2], e[i + 3])));
#endif
  return sum;
}

#if ONE_TILE

extern "C" __global__ void softmax_forward(const REAL *V, REAL *P, long long n, long long c) {
  // V is (n, c), P is (n, c); P may be V
  for (long long first = first_row(); first < n; first += row_step()) {
    const RowPlace at = row_at(first, n, c);
    REAL e[ROW_VALUES];
    load_tile(V + at.row * c, at.columns, 0, e);
    const REAL largest = row_maximum(thread_maximum(e));
    tile_exponentials(e, scale_of(largest), e);
    // NaN if a logit is NaN or the largest is not finite
    const REAL total = rounded(row_sum(thread_sum(e))) + (largest - largest), inverse = 1 / total;
#pragma unroll
    for (int i = 0; i < ROW_VALUES; ++i)
      if (is_inside(at.columns, 0, i))
        P[at.row * c + column(0, i)] = quotient(e[i], total, inverse);
  }
}

#else

// A sum of exponentials of one scale, in another, of a value that is as large or larger.
__device__ inline Pair rescaled(Pair sum, const Scale &from, const Scale &to) {
  return times(sum, ratio(from, top_of(from), to, top_of(to)));
}

extern "C" __global__ void softmax_forward(const REAL *V, REAL *P, long long n, long long c) {
  // V is (n, c), P is (n, c); P may be V
  for (long long first = first_row(); first < n; first += row_step()) {
    const RowPlace at = row_at(first, n, c);
    const REAL *row = V + at.row * c;
    REAL e[ROW_VALUES];
    // Each thread's sum has a scale of its own until the end: no tile waits for the other threads.
    Scale mine = scale_of(-infinity(REAL()));
    Pair sum = {0, 0};
    for (long long tile = 0; tile < row_tiles(c); ++tile) {
      load_tile(row, at.columns, tile, e);
      const REAL most = thread_maximum(e);
      if (most > mine.largest) {
        const Scale to = scale_of(most);
        sum = rescaled(sum, mine, to);
        mine = to;
      }
      tile_exponentials(e, mine, e);
      add(sum, thread_sum(e));
    }
    const REAL largest = row_maximum(mine.largest);
    const Scale s = scale_of(largest);
    sum = row_sum(rescaled(sum, mine, s));
    // NaN if a logit is NaN or the largest is not finite
    const REAL total = rounded(sum) + (largest - largest), inverse = 1 / total;
    // Backwards, because caches have the last tiles still.
    for (long long tile = row_tiles(c) - 1; tile >= 0; --tile) {
      load_tile(row, at.columns, tile, e);
      tile_exponentials(e, s, e);
#pragma unroll
      for (int i = 0; i < ROW_VALUES; ++i) e[i] = quotient(e[i], total, inverse);
      // In a loop of its own: between stores, which depend on a condition, divisions would wait.
#pragma unroll
      for (int i = 0; i < ROW_VALUES; ++i)
        if (is_inside(at.columns, tile, i)) P[at.row * c + column(tile, i)] = e[i];
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
