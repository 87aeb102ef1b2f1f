// Path B where a head is wider than a tile: the rows' losses and gradients, from their logits.

#include "common.cuh"
#include "losses.cuh"
#include "train.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    train_rows(const Job job, const StepResults results) {
  // dV (batch, N): logits in, gradient out; loss and flags (h, batch)
  const long long h = job.bank.h, c = job.bank.c;
  const Rows rows = rows_of_step(job.batches, this_step(results));
  const long long per_block = THREADS / ROW_LANES, first = blockIdx.x * per_block;
  for (long long pair = first + threadIdx.x / ROW_LANES; pair < rows.count * h;
       pair += gridDim.x * per_block)
    train_row_of_step(results.dV + pair * c, job, results, rows, pair / h, pair % h);
}
