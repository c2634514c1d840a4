/* exp, sigmoid and tanh of our own in f32: the same bits on every machine and compiler (built with
 * -ffp-contract=off), because they use only +, -, *, / and bit moves. The sampler and the reference
 * kernels call these; math_avx2.h and math_avx512.h hold the vector forms, which fuse
 * multiply-adds and may differ in the last bit.
 *
 * Accuracy, largest over all f32, scalar and vector: exp 1.0 ulp, sigmoid 2.5 ulp, tanh 1.4 ulp;
 * sigmoid below 2^-126 may flush to 0. NaN stays NaN, infinities give their limits. */
#pragma once
#include "kernel/float_format.h"

/* exp(x) = 2^n * exp(r), |r| <= ln 2 / 2. ln 2 is split so that n * MICA_EXP_LN2_HIGH is exact;
 * exp(r) = 1 + r + r^2 * P(r) with P a minimax fit (relative error 2^-28). */
#define MICA_EXP_MIN (-104.0f) /* below it the result rounds to 0 */
#define MICA_EXP_MAX 89.0f     /* above it the result is infinite */
#define MICA_EXP_LOG2E 1.44269504f
#define MICA_EXP_LN2_HIGH 0.693359375f
#define MICA_EXP_LN2_LOW (-2.12194440e-4f)
#define MICA_EXP_P0 0.49999994f
#define MICA_EXP_P1 0.16666515f
#define MICA_EXP_P2 0.041668456f
#define MICA_EXP_P3 0.008369419f
#define MICA_EXP_P4 0.0013813145f

/* tanh(x) = x + x^3 * Q(x^2) below the limit, 1 - 2 / (exp(2x) + 1) above (fit: 2^-27). */
#define MICA_TANH_SMALL 0.625f
#define MICA_TANH_Q0 (-0.3333328f)
#define MICA_TANH_Q1 0.13331442f
#define MICA_TANH_Q2 (-0.053739715f)
#define MICA_TANH_Q3 0.020639086f
#define MICA_TANH_Q4 (-0.0057049864f)

/* 2^n for n in [-126, 127]. */
static inline float mica_exp2_integer(int32_t n) {
    return mica_f32_from_bits((uint32_t)(n + 127) << 23);
}

static inline float mica_exp(float x) {
    if (x != x) return x;
    if (x < MICA_EXP_MIN) return 0.0f;
    if (x > MICA_EXP_MAX) x = MICA_EXP_MAX;
    /* Adding 1.5 * 2^23 leaves the nearest integer in the mantissa. */
    float n = (x * MICA_EXP_LOG2E + 12582912.0f) - 12582912.0f;
    float r = (x - n * MICA_EXP_LN2_HIGH) - n * MICA_EXP_LN2_LOW;
    float p = MICA_EXP_P3 + r * MICA_EXP_P4;
    p = MICA_EXP_P2 + r * p;
    p = MICA_EXP_P1 + r * p;
    p = MICA_EXP_P0 + r * p;
    float y = 1.0f + (r + r * r * p);
    /* In two steps: 2^n alone may leave the range while the product does not. */
    int32_t i = (int32_t)n, half = i / 2;
    return y * mica_exp2_integer(half) * mica_exp2_integer(i - half);
}

static inline float mica_sigmoid(float x) { return 1.0f / (1.0f + mica_exp(-x)); }

static inline float mica_tanh(float x) {
    float a = x < 0 ? -x : x;
    if (a < MICA_TANH_SMALL) {
        float z = x * x;
        float q = MICA_TANH_Q3 + z * MICA_TANH_Q4;
        q = MICA_TANH_Q2 + z * q;
        q = MICA_TANH_Q1 + z * q;
        q = MICA_TANH_Q0 + z * q;
        float t = x + x * (z * q); /* +0 for x = -0: give it back its sign */
        return mica_f32_from_bits(mica_bits_from_f32(t) | (mica_bits_from_f32(x) & 0x80000000u));
    }
    float t = 1.0f - 2.0f / (mica_exp(a + a) + 1.0f);
    return x < 0 ? -t : t;
}
