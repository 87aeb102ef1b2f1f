// Cross-entropy from logits: L = log sum_j e^{v_j} - v_y, dv = p - y.

#include "common.cuh"

extern "C" __global__ void cross_entropy_forward(const REAL *V, const Target *y, REAL *loss,
                                                 long long n, long long c) {
  // V is (n, c), y is (n,) or (n, c), loss is (n,)
  for (long long first = first_row(); first < n; first += row_step()) {
    const RowPlace at = row_at(first, n, c);
    REAL v[ROW_VALUES], e[ROW_VALUES];
    const REAL *row = V + at.row * c;
    const RowSoftmax s = row_softmax(row, at, c, v, e);
#if Y_SOFT
    const Target *target = y + at.row * c;
#else
    const Target *target = y + at.row;
#endif
    const REAL row_loss = cross_entropy_of_row(row, at, s, target, c, v);
    if (is_first_of(at)) loss[at.row] = row_loss;
  }
}

extern "C" __global__ void cross_entropy_backward(const REAL *V, const Target *y, REAL *dV,
                                                  long long n, long long c) {
  // V is (n, c), y is (n,) or (n, c), dV is (n, c); dV may be V
  for (long long first = first_row(); first < n; first += row_step()) {
    const RowPlace at = row_at(first, n, c);
    REAL v[ROW_VALUES], e[ROW_VALUES];
    const REAL *row = V + at.row * c;
    const RowSoftmax s = row_softmax(row, at, c, v, e);
    const REAL total = rounded(row_total(s)), inverse = 1 / total;
#if !Y_SOFT
    // p_y - 1 = -sum_{j!=y} p_j
    const long long label = y[at.row];
    const REAL e_label = scaled_exponential(row[label], s.scale);
    const REAL others = row_total_without(s, label, e_label);
    row_barrier();  // dV may be V, and all threads have read V[label] now
#endif
    // Backwards, because the last tile is in registers already.
    const long long last = row_tiles(c) - 1;
    for (long long tile = last; tile >= 0; --tile) {
      reload_tile(row, at, s.scale, tile, last, v, e);
#pragma unroll
      for (int i = 0; i < ROW_VALUES; ++i) {
        const long long j = column(tile, i);
        if (!is_inside(at.columns, tile, i)) continue;
#if Y_SOFT
        dV[at.row * c + j] = quotient(e[i], total, inverse) - y[at.row * c + j];
#else
        dV[at.row * c + j] = quotient(j == label ? -others : e[i], total, inverse);
#endif
      }
    }
  }
}
