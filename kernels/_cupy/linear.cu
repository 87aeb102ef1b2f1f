// The linear layer: V = s X W + b, and the outer products of its backward pass, dW = s X^T dV.
//
// Both are a product A B with the sum over a depth: features forward, rows backward. A block owns a
// tile of TILE_ROWS x TILE_COLUMNS of the result and goes through the depth in slabs of DEPTH. A
// slab of A, laid out (depth, row), and one of B, (depth, column), lie in shared memory, in two
// buffers: while one is used, the next slab is on its way from memory to registers. Each thread
// adds up 4 x 4 of the result.
//
// TILE_ROWS x TILE_COLUMNS is 64 x 64; for few columns 128 x 32 or 128 x 16, so that fewer of a
// tile's columns are idle.
//
// linear_tensor.cu has the same kernels for wide and deep products, on the tensor cores.

#include "common.cuh"

#ifdef TILE_ROWS

#define THREADS (TILE_ROWS * TILE_COLUMNS / 16)
#define A_STRIDE (TILE_ROWS + 4)     // spreads the transposing stores over the banks
#define A_QUADS (TILE_ROWS * DEPTH / 4 / THREADS)                      // that a thread loads of A,
#define B_QUADS ((TILE_COLUMNS * DEPTH / 4 + THREADS - 1) / THREADS)  // and of B

// Four neighbours of a row with `length` items, from `column` on; 0 past its end.
__device__ inline void load_quad(const REAL *row, long long column, long long length, bool aligned,
                                 REAL *quad) {
  if (aligned && column < length) {
    load_four(row + column, quad);
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) quad[i] = column + i < length ? row[column + i] : 0;
  }
}

// The same for features, times s.
__device__ inline void load_feature_quad(const Feature *row, long long column, long long length,
                                         bool aligned, REAL s, REAL *quad) {
  if (aligned && column < length) {
    load_four_features(row, column, quad);
#pragma unroll
    for (int i = 0; i < 4; ++i) quad[i] *= s;
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      quad[i] = column + i < length ? load_feature(row, column + i) * s : 0;
  }
}

// This thread's part of a slab of B: rows from `depth` on, columns from `column` on.
__device__ inline void load_slab(const REAL *B, long long depth, long long end, long long column,
                                 long long columns, bool aligned, REAL quads[B_QUADS][4]) {
  // B is (end or more, columns)
#pragma unroll
  for (int k = 0; k < B_QUADS; ++k) {
    const int q = threadIdx.x + k * THREADS;
    const long long r = depth + q / (TILE_COLUMNS / 4);
    const bool inside = q < DEPTH * TILE_COLUMNS / 4 && r < end;
    load_quad(B + r * columns, column + q % (TILE_COLUMNS / 4) * 4, inside ? columns : 0, aligned,
              quads[k]);
  }
}

__device__ inline void store_slab(const REAL quads[B_QUADS][4], REAL b[DEPTH][TILE_COLUMNS]) {
#pragma unroll
  for (int k = 0; k < B_QUADS; ++k) {
    const int q = threadIdx.x + k * THREADS;
    if (q < DEPTH * TILE_COLUMNS / 4)
      store_four(&b[q / (TILE_COLUMNS / 4)][q % (TILE_COLUMNS / 4) * 4], quads[k]);
  }
}

// Where in the tile this thread's sums[i][j] is.
__device__ inline int row_of_sum(int i, int j) {
  return threadIdx.x / (TILE_COLUMNS / 4) * 4 + i;
}
__device__ inline int column_of_sum(int i, int j) {
  return threadIdx.x % (TILE_COLUMNS / 4) * 4 + j;
}

// sums += the product of two slabs.
__device__ inline void multiply_slabs(const REAL a[DEPTH][A_STRIDE],
                                      const REAL b[DEPTH][TILE_COLUMNS], REAL sums[4][4]) {
  const int row = row_of_sum(0, 0), column = column_of_sum(0, 0);
#pragma unroll
  for (int k = 0; k < DEPTH; ++k) {
    REAL a_k[4], b_k[4];
    load_four(&a[k][row], a_k);
    load_four(&b[k][column], b_k);
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j) sums[i][j] = fma(a_k[i], b_k[j], sums[i][j]);
  }
}

