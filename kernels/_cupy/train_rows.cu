// Path B where the logits come from launches of their own: the rows' losses and gradients.

#include "common.cuh"
#include "losses.cuh"
#include "train.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    train_rows(const Job job, const StepResults results) {
  // slices (slices, batch, N), where there are any, -> dV (batch, N): logits, then their gradient;
  // loss and flags (h, batch). A block has neighbouring rows of heads.
  const long long h = job.bank.h, c = job.bank.c;
  const Rows rows = rows_of_step(job.batches, this_step(results));
  const long long pairs = rows.count * h, share = (pairs + gridDim.x - 1) / gridDim.x;
  const long long first = blockIdx.x * share, end = min(first + share, pairs);
  if (results.slices) {
    const long long size = job.batches.size * h * c;
    for (long long i = first * c + threadIdx.x; i < end * c; i += THREADS) {
      REAL logit[1];
      add_slices(logit, results.slice_count,
                 [&](long long k, REAL *part) { *part = results.slices[k * size + i]; });
      results.dV[i] = logit[0];
    }
    __syncthreads();  // the logits are complete
  }
  for (long long pair = first + threadIdx.x / ROW_LANES; pair < end; pair += THREADS / ROW_LANES)
    train_row_of_step(results.dV + pair * c, job, results, rows, pair / h, pair % h);
}
