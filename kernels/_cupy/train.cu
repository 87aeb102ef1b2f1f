// Minibatch gradient descent of a bank of heads. A bank has N = h·c columns: column k·c + j is
// class j of head k. Two paths to the same bits:
//   B  two launches a step, train_forward and train_update; three where a head is wider than a
//      tile: train_logits, train_rows, train_update.
//   A  train_steps, many steps in one cooperative launch, for small banks.
// A sum runs in an order that depends on d, c and the rows of the step alone: not on the path, the
// tile, the grid or the heads beside it. A logit is added up slice by slice of SLICE_FEATURES
// features, from the bias on. What a compiler could contract to an fma, or not, is written as fma()
// or as plus(), which it leaves alone.
//
// -D REAL, X_KIND, Y_SOFT, ROW_LANES (lanes that share a row of one head: a power of two up to 32);
//    for the forward kernels of B TILE_ROWS, TILE_COLUMNS, SLICE_FEATURES, for its update
//    TILE_FEATURES, TILE_COLUMNS, for A SLICE_FEATURES (a multiple of DEPTH).

constexpr int THREADS = 256;
constexpr int DEPTH = 16;  // what a tile of B takes at a time of the inner dimension
constexpr int FINITE = 1, RIGHT = 2;  // flags of a row of one head

struct Rows {  // the rows of one step
  const long long *index;
  long long count;
};

struct Targets {
  const long long *labels;  // (t, n); where Y_SOFT where the largest target is
  const REAL *soft;         // (n, c), null where not Y_SOFT
  const REAL *weights;      // (s, n), or null: all 1
  const long long *y_index, *weight_index;  // (h,)
  const bool *is_mse;                       // (h,)
  long long n, c;
};

__device__ __forceinline__ Rows rows_of_step(const long long *order, long long m, long long batch,
                                             long long step) {
  return {order + step * batch, min(m - step * batch, batch)};
}

// M <- momentum·M + g, W <- W - learning rate·M, with g = dW + l2·W. No M: there is no momentum.
__device__ __forceinline__ void update(REAL *w, REAL *velocity, REAL gradient, REAL l2,
                                       REAL momentum, REAL learning_rate) {
  REAL g = fma(l2, *w, gradient);
  if (velocity) {
    g = fma(momentum, *velocity, g);
    *velocity = g;
  }
  *w = fma(-learning_rate, g, *w);
}

// ---- a row of one head: softmax, loss, Jacobian, by ROW_LANES neighbouring lanes of a warp. A
// lane reads and writes its own classes only, so that no barrier is needed.

__device__ __forceinline__ unsigned lanes_of_row() {
  return (0xffffffffu >> (32 - ROW_LANES)) << (threadIdx.x % 32 / ROW_LANES * ROW_LANES);
}

__device__ __forceinline__ REAL sum_of_lanes(REAL value) {
#pragma unroll
  for (int step = ROW_LANES / 2; step > 0; step /= 2)
    value += __shfl_xor_sync(lanes_of_row(), value, step);
  return value;
}

__device__ __forceinline__ Largest largest(const REAL *v, long long c) {
  // v (c,)
  Largest found = {-infinity(REAL()), c};
  for (long long j = threadIdx.x % ROW_LANES; j < c; j += ROW_LANES)
    found = larger(found, Largest{v[j], j});
#pragma unroll
  for (int step = ROW_LANES / 2; step > 0; step /= 2) {
    const REAL other = __shfl_xor_sync(lanes_of_row(), found.value, step);
    const long long at = __shfl_xor_sync(lanes_of_row(), found.at, step);
    found = larger(found, Largest{other, at});
  }
  return found;
}

__device__ __forceinline__ bool all_finite(const REAL *v, long long c) {
  // v (c,)
  bool finite = true;
  for (long long j = threadIdx.x % ROW_LANES; j < c; j += ROW_LANES)
    finite = finite && v[j] - v[j] == 0;
  return __all_sync(lanes_of_row(), finite);
}

