// Path B, forward: the logits of a step on tiles of rows x columns and, with ROW_LANES, where whole
// heads fit a tile, the rows' losses and gradients too. Where there are few tiles, blocks share out
// the slices of the features, and train_rows adds them up.
//
// -D TILE_ROWS, TILE_COLUMNS, SLICE_FEATURES, DEPTH (of the features: what a tile takes at a time;
//    SLICE_FEATURES is a multiple)

#include "common.cuh"
#include "losses.cuh"
#include "train.cuh"

constexpr int SIDE = 16;  // SIDE x SIDE threads have a part of the tile each
static_assert(SIDE * SIDE == THREADS);
constexpr int THREAD_ROWS = TILE_ROWS / SIDE, THREAD_COLUMNS = TILE_COLUMNS / SIDE;
constexpr int X_STRIDE = DEPTH + 4;         // rows of the tile of X start in different banks
constexpr int V_STRIDE = TILE_COLUMNS + 1;  // and so do those of the tile of V
constexpr int TILES = TILE_ROWS * X_STRIDE + DEPTH * TILE_COLUMNS;
constexpr int X_READS = TILE_ROWS * DEPTH / THREADS;  // of a thread, for the tile of X
constexpr int W_READS = DEPTH * TILE_COLUMNS / THREADS;

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
  long long x_row[X_READS];  // the row's first element in X, -1 past the last row
  long long w_column;        // the column's first element in W, -1 past the last column
  REAL x[X_READS], w[W_READS];
};

__device__ __forceinline__ void start(Reader &reader, const Tile &tile, const Job &job, Rows rows) {
  const int t = threadIdx.x;
  const long long d = job.features.d;
#pragma unroll
  for (int i = 0; i < X_READS; ++i) {
    const int r = (t + THREADS * i) / DEPTH;
    reader.x_row[i] = r < tile.rows ? rows.index[tile.first_row + r] * job.features.stride : -1;
  }
  reader.w_column = t % TILE_COLUMNS < tile.columns
                        ? weight_at(0, tile.first_column + t % TILE_COLUMNS, d, job.bank.c)
                        : -1;
}

__device__ __forceinline__ void read(Reader &reader, const Job &job, long long k0) {
  const int t = threadIdx.x;
  const long long d = job.features.d;
#pragma unroll
  for (int i = 0; i < X_READS; ++i) {
    const long long x_k = k0 + (t + THREADS * i) % DEPTH;
    reader.x[i] = x_k < d && reader.x_row[i] >= 0
                      ? load_feature(job.features.X, reader.x_row[i] + x_k) * job.features.scale
                      : (REAL)0;
  }
#pragma unroll
  for (int i = 0; i < W_READS; ++i) {
    const long long k = k0 + t / TILE_COLUMNS + THREADS / TILE_COLUMNS * i;
    reader.w[i] =
        k < d && reader.w_column >= 0 ? job.bank.W[reader.w_column + k * job.bank.c] : (REAL)0;
  }
}

__device__ __forceinline__ void store(const Reader &reader, REAL *x_tile, REAL *w_tile) {
  const int t = threadIdx.x;
#pragma unroll
  for (int i = 0; i < X_READS; ++i) {
    const int at = t + THREADS * i;
    x_tile[at / DEPTH * X_STRIDE + at % DEPTH] = reader.x[i];
  }
#pragma unroll
  for (int i = 0; i < W_READS; ++i) w_tile[t + THREADS * i] = reader.w[i];
}

// This thread's sums: of rows row_of_sum(i) and columns column_of_sum(j) of the tile.
typedef REAL Sums[THREAD_ROWS][THREAD_COLUMNS];

__device__ __forceinline__ int row_of_sum(int i) { return threadIdx.x / SIDE * THREAD_ROWS + i; }
__device__ __forceinline__ int column_of_sum(int j) {
  return threadIdx.x % SIDE * THREAD_COLUMNS + j;
}

