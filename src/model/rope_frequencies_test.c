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
    assert_ok(mica_rope_frequencies(&r, 64, 131072, inverse, &scale, &err));
    for (int i = 0; i < 32; i++) assert_true(fabs(inverse[i] / gpt_oss[i] - 1) < 1e-6);
    assert_true(fabs((double)scale - 1.3465735902799727) < 1e-6);
}

/* Proves: truncation moves the ramp to whole pairs 8 and 18, which changes pair 17 by 76 percent. */
static void truncation_is_another_table(void **state) {
    (void)state;
    mica_error err = {0};
    float inverse[32], scale;
    mica_config_rope r = yarn();
    r.truncate = true;
    assert_ok(mica_rope_frequencies(&r, 64, 131072, inverse, &scale, &err));
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
    assert_ok(mica_rope_frequencies(&r, 8, 64, inverse, &scale, &err));
    for (int i = 0; i < 4; i++) assert_true(fabs(inverse[i] - pow(10, -i)) < 1e-7);
    r.type = MICA_ROPE_LINEAR;
    assert_ok(mica_rope_frequencies(&r, 8, 64, inverse, &scale, &err));
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
    assert_ok(mica_rope_frequencies(&r, 128, 131072, inverse, &scale, &err));
    assert_true(scale == 1.0f);
    for (int i = 0; i < 64; i++) {
        double plain = pow(500000, -i / 64.0), wave = 6.283185307179586 / plain, want;
        double smooth = (8192 / wave - 1) / 3;
        if (wave < 8192.0 / 4) want = plain;
        else if (wave > 8192.0) want = plain / 8;
        else want = (1 - smooth) * plain / 8 + smooth * plain;
        assert_true(fabs(inverse[i] / want - 1) < 1e-6);
    }
    assert_true(inverse[0] == 1.0f && inverse[63] < 1e-6);
    r.high_freq_factor = 1;
    assert_int_equal(mica_rope_frequencies(&r, 128, 64, inverse, &scale, &err), MICA_STATUS_FORMAT);
}

/* Proves: dynamic and longrope hold up to the original length and are refused past it. */
static void kinds_by_length(void **state) {
    (void)state;
    mica_error err = {0};
    float inverse[4], scale;
    mica_config_rope r = {.rope_theta = 10000, .factor = 4, .n_short_factors = 4};
    r.original_max_position_embeddings = 64;
    r.type = MICA_ROPE_DYNAMIC;
    assert_ok(mica_rope_frequencies(&r, 8, 64, inverse, &scale, &err));
    for (int i = 0; i < 4; i++) assert_true(fabs(inverse[i] - pow(10, -i)) < 1e-7);
    assert_int_equal(mica_rope_frequencies(&r, 8, 65, inverse, &scale, &err),
                     MICA_STATUS_UNSUPPORTED);
    r.type = MICA_ROPE_LONGROPE;
    for (int i = 0; i < 4; i++) r.short_factor[i] = (float)(i + 1);
    assert_ok(mica_rope_frequencies(&r, 8, 64, inverse, &scale, &err));
    for (int i = 0; i < 4; i++) assert_true(fabs((double)inverse[i] * (i + 1) / pow(10, -i) - 1) < 1e-6);
    assert_true(fabs((double)scale - sqrt(1 + log(4) / log(64))) < 1e-6);
    assert_int_equal(mica_rope_frequencies(&r, 8, 65, inverse, &scale, &err),
                     MICA_STATUS_UNSUPPORTED);
    assert_int_equal(mica_rope_frequencies(&r, 16, 64, inverse, &scale, &err), MICA_STATUS_FORMAT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yarn_of_gpt_oss),
        cmocka_unit_test(truncation_is_another_table),
        cmocka_unit_test(plain_kinds),
        cmocka_unit_test(llama3_kind),
        cmocka_unit_test(kinds_by_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
