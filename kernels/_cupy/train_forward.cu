// Path B, forward: the logits of a step on tiles of rows x columns and, with ROW_LANES, where whole
// heads fit a tile, the rows' losses and gradients too.
//
// -D TILE_ROWS, TILE_COLUMNS, SLICE_FEATURES, DEPTH (of the features: what a tile takes at a time)

#include "common.cuh"
#include "losses.cuh"
#include "train.cuh"

constexpr int SIDE = 16;  // SIDE x SIDE threads have a part of the tile each
static_assert(SIDE * SIDE == THREADS);
constexpr int THREAD_ROWS = TILE_ROWS / SIDE, THREAD_COLUMNS = TILE_COLUMNS / SIDE;
constexpr int X_STRIDE = DEPTH + 4;         // rows of the tile of X start in different banks
constexpr int V_STRIDE = TILE_COLUMNS + 1;  // and so do those of the tile of V
constexpr int TILES = TILE_ROWS * X_STRIDE + DEPTH * TILE_COLUMNS;

struct Tile {  // rows x columns of the logits
  long long first_row, first_column;
  int rows, columns;
};

// Whole heads, as many as fit; part of a head where none does.
__device__ __forceinline__ Tile this_tile(long long rows, long long h, long long c) {
  const long long width = c <= TILE_COLUMNS ? TILE_COLUMNS / c * c : TILE_COLUMNS;
  const long long row = (long long)blockIdx.x * TILE_ROWS, column = blockIdx.y * width;
  return {row, column, (int)min(rows - row, (long long)TILE_ROWS), (int)min(h * c - column, width)};
}

// Where this thread's part of the next tiles of X and W comes from, and what it read there.
struct Reader {
  long long x_row[THREAD_ROWS];  // the row's first element in X, -1 past the last row
  long long w_column;            // the column's first element in W, -1 past the last column
  REAL x[THREAD_ROWS], w[THREAD_COLUMNS];
};

__device__ __forceinline__ void start(Reader &reader, const Tile &tile, const Job &job, Rows rows) {
  const int t = threadIdx.x;
  const long long d = job.features.d;
#pragma unroll
  for (int i = 0; i < THREAD_ROWS; ++i) {
    const int r = t / DEPTH + THREADS / DEPTH * i;
    reader.x_row[i] = r < tile.rows ? rows.index[tile.first_row + r] * job.features.stride : -1;
  }
  reader.w_column = t % TILE_COLUMNS < tile.columns
                        ? weight_at(0, tile.first_column + t % TILE_COLUMNS, d, job.bank.c)
                        : -1;
}

__device__ __forceinline__ void read(Reader &reader, const Job &job, long long k0) {
  const int t = threadIdx.x;
  const long long d = job.features.d;
  const long long x_k = k0 + t % DEPTH;
#pragma unroll
  for (int i = 0; i < THREAD_ROWS; ++i)
    reader.x[i] = x_k < d && reader.x_row[i] >= 0
                      ? load_feature(job.features.X, reader.x_row[i] + x_k) * job.features.scale
                      : (REAL)0;
#pragma unroll
  for (int i = 0; i < THREAD_COLUMNS; ++i) {
    const long long k = k0 + t / TILE_COLUMNS + THREADS / TILE_COLUMNS * i;
    reader.w[i] =
        k < d && reader.w_column >= 0 ? job.bank.W[reader.w_column + k * job.bank.c] : (REAL)0;
  }
}

__device__ __forceinline__ void store(const Reader &reader, REAL *x_tile, REAL *w_tile) {
  const int t = threadIdx.x;
#pragma unroll
  for (int i = 0; i < THREAD_ROWS; ++i)
    x_tile[(t / DEPTH + THREADS / DEPTH * i) * X_STRIDE + t % DEPTH] = reader.x[i];
#pragma unroll
  for (int i = 0; i < THREAD_COLUMNS; ++i) w_tile[t + THREADS * i] = reader.w[i];
}

// A thread has THREAD_ROWS x THREAD_COLUMNS sums: four features at a time, so that a row's come
// with one load.
__device__ __forceinline__ void multiply(const REAL *x_tile, const REAL *w_tile,
                                         REAL (&sum)[THREAD_ROWS][THREAD_COLUMNS]) {
  const REAL *x_rows = x_tile + threadIdx.x / SIDE * THREAD_ROWS * X_STRIDE;
  const REAL *w_columns = w_tile + threadIdx.x % SIDE * THREAD_COLUMNS;
#pragma unroll
  for (int k = 0; k < DEPTH; k += 4) {
    REAL x[THREAD_ROWS][4];
#pragma unroll
    for (int i = 0; i < THREAD_ROWS; ++i)
#pragma unroll
      for (int q = 0; q < 4; ++q) x[i][q] = x_rows[i * X_STRIDE + k + q];
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      REAL w[THREAD_COLUMNS];
#pragma unroll
      for (int j = 0; j < THREAD_COLUMNS; ++j) w[j] = w_columns[(k + q) * TILE_COLUMNS + j];
#pragma unroll
      for (int i = 0; i < THREAD_ROWS; ++i)
#pragma unroll
        for (int j = 0; j < THREAD_COLUMNS; ++j) sum[i][j] = fma(x[i][q], w[j], sum[i][j]);
    }
  }
}

