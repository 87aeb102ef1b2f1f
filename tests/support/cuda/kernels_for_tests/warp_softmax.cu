// P = softmax(V) by rows, (n, c): one warp a row; a warp's row of e^v waits in shared memory.
#define FULL 0xffffffffu
#define ROOM 64

__device__ __forceinline__ float warp_max(float v) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) v = fmaxf(v, __shfl_xor_sync(FULL, v, lanes));
  return v;
}

__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) v += __shfl_xor_sync(FULL, v, lanes);
  return v;
}

extern "C" __global__ void __launch_bounds__(64) warp_softmax(const float *V, float *P, long long n,
                                                              int c) {
  __shared__ float rows[2][ROOM];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const long long row = blockIdx.x * 2LL + warp;
  if (row >= n) return;  // a whole warp at a time
  float top = __uint_as_float(0xff800000u);
  for (int j = lane; j < c; j += 32) top = fmaxf(top, V[row * c + j]);
  top = warp_max(top);
  float sum = 0.0f;
  for (int j = lane; j < c; j += 32) {
    const float e = expf(V[row * c + j] - top);
    rows[warp][j] = e;
    sum += e;
  }
  sum = warp_sum(sum);
  __syncwarp();  // lanes write back from the other end of the row
  for (int j = c - 1 - lane; j >= 0; j -= 32) P[row * c + j] = rows[warp][j] / sum;
}
