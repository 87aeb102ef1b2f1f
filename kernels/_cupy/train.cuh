// Minibatch gradient descent of a bank of heads: what its kernels share.
//
// A bank has N = h*c columns: column k*c + j is class j of head k. Two paths to the same bits:
//   A  train_steps.cu, many steps in one cooperative launch, for small banks.
//   B  two launches a step, train_forward and train_update; three where a head is wider than a
//      tile, train_logits, train_rows, train_update, or where few tiles go through many features:
//      then train_slices in place of train_logits.
// A sum runs in an order that depends on d, c and the rows of the step alone: not on the path, the
// tile, the grid or the heads beside it. A logit is added up slice by slice of SLICE_FEATURES
// features, from the bias on. What a compiler might or might not contract to an fma is written as
// fma() or as plus(), which it leaves alone.
//
// -D REAL, X_KIND, THREADS (of a block); for what works on rows ROW_LANES (lanes that share a row
//    of one head: a power of two up to 32) and Y_SOFT

// ---- what the kernels are given; train.py builds these structs

struct Features {
  const Feature *X;  // (n, d), its rows `stride` apart
  long long d, stride;
  REAL scale;
};

struct Batches {
  const long long *order;  // (m,): rows of X, `size` of them for each step
  long long m, size;
};

struct Bank {
  REAL *W, *b;    // (h, d, c), (h, c)
  REAL *MW, *Mb;  // their velocities, or null where no head has momentum
  long long h, c;
};

struct Settings {
  const REAL *learning_rate;  // (steps, h)
  const REAL *l2, *momentum;  // (h,)
  bool l2_bias, fit_bias;
};

struct Results {
  bool *active;        // (2, h); path A uses the first row alone
  double *losses;      // (steps, h)
  long long *correct;  // (steps, h)
};

struct Job {
  Features features;
  Batches batches;
  Targets targets;
  Bank bank;
  Settings settings;
  Results results;
};

// ---- steps and weights

struct Rows {  // of one step
  const long long *index;
  long long count;
};

__device__ __forceinline__ Rows rows_of_step(const Batches &batches, long long step) {
  const long long first = step * batches.size;
  return {batches.order + first, min(batches.m - first, batches.size)};
}

// M <- momentum*M + g, W <- W - learning rate*M, with g = dW + l2*W. No M: there is no momentum.
__device__ __forceinline__ void move(REAL &w, REAL &velocity, bool has_velocity, REAL gradient,
                                     REAL l2, REAL momentum, REAL learning_rate) {
  REAL g = fma(l2, w, gradient);
  if (has_velocity) g = velocity = fma(momentum, velocity, g);
  w = fma(-learning_rate, g, w);
}

// The same where they lie. Both are on the way at once.
__device__ __forceinline__ void update(REAL *w, REAL *velocity, REAL gradient, REAL l2,
                                       REAL momentum, REAL learning_rate) {
  REAL weight = *w, m = velocity ? *velocity : (REAL)0;
  move(weight, m, velocity, gradient, l2, momentum, learning_rate);
  *w = weight;
  if (velocity) *velocity = m;
}

// Where class j of a head has its weight of a feature: column k*c + j of the bank.
__device__ __forceinline__ long long weight_at(long long feature, long long column, long long d,
                                               long long c) {
  const long long head = column / c;
  return (head * d + feature) * c + column - head * c;
}

// Neighbouring logits from the parts that `count` slices have of them, slice by slice: load(k, part)
// gets those of slice k. All loads of a group are on their way before the first is waited for.
template <int WIDTH, class Load>
__device__ __forceinline__ void add_slices(REAL (&sum)[WIDTH], long long count, Load load) {
  constexpr int GROUP = 64 / sizeof(REAL);
#pragma unroll
  for (int j = 0; j < WIDTH; ++j) sum[j] = 0;
  for (long long k = 0; k < count; k += GROUP) {
    REAL part[GROUP][WIDTH] = {};
#pragma unroll
    for (int i = 0; i < GROUP; ++i)
      if (k + i < count) load(k + i, part[i]);
#pragma unroll
    for (int i = 0; i < GROUP; ++i)
#pragma unroll
      for (int j = 0; j < WIDTH; ++j) sum[j] += part[i][j];
  }
}

constexpr int FINITE = 1, RIGHT = 2;  // flags of a row of one head

#ifdef ROW_LANES

// ---- a row of one head: softmax, loss, Jacobian, by ROW_LANES neighbouring lanes of a warp. A
// lane reads and writes its own classes only, so that no barrier is needed. The softmax here is not
// that of common.cuh, whose accuracy (docs/numerics.md) takes more instructions and registers than
// a step of training can use: here exp() and plain sums do.

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
  REAL nothing = 0;  // or NaN; with && each load would wait for the one before
  for (long long j = threadIdx.x % ROW_LANES; j < c; j += ROW_LANES) nothing += v[j] - v[j];
  return __all_sync(lanes_of_row(), nothing == 0);
}

