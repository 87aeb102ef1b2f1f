// out[k] = the sum of block k's share of x: a tree over dynamic shared memory.
extern "C" __global__ void block_sum(const float *x, float *out, long long n) {
  extern __shared__ float part[];
  const unsigned t = threadIdx.x;
  float sum = 0.0f;
  for (long long i = blockIdx.x * (long long)blockDim.x + t; i < n;
       i += (long long)gridDim.x * blockDim.x)
    sum += x[i];
  part[t] = sum;
  __syncthreads();
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    if (t < half) part[t] += part[t + half];
    __syncthreads();  // the next round reads what others wrote in this one
  }
  if (t == 0) out[blockIdx.x] = part[0];
}
