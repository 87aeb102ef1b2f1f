// Loss and gradient of a bank, summed over all rows. A block of `count` rows of X from `first` on
// at a time: their logits become their gradients here, linear_backward of linear.cu takes the outer
// products of each chunk of rows, and the chunks are added in double.
//
// -D as train.cuh for gradient_rows; REAL alone for the others

#include "common.cuh"
#include "losses.cuh"

#ifdef ROW_LANES
#include "train.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    gradient_rows(REAL *V, const Targets targets, double *losses, long long first,
                  long long count, long long h, long long c) {
  // V is (count, h, c): logits in, w dv out; losses is (count, h): w L. NaN where a logit is not
  // finite.
  const double nan = infinity(double()) - infinity(double());
  const long long per_block = THREADS / ROW_LANES;
  for (long long q = blockIdx.x * per_block + threadIdx.x / ROW_LANES; q < count * h;
       q += gridDim.x * per_block) {
    REAL *v = V + q * c, loss;
    const bool finite = train_row(v, targets, c, q % h, first + q / h, 1, &loss) & FINITE;
    if (!finite)
      for (long long j = threadIdx.x % ROW_LANES; j < c; j += ROW_LANES) v[j] = nan;
    if (threadIdx.x % ROW_LANES == 0) losses[q] = finite ? loss : nan;
  }
}

#else

extern "C" __global__ void add_to_sums(const REAL *parts, double *sums, long long count,
                                       long long size) {
  // parts is (count, size), sums is (size,): the parts are added in their order
  const long long step = thread_count();
  for (long long i = thread_number(); i < size; i += step) {
    double sum = sums[i];
    for (long long k = 0; k < count; ++k) sum += parts[k * size + i];
    sums[i] = sum;
  }
}

extern "C" __global__ void unpack_bank(const double *packed, double *W, long long h, long long d,
                                       long long c) {
  // packed is (d, h, c), W is (h, d, c)
  const long long step = thread_count();
  for (long long i = thread_number(); i < d * h * c; i += step) {
    const long long j = i % c, feature = i / c % d, head = i / c / d;
    W[i] = packed[(feature * h + head) * c + j];
  }
}

#endif  // ROW_LANES
