// x[i] <- the mean of x[i] and of the mirrored element, `steps` times, with a grid barrier after
// each: a cooperative launch. next is scratch of x's size, counter a zero.
__device__ void grid_barrier(unsigned *counter, unsigned target) {
  __syncthreads();
  if (threadIdx.x == 0) {
#ifdef __CUDA_ARCH__
    asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(counter) : "memory");
    unsigned arrived;
    do {
      asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(arrived) : "l"(counter) : "memory");
    } while (arrived < target);
#else
    __atomic_fetch_add(counter, 1u, __ATOMIC_RELEASE);
    while (__atomic_load_n(counter, __ATOMIC_ACQUIRE) < target) __nanosleep(0);
#endif
  }
  __syncthreads();
}

extern "C" __global__ void grid_steps(float *x, float *next, unsigned *counter, long long n,
                                      int steps) {
  const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
  for (int step = 0; step < steps; ++step) {
    float *from = step % 2 ? next : x, *to = step % 2 ? x : next;
    if (i < n) to[i] = 0.5f * (from[i] + from[n - 1 - i]);
    grid_barrier(counter, (step + 1) * gridDim.x);
  }
}
