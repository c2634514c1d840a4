/* Rotary frequencies against published values. */
#include "test.h"
#include "model/rope_frequencies.h"

/* gpt-oss-20b: theta 150000, factor 32, original length 4096, not truncated; computed by the
 * reference implementation, ten digits. */
static const double gpt_oss[32] = {
    1.000000000e+00, 6.890443059e-01, 4.747820555e-01, 3.271458719e-01, 2.254180002e-01,
    1.553229895e-01, 1.070244215e-01, 7.374456821e-02, 5.081327482e-02, 3.170569618e-02,
    1.933500113e-02, 1.159204926e-02, 6.794959490e-03, 3.860359317e-03, 2.093792379e-03,
    1.052602101e-03, 4.564839192e-04, 1.293187012e-04, 3.830881237e-05, 2.639646903e-05,
    1.818833668e-05, 1.253256982e-05, 8.635495875e-06, 5.950239261e-06, 4.099978482e-06,
    2.825066827e-06, 1.946596211e-06, 1.341291035e-06, 9.242089502e-07, 6.368209146e-07,
    4.387978251e-07, 3.023511428e-07};

static mica_config_rope yarn(void) {
    mica_config_rope r = {.rope_theta = 150000, .factor = 32, .beta_fast = 32, .beta_slow = 1};
    r.type = MICA_ROPE_YARN;
    r.original_max_position_embeddings = 4096;
    return r;
}

/* Proves: YaRN without truncation gives gpt-oss-20b's table and its attention factor. */
static void yarn_of_gpt_oss(void **state) {
    (void)state;
    mica_error err = {0};
    float inverse[32], scale;
    mica_config_rope r = yarn();
    assert_ok(mica_rope_frequencies(&r, 64, 131072, 1, inverse, &scale, &err));
    for (int i = 0; i < 32; i++) assert_true(fabs(inverse[i] / gpt_oss[i] - 1) < 1e-6);
    assert_true(fabs((double)scale - 1.3465735902799727) < 1e-6);
}

/* Proves: truncation moves the ramp to whole pairs 8 and 18, which changes pair 17 by 76 percent.
 */
static void truncation_is_another_table(void **state) {
    (void)state;
    mica_error err = {0};
    float inverse[32], scale;
    mica_config_rope r = yarn();
    r.truncate = true;
    assert_ok(mica_rope_frequencies(&r, 64, 131072, 1, inverse, &scale, &err));
    double plain = pow(150000, -34.0 / 64), ramp = 0.9;
    assert_true(fabs(inverse[17] / (plain * (1 - ramp) + plain / 32 * ramp) - 1) < 1e-6);
    assert_true(inverse[17] / gpt_oss[17] > 1.7);
}

/* Proves: the default kind is theta^(-2i/d), the linear kind divides it. */
static void plain_kinds(void **state) {
    (void)state;
    mica_error err = {0};
    float inverse[4], scale;
    mica_config_rope r = {.rope_theta = 10000, .factor = 4};
    assert_ok(mica_rope_frequencies(&r, 8, 64, 64, inverse, &scale, &err));
    for (int i = 0; i < 4; i++) assert_true(fabs(inverse[i] - pow(10, -i)) < 1e-7);
    r.type = MICA_ROPE_LINEAR;
    assert_ok(mica_rope_frequencies(&r, 8, 64, 64, inverse, &scale, &err));
    assert_true(fabs(inverse[1] - 0.025) < 1e-8);
    assert_true(scale == 1.0f);
}

/* Proves: llama3 keeps short wavelengths, divides long ones, and joins them at the named turns. */
static void llama3_kind(void **state) {
    (void)state;
    mica_error err = {0};
    float inverse[64], scale;
    mica_config_rope r = {.rope_theta = 500000, .factor = 8, .low_freq_factor = 1};
    r.type = MICA_ROPE_LLAMA3;
    r.high_freq_factor = 4;
    r.original_max_position_embeddings = 8192;
    assert_ok(mica_rope_frequencies(&r, 128, 131072, 1, inverse, &scale, &err));
    assert_true(scale == 1.0f);
    for (int i = 0; i < 64; i++) {
        double plain = pow(500000, -i / 64.0), wave = 6.283185307179586 / plain, want;
        double smooth = (8192 / wave - 1) / 3;
        if (wave < 8192.0 / 4)
            want = plain;
        else if (wave > 8192.0)
            want = plain / 8;
        else
            want = (1 - smooth) * plain / 8 + smooth * plain;
        assert_true(fabs(inverse[i] / want - 1) < 1e-6);
    }
    assert_true(inverse[0] == 1.0f && inverse[63] < 1e-6);
    r.high_freq_factor = 1;
    assert_int_equal(mica_rope_frequencies(&r, 128, 64, 1, inverse, &scale, &err),
                     MICA_STATUS_FORMAT);
}

/* Proves: longrope divides by the short list up to the original length and by the long one past it,
 * with one attention factor; lists of another length are refused, and so is an original of 1. */
