// The softmax: p_i = e^{v_i} / sum_j e^{v_j}, and the product with its whole Jacobian.

#include "common.cuh"

extern "C" __global__ void softmax_forward(const REAL *V, REAL *P, long long n, long long c) {
  // V is (n, c), P is (n, c); P may be V
  for (long long r = first_row(); r < n; r += row_step()) {
    REAL v[ROW_VALUES], e[ROW_VALUES];
    const REAL *row = V + r * c;
    const RowSoftmax s = row_softmax(row, c, v, e);
    const REAL total = rounded(row_total(s));
    // Backwards, because the last tile is in registers already.
    const long long last = row_tiles(c) - 1;
    for (long long tile = last; tile >= 0; --tile) {
      if (tile < last) {
        load_tile(row, c, tile, v);
        tile_exponentials(v, s.largest.value, e);
      }
#pragma unroll
      for (int i = 0; i < ROW_VALUES; ++i)
        if (column(tile, i) < c) P[r * c + column(tile, i)] = e[i] / total;
    }
  }
}

extern "C" __global__ void softmax_backward(const REAL *dP, const REAL *P, REAL *dV, long long n,
                                            long long c) {
  // dP is (n, c), P is (n, c), dV is (n, c): dv_i = p_i (dp_i - sum_j dp_j p_j); dV may be dP or P
  // Half the difference is taken, since dp_i - sum_j dp_j p_j may overflow where p_i is small.
  for (long long r = first_row(); r < n; r += row_step()) {
    REAL dp[ROW_VALUES], p[ROW_VALUES];
    const REAL *dp_row = dP + r * c, *p_row = P + r * c;
    const long long last = row_tiles(c) - 1;
    Pair sum = {0, 0};
    for (long long tile = 0; tile <= last; ++tile) {
      load_tile(dp_row, c, tile, dp);
      load_tile(p_row, c, tile, p);
#pragma unroll
      for (int i = 0; i < ROW_VALUES; ++i)
        if (column(tile, i) < c) add(sum, dp[i] * p[i]);
    }
    const REAL half_mean = rounded(row_sum(sum)) / 2;
    // Backwards, because the last tile is in registers already.
    for (long long tile = last; tile >= 0; --tile) {
      if (tile < last) {
        load_tile(dp_row, c, tile, dp);
        load_tile(p_row, c, tile, p);
      }
#pragma unroll
      for (int i = 0; i < ROW_VALUES; ++i)
        if (column(tile, i) < c)
          dV[r * c + column(tile, i)] = 2 * p[i] * (dp[i] / 2 - half_mean);
    }
  }
}
