// Generalised cross-entropy from logits: L = (1 - p_y^q)/q, dv = p_y^q (p - y).

#include "common.cuh"
#include "losses.cuh"

__device__ inline RowLoss gce_of_row(const REAL *row, RowPlace at, const RowSoftmax &s,
                                     const long long *y, long long c, REAL *v) {
  return loss_of_row(
      LOSS_GCE, c, [&] { return cross_entropy_of_row(row, at, s, y, c, v); },
      [] { return (REAL)0; });
}

extern "C" __global__ void gce_forward(const REAL *V, const long long *y, REAL *loss, long long n,
                                       long long c) {
  // V is (n, c), y is (n,), loss is (n,)
  for (long long first = first_row(); first < n; first += row_step()) {
    const RowPlace at = row_at(first, n, c);
    REAL v[ROW_VALUES], e[ROW_VALUES];
    const REAL *row = V + at.row * c;
    const RowSoftmax s = row_softmax(row, at, c, v, e);
    const RowLoss of_row = gce_of_row(row, at, s, y + at.row, c, v);
    if (is_first_of(at)) loss[at.row] = of_row.value;
  }
}

extern "C" __global__ void gce_backward(const REAL *V, const long long *y, REAL *dV, long long n,
                                        long long c) {
  // V is (n, c), y is (n,), dV is (n, c); dV may be V
  for (long long first = first_row(); first < n; first += row_step()) {
    const RowPlace at = row_at(first, n, c);
    REAL v[ROW_VALUES], e[ROW_VALUES];
    const REAL *row = V + at.row * c;
    const RowSoftmax s = row_softmax(row, at, c, v, e);
    const REAL factor = gce_of_row(row, at, s, y + at.row, c, v).slope / rounded(row_total(s));
    // p_y - 1 = -sum_{j!=y} p_j
    const long long label = y[at.row];
    const REAL e_label = scaled_exponential(row[label], s.scale);
    const REAL others = row_total_without(s, label, e_label);
    row_barrier();  // dV may be V, and all threads have read V[label] now
    // Backwards, because the last tile is in registers already.
    const long long last = row_tiles(c) - 1;
    for (long long tile = last; tile >= 0; --tile) {
      reload_tile(row, at, s.scale, tile, last, v, e);
#pragma unroll
      for (int i = 0; i < ROW_VALUES; ++i) {
        const long long j = column(tile, i);
        if (is_inside(at.columns, tile, i))
          dV[at.row * c + j] = factor * (j == label ? -others : e[i]);
      }
    }
  }
}
