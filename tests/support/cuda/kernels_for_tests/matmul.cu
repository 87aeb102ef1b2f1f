// C = A B, (m, k) (k, n), with k and n multiples of 4: tiles of 32 x 32, 16 deep, in two buffers;
// 64 threads, each with 4 x 4 of the tile.
#define TILE 32
#define DEPTH 16

// Four of a row-major matrix's elements, or zeros outside of it.
__device__ __forceinline__ float4 load4(const float *matrix, long long rows, long long columns,
                                        long long row, long long column) {
  if (row >= rows || column >= columns) return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  return *reinterpret_cast<const float4 *>(matrix + row * columns + column);
}

extern "C" __global__ void __launch_bounds__(64) matmul(const float *A, const float *B, float *C,
                                                        long long m, long long n, long long k) {
  __shared__ float a[2][DEPTH][TILE];
  __shared__ __align__(16) float b[2][DEPTH][TILE];
  const int t = threadIdx.x, r = t / 8 * 4, q = t % 8 * 4;
  const long long row = blockIdx.y * (long long)TILE, column = blockIdx.x * (long long)TILE;
  float sum[4][4] = {};
  for (long long step = 0; step * DEPTH < k + DEPTH; ++step) {
    const int now = step % 2;
    if (step * DEPTH < k) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int i = t / 4 + 16 * half, j = t % 4 * 4;
        const float4 v = load4(A, m, k, row + i, step * DEPTH + j);
        a[now][j][i] = v.x;
        a[now][j + 1][i] = v.y;
        a[now][j + 2][i] = v.z;
        a[now][j + 3][i] = v.w;
        const int depth = t / 8 + 8 * half;
        *reinterpret_cast<float4 *>(&b[now][depth][q]) =
            load4(B, k, n, step * DEPTH + depth, column + q);
      }
    }
    // This buffer is filled while the other, of the step before, is used.
    if (step > 0) {
      for (int depth = 0; depth < DEPTH; ++depth) {
        const float4 v = *reinterpret_cast<const float4 *>(&b[1 - now][depth][q]);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float u = a[1 - now][depth][r + i];
          sum[i][0] += u * v.x;
          sum[i][1] += u * v.y;
          sum[i][2] += u * v.z;
          sum[i][3] += u * v.w;
        }
      }
    }
    __syncthreads();
  }
  for (int i = 0; i < 4; ++i)
    if (row + r + i < m && column + q < n)
      *reinterpret_cast<float4 *>(C + (row + r + i) * n + column + q) =
          make_float4(sum[i][0], sum[i][1], sum[i][2], sum[i][3]);
}
