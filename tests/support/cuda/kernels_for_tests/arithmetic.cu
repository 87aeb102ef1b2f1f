// Arithmetic where compilers and settings differ.
extern "C" __global__ void quarter(float *f, double *d) {
  f[0] *= 0.25f;
  d[0] *= 0.25;
}

// x^2 - y, rounded twice and rounded once.
extern "C" __global__ void rounded(float x, float y, float *out) {
  out[0] = __fsub_rn(__fmul_rn(x, x), y);
  out[1] = fmaf(x, x, -y);
}

// float16, read as its bits.
extern "C" __global__ void widen(const unsigned short *half, float *out) {
  float value;
#ifdef __CUDA_ARCH__
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(half[threadIdx.x]));
#else
  const unsigned bits = half[threadIdx.x];
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  if (exponent == 31)
    value = __uint_as_float(0x7f800000u | mantissa << 13);
  else
    value = exponent ? ldexpf(1024 + mantissa, exponent - 25) : ldexpf(mantissa, -24);
  if (bits >> 15) value = -value;
#endif
  out[threadIdx.x] = value;
}
