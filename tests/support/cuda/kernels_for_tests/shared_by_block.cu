// Blocks that are alive at once write their own shared arrays, and read them after a meeting.
template <int N>
__device__ int *numbers() {
  __shared__ int array[N];
  return array;
}

extern "C" __global__ void shared_by_block(int *out, unsigned *counter) {
  extern __shared__ __align__(16) int dynamic[];
  __shared__ int scalar;
  const int mine = 100 * blockIdx.x + threadIdx.x;
  dynamic[threadIdx.x] = mine;
  numbers<32>()[threadIdx.x] = mine + 1;
  numbers<33>()[threadIdx.x] = mine + 2;
  if (threadIdx.x == 0) scalar = mine + 3;
  __syncthreads();
  if (threadIdx.x == 0) {
#ifndef __CUDA_ARCH__
    __atomic_fetch_add(counter, 1u, __ATOMIC_RELEASE);
    while (__atomic_load_n(counter, __ATOMIC_ACQUIRE) < gridDim.x) __nanosleep(0);
#endif
  }
  __syncthreads();
  int *row = out + (blockIdx.x * 32 + threadIdx.x) * 4;
  row[0] = dynamic[threadIdx.x];
  row[1] = numbers<32>()[threadIdx.x];
  row[2] = numbers<33>()[threadIdx.x];
  row[3] = scalar;
}