// With p = e / Σe, q = Σ_{j≠y} p_j = 1 - p_y and s = Σ_{j≠y} p_j², no difference of near ones:
//   cross-entropy  L = log1p(Σ_{j≠top} e_j) + v_top - v_y,  dv_y = -q,  dv_i = p_i
//   MSE            L = (s + q²)/c,  dv_y = -(2/c) p_y (s + q²),  dv_i = (2/c) p_i (p_i - s + p_y q)
// factor scales the gradient; for MSE it holds the 2/c.
__device__ __forceinline__ REAL label_gradient(REAL *v, long long c, long long label, Largest top,
                                               bool is_mse, REAL factor) {
  // v (c,): logits in, gradient out -> L
  const int lane = threadIdx.x % ROW_LANES;
  REAL others = 0, squares = 0, tail = 0, margin = 0;
  for (long long j = lane; j < c; j += ROW_LANES) {
    const REAL below = top.value - v[j], e = exp(-below);
    if (j != top.at) tail = plus(tail, e);
    if (j != label) {
      others = plus(others, e);
      squares = fma(e, e, squares);
    } else {
      margin = below;
    }
    v[j] = e;
  }
  others = sum_of_lanes(others);
  squares = sum_of_lanes(squares);
  tail = sum_of_lanes(tail);
  margin = sum_of_lanes(margin);
  const REAL inverse = 1 / (1 + tail), q = others * inverse, s = squares * inverse * inverse;
  const REAL p_y = exp(-margin) * inverse, s_and_q = fma(q, q, s);
  for (long long j = lane; j < c; j += ROW_LANES) {
    const REAL p = v[j] * inverse;
    if (is_mse)
      v[j] = factor * (j == label ? -p * s_and_q : p * fma(p_y, q, plus(p, -s)));
    else
      v[j] = factor * (j == label ? -q : p);
  }
  return is_mse ? s_and_q / (REAL)c : plus(log1p(tail), margin);
}

// Cross-entropy: L = Σ_j y_j (logsumexp(v) - v_j), dv = p - y; a target of 0 counts nothing.
// MSE: L = (1/c) Σ_j (p_j - y_j)², dv_i = (2/c) p_i (p_i - y_i - Σ_j p_j (p_j - y_j)).
__device__ __forceinline__ REAL soft_gradient(REAL *v, long long c, const REAL *y, Largest top,
                                              bool is_mse, REAL factor) {
  // v (c,): logits in, gradient out; y (c,) -> L
  const int lane = threadIdx.x % ROW_LANES;
  REAL tail = 0, sum_y = 0, margins = 0;
  for (long long j = lane; j < c; j += ROW_LANES) {
    const REAL below = top.value - v[j], e = exp(-below);
    if (j != top.at) tail = plus(tail, e);
    sum_y += y[j];
    if (y[j] != 0) margins = fma(y[j], below, margins);
    v[j] = e;
  }
  tail = sum_of_lanes(tail);
  sum_y = sum_of_lanes(sum_y);
  margins = sum_of_lanes(margins);
  const REAL inverse = 1 / (1 + tail);
  REAL squares = 0, mean = 0;
  for (long long j = lane; j < c; j += ROW_LANES) {
    const REAL p = v[j] * inverse, difference = plus(p, -y[j]);
    squares = fma(difference, difference, squares);
    mean = fma(difference, p, mean);
  }
  squares = sum_of_lanes(squares);
  mean = sum_of_lanes(mean);
  for (long long j = lane; j < c; j += ROW_LANES) {
    const REAL p = v[j] * inverse, difference = plus(p, -y[j]);
    v[j] = factor * (is_mse ? p * (difference - mean) : difference);
  }
  return is_mse ? squares / (REAL)c : fma(log1p(tail), sum_y, margins);
}

__device__ __forceinline__ int train_row(REAL *v, const Targets &targets, long long head,
                                         long long row, long long rows, REAL *loss) {
  // v (c,): logits in, dL/dv · weight / rows out; loss = weight · L -> flags
  const long long c = targets.c;
  const bool is_mse = targets.is_mse[head];
  const REAL weight =
      targets.weights ? targets.weights[targets.weight_index[head] * targets.n + row] : (REAL)1;
  const REAL factor = weight / (REAL)rows * (is_mse ? (REAL)2 / (REAL)c : (REAL)1);
  *loss = 0;
  if (!all_finite(v, c)) return 0;
  const Largest top = largest(v, c);
  const long long label = targets.labels[targets.y_index[head] * targets.n + row];
#if Y_SOFT
  *loss = weight * soft_gradient(v, c, targets.soft + row * c, top, is_mse, factor);
#else
  *loss = weight * label_gradient(v, c, label, top, is_mse, factor);
#endif
  return FINITE | (weight != 0 && top.at == label ? RIGHT : 0);
}

