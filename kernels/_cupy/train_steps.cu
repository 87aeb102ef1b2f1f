// Path A: many steps in one launch, all of whose blocks are alive at once.
//
// -D SLICE_FEATURES

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
    const long long k = first_feature + i / columns, at = weight_at(k, i % columns, d, c);
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
    const long long k = first_feature + i / columns, at = weight_at(k, i % columns, d, c);
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
