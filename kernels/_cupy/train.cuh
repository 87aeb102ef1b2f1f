// Minibatch gradient descent of a bank of heads: what its kernels share. device.py puts this text,
// behind common.cuh, in front of each train_*.cu.
//
// A bank has N = h·c columns: column k·c + j is class j of head k. Two paths to the same bits:
//   A  train_steps.cu, many steps in one cooperative launch, for small banks.
//   B  two launches a step, train_forward and train_update; three where a head is wider than a
//      tile: train_logits, train_rows, train_update.
// A sum runs in an order that depends on d, c and the rows of the step alone: not on the path, the
// tile, the grid or the heads beside it. A logit is added up slice by slice of SLICE_FEATURES
// features, from the bias on. What a compiler could contract to an fma, or not, is written as fma()
// or as plus(), which it leaves alone.
//
// -D REAL, THREADS (of a block); for what works on rows ROW_LANES (lanes that share a row of one
//    head: a power of two up to 32) and Y_SOFT.

constexpr int FINITE = 1, RIGHT = 2;  // flags of a row of one head

struct Rows {  // the rows of one step
  const long long *index;
  long long count;
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

// Where class j of a head has its weight of a feature: column k·c + j of the bank.
__device__ __forceinline__ long long weight_at(long long feature, long long column, long long d,
                                               long long c) {
  const long long head = column / c;
  return (head * d + feature) * c + column - head * c;
}

#ifdef ROW_LANES

struct Targets {
  const long long *labels;  // (t, n); where Y_SOFT where the largest target is
  const REAL *soft;         // (n, c), null where not Y_SOFT
  const REAL *weights;      // (s, n), or null: all 1
  const long long *y_index, *weight_index;  // (h,)
  const bool *is_mse;                       // (h,)
  long long n, c;
};

// ---- a row of one head: softmax, loss, Jacobian, by ROW_LANES neighbouring lanes of a warp. A
// lane reads and writes its own classes only, so that no barrier is needed. Not common.cuh's softmax,
// whose accuracy (docs/numerics.md) asks for more instructions and registers than a step of training
// needs: here exp() and plain sums do.

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

#endif  // ROW_LANES

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