// ---- a head's rows together, by one warp: row r is at flags[r * stride]

__device__ __forceinline__ bool head_is_finite(const int *flags, long long count,
                                               long long stride) {
  bool finite = true;
  for (long long r = threadIdx.x % 32; r < count; r += 32)
    finite = finite && (flags[r * stride] & FINITE);
  return __all_sync(FULL_WARP, finite);
}

__device__ __forceinline__ void report_head(const int *flags, const REAL *loss, long long count,
                                            long long stride, double *mean_loss,
                                            long long *correct) {
  double sum = 0;
  long long right = 0;
  for (long long r = threadIdx.x % 32; r < count; r += 32) {
    sum += (double)loss[r * stride];
    right += (flags[r * stride] & RIGHT) != 0;
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    sum += __shfl_xor_sync(FULL_WARP, sum, step);
    right += __shfl_xor_sync(FULL_WARP, right, step);
  }
  if (threadIdx.x % 32 == 0) {
    *mean_loss = sum / (double)count;
    *correct = right;
  }
}

#ifdef TILE_ROWS  // ---- path B, forward

constexpr int THREAD_ROWS = TILE_ROWS / 16, THREAD_COLUMNS = TILE_COLUMNS / 16;
constexpr int X_STRIDE = DEPTH + 4;         // rows of the tile of X start in different banks
constexpr int V_STRIDE = TILE_COLUMNS + 1;  // and so do those of the tile of V
constexpr int TILES = TILE_ROWS * X_STRIDE + DEPTH * TILE_COLUMNS;

