// Path A: many steps in one launch, all of whose blocks are alive at once.
//
// Block k has features k*SLICE_FEATURES, ...: their weights and, of each step, their columns of X
// stay in shared memory. A step: partial logits, barrier, their sum, the rows' gradients, update.
// Each block works out all rows; or, by_owner, its share of them, which a second barrier hands on.
// What a block holds fits its shared memory, so that an int can count it.
//
// A step is so small that it mostly waits for memory. So a thread has many loads on the way before
// it uses the first, and the rows' numbers are there before their features are asked for.
//
// -D SLICE_FEATURES

#include "common.cuh"
#include "losses.cuh"
#include "train.cuh"

constexpr int SLICE_STRIDE = SLICE_FEATURES + 4;  // rows of X start in different banks

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
// The word by which a block tells the others that it waits no longer. It hands over nothing else.
__device__ __forceinline__ void store_relaxed(unsigned *at, unsigned value) {
  asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(at), "r"(value) : "memory");
}
__device__ __forceinline__ unsigned load_relaxed(const unsigned *at) {
  unsigned value;
  asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(at) : "memory");
  return value;
}
// A clock that goes on while the GPU works for another process.
__device__ __forceinline__ long long nanoseconds() {
  long long now;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  return now;
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
__device__ __forceinline__ void load_four_cg(const float *at, float *four) {
  asm volatile("ld.global.cg.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(four[0]), "=f"(four[1]), "=f"(four[2]), "=f"(four[3])
               : "l"(at));
}
__device__ __forceinline__ void load_four_cg(const double *at, double *four) {
  asm volatile("ld.global.cg.v2.f64 {%0, %1}, [%2];" : "=d"(four[0]), "=d"(four[1]) : "l"(at));
  asm volatile("ld.global.cg.v2.f64 {%0, %1}, [%2];" : "=d"(four[2]), "=d"(four[3]) : "l"(at + 2));
}
#else
__device__ __forceinline__ void add_release(unsigned *counter) {
  __atomic_fetch_add(counter, 1u, __ATOMIC_RELEASE);
}
__device__ __forceinline__ unsigned load_acquire(const unsigned *counter) {
  return __atomic_load_n(counter, __ATOMIC_ACQUIRE);
}
__device__ __forceinline__ void store_relaxed(unsigned *at, unsigned value) {
  __atomic_store_n(at, value, __ATOMIC_RELAXED);
}
__device__ __forceinline__ unsigned load_relaxed(const unsigned *at) {
  return __atomic_load_n(at, __ATOMIC_RELAXED);
}
__device__ __forceinline__ long long nanoseconds() { return emulator::nanoseconds(); }
template <class T>
__device__ __forceinline__ void store_cg(T *at, T value) {
  *at = value;
}
template <class T>
__device__ __forceinline__ T load_cg(const T *at) {
  return *at;
}
__device__ __forceinline__ void load_four_cg(const REAL *at, REAL *four) { load_four(at, four); }
#endif

// ---- what a block has

struct Exchange {      // what blocks hand to each other
  REAL *partials;      // (2, blocks, padded, N): each block's part of the logits, for two steps
  REAL *dV;            // (batch, N)
  REAL *loss;          // (batch, h)
  int *flags;          // (batch, h)
  unsigned *arrivals;  // (launches,), zeros at first: a launch's counter for its grid barriers
  unsigned *gave_up;   // (1,), 0 at first: has a block waited for too long?
  long long patience;  // how long a block waits for the others, in nanoseconds
  bool by_owner;       // whether each row of a head is worked out by one block, for all of them
};

struct Block {
  // In shared memory; _bytes_of_block in train.py is its size.
  long long *index;      // (3, padded): rows of three steps
  REAL *x_slices;        // (2, padded, SLICE_STRIDE): features of two steps' rows
  REAL *w, *velocity;    // (SLICE_FEATURES, N)
  REAL *v;               // (padded, N): logits, then their gradient
  REAL *bias;            // (N,)
  REAL *bias_velocity;   // (N,)
  REAL *loss;            // (batch, h)
  int *flags;            // (batch, h)
  int *updates;          // (h,): is the head updated?
  int *all_came;         // (1,): did all blocks come to the barrier?
  int heads, classes, columns, padded;  // padded: rows of a step, up to a multiple of 4
  long long first_feature;
  bool has_bias;
};

__device__ __forceinline__ Block this_block(REAL *shared, const Job &job) {
  const int heads = (int)job.bank.h, classes = (int)job.bank.c, columns = heads * classes;
  const int batch = (int)job.batches.size, padded = (batch + 3) / 4 * 4;
  Block block;
  block.index = (long long *)shared;
  block.x_slices = (REAL *)(block.index + 3 * padded);
  block.w = block.x_slices + 2 * padded * SLICE_STRIDE;
  block.velocity = block.w + SLICE_FEATURES * columns;
  block.v = block.velocity + SLICE_FEATURES * columns;
  block.bias = block.v + padded * columns;
  block.bias_velocity = block.bias + columns;
  block.loss = block.bias_velocity + columns;
  block.flags = (int *)(block.loss + batch * heads);
  block.updates = block.flags + batch * heads;
  block.all_came = block.updates + heads;
  block.heads = heads, block.classes = classes, block.columns = columns, block.padded = padded;
  block.first_feature = (long long)blockIdx.x * SLICE_FEATURES;
  block.has_bias = blockIdx.x == 0;
  return block;
}

__device__ __forceinline__ void load_bank(const Block &block, const Job &job) {
  const Bank &bank = job.bank;
  const long long d = job.features.d;
  for (int i = threadIdx.x; i < SLICE_FEATURES * block.columns; i += THREADS) {
    const long long k = block.first_feature + i / block.columns;
    const long long at = weight_at(k, i % block.columns, d, bank.c);
    block.w[i] = k < d ? bank.W[at] : (REAL)0;
    if (bank.MW) block.velocity[i] = k < d ? bank.MW[at] : (REAL)0;
  }
  for (int i = threadIdx.x; block.has_bias && i < block.columns; i += THREADS) {
    block.bias[i] = bank.b[i];
    if (bank.Mb) block.bias_velocity[i] = bank.Mb[i];
  }
  for (int i = threadIdx.x; i < block.heads; i += THREADS)
    block.updates[i] = job.results.active[i];
}

__device__ __forceinline__ void store_bank(const Block &block, const Job &job) {
  const Bank &bank = job.bank;
  const long long d = job.features.d;
  for (int i = threadIdx.x; i < SLICE_FEATURES * block.columns; i += THREADS) {
    const long long k = block.first_feature + i / block.columns;
    const long long at = weight_at(k, i % block.columns, d, bank.c);
    if (k >= d) break;
    bank.W[at] = block.w[i];
    if (bank.MW) bank.MW[at] = block.velocity[i];
  }
  if (!block.has_bias) return;
  for (int i = threadIdx.x; i < block.columns; i += THREADS) {
    bank.b[i] = block.bias[i];
    if (bank.Mb) bank.Mb[i] = block.bias_velocity[i];
  }
  for (int i = threadIdx.x; i < block.heads; i += THREADS)
    job.results.active[i] = block.updates[i];
}

// ---- the grid barrier in two halves; what stands between them is done while other blocks arrive

__device__ __forceinline__ void arrive(unsigned *counter) {
  __syncthreads();  // what this block's threads wrote is what the release hands over
  if (threadIdx.x == 0) add_release(counter);
}

// Whether all blocks came. All of them can be alive at once, so what keeps one away is another
// process that has the GPU. Then all leave: a trap would take the process's GPU from it for good.
__device__ __forceinline__ bool wait(const Block &block, const Exchange &exchange,
                                     const unsigned *counter, unsigned arrivals) {
  if (threadIdx.x == 0) {
    const long long begin = nanoseconds();
    bool all_came = true;
    for (unsigned spins = 1; load_acquire(counter) < arrivals; ++spins) {
      __nanosleep(20);
      if (spins % 64 != 0) continue;  // else each look at the counter would take twice as long
      if (load_relaxed(exchange.gave_up) || nanoseconds() - begin > exchange.patience) {
        store_relaxed(exchange.gave_up, 1);
        all_came = false;
        break;
      }
    }
    *block.all_came = all_came;
  }
  __syncthreads();  // the others read only after thread 0 has acquired
  return *block.all_came;
}

// ---- the parts of a step

// The rows of a step, from shared memory.
__device__ __forceinline__ Rows rows_in_block(const Block &block, const Job &job, long long step) {
  return {block.index + step % 3 * block.padded, rows_of_step(job.batches, step).count};
}

__device__ __forceinline__ REAL *x_of_step(const Block &block, long long step) {
  return block.x_slices + step % 2 * block.padded * SLICE_STRIDE;
}

// Two steps ahead: a step reads its own, and gathers the features of the next.
__device__ __forceinline__ void fetch_index(const Block &block, const Job &job, long long step) {
  const Rows rows = rows_of_step(job.batches, step);
  long long *index = block.index + step % 3 * block.padded;
  for (int r = threadIdx.x; r < rows.count; r += THREADS) index[r] = rows.index[r];
}

constexpr int QUADS = 4;  // of features, that a thread has on the way

__device__ __forceinline__ void gather(const Block &block, const Job &job, long long step,
                                       bool aligned) {
  // -> x (rows, SLICE_STRIDE): this block's features of the rows, zeros up to a multiple of 4 rows
  constexpr int PER_ROW = SLICE_FEATURES / 4;
  const Features &features = job.features;
  const Rows rows = rows_in_block(block, job, step);
  const int count = (int)rows.count, quads = (count + 3) / 4 * 4 * PER_ROW;
  const int width = (int)min(features.d - block.first_feature, (long long)SLICE_FEATURES);
  REAL *x = x_of_step(block, step);
  for (int first = threadIdx.x; first < quads; first += QUADS * THREADS) {
    REAL four[QUADS][4];
    // What is outside is read where X begins, and not used: so that no load waits for a branch.
#pragma unroll
    for (int k = 0; k < QUADS; ++k) {
      const int r = (first + k * THREADS) / PER_ROW, f = (first + k * THREADS) % PER_ROW * 4;
      const int inside = r < count ? width - f : 0;
      const long long row = r < count ? rows.index[r] : 0;
      const long long at = row * features.stride + block.first_feature + f;
      if (aligned) {
        load_four_features(features.X, inside > 0 ? at : 0, four[k]);
      } else {
#pragma unroll
        for (int i = 0; i < 4; ++i)
          four[k][i] = load_feature(features.X, i < inside ? at + i : 0);
      }
    }
#pragma unroll
    for (int k = 0; k < QUADS; ++k) {
      const int r = (first + k * THREADS) / PER_ROW, f = (first + k * THREADS) % PER_ROW * 4;
      const int inside = r < count ? width - f : 0;
#pragma unroll
      for (int i = 0; i < 4; ++i)
        four[k][i] = i < inside ? four[k][i] * features.scale : (REAL)0;
      if (first + k * THREADS < quads) store_four(x + r * SLICE_STRIDE + f, four[k]);
    }
  }
}

__device__ __forceinline__ void gather(const Block &block, const Job &job, long long step) {
  const Features &features = job.features;
  if (rows_are_aligned(features.X, features.d | features.stride, sizeof(Feature)))
    gather(block, job, step, true);
  else
    gather(block, job, step, false);
}

__device__ __forceinline__ void partial_logits(const Block &block, const REAL *x, int count,
                                               REAL *partial) {
  // x (rows, SLICE_STRIDE) -> partial (rows, N), up to a multiple of 4 rows; a thread takes four rows
  // of one column at a time
  const int columns = block.columns;
  for (int i = threadIdx.x; i < (count + 3) / 4 * columns; i += THREADS) {
    const int r = i / columns * 4, column = i % columns;
    const REAL first = block.has_bias ? block.bias[column] : (REAL)0;
    REAL sum[4] = {first, first, first, first};
#pragma unroll 2
    for (int f = 0; f < SLICE_FEATURES; f += 4) {
      REAL four[4][4];
#pragma unroll
      for (int k = 0; k < 4; ++k) load_four(x + (r + k) * SLICE_STRIDE + f, four[k]);
#pragma unroll
      for (int q = 0; q < 4; ++q) {
        const REAL weight = block.w[(f + q) * columns + column];
#pragma unroll
        for (int k = 0; k < 4; ++k) sum[k] = fma(four[k][q], weight, sum[k]);
      }
    }
#pragma unroll
    for (int k = 0; k < 4; ++k)
      store_cg(partial + (long long)(r + k) * columns + column, sum[k]);
  }
}

struct Pairs {  // of a row and a head, that a block works out: from a multiple of 4 on
  int first, end;
};

__device__ __forceinline__ Pairs share_of_block(int pairs, bool by_owner) {
  if (!by_owner) return {0, pairs};
  const int share = ((pairs + (int)gridDim.x - 1) / (int)gridDim.x + 3) / 4 * 4;
  const int first = (int)min(blockIdx.x * (long long)share, (long long)pairs);
  return {first, min(first + share, pairs)};
}

__device__ __forceinline__ void rows_of_block(const Block &block, const Job &job, Rows rows,
                                              Pairs share, const REAL *partial) {
  // partial (blocks, padded, N) -> v, loss and flags of the share
  const int classes = block.classes, heads = block.heads, size = block.padded * block.columns;
  for (int i = share.first * classes + 4 * threadIdx.x; i < share.end * classes; i += 4 * THREADS) {
    REAL logits[4];
    add_slices(logits, gridDim.x,
               [&](long long k, REAL *part) { load_four_cg(partial + k * size + i, part); });
    store_four(block.v + i, logits);
  }
  __syncthreads();  // the logits are complete
  for (int pair = share.first + threadIdx.x / ROW_LANES; pair < share.end;
       pair += THREADS / ROW_LANES) {
    REAL loss;
    const int flags = train_row(block.v + pair * classes, job.targets, classes, pair % heads,
                                rows.index[pair / heads], rows.count, &loss);
    if (threadIdx.x % ROW_LANES == 0) {
      block.loss[pair] = loss;
      block.flags[pair] = flags;
    }
  }
  __syncthreads();  // the gradients are complete
}

__device__ __forceinline__ void hand_out(const Block &block, const Exchange &exchange,
                                         Pairs share) {
  const int first = share.first * block.classes, end = share.end * block.classes;
  for (int i = first + threadIdx.x; i < end; i += THREADS) store_cg(exchange.dV + i, block.v[i]);
  for (int i = share.first + threadIdx.x; i < share.end; i += THREADS) {
    store_cg(exchange.loss + i, block.loss[i]);
    store_cg(exchange.flags + i, block.flags[i]);
  }
}

template <class T>
__device__ __forceinline__ void take_in(const T *from, int count, T *to) {
  // from, to (count,)
  constexpr int AT_ONCE = 64 / sizeof(T);  // loads on the way
  for (int first = threadIdx.x; first < count; first += AT_ONCE * THREADS) {
    T value[AT_ONCE];
    // Past the end it is the last once more: so that no load waits for a branch.
#pragma unroll
    for (int k = 0; k < AT_ONCE; ++k)
      value[k] = load_cg(from + min(first + k * THREADS, count - 1));
#pragma unroll
    for (int k = 0; k < AT_ONCE; ++k)
      if (first + k * THREADS < count) to[first + k * THREADS] = value[k];
  }
}

__device__ __forceinline__ void take_in(const Block &block, const Exchange &exchange, int pairs) {
  take_in(exchange.dV, pairs * block.classes, block.v);
  take_in(exchange.loss, pairs, block.loss);
  take_in(exchange.flags, pairs, block.flags);
  __syncthreads();
}

// Which heads are updated. One block for each head reports it.
__device__ __forceinline__ void decide(const Block &block, const Job &job, long long step,
                                       int count) {
  const int heads = block.heads;
  for (int head = threadIdx.x / 32; head < heads; head += THREADS / 32) {
    const bool is_updated =
        block.updates[head] && head_is_finite(block.flags + head, count, heads);
    __syncwarp();  // all lanes have read updates[head]
    if (threadIdx.x % 32 == 0) block.updates[head] = is_updated;
    if (is_updated && head % gridDim.x == blockIdx.x)
      report_head(block.flags + head, block.loss + head, count, heads,
                  job.results.losses + step * heads + head,
                  job.results.correct + step * heads + head);
  }
  __syncthreads();  // it is known which heads are updated
}

// A thread has four features of one column. In one block another warp has the bias, so that neither
// waits for the other.
__device__ __forceinline__ void update_bank(const Block &block, const Job &job, const REAL *x,
                                            long long step, int count) {
  const Settings &settings = job.settings;
  const int columns = block.columns, weight_items = SLICE_FEATURES / 4 * columns;
  const int first_bias = (weight_items + 31) / 32 * 32;
  const int items = block.has_bias && settings.fit_bias ? first_bias + columns : weight_items;
  for (int i = threadIdx.x; i < items; i += THREADS) {
    const bool is_bias = i >= first_bias;
    if (i >= weight_items && !is_bias) continue;
    const int column = is_bias ? i - first_bias : i % columns, head = column / block.classes;
    if (!block.updates[head]) continue;
    const REAL rate = settings.learning_rate[step * block.heads + head];
    const REAL l2 = settings.l2[head], momentum = settings.momentum[head];
    if (is_bias) {
      REAL sum = 0;
#pragma unroll 8
      for (int r = 0; r < count; ++r) sum += block.v[r * columns + column];
      update(block.bias + column, job.bank.Mb ? block.bias_velocity + column : nullptr, sum,
             settings.l2_bias ? l2 : (REAL)0, momentum, rate);
      continue;
    }
    const int f = i / columns * 4;
    REAL sum[4] = {};
#pragma unroll 8
    for (int r = 0; r < count; ++r) {
      REAL features[4];
      load_four(x + r * SLICE_STRIDE + f, features);
      const REAL dv = block.v[r * columns + column];
#pragma unroll
      for (int q = 0; q < 4; ++q) sum[q] = fma(features[q], dv, sum[q]);
    }
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      const int at = (f + q) * columns + column;
      update(block.w + at, job.bank.MW ? block.velocity + at : nullptr, sum[q], l2, momentum, rate);
    }
  }
  __syncthreads();  // the next step reads the new weights
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
    train_steps(const Job job, const Exchange exchange, long long first_step, long long stop_step,
                long long launch) {
  // X (n, d) -> W, MW (h, d, c), b, Mb (h, c), active (h,); losses, correct (steps, h) of the steps
  // first_step, ..., stop_step - 1
  extern __shared__ __align__(16) REAL shared[];
  const Block block = this_block(shared, job);
  const long long size = block.padded * block.columns;
  load_bank(block, job);
  fetch_index(block, job, first_step);
  if (first_step + 1 < stop_step) fetch_index(block, job, first_step + 1);
  __syncthreads();  // it is known which rows are gathered
  gather(block, job, first_step);
  __syncthreads();

  unsigned *counter = exchange.arrivals + launch, arrivals = 0;
  for (long long step = first_step; step < stop_step; ++step) {
    const Rows rows = rows_in_block(block, job, step);
    const int count = (int)rows.count, pairs = count * block.heads;
    const REAL *x = x_of_step(block, step);
    // A slow block may still read the other half.
    REAL *partial = exchange.partials + step % 2 * gridDim.x * size;
    partial_logits(block, x, count, partial + blockIdx.x * size);
    arrive(counter);
    if (step + 1 < stop_step) gather(block, job, step + 1);
    if (step + 2 < stop_step) fetch_index(block, job, step + 2);
    if (!wait(block, exchange, counter, arrivals += gridDim.x)) return;

    const Pairs share = share_of_block(pairs, exchange.by_owner);
    rows_of_block(block, job, rows, share, partial);
    if (exchange.by_owner) {
      hand_out(block, exchange, share);
      arrive(counter);
      if (!wait(block, exchange, counter, arrivals += gridDim.x)) return;
      take_in(block, exchange, pairs);
    }
    decide(block, job, step, count);
    update_bank(block, job, x, step, count);
  }
  store_bank(block, job);
}
