// Cross-entropy from logits: L = log sum_j e^{v_j} - v_y, dv = p - y.

#include "common.cuh"

extern "C" __global__ void cross_entropy_forward(const REAL *V, const Target *y, REAL *loss,
                                                 long long n, long long c) {
  // V is (n, c), y is (n,) or (n, c), loss is (n,)
  for (long long r = first_row(); r < n; r += row_step()) {
    REAL v[ROW_VALUES], e[ROW_VALUES];
    const REAL *row = V + r * c;
    const RowSoftmax s = row_softmax(row, c, v, e);
#if Y_SOFT
    const REAL row_loss = cross_entropy_of_row(row, s, y + r * c, c, v);
#else
    const REAL row_loss = cross_entropy_of_row(row, s, y + r, c, v);
#endif
    if (row_thread() == 0) loss[r] = row_loss;
  }
}

extern "C" __global__ void cross_entropy_backward(const REAL *V, const Target *y, REAL *dV,
                                                  long long n, long long c) {
  // V is (n, c), y is (n,) or (n, c), dV is (n, c); dV may be V
  for (long long r = first_row(); r < n; r += row_step()) {
    REAL v[ROW_VALUES], e[ROW_VALUES];
    const REAL *row = V + r * c;
    const RowSoftmax s = row_softmax(row, c, v, e);
    const REAL total = rounded(row_total(s));
#if !Y_SOFT
    // p_y - 1 = -sum_{j!=y} p_j
    const long long label = y[r];
    const REAL e_label = exponential(row[label], s.largest.value).high;
    const REAL others = row_total_without(s, label, e_label);
    row_barrier();  // dV may be V, and all threads have read V[label] now
#endif
    // Backwards, because the last tile is in registers already.
    const long long last = row_tiles(c) - 1;
    for (long long tile = last; tile >= 0; --tile) {
      if (tile < last) {
        load_tile(row, c, tile, v);
        tile_exponentials(v, s.largest.value, e);
      }
#pragma unroll
      for (int i = 0; i < ROW_VALUES; ++i) {
        const long long j = column(tile, i);
        if (j >= c) continue;
#if Y_SOFT
        dV[r * c + j] = e[i] / total - y[r * c + j];
#else
        dV[r * c + j] = (j == label ? -others : e[i]) / total;
#endif
      }
    }
  }
}
