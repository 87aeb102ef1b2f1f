// Mean squared error over the softmax outputs: L = (1/c) sum_i (y_i - p_i)^2, dp = (2/c)(p - y).

#define ACCURATE  // cubes of exponentials
#include "common.cuh"

// y_j of row r: the soft target, or 1 at the label.
__device__ inline REAL target(const Target *y, long long r, long long c, long long j) {
#if Y_SOFT
  return y[r * c + j];
#else
  return y[r] == j ? 1 : 0;
#endif
}

extern "C" __global__ void mse_forward(const REAL *P, const Target *Y, REAL *loss, long long n,
                                       long long c) {
  // P is (n, c), Y is (n,) or (n, c), loss is (n,)
  for (long long first = first_row(); first < n; first += row_step()) {
    const RowPlace at = row_at(first, n, c);
    const long long r = at.row;
    Pair sum = {0, 0};
    for (long long tile = 0; tile < row_tiles(c); ++tile) {
#pragma unroll
      for (int i = 0; i < ROW_VALUES; ++i) {
        const long long j = column(tile, i);
        const REAL gap = is_inside(at.columns, tile, i) ? target(Y, r, c, j) - P[r * c + j] : 0;
        add(sum, gap * gap);
      }
    }
    const REAL squares = rounded(row_sum(sum));
    if (is_first_of(at)) loss[r] = squares / c;
  }
}

extern "C" __global__ void mse_backward(const REAL *P, const Target *Y, REAL *dP, long long n,
                                        long long c) {
  // P is (n, c), Y is (n,) or (n, c), dP is (n, c); dP may be P or Y
  for (long long first = first_row(); first < n; first += row_step()) {
    const RowPlace at = row_at(first, n, c);
    const long long r = at.row;
    for (long long j = row_thread(); j < at.columns; j += ROW_THREADS)
      dP[r * c + j] = REAL(2) / c * (P[r * c + j] - target(Y, r, c, j));
  }
}

// ---- both in one: dv_i = p_i sum_j p_j (g_i - g_j) with g = (2/c)(p - y)

#if Y_SOFT

// p and g = (2/c)(p - y) of a tile of row r, from the exponentials.
__device__ inline void soft_tile(const REAL *e, REAL total, const REAL *Y, RowPlace at, long long c,
                                 long long tile, REAL *p, REAL *g) {
#pragma unroll
  for (int i = 0; i < ROW_VALUES; ++i) {
    const long long j = column(tile, i);
    p[i] = e[i] / total;
    g[i] = is_inside(at.columns, tile, i) ? REAL(2) / c * (p[i] - Y[at.row * c + j]) : 0;
  }
}

extern "C" __global__ void softmax_mse_backward(const REAL *V, const Target *Y, REAL *dV,
                                                long long n, long long c) {
  // V is (n, c), Y is (n, c), dV is (n, c); dV may be V or Y
  // p - y cancels by itself for soft targets: the plain dv_i = p_i (g_i - sum_j g_j p_j) will do.
  for (long long first = first_row(); first < n; first += row_step()) {
    const RowPlace at = row_at(first, n, c);
    const long long r = at.row;
    REAL v[ROW_VALUES], e[ROW_VALUES], p[ROW_VALUES], g[ROW_VALUES];
    const REAL *row = V + r * c;
    const RowSoftmax s = row_softmax(row, at, c, v, e);
    const REAL total = rounded(row_total(s));
    const long long last = row_tiles(c) - 1;
    Pair sum = {0, 0};
    for (long long tile = last; tile >= 0; --tile) {
      reload_tile(row, at, s.scale, tile, last, v, e);
      soft_tile(e, total, Y, at, c, tile, p, g);
#pragma unroll
      for (int i = 0; i < ROW_VALUES; ++i) add(sum, g[i] * p[i]);
    }
    const REAL mean = rounded(row_sum(sum));
    // Forwards, because the first tile is in registers now.
    for (long long tile = 0; tile <= last; ++tile) {
      reload_tile(row, at, s.scale, tile, 0, v, e);
      if (tile > 0) soft_tile(e, total, Y, at, c, tile, p, g);
#pragma unroll
      for (int i = 0; i < ROW_VALUES; ++i)
        if (is_inside(at.columns, tile, i)) dV[r * c + column(tile, i)] = p[i] * (g[i] - mean);
    }
  }
}

