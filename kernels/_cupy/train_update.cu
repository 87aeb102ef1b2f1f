// Path B, update: the gradients of the weights on tiles of features × columns, and the step itself.
//
// -D TILE_FEATURES, TILE_COLUMNS, DEPTH (of the rows: what a tile takes at a time)

constexpr int SIDE = 16;  // SIDE × SIDE threads have a part of the tile each
static_assert(SIDE * SIDE == THREADS);
constexpr int THREAD_FEATURES = TILE_FEATURES / SIDE, THREAD_COLUMNS = TILE_COLUMNS / SIDE;

struct WeightTile {  // features × columns of the weights
  long long first_feature, features, first_column, end_column;
};

// This thread's part of the next tiles of X (DEPTH rows, features) and dV (DEPTH rows, columns).
struct Reader {
  REAL x[DEPTH * TILE_FEATURES / THREADS], v[DEPTH * TILE_COLUMNS / THREADS];
};

__device__ __forceinline__ void read(Reader &reader, const WeightTile &tile, const Feature *X,
                                     const REAL *dV, Rows rows, long long r0, long long columns,
                                     REAL feature_scale) {
  const int t = threadIdx.x;
#pragma unroll
  for (int i = 0; i < DEPTH * TILE_FEATURES / THREADS; ++i) {
    const int at = t + THREADS * i;
    const long long r = r0 + at / TILE_FEATURES, k = tile.first_feature + at % TILE_FEATURES;
    reader.x[i] = r < rows.count && k < tile.features
                      ? load_feature(X, rows.index[r] * tile.features + k) * feature_scale
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

extern "C" __global__ void __launch_bounds__(THREADS, 2) train_update(
    const Feature *X, long long d, REAL feature_scale, const long long *order, long long m,
    long long batch, long long h, long long c, REAL *W, REAL *b, REAL *MW, REAL *Mb,
    const REAL *learning_rate, const REAL *l2, const REAL *momentum, bool l2_bias, bool fit_bias,
    bool *active, double *losses, long long *correct, long long *counter, const REAL *dV,
    const REAL *loss, const int *flags) {
  // X (n, d), dV (batch, N) -> W, MW (h, d, c), b, Mb (h, c); losses, correct (steps, h).
  // active (2, h): of this step and, in the other row, of the next.
  __shared__ __align__(16) REAL x_tile[DEPTH * TILE_FEATURES];
  __shared__ __align__(16) REAL v_tile[DEPTH * TILE_COLUMNS];
  __shared__ int updates[TILE_COLUMNS];  // of each head of the tile: is it updated?
  const int t = threadIdx.x;
  const long long step = counter[1] - 1;
  if (blockIdx.x == 0 && blockIdx.y == 0 && t == 0) counter[0] = step + 1;
  const Rows rows = rows_of_step(order, m, batch, step);
  const long long columns = h * c;
  const long long first_column = (long long)blockIdx.y * TILE_COLUMNS;
  const WeightTile tile = {(long long)blockIdx.x * TILE_FEATURES, d, first_column,
                           min(columns, first_column + TILE_COLUMNS)};
  const long long first_head = first_column / c;

  for (long long head = first_head + t / 32; head * c < tile.end_column; head += THREADS / 32) {
    const bool is_updated = active[step % 2 * h + head] &&
                            head_is_finite(flags + head * batch, rows.count, 1);
    if (t % 32 == 0) updates[head - first_head] = is_updated;
    // Of the blocks of a head the one with its first weight reports it.
    if (blockIdx.x == 0 && head * c >= first_column) {
      if (t % 32 == 0) active[(step + 1) % 2 * h + head] = is_updated;
      if (is_updated)
        report_head(flags + head * batch, loss + head * batch, rows.count, 1,
                    losses + step * h + head, correct + step * h + head);
    }
  }

  REAL sum[THREAD_FEATURES][THREAD_COLUMNS] = {}, bias_sum[THREAD_COLUMNS] = {};
  const bool has_bias = blockIdx.x == 0 && t / SIDE == 0;
  Reader reader;
  read(reader, tile, X, dV, rows, 0, columns, feature_scale);
  for (long long r0 = 0; r0 < rows.count; r0 += DEPTH) {
#pragma unroll
    for (int i = 0; i < DEPTH * TILE_FEATURES / THREADS; ++i) x_tile[t + THREADS * i] = reader.x[i];
#pragma unroll
    for (int i = 0; i < DEPTH * TILE_COLUMNS / THREADS; ++i) v_tile[t + THREADS * i] = reader.v[i];
    __syncthreads();  // the tiles are complete
    if (r0 + DEPTH < rows.count)
      read(reader, tile, X, dV, rows, r0 + DEPTH, columns, feature_scale);
#pragma unroll
    for (int r = 0; r < DEPTH; ++r) {
      REAL x[THREAD_FEATURES], v[THREAD_COLUMNS];
#pragma unroll
      for (int i = 0; i < THREAD_FEATURES; ++i)
        x[i] = x_tile[r * TILE_FEATURES + t / SIDE * THREAD_FEATURES + i];
#pragma unroll
      for (int j = 0; j < THREAD_COLUMNS; ++j)
        v[j] = v_tile[r * TILE_COLUMNS + t % SIDE * THREAD_COLUMNS + j];
#pragma unroll
      for (int j = 0; j < THREAD_COLUMNS; ++j) {
        if (has_bias) bias_sum[j] += v[j];
#pragma unroll
        for (int i = 0; i < THREAD_FEATURES; ++i) sum[i][j] = fma(x[i], v[j], sum[i][j]);
      }
    }
    __syncthreads();  // nobody reads them any more
  }

#pragma unroll
  for (int j = 0; j < THREAD_COLUMNS; ++j) {
    const long long column = first_column + t % SIDE * THREAD_COLUMNS + j, head = column / c;
    if (column >= tile.end_column || !updates[head - first_head]) continue;
    const REAL rate = learning_rate[step * h + head];
#pragma unroll
    for (int i = 0; i < THREAD_FEATURES; ++i) {
      const long long k = tile.first_feature + t / SIDE * THREAD_FEATURES + i;
      const long long at = weight_at(k, column, d, c);
      if (k < d)
        update(W + at, MW ? MW + at : nullptr, sum[i][j], l2[head], momentum[head], rate);
    }
    if (has_bias && fit_bias)
      update(b + column, Mb ? Mb + column : nullptr, bias_sum[j], l2_bias ? l2[head] : (REAL)0,
             momentum[head], rate);
  }
}