// Writes this thread's sums to where the tile lies in a matrix (rows, columns), plus the bias.
__device__ inline void store_sums(const REAL sums[4][4], const REAL *bias, REAL *result,
                                  long long tile_row, long long tile_column, long long rows,
                                  long long columns) {
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const long long row = tile_row + row_of_sum(i, j);
      const long long column = tile_column + column_of_sum(i, j);
      if (row < rows && column < columns)
        result[row * columns + column] = sums[i][j] + (bias ? bias[column] : 0);
    }
}

// ---- forward. The block's tile: rows blockIdx.x, classes blockIdx.y, and of the depth, the
// features, part blockIdx.z.

// This thread's part of a slab of A: rows of X from `row` on, features from `depth` on.
__device__ inline void load_rows(const Feature *X, long long row, long long n, long long depth,
                                 long long end, long long stride, bool aligned, REAL s,
                                 REAL quads[A_QUADS][4]) {
#pragma unroll
  for (int k = 0; k < A_QUADS; ++k) {
    const int q = threadIdx.x + k * THREADS;
    const long long r = row + q / (DEPTH / 4);
    load_feature_quad(X + r * stride, depth + q % (DEPTH / 4) * 4, r < n ? end : 0, aligned, s,
                      quads[k]);
  }
}

// Transposes on the way.
__device__ inline void store_rows(const REAL quads[A_QUADS][4], REAL a[DEPTH][A_STRIDE]) {
#pragma unroll
  for (int k = 0; k < A_QUADS; ++k) {
    const int q = threadIdx.x + k * THREADS;
#pragma unroll
    for (int i = 0; i < 4; ++i) a[q % (DEPTH / 4) * 4 + i][q / (DEPTH / 4)] = quads[k][i];
  }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    linear_forward(const Feature *X, const REAL *W, const REAL *b, REAL *V, REAL s,
                   long long first, long long n, long long d, long long stride, long long c,
                   long long part) {
  // X is (first + n or more, d), its rows `stride` apart, W is (d, c), b is (c,), V is (n, c): the
  // logits of n rows of X from `first` on; or, if the depth is split into parts of `part` features,
  // b is null and V is (parts, n, c), one sum for each
  __shared__ __align__(16) REAL a_slab[2][DEPTH][A_STRIDE];
  __shared__ __align__(16) REAL w_slab[2][DEPTH][TILE_COLUMNS];
  const long long row = blockIdx.x * (long long)TILE_ROWS;
  const long long column = blockIdx.y * (long long)TILE_COLUMNS;
  const long long begin = blockIdx.z * part, end = min(d, begin + part);
  X += first * stride;
  const bool x_aligned = rows_are_aligned(X, d | stride, sizeof(Feature));  // both: by 4
  const bool w_aligned = rows_are_aligned(W, c, sizeof(REAL));
  REAL x[A_QUADS][4], w[B_QUADS][4], sums[4][4] = {};
  load_rows(X, row, n, begin, end, stride, x_aligned, s, x);
  load_slab(W, begin, end, column, c, w_aligned, w);
  int now = 0;
  for (long long depth = begin; depth < end; depth += DEPTH) {
    store_rows(x, a_slab[now]);
    store_slab(w, w_slab[now]);
    __syncthreads();  // this slab is complete, and nobody reads the other buffer any more
    if (depth + DEPTH < end) {
      load_rows(X, row, n, depth + DEPTH, end, stride, x_aligned, s, x);
      load_slab(W, depth + DEPTH, end, column, c, w_aligned, w);
    }
    multiply_slabs(a_slab[now], w_slab[now], sums);
    now = 1 - now;
  }
  store_sums(sums, b, V + blockIdx.z * n * c, row, column, n, c);
}

// ---- backward. The block's tile: features blockIdx.x, classes blockIdx.y, and of the depth, the
// rows of the batch, part blockIdx.z.

// This thread's part of a slab of A: rows of X from `depth` on, features from `column` on.
__device__ inline void load_features(const Feature *X, long long depth, long long end,
                                     long long column, long long d, long long stride,
                                     bool aligned, REAL s, REAL quads[A_QUADS][4]) {
#pragma unroll
  for (int k = 0; k < A_QUADS; ++k) {
    const int q = threadIdx.x + k * THREADS;
    const long long r = depth + q / (TILE_ROWS / 4);
    load_feature_quad(X + r * stride, column + q % (TILE_ROWS / 4) * 4, r < end ? d : 0, aligned,
                      s, quads[k]);
  }
}

__device__ inline void store_features(const REAL quads[A_QUADS][4], REAL a[DEPTH][A_STRIDE]) {
#pragma unroll
  for (int k = 0; k < A_QUADS; ++k) {
    const int q = threadIdx.x + k * THREADS;
    store_four(&a[q / (TILE_ROWS / 4)][q % (TILE_ROWS / 4) * 4], quads[k]);
  }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    linear_backward(const REAL *dV, const Feature *X, REAL *dW, REAL s, long long n, long long d,
                    long long stride, long long c, long long part) {
  // dV is (n, c), X is (n, d), its rows `stride` apart, dW is (d, c); or, if the rows are split into
  // parts of `part` rows, (parts, d, c), one sum for each
  __shared__ __align__(16) REAL a_slab[2][DEPTH][A_STRIDE];
  __shared__ __align__(16) REAL dv_slab[2][DEPTH][TILE_COLUMNS];
  const long long feature = blockIdx.x * (long long)TILE_ROWS;
  const long long column = blockIdx.y * (long long)TILE_COLUMNS;
  const long long begin = blockIdx.z * part, end = min(n, begin + part);
  const bool x_aligned = rows_are_aligned(X, d | stride, sizeof(Feature));  // both: by 4
  const bool dv_aligned = rows_are_aligned(dV, c, sizeof(REAL));
  REAL x[A_QUADS][4], dv[B_QUADS][4], sums[4][4] = {};
  load_features(X, begin, end, feature, d, stride, x_aligned, s, x);
  load_slab(dV, begin, end, column, c, dv_aligned, dv);
  int now = 0;
  for (long long depth = begin; depth < end; depth += DEPTH) {
    store_features(x, a_slab[now]);
    store_slab(dv, dv_slab[now]);
    __syncthreads();  // this slab is complete, and nobody reads the other buffer any more
    if (depth + DEPTH < end) {
      load_features(X, depth + DEPTH, end, feature, d, stride, x_aligned, s, x);
      load_slab(dV, depth + DEPTH, end, column, c, dv_aligned, dv);
    }
    multiply_slabs(a_slab[now], dv_slab[now], sums);
    now = 1 - now;
  }
  store_sums(sums, nullptr, dW + blockIdx.z * d * c, feature, column, d, c);
}

#endif  // TILE_ROWS

// ---- sums in a fixed order

extern "C" __global__ void add_parts(const REAL *parts, const REAL *b, REAL *result,
                                     long long count, long long size, long long c) {
  // parts is (count, size), result is (size,): the sum of the parts in their order, then b (c,) for
  // the columns of an (n, c) result, if it is not null
  const long long step = thread_count();
  for (long long i = thread_number(); i < size; i += step) {
    REAL sum = parts[i];
    for (long long k = 1; k < count; ++k) sum += parts[k * size + i];
    result[i] = b ? sum + b[i % c] : sum;
  }
}

#ifdef COLUMN_THREADS

// db = sum_rows dv. A block has a warp of columns and COLUMN_THREADS rows at a time.
extern "C" __global__ void __launch_bounds__(32 * COLUMN_THREADS)
    column_sums(const REAL *dV, REAL *sums, long long n, long long c, long long part) {
  // dV is (n, c), sums is (parts, c): a sum for each part of `part` rows
  __shared__ REAL terms[COLUMN_THREADS][32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const long long column = blockIdx.x * 32ll + lane, end = min(n, (blockIdx.y + 1) * part);
  REAL sum = 0;
  if (column < c)
    for (long long r = blockIdx.y * part + warp; r < end; r += COLUMN_THREADS)
      sum += dV[r * c + column];
  terms[warp][lane] = sum;
  __syncthreads();  // every warp's sums are there
  if (warp > 0 || column >= c) return;
  for (int w = 1; w < COLUMN_THREADS; ++w) sum += terms[w][lane];
  sums[blockIdx.y * c + column] = sum;
}

#endif  // COLUMN_THREADS