struct Tile {  // rows × columns of the logits
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

__device__ __forceinline__ void start(Reader &reader, const Tile &tile, Rows rows, long long d,
                                      long long c) {
  const int t = threadIdx.x;
#pragma unroll
  for (int i = 0; i < THREAD_ROWS; ++i) {
    const int r = t / DEPTH + 16 * i;
    reader.x_row[i] = r < tile.rows ? rows.index[tile.first_row + r] * d : -1;
  }
  const long long column = tile.first_column + t % TILE_COLUMNS, head = column / c;
  reader.w_column = t % TILE_COLUMNS < tile.columns ? head * d * c + column - head * c : -1;
}

__device__ __forceinline__ void read(Reader &reader, const Feature *X, const REAL *W, long long k0,
                                     long long d, long long c, REAL feature_scale) {
  const int t = threadIdx.x;
  const long long x_k = k0 + t % DEPTH;
#pragma unroll
  for (int i = 0; i < THREAD_ROWS; ++i)
    reader.x[i] = x_k < d && reader.x_row[i] >= 0
                      ? load_feature(X, reader.x_row[i] + x_k) * feature_scale
                      : (REAL)0;
#pragma unroll
  for (int i = 0; i < THREAD_COLUMNS; ++i) {
    const long long k = k0 + t / TILE_COLUMNS + THREADS / TILE_COLUMNS * i;
    reader.w[i] = k < d && reader.w_column >= 0 ? W[reader.w_column + k * c] : (REAL)0;
  }
}

__device__ __forceinline__ void store(const Reader &reader, REAL *x_tile, REAL *w_tile) {
  const int t = threadIdx.x;
#pragma unroll
  for (int i = 0; i < THREAD_ROWS; ++i)
    x_tile[(t / DEPTH + 16 * i) * X_STRIDE + t % DEPTH] = reader.x[i];
#pragma unroll
  for (int i = 0; i < THREAD_COLUMNS; ++i) w_tile[t + THREADS * i] = reader.w[i];
}

// A thread has THREAD_ROWS × THREAD_COLUMNS sums: four features at a time, so that a row's come
// with one load.
__device__ __forceinline__ void multiply(const REAL *x_tile, const REAL *w_tile,
                                         REAL (&sum)[THREAD_ROWS][THREAD_COLUMNS]) {
  const REAL *x_rows = x_tile + threadIdx.x / 16 * THREAD_ROWS * X_STRIDE;
  const REAL *w_columns = w_tile + threadIdx.x % 16 * THREAD_COLUMNS;
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

__device__ __forceinline__ void logits_tile(const Tile &tile, const Feature *X, Rows rows,
                                            const REAL *W, const REAL *b, long long d, long long c,
                                            REAL feature_scale, REAL *shared) {
  // -> shared (tile.rows, V_STRIDE) = s X W + b; shared holds the tiles of X and W on the way
  REAL *x_tile = shared, *w_tile = shared + TILE_ROWS * X_STRIDE;
  REAL total[THREAD_ROWS][THREAD_COLUMNS] = {}, sum[THREAD_ROWS][THREAD_COLUMNS];
#pragma unroll
  for (int j = 0; j < THREAD_COLUMNS; ++j) {
    const int column = threadIdx.x % 16 * THREAD_COLUMNS + j;
    const REAL bias = column < tile.columns ? b[tile.first_column + column] : (REAL)0;
#pragma unroll
    for (int i = 0; i < THREAD_ROWS; ++i) sum[i][j] = bias;
  }
  Reader reader;
  start(reader, tile, rows, d, c);
  read(reader, X, W, 0, d, c, feature_scale);
  int left = SLICE_FEATURES;  // of the slice
  for (long long k = 0; k < d; k += DEPTH) {
    store(reader, x_tile, w_tile);
    __syncthreads();  // the tiles are complete
    if (k + DEPTH < d) read(reader, X, W, k + DEPTH, d, c, feature_scale);
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
      const int r = threadIdx.x / 16 * THREAD_ROWS + i;
      const int column = threadIdx.x % 16 * THREAD_COLUMNS + j;
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

extern "C" __global__ void __launch_bounds__(THREADS, 2) train_forward(
    const Feature *X, long long d, REAL feature_scale, const long long *order, long long m,
    long long batch, long long n, const long long *labels, const REAL *soft, const REAL *weights,
    const long long *y_index, const long long *weight_index, const bool *is_mse, long long h,
    long long c, const REAL *W, const REAL *b, long long *counter, REAL *dV, REAL *loss,
    int *flags) {
  // X (n, d), W (h, d, c), b (h, c) -> dV (batch, N), loss and flags (h, batch); c <= TILE_COLUMNS
  __shared__ __align__(16) REAL
      shared[TILES > TILE_ROWS * V_STRIDE ? TILES : TILE_ROWS * V_STRIDE];
  const long long step = counter[0];
  if (blockIdx.x == 0 && blockIdx.y == 0 && threadIdx.x == 0) counter[1] = step + 1;
  const Rows rows = rows_of_step(order, m, batch, step);
  const Tile tile = this_tile(rows.count, h, c);
  if (tile.rows <= 0) return;  // a short batch
  logits_tile(tile, X, rows, W, b, d, c, feature_scale, shared);

  const Targets targets = {labels, soft, weights, y_index, weight_index, is_mse, n, c};
  const int pairs = (int)(tile.columns / c) * TILE_ROWS;
  for (int pair = threadIdx.x / ROW_LANES; pair < pairs; pair += THREADS / ROW_LANES) {
    const int r = pair % TILE_ROWS, k = pair / TILE_ROWS;
    if (r >= tile.rows) continue;
    const long long i = tile.first_row + r, head = tile.first_column / c + k;
    REAL row_loss;
    const int row_flags = train_row(shared + r * V_STRIDE + k * (int)c, targets, head,
                                    rows.index[i], rows.count, &row_loss);
    if (threadIdx.x % ROW_LANES == 0) {
      loss[head * batch + i] = row_loss;
      flags[head * batch + i] = row_flags;
    }
  }
  __syncthreads();  // the gradients are complete
  copy_tile(tile, shared, dV, h * c);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2) train_logits(
    const Feature *X, long long d, REAL feature_scale, const long long *order, long long m,
    long long batch, long long h, long long c, const REAL *W, const REAL *b, long long *counter,
    REAL *V) {
  // X (n, d), W (h, d, c), b (h, c) -> V (batch, N)
  __shared__ __align__(16) REAL
      shared[TILES > TILE_ROWS * V_STRIDE ? TILES : TILE_ROWS * V_STRIDE];
  const long long step = counter[0];
  if (blockIdx.x == 0 && blockIdx.y == 0 && threadIdx.x == 0) counter[1] = step + 1;
  const Rows rows = rows_of_step(order, m, batch, step);
  const Tile tile = this_tile(rows.count, h, c);
  if (tile.rows <= 0) return;  // a short batch
  logits_tile(tile, X, rows, W, b, d, c, feature_scale, shared);
  copy_tile(tile, shared, V, h * c);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2) train_rows(
    const long long *order, long long m, long long batch, long long n, const long long *labels,
    const REAL *soft, const REAL *weights, const long long *y_index, const long long *weight_index,
    const bool *is_mse, long long h, long long c, const long long *counter, REAL *V, REAL *loss,
    int *flags) {
  // V (batch, N): logits in, gradient out; loss and flags (h, batch)
  const Rows rows = rows_of_step(order, m, batch, counter[1] - 1);
  const Targets targets = {labels, soft, weights, y_index, weight_index, is_mse, n, c};
  const long long per_block = THREADS / ROW_LANES, first = blockIdx.x * per_block;
  for (long long pair = first + threadIdx.x / ROW_LANES; pair < rows.count * h;
       pair += gridDim.x * per_block) {
    const long long i = pair / h, head = pair % h;
    REAL row_loss;
    const int row_flags =
        train_row(V + pair * c, targets, head, rows.index[i], rows.count, &row_loss);
    if (threadIdx.x % ROW_LANES == 0) {
      loss[head * batch + i] = row_loss;
      flags[head * batch + i] = row_flags;
    }
  }
}

#endif

#ifdef TILE_FEATURES  // ---- path B, update

constexpr int THREAD_FEATURES = TILE_FEATURES / 16, THREAD_COLUMNS = TILE_COLUMNS / 16;

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
  const bool has_bias = blockIdx.x == 0 && t / 16 == 0;
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
        x[i] = x_tile[r * TILE_FEATURES + t / 16 * THREAD_FEATURES + i];
#pragma unroll
      for (int j = 0; j < THREAD_COLUMNS; ++j)
        v[j] = v_tile[r * TILE_COLUMNS + t % 16 * THREAD_COLUMNS + j];
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
    const long long column = first_column + t % 16 * THREAD_COLUMNS + j, head = column / c;
    if (column >= tile.end_column || !updates[head - first_head]) continue;
    const REAL rate = learning_rate[step * h + head];
#pragma unroll
    for (int i = 0; i < THREAD_FEATURES; ++i) {
      const long long k = tile.first_feature + t / 16 * THREAD_FEATURES + i;
      const long long at = (head * d + k) * c + column - head * c;
      if (k < d)
        update(W + at, MW ? MW + at : nullptr, sum[i][j], l2[head], momentum[head], rate);
    }
    if (has_bias && fit_bias)
      update(b + column, Mb ? Mb + column : nullptr, bias_sum[j], l2_bias ? l2[head] : (REAL)0,
             momentum[head], rate);
  }
}

#endif

#if !defined(TILE_ROWS) && !defined(TILE_FEATURES)  // ---- path A

constexpr int SLICE_STRIDE = SLICE_FEATURES + 4;  // rows of X start in different banks
constexpr unsigned MOST_SPINS = 1u << 24;         // some seconds

// What blocks hand to each other goes through L2 (.cg): L1 may hold what was there before.
#ifdef __CUDA_ARCH__
__device__ __forceinline__ void add_release(unsigned *counter) {
  asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(counter) : "memory");
}
__device__ __forceinline__ unsigned load_acquire(const unsigned *counter) {
  unsigned value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(counter) : "memory");
  return value;
}
__device__ __forceinline__ void store_cg(float *at, float value) {
  asm volatile("st.global.cg.f32 [%0], %1;" ::"l"(at), "f"(value) : "memory");
}
__device__ __forceinline__ void store_cg(double *at, double value) {
  asm volatile("st.global.cg.f64 [%0], %1;" ::"l"(at), "d"(value) : "memory");
}
__device__ __forceinline__ void store_cg(int *at, int value) {
  asm volatile("st.global.cg.s32 [%0], %1;" ::"l"(at), "r"(value) : "memory");
}
// Volatile keeps these behind the barrier; they clobber no memory, so that many are in flight.
__device__ __forceinline__ float load_cg(const float *at) {
  float value;
  asm volatile("ld.global.cg.f32 %0, [%1];" : "=f"(value) : "l"(at));
  return value;
}
__device__ __forceinline__ double load_cg(const double *at) {
  double value;
  asm volatile("ld.global.cg.f64 %0, [%1];" : "=d"(value) : "l"(at));
  return value;
}
__device__ __forceinline__ int load_cg(const int *at) {
  int value;
  asm volatile("ld.global.cg.s32 %0, [%1];" : "=r"(value) : "l"(at));
  return value;
}
#else
__device__ __forceinline__ void add_release(unsigned *counter) {
  __atomic_fetch_add(counter, 1u, __ATOMIC_RELEASE);
}
__device__ __forceinline__ unsigned load_acquire(const unsigned *counter) {
  return __atomic_load_n(counter, __ATOMIC_ACQUIRE);
}
template <class T>
__device__ __forceinline__ void store_cg(T *at, T value) {
  *at = value;
}
template <class T>
__device__ __forceinline__ T load_cg(const T *at) {
  return *at;
}
#endif

