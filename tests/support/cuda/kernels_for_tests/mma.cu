// One product on the tensor cores, in a warp: C += A B. Each lane holds what the PTX manual says
// ("Matrix Fragments for mma.m16n8k..").
//
// -D NUMBER (tf32, f16 or bf16), BITS (unsigned, or unsigned short), K (8 or 16)
constexpr int PER_WORD = 4 / sizeof(BITS);

// The word of `PER_WORD` numbers that are `step` apart.
__device__ inline unsigned word(const BITS *first, int step) {
  unsigned bits = first[0];
  if (PER_WORD == 2) bits |= (unsigned)first[step] << 16;
  return bits;
}

extern "C" __global__ void mma(const BITS *A, const BITS *B, float *C) {
  // A (16, K), B (K, 8), C (16, 8)
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  unsigned a[4] = {}, b[2] = {};
  for (int half = 0; half < K / 4 / PER_WORD; ++half) {
    const int k = half * 4 * PER_WORD + t * PER_WORD;
    a[2 * half] = word(A + g * K + k, 1);
    a[2 * half + 1] = word(A + (g + 8) * K + k, 1);
    b[half] = word(B + k * 8 + g, 8);
  }
  float *at = C + g * 8 + 2 * t;
  float sums[4] = {at[0], at[1], at[64], at[65]};
  emulator::mma(emulator::Number::NUMBER, K, a, b, sums);
  at[0] = sums[0], at[1] = sums[1], at[64] = sums[2], at[65] = sums[3];
}
