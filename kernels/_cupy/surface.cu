// The loss at many points at once: the logits of a row are affine in the offsets of the weights,
// v = V0 + x V1 + y V2. A thread has one point of the grid and goes through the rows; neighbouring
// threads read the same logits.

#ifdef ROWS

// The logit of class j of a row that begins at `at`.
__device__ inline REAL logit(const REAL *V0, const REAL *V1, const REAL *V2, long long at, REAL x,
                             REAL y) {
  return fma(y, V2[at], fma(x, V1[at], V0[at]));
}

extern "C" __global__ void surface_chunks(const REAL *V0, const REAL *V1, const REAL *V2,
                                          const long long *labels, const REAL *weights,
                                          const REAL *x_offsets, const REAL *y_offsets,
                                          double *partial, unsigned char is_mse, long long n,
                                          long long c, long long nx, long long points) {
  // V0, V1, V2 are (n, c), labels is (n,), weights is (n,) or null, points is ny·nx,
  // partial is (chunks, points, 2): Σ w L and Σ w [right] of ROWS rows; a row of blocks for each
  const long long point = thread_number();
  if (point >= points) return;
  const REAL x = x_offsets[point % nx], y = y_offsets[point / nx];
  const long long first = blockIdx.y * (long long)ROWS;
  const long long end = first + ROWS < n ? first + ROWS : n;
  double loss_sum = 0, hit_sum = 0;
  for (long long r = first; r < end; ++r) {
    const long long label = labels[r], row = r * c;
    Largest most = {logit(V0, V1, V2, row, x, y), 0};
    bool finite = true;
    for (long long j = 0; j < c; ++j) {
      finite = finite && isfinite(V0[row + j]) && isfinite(V1[row + j]) && isfinite(V2[row + j]);
      most = larger(most, Largest{logit(V0, V1, V2, row + j, x, y), j});
    }
    // Of the classes that are not the label's: nothing below cancels.
    REAL others = 0, squares = 0;
    for (long long j = 0; j < c; ++j) {
      if (j == label) continue;
      const REAL e = exponential(logit(V0, V1, V2, row + j, x, y), most.value).high;
      others += e;
      squares += e * e;
    }
    const REAL own = logit(V0, V1, V2, row + label, x, y);
    const REAL e_own = exponential(own, most.value).high;
    const REAL total = others + e_own;
    // e_own - 1 is exactly 0 where the label's logit is the largest, elsewhere others >= 1
    const REAL loss = is_mse ? (squares + others * others) / (c * total * total)
                             : most.value - own + log1p(others + (e_own - 1));
    const double w = weights ? weights[r] : 1;
    loss_sum += finite ? w * loss : infinity(double()) - infinity(double());  // NaN
    hit_sum += finite && most.at == label ? w : 0;
  }
  const long long at = 2 * (blockIdx.y * points + point);
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

#endif  // ROWS