// The grid barrier in two halves; what stands between them is done while other blocks come.
__device__ __forceinline__ void arrive(unsigned *counter) {
  __syncthreads();  // what this block's threads wrote is what the release hands over
  if (threadIdx.x == 0) add_release(counter);
}

__device__ __forceinline__ void wait(const unsigned *counter, unsigned arrivals) {
  if (threadIdx.x == 0) {
    unsigned spins = 0;
    while (load_acquire(counter) < arrivals) {
      if (++spins > MOST_SPINS) __trap();
      __nanosleep(20);
    }
  }
  __syncthreads();  // the others read only after thread 0 has acquired
}

__device__ __forceinline__ void gather(const Feature *X, Rows rows, long long first_feature,
                                       long long d, REAL feature_scale, REAL *x) {
  // -> x (rows, SLICE_STRIDE): this block's features of the rows, zeros up to a multiple of 4 rows
  const int padded = ((int)rows.count + 3) / 4 * 4;
  for (int i = threadIdx.x; i < padded * SLICE_FEATURES; i += THREADS) {
    const int r = i / SLICE_FEATURES, f = i % SLICE_FEATURES;
    x[r * SLICE_STRIDE + f] =
        r < rows.count && first_feature + f < d
            ? load_feature(X, rows.index[r] * d + first_feature + f) * feature_scale
            : (REAL)0;
  }
}

