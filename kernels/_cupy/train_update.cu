// Path B, update: the gradients of the weights on tiles of features x columns, and the step itself.
//
// -D TILE_FEATURES, TILE_COLUMNS, DEPTH (of the rows: what a tile takes at a time)

#include "common.cuh"
#include "losses.cuh"
#include "train.cuh"
#include "train_update.cuh"

constexpr int SIDE = 16;  // SIDE x SIDE threads have a part of the tile each
static_assert(SIDE * SIDE == THREADS);
constexpr int THREAD_FEATURES = TILE_FEATURES / SIDE, THREAD_COLUMNS = TILE_COLUMNS / SIDE;

// This thread's part of the next tiles of X (DEPTH rows, features) and dV (DEPTH rows, columns).
struct Reader {
  REAL x[DEPTH * TILE_FEATURES / THREADS], v[DEPTH * TILE_COLUMNS / THREADS];
};

__device__ __forceinline__ void read(Reader &reader, const WeightTile &tile, const Job &job,
                                     const REAL *dV, Rows rows, long long r0) {
  const int t = threadIdx.x;
  const long long columns = job.bank.h * job.bank.c;
#pragma unroll
  for (int i = 0; i < DEPTH * TILE_FEATURES / THREADS; ++i) {
    const int at = t + THREADS * i;
    const long long r = r0 + at / TILE_FEATURES, k = tile.first_feature + at % TILE_FEATURES;
    reader.x[i] =
        r < rows.count && k < tile.features
            ? load_feature(job.features.X, rows.index[r] * job.features.stride + k) *
                  job.features.scale
            : (REAL)0;
  }
#pragma unroll
  for (int i = 0; i < DEPTH * TILE_COLUMNS / THREADS; ++i) {
    const int at = t + THREADS * i;
    const long long r = r0 + at / TILE_COLUMNS, column = tile.first_column + at % TILE_COLUMNS;
    reader.v[i] =
        r < rows.count && column < tile.end_column ? dV[r * columns + column] : (REAL)0;
  }
}

// This thread's part of the gradient: THREAD_FEATURES x THREAD_COLUMNS sums over the rows, and
// those of the bias.
struct Gradient {
  REAL weights[THREAD_FEATURES][THREAD_COLUMNS], bias[THREAD_COLUMNS];
};

__device__ __forceinline__ void add_rows(Gradient &sum, const REAL *x_tile, const REAL *v_tile) {
  const REAL *x_part = x_tile + threadIdx.x / SIDE * THREAD_FEATURES;
  const REAL *v_part = v_tile + threadIdx.x % SIDE * THREAD_COLUMNS;
#pragma unroll 16
  for (int r = 0; r < DEPTH; ++r) {
    REAL x[THREAD_FEATURES], v[THREAD_COLUMNS];
#pragma unroll
    for (int i = 0; i < THREAD_FEATURES; ++i) x[i] = x_part[r * TILE_FEATURES + i];
#pragma unroll
    for (int j = 0; j < THREAD_COLUMNS; ++j) v[j] = v_part[r * TILE_COLUMNS + j];
#pragma unroll
    for (int j = 0; j < THREAD_COLUMNS; ++j) {
#pragma unroll
      for (int i = 0; i < THREAD_FEATURES; ++i)
        sum.weights[i][j] = fma(x[i], v[j], sum.weights[i][j]);
    }
  }
}

// The sums of the bias, in a loop of their own that most threads do not enter: among the others
// every thread of every block would add them.
__device__ __forceinline__ void add_bias(Gradient &sum, const REAL *v_tile) {
  const REAL *v_part = v_tile + threadIdx.x % SIDE * THREAD_COLUMNS;
#pragma unroll 1
  for (int r = 0; r < DEPTH; ++r) {
#pragma unroll
    for (int j = 0; j < THREAD_COLUMNS; ++j) sum.bias[j] += v_part[r * TILE_COLUMNS + j];
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    train_update(const Job job, const StepResults results) {
  // X (n, d), dV (batch, N) -> W, MW (h, d, c), b, Mb (h, c); losses, correct (steps, h); active of
  // the next step, in the other row of (2, h)
  __shared__ __align__(16) REAL x_tile[DEPTH * TILE_FEATURES];
  __shared__ __align__(16) REAL v_tile[DEPTH * TILE_COLUMNS];
  __shared__ int updates[TILE_COLUMNS];  // of each head of the tile: is it updated?
  const int t = threadIdx.x;
  const long long step = end_step(results);
  const Rows rows = rows_of_step(job.batches, step);
  const WeightTile tile = this_tile(job);
  decide(tile, job, results, step, rows.count, updates);

  Gradient sum = {};
  const bool has_bias = blockIdx.x == 0 && t / SIDE == 0;
  Reader reader;
  read(reader, tile, job, results.dV, rows, 0);
  for (long long r0 = 0; r0 < rows.count; r0 += DEPTH) {
#pragma unroll
    for (int i = 0; i < DEPTH * TILE_FEATURES / THREADS; ++i) x_tile[t + THREADS * i] = reader.x[i];
#pragma unroll
    for (int i = 0; i < DEPTH * TILE_COLUMNS / THREADS; ++i) v_tile[t + THREADS * i] = reader.v[i];
    __syncthreads();  // the tiles are complete
    if (r0 + DEPTH < rows.count) read(reader, tile, job, results.dV, rows, r0 + DEPTH);
    add_rows(sum, x_tile, v_tile);
    if (has_bias) add_bias(sum, v_tile);
    __syncthreads();  // nobody reads them any more
  }
#pragma unroll
  for (int j = 0; j < THREAD_COLUMNS; ++j) {
    const int column = t % SIDE * THREAD_COLUMNS + j;
    const ColumnUpdate of = column_update(tile, job, updates, step, column);
    if (!of.is_due) continue;
    update_weights<THREAD_FEATURES>(
        of, tile, job, [&](int i) { return t / SIDE * THREAD_FEATURES + i; },
        [&](int i) { return sum.weights[i][j]; });
    if (has_bias) update_bias(of, job, sum.bias[j]);
  }
}
