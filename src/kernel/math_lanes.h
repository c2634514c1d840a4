/* exp, sigmoid and tanh of a vector of f32, written once for every vector length: lane by lane they
 * give the bits of kernel/math.h, whose constants they use. Included at the end of math_avx2.h and
 * math_avx512.h, never alone. */
#pragma once

static inline mica_lanes mica_lanes_exp(mica_lanes x) {
    /* x second: NaN passes through both. */
    x = mica_lanes_min(mica_lanes_set(MICA_EXP_MAX),
                       mica_lanes_max(mica_lanes_set(MICA_EXP_MIN), x));
    mica_lanes n = mica_lanes_round(mica_lanes_mul(x, mica_lanes_set(MICA_EXP_LOG2E)));
    mica_lanes r = mica_lanes_fnma(n, mica_lanes_set(MICA_EXP_LN2_HIGH), x);
    r = mica_lanes_fnma(n, mica_lanes_set(MICA_EXP_LN2_LOW), r);
    mica_lanes p = mica_lanes_fma(r, mica_lanes_set(MICA_EXP_P4), mica_lanes_set(MICA_EXP_P3));
    p = mica_lanes_fma(r, p, mica_lanes_set(MICA_EXP_P2));
    p = mica_lanes_fma(r, p, mica_lanes_set(MICA_EXP_P1));
    p = mica_lanes_fma(r, p, mica_lanes_set(MICA_EXP_P0));
    mica_lanes y = mica_lanes_add(mica_lanes_set(1.0f), mica_lanes_fma(mica_lanes_mul(r, r), p, r));
    mica_lanes_integers i = mica_lanes_to_integers(n), half = mica_lanes_integers_halve(i);
    y = mica_lanes_mul(y, mica_lanes_exp2_integer(half));
    return mica_lanes_mul(y, mica_lanes_exp2_integer(mica_lanes_integers_sub(i, half)));
}

static inline mica_lanes mica_lanes_sigmoid(mica_lanes x) {
    mica_lanes one = mica_lanes_set(1.0f);
    return mica_lanes_div(
        one, mica_lanes_add(one, mica_lanes_exp(mica_lanes_sub(mica_lanes_set(0.0f), x))));
}

static inline mica_lanes mica_lanes_tanh(mica_lanes x) {
    mica_lanes sign_bit = mica_lanes_set(-0.0f);
    mica_lanes a = mica_lanes_andnot(sign_bit, x), z = mica_lanes_mul(x, x);
    mica_lanes q = mica_lanes_fma(z, mica_lanes_set(MICA_TANH_Q4), mica_lanes_set(MICA_TANH_Q3));
    q = mica_lanes_fma(z, q, mica_lanes_set(MICA_TANH_Q2));
    q = mica_lanes_fma(z, q, mica_lanes_set(MICA_TANH_Q1));
    q = mica_lanes_fma(z, q, mica_lanes_set(MICA_TANH_Q0));
    mica_lanes small = mica_lanes_fma(x, mica_lanes_mul(z, q), x);
    mica_lanes one = mica_lanes_set(1.0f);
    mica_lanes e = mica_lanes_add(mica_lanes_exp(mica_lanes_add(a, a)), one);
    mica_lanes large = mica_lanes_sub(one, mica_lanes_div(mica_lanes_set(2.0f), e));
    /* The sign also for -0, where the polynomial gives +0. */
    mica_lanes y = mica_lanes_pick_less(a, mica_lanes_set(MICA_TANH_SMALL), small, large);
    return mica_lanes_or(y, mica_lanes_and(sign_bit, x));
}