__device__ __forceinline__ void partial_logits(const REAL *x, const REAL *w, const REAL *bias,
                                               int count, int columns, REAL *partial) {
  // x (rows, SLICE_STRIDE), w (SLICE_FEATURES, N), bias (N,) or null -> partial (rows, N); a thread
  // takes four rows of one column at a time
  for (int i = threadIdx.x; i < (count + 3) / 4 * columns; i += THREADS) {
    const int r = i / columns * 4, column = i % columns;
    const REAL first = bias ? bias[column] : (REAL)0;
    REAL sum[4] = {first, first, first, first};
#pragma unroll 2
    for (int f = 0; f < SLICE_FEATURES; f += 4) {
      REAL four[4][4];
#pragma unroll
      for (int k = 0; k < 4; ++k) load_four(x + (r + k) * SLICE_STRIDE + f, four[k]);
#pragma unroll
      for (int q = 0; q < 4; ++q) {
        const REAL weight = w[(f + q) * columns + column];
#pragma unroll
        for (int k = 0; k < 4; ++k) sum[k] = fma(four[k][q], weight, sum[k]);
      }
    }
#pragma unroll
    for (int k = 0; k < 4; ++k)
      if (r + k < count) store_cg(partial + (long long)(r + k) * columns + column, sum[k]);
  }
}

// The sum of what all blocks have at one place, in the order of the blocks.
__device__ __forceinline__ REAL sum_of_blocks(const REAL *partial, long long block_stride) {
  constexpr int GROUP = 8;  // loads in flight
  REAL sum = 0;
  for (unsigned k = 0; k < gridDim.x; k += GROUP) {
    REAL value[GROUP];
#pragma unroll
    for (int i = 0; i < GROUP; ++i)
      value[i] = k + i < gridDim.x ? load_cg(partial + (k + i) * block_stride) : (REAL)0;
#pragma unroll
    for (int i = 0; i < GROUP; ++i) sum += value[i];
  }
  return sum;
}

