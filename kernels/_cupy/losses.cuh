// The losses: what the heads learn from, and the one place where a loss's code is looked at.
//
// -D LOSS_MSE, LOSS_CROSS_ENTROPY, LOSS_GCE (the codes) and GCE_Q, from losses.py

struct Targets {
  const long long *labels;                  // (t, n); of soft targets (1, n), where the largest is
  const REAL *soft;                         // (n, c), or null where the targets are labels
  const REAL *weights;                      // (s, n), or null: all are 1
  const long long *y_index, *weight_index;  // (h,): which row of labels and weights a head uses
  const unsigned char *loss_codes;          // (h,)
  long long n;
};

// The loss of a row, and how it goes on to the logits:
//   dv_i = slope (p_i - y_i), or
//   dv_i = slope p_i (p_i - y_i - sum_j p_j (p_j - y_j)) if it goes through the softmax's Jacobian.
struct RowLoss {
  REAL value, slope;
  bool through_jacobian;
};

// entropy() is the cross-entropy of the row, mse() is (1/c) sum_j (p_j - y_j)^2; each is worked out
// only for a loss that needs it. The host lets no code through but these (losses.py).
template <class Entropy, class MSE>
__device__ __forceinline__ RowLoss loss_of_row(unsigned char code, long long c, Entropy entropy,
                                               MSE mse) {
  switch (code) {
    case LOSS_MSE:
      return {mse(), (REAL)2 / (REAL)c, true};
    case LOSS_CROSS_ENTROPY:
      return {entropy(), 1, false};
#if !Y_SOFT
    case LOSS_GCE: {
      // of the one probability p_y = e^-entropy: (1 - p_y^q)/q, which does not cancel near p_y = 1
      const REAL exponent = -(REAL)GCE_Q * entropy();
      return {-expm1(exponent) / (REAL)GCE_Q, exp(exponent), false};
    }
#endif
  }
  const REAL nan = infinity(REAL()) - infinity(REAL());
  return {nan, nan, false};
}
