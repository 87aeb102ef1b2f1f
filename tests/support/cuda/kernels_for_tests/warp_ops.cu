// Every shuffle, with segments of `width` lanes, and the votes of one warp, each in a row of out.
template <class T>
__device__ void shuffles(T *out, T value, int operand, int width) {
  const int lane = threadIdx.x;
  out[lane] = __shfl_sync(0xffffffffu, value, operand, width);
  out[32 + lane] = __shfl_up_sync(0xffffffffu, value, operand, width);
  out[64 + lane] = __shfl_down_sync(0xffffffffu, value, operand, width);
  out[96 + lane] = __shfl_xor_sync(0xffffffffu, value, operand, width);
}

extern "C" __global__ void shuffles_float(float *out, int operand, int width) {
  shuffles(out, 0.5f + threadIdx.x, operand, width);
}

extern "C" __global__ void shuffles_long(long long *out, int operand, int width) {
  shuffles(out, (1LL << 40) + threadIdx.x, operand, width);
}

// The lanes below `half` and the others vote apart, as two groups.
extern "C" __global__ void votes(unsigned *out, int half, unsigned yes) {
  const unsigned lane = threadIdx.x, low = (1u << half) - 1;
  const int vote = yes >> lane & 1;
  if (lane < half) {
    out[lane] = __ballot_sync(low, vote);
    out[32 + lane] = __any_sync(low, vote);
    out[64 + lane] = __all_sync(low, vote);
  } else {
    out[lane] = __ballot_sync(~low, vote);
    out[32 + lane] = __any_sync(~low, vote);
    out[64 + lane] = __all_sync(~low, vote);
  }
}