static void longrope_by_length(void **state) {
    (void)state;
    mica_error err = {0};
    float inverse[4], scale;
    mica_config_rope r = {.rope_theta = 10000, .n_short_factors = 4, .n_long_factors = 4};
    r.original_max_position_embeddings = 64;
    r.type = MICA_ROPE_LONGROPE;
    for (int i = 0; i < 4; i++) {
        r.short_factor[i] = (float)(i + 1);
        r.long_factor[i] = (float)(i + 2) * 3;
    }
    assert_false(mica_rope_is_by_length(&r, 64));
    assert_true(mica_rope_is_by_length(&r, 256));
    assert_int_equal(mica_rope_context_max(&r, 256), 256);
    for (int64_t length = 63; length < 67; length++) {
        assert_ok(mica_rope_frequencies(&r, 8, 256, length, inverse, &scale, &err));
        for (int i = 0; i < 4; i++) {
            double divisor = length > 64 ? (i + 2) * 3 : i + 1;
            assert_true(fabs((double)inverse[i] * divisor / pow(10, -i) - 1) < 1e-6);
        }
        assert_true(fabs((double)scale - sqrt(1 + log(4) / log(64))) < 1e-6);
    }
    r.factor = 16;
    r.has.factor = true;
    assert_ok(mica_rope_frequencies(&r, 8, 256, 1, inverse, &scale, &err));
    assert_true(fabs((double)scale - sqrt(1 + log(16) / log(64))) < 1e-6);
    r.attention_factor = 1.25;
    assert_ok(mica_rope_frequencies(&r, 8, 256, 1, inverse, &scale, &err));
    assert_true(fabs((double)scale - 1.25) < 1e-6);
    assert_int_equal(mica_rope_frequencies(&r, 16, 64, 1, inverse, &scale, &err),
                     MICA_STATUS_FORMAT);
    assert_non_null(strstr(err.message, "short_factor has 4 numbers, expected 8"));
    r.n_long_factors = 3;
    assert_int_equal(mica_rope_frequencies(&r, 8, 64, 1, inverse, &scale, &err),
                     MICA_STATUS_FORMAT);
    assert_non_null(strstr(err.message, "long_factor has 3 numbers, expected 4"));
    r.n_long_factors = 4;
    r.original_max_position_embeddings = 1;
    assert_int_equal(mica_rope_frequencies(&r, 8, 64, 1, inverse, &scale, &err),
                     MICA_STATUS_FORMAT);
}

/* Proves: dynamic is plain up to max_position; past it the slowest pair turns by the factor less
 * than it would, at a length of factor times max_position or any other; it reaches factor times as
 * far; a factor below 1 and two elements a head are refused. */
static void dynamic_by_length(void **state) {
    (void)state;
    mica_error err = {0};
    float inverse[4], scale;
    mica_config_rope r = {.rope_theta = 10000, .factor = 4, .type = MICA_ROPE_DYNAMIC};
    assert_true(mica_rope_is_by_length(&r, 64));
    assert_int_equal(mica_rope_context_max(&r, 64), 256);
    assert_int_equal(mica_rope_context_max(&r, 1 << 23), 1 << 24);
    for (int64_t length = 1; length <= 256; length *= 2) {
        assert_ok(mica_rope_frequencies(&r, 8, 64, length, inverse, &scale, &err));
        assert_true(scale == 1.0f && inverse[0] == 1.0f);
        /* The base grows by s^(d / (d - 2)), so pair d/2 - 1 slows by s^1, pair i by s^(2i/(d-2)).
         */
        double s = length > 64 ? 4.0 * (double)length / 64 - 3 : 1;
        for (int i = 0; i < 4; i++)
            assert_true(fabs((double)inverse[i] * pow(s, i / 3.0) / pow(10, -i) - 1) < 1e-6);
    }
    assert_int_equal(mica_rope_frequencies(&r, 2, 64, 1, inverse, &scale, &err),
                     MICA_STATUS_FORMAT);
    r.factor = 1;
    assert_false(mica_rope_is_by_length(&r, 64));
    r.factor = 0.5;
    assert_int_equal(mica_rope_frequencies(&r, 8, 64, 1, inverse, &scale, &err),
                     MICA_STATUS_FORMAT);
}

/* Proves: a part of the head is rounded down, and must be even and not nothing. */
static void partial_rotation(void **state) {
    (void)state;
    mica_error err = {0};
    int64_t dim = 0;
    mica_config_rope r = {.partial_rotary_factor = 0.75};
    assert_ok(mica_rope_dim(&r, 128, &dim, &err));
    assert_int_equal(dim, 96);
    r.partial_rotary_factor = 0.4;
    assert_ok(mica_rope_dim(&r, 16, &dim, &err)); /* 6.4 */
    assert_int_equal(dim, 6);
    r.partial_rotary_factor = 0.7;
    assert_int_equal(mica_rope_dim(&r, 16, &dim, &err), MICA_STATUS_UNSUPPORTED);
    assert_non_null(strstr(err.message, "turns 11 elements"));
    r.partial_rotary_factor = 0.05;
    assert_int_equal(mica_rope_dim(&r, 16, &dim, &err), MICA_STATUS_UNSUPPORTED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yarn_of_gpt_oss),    cmocka_unit_test(truncation_is_another_table),
        cmocka_unit_test(plain_kinds),        cmocka_unit_test(llama3_kind),
        cmocka_unit_test(longrope_by_length), cmocka_unit_test(dynamic_by_length),
        cmocka_unit_test(partial_rotation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