__device__ __forceinline__ void logits_tile(const Tile &tile, const Job &job, Rows rows,
                                            REAL *shared) {
  // -> shared (tile.rows, V_STRIDE) = s X W + b; shared holds the tiles of X and W on the way
  REAL *x_tile = shared, *w_tile = shared + TILE_ROWS * X_STRIDE;
  const long long d = job.features.d;
  REAL total[THREAD_ROWS][THREAD_COLUMNS] = {}, sum[THREAD_ROWS][THREAD_COLUMNS];
#pragma unroll
  for (int j = 0; j < THREAD_COLUMNS; ++j) {
    const int column = threadIdx.x % SIDE * THREAD_COLUMNS + j;
    const REAL bias = column < tile.columns ? job.bank.b[tile.first_column + column] : (REAL)0;
#pragma unroll
    for (int i = 0; i < THREAD_ROWS; ++i) sum[i][j] = bias;
  }
  Reader reader;
  start(reader, tile, job, rows);
  read(reader, job, 0);
  int left = SLICE_FEATURES;  // of the slice
  for (long long k = 0; k < d; k += DEPTH) {
    store(reader, x_tile, w_tile);
    __syncthreads();  // the tiles are complete
    if (k + DEPTH < d) read(reader, job, k + DEPTH);
    multiply(x_tile, w_tile, sum);
    __syncthreads();  // nobody reads them any more
    left -= DEPTH;
    if (left > 0 && k + DEPTH < d) continue;
    left = SLICE_FEATURES;
#pragma unroll
    for (int i = 0; i < THREAD_ROWS; ++i)
#pragma unroll
      for (int j = 0; j < THREAD_COLUMNS; ++j) {
        total[i][j] += sum[i][j];
        sum[i][j] = 0;
      }
  }
#pragma unroll
  for (int i = 0; i < THREAD_ROWS; ++i)
#pragma unroll
    for (int j = 0; j < THREAD_COLUMNS; ++j) {
      const int r = threadIdx.x / SIDE * THREAD_ROWS + i;
      const int column = threadIdx.x % SIDE * THREAD_COLUMNS + j;
      if (column < tile.columns) shared[r * V_STRIDE + column] = total[i][j];
    }
  __syncthreads();  // the logits are complete
}

__device__ __forceinline__ void copy_tile(const Tile &tile, const REAL *shared, REAL *V,
                                          long long columns) {
  // shared (tile.rows, V_STRIDE) -> its place in V (rows, N)
  const int column = threadIdx.x % TILE_COLUMNS;
  if (column >= tile.columns) return;
  for (int r = threadIdx.x / TILE_COLUMNS; r < tile.rows; r += THREADS / TILE_COLUMNS)
    V[(tile.first_row + r) * columns + tile.first_column + column] = shared[r * V_STRIDE + column];
}

constexpr int SHARED = TILES > TILE_ROWS * V_STRIDE ? TILES : TILE_ROWS * V_STRIDE;

#ifndef ROW_LANES

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    train_logits(const Job job, const StepResults results) {
  // X (n, d), W (h, d, c), b (h, c) -> dV (batch, N): the logits
  __shared__ __align__(16) REAL shared[SHARED];
  const Rows rows = rows_of_step(job.batches, begin_step(results));
  const Tile tile = this_tile(rows.count, job.bank.h, job.bank.c);
  if (tile.rows <= 0) return;  // a short batch
  logits_tile(tile, job, rows, shared);
  copy_tile(tile, shared, results.dV, job.bank.h * job.bank.c);
}

#else  // ROW_LANES

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    train_forward(const Job job, const StepResults results) {
  // X (n, d), W (h, d, c), b (h, c) -> dV (batch, N), loss and flags (h, batch); c <= TILE_COLUMNS
  __shared__ __align__(16) REAL shared[SHARED];
  const long long c = job.bank.c;
  const Rows rows = rows_of_step(job.batches, begin_step(results));
  const Tile tile = this_tile(rows.count, job.bank.h, c);
  if (tile.rows <= 0) return;  // a short batch
  logits_tile(tile, job, rows, shared);

  const int pairs = (int)(tile.columns / c) * TILE_ROWS;
  for (int pair = threadIdx.x / ROW_LANES; pair < pairs; pair += THREADS / ROW_LANES) {
    const int r = pair % TILE_ROWS, k = pair / TILE_ROWS;
    if (r >= tile.rows) continue;
    train_row_of_step(shared + r * V_STRIDE + k * (int)c, job, results, rows, tile.first_row + r,
                      tile.first_column / c + k);
  }
  __syncthreads();  // the gradients are complete
  copy_tile(tile, shared, results.dV, job.bank.h * c);
}

#endif  // ROW_LANES
