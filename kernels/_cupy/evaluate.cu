// What trained heads do on rows: labels, losses, hits. A block of rows at a time: `count` rows of
// X from `first` on, whose logits V of all h heads are (count, h, c), so h*count rows of c.

#ifdef Y_SOFT
#define ROWS_DIVERGE  // by the losses of their heads
#endif

#include "common.cuh"
#include "losses.cuh"

// All heads' weights side by side, which makes one linear layer of them.
extern "C" __global__ void pack_bank(const REAL *W, REAL *packed, long long h, long long d,
                                     long long c) {
  // W is (h, d, c), packed is (d, h, c)
  const long long step = thread_count();
  for (long long i = thread_number(); i < d * h * c; i += step) {
    const long long j = i % c, head = i / c % h, feature = i / c / h;
    packed[i] = W[(head * d + feature) * c + j];
  }
}

#ifdef ROW_THREADS

// The first of the largest, or the first NaN.
__device__ inline Largest first_largest(const REAL *row, RowPlace at, long long c) {
  REAL v[ROW_VALUES];
  load_tile(row, at.columns, 0, v);
  Largest most = tile_largest(v, 0);
  for (long long tile = 1; tile < row_tiles(c); ++tile) {
    load_tile(row, at.columns, tile, v);
    most = larger(most, tile_largest(v, tile));
  }
  return most;
}

#ifndef Y_SOFT

extern "C" __global__ void predict_rows(const REAL *V, long long *labels, long long first,
                                        long long count, long long n, long long h, long long c) {
  // V is (count, h, c), labels is (h, n)
  for (long long first_q = first_row(); first_q < count * h; first_q += row_step()) {
    const RowPlace at = row_at(first_q, count * h, c);
    const long long q = at.row;
    const Largest most = first_largest(V + q * c, at, c);
    if (is_first_of(at)) labels[q % h * n + first + q / h] = most.at;
  }
}

#else

// (1/c) sum_j (y_j - p_j)^2 of a row of logits. e holds the last tile's exponentials.
__device__ inline REAL mse_of_row(const REAL *row, RowPlace at, const RowSoftmax &s,
                                  const Target *y, long long c, REAL *v, REAL *e) {
  // y is (c,), or one label
  const REAL total = rounded(row_total(s));
  const long long last = row_tiles(c) - 1;
  Pair sum = {0, 0};
  for (long long tile = last; tile >= 0; --tile) {
    reload_tile(row, at, s.scale, tile, last, v, e);
#pragma unroll
    for (int i = 0; i < ROW_VALUES; ++i) {
      const long long j = column(tile, i);
#if Y_SOFT
      const REAL gap = is_inside(at.columns, tile, i) ? y[j] - e[i] / total : 0;
#else
      const REAL gap = (*y == j ? 1 : 0) - e[i] / total;
#endif
      add(sum, gap * gap);
    }
  }
  return rounded(row_sum(sum)) / c;
}

extern "C" __global__ void evaluate_rows(const REAL *V, const Targets targets, REAL *losses,
                                         unsigned char *right, long long first, long long count,
                                         long long h, long long c) {
  // V is (count, h, c), losses and right are (count, h)
  for (long long first_q = first_row(); first_q < count * h; first_q += row_step()) {
    const RowPlace at = row_at(first_q, count * h, c);
    const long long q = at.row;
    REAL v[ROW_VALUES], e[ROW_VALUES];
    const long long head = q % h, r = first + q / h;
    const REAL *row = V + q * c;
    const long long *label = targets.labels + targets.y_index[head] * targets.n + r;
#if Y_SOFT
    const Target *y = targets.soft + r * c;
#else
    const Target *y = label;
#endif
    const RowSoftmax s = row_softmax(row, at, c, v, e);
    const RowLoss loss = loss_of_row(
        targets.loss_codes[head], c, [&] { return cross_entropy_of_row(row, at, s, y, c, v); },
        [&] { return mse_of_row(row, at, s, y, c, v, e); });
    if (is_first_of(at)) {
      losses[q] = loss.value;
      right[q] = s.largest.at == *label;
    }
  }
}

#endif  // Y_SOFT
#endif  // ROW_THREADS

// ---- sums over the rows. A chunk of CHUNK rows is summed by a block, and the chunks are added in
// their order: the same bits however many rows are done at a time.

#ifdef CHUNK

extern "C" __global__ void __launch_bounds__(CHUNK)
    sum_chunks(const REAL *losses, const unsigned char *right, const Targets targets,
               double *partial, long long first, long long count, long long h) {
  // losses and right are (count, h), partial is (chunks, h, 3): the sums of w L, of w [right] and
  // of w; a block for each chunk and head
  __shared__ double terms[3][CHUNK];
  const long long head = blockIdx.x % h, i = blockIdx.x / h * CHUNK + threadIdx.x;
  double w = 0, loss = 0, hit = 0;
  if (i < count) {
    const long long weight = targets.weight_index[head] * targets.n + first + i;
    w = targets.weights ? targets.weights[weight] : 1;
    loss = w * losses[i * h + head];
    hit = w * right[i * h + head];
  }
  terms[0][threadIdx.x] = loss;
  terms[1][threadIdx.x] = hit;
  terms[2][threadIdx.x] = w;
  for (int half = CHUNK / 2; half > 0; half /= 2) {
    __syncthreads();  // what is added now was written before
    if (threadIdx.x < half)
      for (int k = 0; k < 3; ++k) terms[k][threadIdx.x] += terms[k][threadIdx.x + half];
  }
  if (threadIdx.x == 0)
    for (int k = 0; k < 3; ++k) partial[blockIdx.x * 3ll + k] = terms[k][0];
}

extern "C" __global__ void add_chunks(const double *partial, double *sums, long long chunks,
                                      long long h) {
  // partial is (chunks, h, 3), sums is (h, 3)
  const long long i = thread_number();
  if (i >= 3 * h) return;
  double sum = sums[i];
  for (long long chunk = 0; chunk < chunks; ++chunk) sum += partial[chunk * h * 3 + i];
  sums[i] = sum;
}

extern "C" __global__ void means(const double *sums, double *loss, double *accuracy, long long h) {
  // sums is (h, 3), loss and accuracy are (h,)
  const long long head = thread_number();
  if (head >= h) return;
  loss[head] = sums[head * 3] / sums[head * 3 + 2];
  accuracy[head] = sums[head * 3 + 1] / sums[head * 3 + 2];
}

#endif  // CHUNK
