// Path B where a head is wider than a tile: the rows' losses and gradients, from their logits.

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
