// The loss at many points at once: the logits of a row are affine in the offsets of the weights,
// v = V0 + x V1 + y V2. A thread has one point of the grid and goes through the rows; neighbouring
// threads read the same logits.

#include "common.cuh"
#include "losses.cuh"

struct Logits {
  const REAL *V0, *V1, *V2;  // (n, c)
};

struct Grid {  // of offsets
  const REAL *x_offsets, *y_offsets;  // (nx,), (ny,)
  long long nx, points;               // points is ny*nx
};

// A row at a point of the grid.
struct RowAtPoint {
  const Logits &V;
  long long begin;  // of the row in V0, V1, V2
  REAL x, y;

  __device__ REAL logit(long long j) const {
    const long long at = begin + j;
    return fma(y, V.V2[at], fma(x, V.V1[at], V.V0[at]));
  }
  __device__ bool is_finite(long long j) const {
    const long long at = begin + j;
    // not &&, with which each load would wait for the one before
    return isfinite(V.V0[at]) & isfinite(V.V1[at]) & isfinite(V.V2[at]);
  }
};

__device__ inline REAL surface_loss(const RowAtPoint &row, long long c, long long label,
                                    REAL largest, unsigned char loss_code) {
  // Sums over the classes that are not the label's: nothing below cancels.
  REAL others = 0, squares = 0;
  for (long long j = 0; j < c; ++j) {
    if (j == label) continue;
    const REAL e = exponential(row.logit(j), largest).high;
    others += e;
    squares += e * e;
  }
  const REAL own = row.logit(label), e_own = exponential(own, largest).high;
  const REAL total = others + e_own;
  return loss_of_row(
             loss_code, c,
             // e_own - 1 is exactly 0 where the label's logit is the largest, elsewhere others >= 1
             [&] { return largest - own + log1p(others + (e_own - 1)); },
             [&] { return (squares + others * others) / (c * total * total); })
      .value;
}

extern "C" __global__ void surface_chunks(const Logits logits, const long long *labels,
                                          const REAL *weights, const Grid grid, double *partial,
                                          unsigned char loss_code, long long n, long long c) {
  // labels is (n,), weights is (n,) or null, partial is (chunks, points, 2): the sums of w L and
  // of w [right] over ROWS rows; a row of blocks for each chunk
  const long long point = thread_number();
  if (point >= grid.points) return;
  const REAL x = grid.x_offsets[point % grid.nx], y = grid.y_offsets[point / grid.nx];
  const long long first = blockIdx.y * (long long)ROWS;
  const long long end = first + ROWS < n ? first + ROWS : n;
  double loss_sum = 0, hit_sum = 0;
  for (long long r = first; r < end; ++r) {
    const RowAtPoint row = {logits, r * c, x, y};
    Largest most = {row.logit(0), 0};
    bool finite = true;
    for (long long j = 0; j < c; ++j) {
      finite &= row.is_finite(j);
      most = larger(most, Largest{row.logit(j), j});
    }
    const REAL loss = surface_loss(row, c, labels[r], most.value, loss_code);
    const double w = weights ? weights[r] : 1;
    loss_sum += finite ? w * loss : infinity(double()) - infinity(double());  // NaN
    hit_sum += finite && most.at == labels[r] ? w : 0;
  }
  const long long at = 2 * (blockIdx.y * grid.points + point);
  partial[at] = loss_sum;
  partial[at + 1] = hit_sum;
}

extern "C" __global__ void surface_add(const double *partial, double *loss, double *hits,
                                       long long chunks, long long points) {
  // partial is (chunks, points, 2), loss and hits are (points,); chunks are added in their order
  const long long point = thread_number();
  if (point >= points) return;
  double loss_sum = loss[point], hit_sum = hits[point];
  for (long long chunk = 0; chunk < chunks; ++chunk) {
    loss_sum += partial[2 * (chunk * points + point)];
    hit_sum += partial[2 * (chunk * points + point) + 1];
  }
  loss[point] = loss_sum;
  hits[point] = hit_sum;
}