// With p = e / sum e, q = sum_{j!=y} p_j = 1 - p_y and s = sum_{j!=y} p_j^2, without a difference
// of numbers that are close to each other:
//   cross-entropy  log1p(sum_{j!=top} e_j) + v_top - v_y,  p_y - 1 = -q
//   MSE            (s + q^2)/c
//   Jacobian       p_y (p_y - 1 - sum_j p_j (p_j - y_j)) = -p_y (s + q^2),
//                  p_i (p_i - sum_j p_j (p_j - y_j)) = p_i (p_i - s + p_y q)
__device__ __forceinline__ REAL label_gradient(REAL *v, long long c, long long label, Largest top,
                                               unsigned char loss_code, REAL weight) {
  // v (c,): logits in, weight * gradient out -> L
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
  const RowLoss loss = loss_of_row(
      loss_code, c, [&] { return plus(log1p(tail), margin); }, [&] { return s_and_q / (REAL)c; });
  const REAL factor = weight * loss.slope;
  for (long long j = lane; j < c; j += ROW_LANES) {
    const REAL p = v[j] * inverse;
    if (loss.through_jacobian)
      v[j] = factor * (j == label ? -p * s_and_q : p * fma(p_y, q, plus(p, -s)));
    else
      v[j] = factor * (j == label ? -q : p);
  }
  return loss.value;
}

// Of soft targets: the cross-entropy is sum_j y_j (logsumexp(v) - v_j); a target of 0 counts
// nothing.
__device__ __forceinline__ REAL soft_gradient(REAL *v, long long c, const REAL *y, Largest top,
                                              unsigned char loss_code, REAL weight) {
  // v (c,): logits in, weight * gradient out; y (c,) -> L
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
  const RowLoss loss = loss_of_row(
      loss_code, c, [&] { return fma(log1p(tail), sum_y, margins); },
      [&] { return squares / (REAL)c; });
  const REAL factor = weight * loss.slope;
  for (long long j = lane; j < c; j += ROW_LANES) {
    const REAL p = v[j] * inverse, difference = plus(p, -y[j]);
    v[j] = factor * (loss.through_jacobian ? p * (difference - mean) : difference);
  }
  return loss.value;
}

__device__ __forceinline__ int train_row(REAL *v, const Targets &targets, long long c,
                                         long long head, long long row, long long rows,
                                         REAL *loss) {
  // v (c,): logits in, dL/dv * weight / rows out; loss = weight * L -> flags
  const REAL weight =
      targets.weights ? targets.weights[targets.weight_index[head] * targets.n + row] : (REAL)1;
  const REAL factor = weight / (REAL)rows;
  const unsigned char code = targets.loss_codes[head];
  const long long label = targets.labels[targets.y_index[head] * targets.n + row];
  *loss = 0;
  if (!all_finite(v, c)) return 0;
  const Largest top = largest(v, c);
#if Y_SOFT
  *loss = weight * soft_gradient(v, c, targets.soft + row * c, top, code, factor);
#else
  *loss = weight * label_gradient(v, c, label, top, code, factor);
#endif
  return FINITE | (weight != 0 && top.at == label ? RIGHT : 0);
}

#endif  // ROW_LANES

// ---- a head's rows together, by one warp: row r is at flags[r * stride]

__device__ __forceinline__ bool head_is_finite(const int *flags, long long count,
                                               long long stride) {
  bool finite = true;
  for (long long r = threadIdx.x % 32; r < count; r += 32)
    finite &= (flags[r * stride] & FINITE) != 0;  // not &&: see all_finite
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

// ---- path B: what the kernels of a step hand on to each other

// The first kernel of a step reads counter[0] and writes counter[1], the last one the other way
// round: no block reads what another block of its launch writes.
struct StepResults {
  long long *counter;     // (2,): the step that comes next, and 1 + the one that is under way
  REAL *dV;               // (batch, N): logits, then their gradient
  REAL *loss;             // (h, batch)
  int *flags;             // (h, batch)
  REAL *slices;           // (slice_count, batch, N): parts of the logits, or null
  long long slice_count;  // of the features
};

__device__ __forceinline__ bool is_first_thread() {
  return blockIdx.x == 0 && blockIdx.y == 0 && blockIdx.z == 0 && threadIdx.x == 0;
}

__device__ __forceinline__ long long begin_step(const StepResults &results) {
  const long long step = results.counter[0];
  if (is_first_thread()) results.counter[1] = step + 1;
  return step;
}

__device__ __forceinline__ long long this_step(const StepResults &results) {
  return results.counter[1] - 1;
}

__device__ __forceinline__ long long end_step(const StepResults &results) {
  const long long step = this_step(results);
  if (is_first_thread()) results.counter[0] = step + 1;
  return step;
}

#ifdef ROW_LANES

// Row i of the step, for one head.
__device__ __forceinline__ void train_row_of_step(REAL *v, const Job &job,
                                                  const StepResults &results, Rows rows,
                                                  long long i, long long head) {
  // v (c,): logits in, gradient out
  REAL loss;
  const int flags =
      train_row(v, job.targets, job.bank.c, head, rows.index[i], rows.count, &loss);
  if (threadIdx.x % ROW_LANES != 0) return;
  results.loss[head * job.batches.size + i] = loss;
  results.flags[head * job.batches.size + i] = flags;
}

#endif  // ROW_LANES