extern "C" __global__ void __launch_bounds__(THREADS, 1) train_steps(
    const Feature *X, long long d, REAL feature_scale, const long long *order, long long m,
    long long batch, long long n, const long long *labels, const REAL *soft, const REAL *weights,
    const long long *y_index, const long long *weight_index, const bool *is_mse, long long h,
    long long c, REAL *W, REAL *b, REAL *MW, REAL *Mb, const REAL *learning_rate, const REAL *l2,
    const REAL *momentum, bool l2_bias, bool fit_bias, bool *active, double *losses,
    long long *correct, long long first_step, long long end_step, bool by_owner, REAL *partials,
    REAL *all_dV, REAL *all_loss, int *all_flags, unsigned *counters, long long launch) {
  // X (n, d) -> W, MW (h, d, c), b, Mb (h, c), active (h,); losses, correct (steps, h).
  // partials (2, blocks, batch, N); all_dV (batch, N), all_loss and all_flags (batch, h);
  // counters (launches,), zeros.
  //
  // Block k has features k·SLICE_FEATURES, ...: their weights and, of each step, their columns of X
  // stay in shared memory. A step: partial logits, barrier, their sum, the rows' gradients, update.
  // Each block works out all rows; or, by_owner, its share of them, handed on by a second barrier.
  // What a block holds fits its shared memory, so that int suffices to count it.
  extern __shared__ __align__(16) REAL shared[];
  const int t = threadIdx.x, heads = (int)h, classes = (int)c, columns = heads * classes;
  const int padded = ((int)batch + 3) / 4 * 4, pairs_of_batch = (int)batch * heads;
  const long long first_feature = (long long)blockIdx.x * SLICE_FEATURES;
  const bool has_bias = blockIdx.x == 0;
  // _bytes_of_block in train.py is the size of this.
  REAL *x_slices = shared;                                  // (2, padded, SLICE_STRIDE)
  REAL *w = x_slices + 2 * padded * SLICE_STRIDE;           // (SLICE_FEATURES, N)
  REAL *velocity = w + SLICE_FEATURES * columns;            // (SLICE_FEATURES, N)
  REAL *bias = velocity + SLICE_FEATURES * columns;         // (N,)
  REAL *bias_velocity = bias + columns;                     // (N,)
  REAL *v = bias_velocity + columns;                        // (batch, N)
  REAL *loss = v + (int)batch * columns;                    // (batch, h)
  int *flags = (int *)(loss + pairs_of_batch);              // (batch, h)
  int *updates = flags + pairs_of_batch;                    // (h,)

  for (int i = t; i < SLICE_FEATURES * columns; i += THREADS) {
    const long long k = first_feature + i / columns, column = i % columns, head = column / c;
    const long long at = (head * d + k) * c + column - head * c;
    w[i] = k < d ? W[at] : (REAL)0;
    if (MW) velocity[i] = k < d ? MW[at] : (REAL)0;
  }
  for (int i = t; has_bias && i < columns; i += THREADS) {
    bias[i] = b[i];
    if (Mb) bias_velocity[i] = Mb[i];
  }
  for (int i = t; i < heads; i += THREADS) updates[i] = active[i];
  const Targets targets = {labels, soft, weights, y_index, weight_index, is_mse, n, c};
  gather(X, rows_of_step(order, m, batch, first_step), first_feature, d, feature_scale, x_slices);
  __syncthreads();

  unsigned *counter = counters + launch, arrivals = 0;
  for (long long step = first_step; step < end_step; ++step) {
    const Rows rows = rows_of_step(order, m, batch, step);
    const int count = (int)rows.count, pairs = count * heads, turn = (int)((step - first_step) % 2);
    const REAL *x = x_slices + turn * padded * SLICE_STRIDE;
    const long long block_stride = batch * columns;
    REAL *partial = partials + turn * gridDim.x * block_stride;  // a slow block may read the other
    partial_logits(x, w, has_bias ? bias : nullptr, count, columns,
                   partial + blockIdx.x * block_stride);
    arrive(counter);
    if (step + 1 < end_step)
      gather(X, rows_of_step(order, m, batch, step + 1), first_feature, d, feature_scale,
             x_slices + (1 - turn) * padded * SLICE_STRIDE);
    wait(counter, arrivals += gridDim.x);

    const int share = by_owner ? (pairs + (int)gridDim.x - 1) / (int)gridDim.x : pairs;
    const int first_pair =
        by_owner ? (int)min(blockIdx.x * (long long)share, (long long)pairs) : 0;
    const int end_pair = min(first_pair + share, pairs);
    for (int i = first_pair * classes + t; i < end_pair * classes; i += THREADS)
      v[i] = sum_of_blocks(partial + i, block_stride);
    __syncthreads();  // the logits are complete
    for (int pair = first_pair + t / ROW_LANES; pair < end_pair; pair += THREADS / ROW_LANES) {
      REAL row_loss;
      const int row_flags = train_row(v + pair * classes, targets, pair % heads,
                                      rows.index[pair / heads], rows.count, &row_loss);
      if (t % ROW_LANES == 0) {
        loss[pair] = row_loss;
        flags[pair] = row_flags;
      }
    }
    __syncthreads();  // the gradients are complete
    if (by_owner) {
      for (int i = first_pair * classes + t; i < end_pair * classes; i += THREADS)
        store_cg(all_dV + i, v[i]);
      for (int i = first_pair + t; i < end_pair; i += THREADS) {
        store_cg(all_loss + i, loss[i]);
        store_cg(all_flags + i, flags[i]);
      }
      arrive(counter);
      wait(counter, arrivals += gridDim.x);
      for (int i = t; i < pairs * classes; i += THREADS) v[i] = load_cg(all_dV + i);
      for (int i = t; i < pairs; i += THREADS) {
        loss[i] = load_cg(all_loss + i);
        flags[i] = load_cg(all_flags + i);
      }
      __syncthreads();
    }

    for (int head = t / 32; head < heads; head += THREADS / 32) {
      const bool is_updated = updates[head] && head_is_finite(flags + head, count, heads);
      __syncwarp();  // all lanes have read updates[head]
      if (t % 32 == 0) updates[head] = is_updated;
      if (is_updated && head % gridDim.x == blockIdx.x)
        report_head(flags + head, loss + head, count, heads, losses + step * h + head,
                    correct + step * h + head);
    }
    __syncthreads();  // it is known which heads are updated

    // A thread has four features of one column; the last N items are the bias, in one block.
    const int weight_items = SLICE_FEATURES / 4 * columns;
    for (int i = t; i < weight_items + (has_bias && fit_bias ? columns : 0); i += THREADS) {
      const int column = i % columns, head = column / classes;
      if (!updates[head]) continue;
      const REAL rate = learning_rate[step * h + head];
      if (i >= weight_items) {
        REAL sum = 0;
        for (int r = 0; r < count; ++r) sum += v[r * columns + column];
        update(bias + column, Mb ? bias_velocity + column : nullptr, sum,
               l2_bias ? l2[head] : (REAL)0, momentum[head], rate);
        continue;
      }
      const int f = i / columns * 4;
      REAL sum[4] = {};
#pragma unroll 4
      for (int r = 0; r < count; ++r) {
        REAL features[4];
        load_four(x + r * SLICE_STRIDE + f, features);
        const REAL dv = v[r * columns + column];
#pragma unroll
        for (int q = 0; q < 4; ++q) sum[q] = fma(features[q], dv, sum[q]);
      }
#pragma unroll
      for (int q = 0; q < 4; ++q) {
        const int at = (f + q) * columns + column;
        update(w + at, MW ? velocity + at : nullptr, sum[q], l2[head], momentum[head], rate);
      }
    }
    __syncthreads();  // the next step reads the new weights
  }

  for (int i = t; i < SLICE_FEATURES * columns; i += THREADS) {
    const long long k = first_feature + i / columns, column = i % columns, head = column / c;
    const long long at = (head * d + k) * c + column - head * c;
    if (k >= d) break;
    W[at] = w[i];
    if (MW) MW[at] = velocity[i];
  }
  if (!has_bias) return;
  for (int i = t; i < columns; i += THREADS) {
    b[i] = bias[i];
    if (Mb) Mb[i] = bias_velocity[i];
  }
  for (int i = t; i < heads; i += THREADS) active[i] = updates[i];
}

#endif