#else

// e_i - e_j without cancellation, where e = e^(v - largest).
__device__ inline REAL difference(REAL v_i, REAL e_i, REAL v_j, REAL e_j) {
  const bool rises = v_i < v_j;
  const REAL more = rises ? e_j : e_i;
  if (more == 0) return 0;  // both v may be -inf
  const REAL gap = -more * expm1(rises ? v_i - v_j : v_j - v_i);
  return rises ? -gap : gap;
}

// sums_i = sum_{j!=label} e_j (e_i - e_j) for this thread's values of a tile.
__device__ inline void sums_of_differences(const REAL *row, long long c, long long label,
                                           const Scale &scale, const REAL *v, const REAL *e,
                                           REAL *sums) {
  Pair sum[ROW_VALUES];
#pragma unroll
  for (int i = 0; i < ROW_VALUES; ++i) sum[i] = {0, 0};
  for (long long j = 0; j < c; ++j) {
    if (j == label) continue;
    const REAL v_j = row[j], e_j = scaled_exponential(v_j, scale);
#pragma unroll
    for (int i = 0; i < ROW_VALUES; ++i) add(sum[i], e_j * difference(v[i], e[i], v_j, e_j));
  }
#pragma unroll
  for (int i = 0; i < ROW_VALUES; ++i) sums[i] = rounded(sum[i]);
}

// 1 / total^3 to about u^2: dividing by it costs one rounding instead of six.
__device__ inline Pair inverse_cube(Pair total) {
  Pair inverse = {1 / total.high, 0};
  const REAL excess = fma(inverse.high, total.high, REAL(-1)) + inverse.high * total.low;
  inverse.low = -excess * inverse.high;
  return times(times(inverse, inverse), inverse);
}

extern "C" __global__ void softmax_mse_backward(const REAL *V, const Target *y, REAL *dV,
                                                long long n, long long c) {
  // V is (n, c), y is (n,), dV is (n, c); dV may not be V, which all of the row's threads read
  //
  // The label's own pairs are g_j - g_y = (2/c)(p_j + q) with q = sum_{j!=y} p_j = 1 - p_y, so
  //   dv_y = -(2/c) p_y sum_{j!=y} p_j (p_j + q)
  //   dv_i =  (2/c) p_i (sum_{j!=y} p_j (p_i - p_j) + p_y (p_i + q)),   i != y.
  // With e for p all of it carries a factor (sum_j e_j)^3, divided out at the end.
  for (long long first = first_row(); first < n; first += row_step()) {
    const RowPlace at = row_at(first, n, c);
    const long long r = at.row;
    REAL v[ROW_VALUES], e[ROW_VALUES], sums[ROW_VALUES];
    const REAL *row = V + r * c;
    const long long label = y[r];
    const RowSoftmax s = row_softmax(row, at, c, v, e);
    const REAL e_label = scaled_exponential(row[label], s.scale);
    const REAL q = row_total_without(s, label, e_label);
    const Pair scale = inverse_cube(row_total(s));
    Pair label_sum = {0, 0};  // sum_{j!=y} e_j (e_j + q)
    const long long last = row_tiles(c) - 1;
    for (long long tile = last; tile >= 0; --tile) {
      reload_tile(row, at, s.scale, tile, last, v, e);
#pragma unroll
      for (int i = 0; i < ROW_VALUES; ++i)
        if (column(tile, i) != label) add(label_sum, e[i] * (e[i] + q));
    }
    const REAL at_label = -e_label * rounded(row_sum(label_sum));
    // Forwards, because the first tile is in registers now.
    for (long long tile = 0; tile <= last; ++tile) {
      reload_tile(row, at, s.scale, tile, 0, v, e);
      sums_of_differences(row, at.columns, label, s.scale, v, e, sums);
#pragma unroll
      for (int i = 0; i < ROW_VALUES; ++i) {
        const long long j = column(tile, i);
        if (!is_inside(at.columns, tile, i)) continue;
        const REAL dv = 2 * (j == label ? at_label : e[i] * (sums[i] + e_label * (e[i] + q)));
        dV[r * c + j] = fma(dv, scale.high, dv * scale.low) / c;
      }
    }
  }
}

#endif