// Four features at a time, so that a row's come with one load.
__device__ __forceinline__ void multiply(const REAL *x_tile, const REAL *w_tile, Sums &sum) {
  const REAL *x_rows = x_tile + row_of_sum(0) * X_STRIDE;
  const REAL *w_columns = w_tile + column_of_sum(0);
#pragma unroll 4
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

// The bias is the first term of the first slice's sums.
__device__ __forceinline__ void start(Sums &sum, const Tile &tile, const Job &job,
                                      long long slice) {
#pragma unroll
  for (int j = 0; j < THREAD_COLUMNS; ++j) {
    const int column = column_of_sum(j);
    const bool has_bias = slice == 0 && column < tile.columns;
    const REAL bias = has_bias ? job.bank.b[tile.first_column + column] : (REAL)0;
#pragma unroll
    for (int i = 0; i < THREAD_ROWS; ++i) sum[i][j] = bias;
  }
}

// Goes through some slices of the features: after(slice, sum) is given the sums of each.
template <class After>
__device__ __forceinline__ void through_slices(const Tile &tile, const Job &job, Rows rows,
                                               long long first_slice, long long end_slice,
                                               REAL *shared, After after) {
  // shared (TILES,) holds the tiles of X and W
  REAL *x_tile = shared, *w_tile = shared + TILE_ROWS * X_STRIDE;
  const long long end = min(job.features.d, end_slice * SLICE_FEATURES);
  Reader reader;
  start(reader, tile, job, rows);
  read(reader, job, first_slice * SLICE_FEATURES);
  for (long long slice = first_slice; slice < end_slice; ++slice) {
    const long long first = slice * SLICE_FEATURES, last = min(end, first + SLICE_FEATURES);
    Sums sum;
    start(sum, tile, job, slice);
    for (long long k = first; k < last; k += DEPTH) {
      store(reader, x_tile, w_tile);
      __syncthreads();  // the tiles are complete
      if (k + DEPTH < end) read(reader, job, k + DEPTH);
      multiply(x_tile, w_tile, sum);
      __syncthreads();  // nobody reads them any more
    }
    after(slice, sum);
  }
}

__device__ __forceinline__ long long slices_of(long long d) {
  return (d + SLICE_FEATURES - 1) / SLICE_FEATURES;
}

__device__ __forceinline__ void logits_tile(const Tile &tile, const Job &job, Rows rows,
                                            REAL *shared) {
  // -> shared (tile.rows, V_STRIDE) = s X W + b
  Sums total = {};
  through_slices(tile, job, rows, 0, slices_of(job.features.d), shared,
                 [&](long long, const Sums &sum) {
#pragma unroll
                   for (int i = 0; i < THREAD_ROWS; ++i)
#pragma unroll
                     for (int j = 0; j < THREAD_COLUMNS; ++j) total[i][j] += sum[i][j];
                 });
#pragma unroll
  for (int i = 0; i < THREAD_ROWS; ++i)
#pragma unroll
    for (int j = 0; j < THREAD_COLUMNS; ++j)
      if (column_of_sum(j) < tile.columns)
        shared[row_of_sum(i) * V_STRIDE + column_of_sum(j)] = total[i][j];
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

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    train_slices(const Job job, const StepResults results) {
  // X (n, d), W (h, d, c), b (h, c) -> slices (slices, batch, N): each slice's part of the logits.
  // The blocks along z share out the slices.
  __shared__ __align__(16) REAL shared[TILES];
  const long long columns = job.bank.h * job.bank.c;
  const Rows rows = rows_of_step(job.batches, begin_step(results));
  const Tile tile = this_tile(rows.count, job.bank.h, job.bank.c);
  if (tile.rows <= 0) return;  // a short batch
  const long long share = (results.slice_count + gridDim.z - 1) / gridDim.z;
  const long long first = blockIdx.z * share, end = min(first + share, results.slice_count);
  through_slices(tile, job, rows, first, end, shared, [&](long long slice, const Sums &sum) {
    REAL *V = results.slices + slice * job.batches.size * columns;
#pragma unroll
    for (int i = 0; i < THREAD_ROWS; ++i)
#pragma unroll
      for (int j = 0; j < THREAD_COLUMNS; ++j)
        if (row_of_sum(i) < tile.rows && column_of_sum(j) < tile.columns)
          V[(tile.first_row + row_of_sum(i)) * columns + tile.first_column + column_of_sum(j)] =
              sum[i][j];
  });
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
