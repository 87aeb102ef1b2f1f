// Path B, update: what does not depend on how the gradients are added up.
//
// -D TILE_FEATURES, TILE_COLUMNS (of a block's tile of the weights)

struct WeightTile {  // features x columns of the weights
  long long first_feature, features, first_column, end_column, first_head;
};

__device__ __forceinline__ WeightTile this_tile(const Job &job) {
  const long long first_column = (long long)blockIdx.y * TILE_COLUMNS;
  return {(long long)blockIdx.x * TILE_FEATURES, job.features.d, first_column,
          min(job.bank.h * job.bank.c, first_column + TILE_COLUMNS), first_column / job.bank.c};
}

// Which heads of the tile are updated. One block for each head reports it.
__device__ __forceinline__ void decide(const WeightTile &tile, const Job &job,
                                       const StepResults &results, long long step, long long count,
                                       int *updates) {
  // -> updates (heads of the tile,)
  const long long h = job.bank.h, c = job.bank.c;
  for (long long head = tile.first_head + threadIdx.x / 32; head * c < tile.end_column;
       head += THREADS / 32) {
    const int *flags = results.flags + head * job.batches.size;
    const bool is_updated =
        job.results.active[step % 2 * h + head] && head_is_finite(flags, count, 1);
    if (threadIdx.x % 32 == 0) updates[head - tile.first_head] = is_updated;
    // The block that has the head's first weight.
    if (blockIdx.x == 0 && head * c >= tile.first_column) {
      if (threadIdx.x % 32 == 0) job.results.active[(step + 1) % 2 * h + head] = is_updated;
      if (is_updated)
        report_head(flags, results.loss + head * job.batches.size, count, 1,
                    job.results.losses + step * h + head, job.results.correct + step * h + head);
    }
  }
}

// How the weights of one of the tile's columns change, if they do.
struct ColumnUpdate {
  bool is_due;
  long long column;  // of the bank
  REAL rate, l2, momentum;
};

__device__ __forceinline__ ColumnUpdate column_update(const WeightTile &tile, const Job &job,
                                                      const int *updates, long long step, int j) {
  const Settings &settings = job.settings;
  const long long column = tile.first_column + j, head = column / job.bank.c;
  if (column >= tile.end_column || !updates[head - tile.first_head]) return {false};
  return {true, column, settings.learning_rate[step * job.bank.h + head], settings.l2[head],
          settings.momentum[head]};
}

// The weights of a column of the tile's features feature(i), i < COUNT. A load cannot pass a store,
// which may be to the same weight for all the compiler knows: so all are on the way before the first
// is stored.
template <int COUNT, class At, class Gradient>
__device__ __forceinline__ void update_weights(const ColumnUpdate &of, const WeightTile &tile,
                                               const Job &job, At feature, Gradient gradient) {
  const Bank &bank = job.bank;
  const long long first = weight_at(tile.first_feature, of.column, tile.features, bank.c);
  const int left = (int)min(tile.features - tile.first_feature, (long long)TILE_FEATURES);
  REAL w[COUNT], m[COUNT];
#pragma unroll
  for (int i = 0; i < COUNT; ++i) {
    const int k = feature(i);
    w[i] = k < left ? bank.W[first + k * bank.c] : (REAL)0;
    m[i] = k < left && bank.MW ? bank.MW[first + k * bank.c] : (REAL)0;
  }
#pragma unroll
  for (int i = 0; i < COUNT; ++i) {
    const int k = feature(i);
    if (k >= left) continue;
    move(w[i], m[i], bank.MW, gradient(i), of.l2, of.momentum, of.rate);
    bank.W[first + k * bank.c] = w[i];
    if (bank.MW) bank.MW[first + k * bank.c] = m[i];
  }
}

__device__ __forceinline__ void update_bias(const ColumnUpdate &of, const Job &job,
                                            REAL gradient) {
  const Bank &bank = job.bank;
  if (!of.is_due || !job.settings.fit_bias) return;
  update(bank.b + of.column, bank.Mb ? bank.Mb + of.column : nullptr, gradient,
         job.settings.l2_bias ? of.l2 : (REAL)0, of.momentum, of.rate);
}
