// Path B on the tensor cores, where heads are wide and steps have many rows: the logits of a step,
// and its update. Between them runs train_rows.
//
// -D TILE_COLUMNS (those of the tile of tensor.cuh)

#include "common.cuh"
#include "losses.cuh"
#include "train.cuh"
#include "tensor.cuh"
#include "train_update.cuh"

static_assert(TILE_COLUMNS == TILE && THREADS == THREADS_OF_TILE);

extern "C" __global__ void __launch_bounds__(THREADS)
    train_logits_tensor(const Job job, const StepResults results) {
  // X (n, d), W (h, d, c), b (h, c) -> dV (batch, N): the logits
  extern __shared__ __align__(16) char memory[];
  const Features &features = job.features;
  const Bank &bank = job.bank;
  const Rows rows = rows_of_step(job.batches, begin_step(results));
  const long long d = features.d, columns = bank.h * bank.c;
  const long long row = blockIdx.x * (long long)TILE, column = blockIdx.y * (long long)TILE;
  if (row >= rows.count) return;  // a short batch
  float sums[MINE][MINE] = {};
  multiply_tile<false>(
      sums, memory, 0, d,
      [&](long long r) {
        return features.X + rows.index[min(row + r, rows.count - 1)] * features.stride;
      },
      SLAB, copies_units(features.X, features.stride),
      [&](int j) { return bank.W + weight_at(0, column_there(column, j, columns), d, bank.c); },
      bank.c, rows_are_aligned(bank.W, bank.c, sizeof(float)), [](const float *) {});
#pragma unroll
  for (int j = 0; j < MINE; ++j) {
    const long long k = column + tile_column(j);
    if (k >= columns) continue;
    const float bias = bank.b[k];
#pragma unroll
    for (int i = 0; i < MINE; ++i) {
      const long long r = row + tile_row<false>(i);
      if (r < rows.count) results.dV[r * columns + k] = fma(features.scale, sums[i][j], bias);
    }
  }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    train_update_tensor(const Job job, const StepResults results) {
  // X (n, d), dV (batch, N) -> W, MW (h, d, c), b, Mb (h, c); losses, correct (steps, h); active of
  // the next step, in the other row of (2, h)
  extern __shared__ __align__(16) char memory[];
  // Of each head of the tile: is it updated?
  int *updates = reinterpret_cast<int *>(memory + 2 * sizeof(Slabs<true>));
  const Features &features = job.features;
  const long long columns = job.bank.h * job.bank.c, step = end_step(results);
  const Rows rows = rows_of_step(job.batches, step);
  const WeightTile tile = this_tile(job);
  decide(tile, job, results, step, rows.count, updates);

  float sums[MINE][MINE] = {}, bias = 0;
  const bool has_bias = blockIdx.x == 0 && threadIdx.x < TILE;  // of the column of its number
  multiply_tile<true>(
      sums, memory, 0, rows.count,
      [&](long long r) {
        return features.X + rows.index[r] * features.stride + tile.first_feature;
      },
      features.d - tile.first_feature, copies_units(features.X, features.stride),
      [&](int j) { return results.dV + column_there(tile.first_column, j, columns); }, columns,
      rows_are_aligned(results.dV, columns, sizeof(float)), [&](const float *slab) {
        if (!has_bias) return;
#pragma unroll 4
        for (int r = 0; r < SLAB; ++r)
          bias += slab[r * TILE + swizzled(r, threadIdx.x / 4) * 4 + threadIdx.x % 4];
      });
#pragma unroll
  for (int j = 0; j < MINE; ++j) {
    const ColumnUpdate of = column_update(tile, job, updates, step, tile_column(j));
    if (!of.is_due) continue;
    update_weights<MINE>(
        of, tile, job, [](int i) { return tile_row<true>(i); },
        [&](int i) { return features.scale * sums[i][j]; });
  }
  if (has_bias) update_bias(column_update(tile, job, updates, step, threadIdx.x), job, bias);
}
