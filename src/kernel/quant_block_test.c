#include "kernel/quant_block.h"
#include "test.h"

static const mica_quant_desc mxfp4 = {MICA_QUANT_DESC_MXFP4, 4, 32, MICA_KIND_U8};
static const mica_quant_desc mxfp8 = {MICA_QUANT_DESC_MXFP8, 8, 32, MICA_KIND_U8};
static const mica_quant_desc nvfp4 = {MICA_QUANT_DESC_NVFP4, 4, 16, MICA_KIND_U8};

/* Values by the text of the formats, in double. */
static double e2m1(int code) {
    static const double magnitude[8] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
    return code & 8 ? -magnitude[code & 7] : magnitude[code & 7];
}
static double e4m3(int code) {
    int exponent = code >> 3 & 15, mantissa = code & 7;
    if (exponent == 15 && mantissa == 7) return NAN;
    double v = exponent ? ldexp(8 + mantissa, exponent - 10) : ldexp(mantissa, -9);
    return code & 128 ? -v : v;
}

static bool same_bits(float a, float b) { return memcmp(&a, &b, sizeof a) == 0; }

static void decodes_every_mxfp4_code_at_the_edges_of_scales(void **state) {
    /* Proves: mxfp4 decoding is exact for the smallest and largest scales too, sign of zero kept.
     */
    (void)state;
    static const uint8_t scales[] = {0, 1, 2, 100, 127, 128, 254};
    uint8_t codes[16];
    float out[32];
    for (int i = 0; i < 16; i++) codes[i] = (uint8_t)(i | (15 - i) << 4);
    for (size_t s = 0; s < sizeof scales; s++) {
        mica_quant_decode_row(mxfp4, codes, &scales[s], NULL, 32, out);
        for (int i = 0; i < 32; i++) {
            int code = i % 2 ? 15 - i / 2 : i / 2;
            float want = (float)(e2m1(code) * ldexp(1, scales[s] - 127));
            if (!same_bits(out[i], want))
                fail_msg("code %d scale %d: %a, want %a", code, scales[s], (double)out[i],
                         (double)want);
        }
    }
    uint8_t nan_scale = 255;
    mica_quant_decode_row(mxfp4, codes, &nan_scale, NULL, 32, out);
    for (int i = 0; i < 32; i++) assert_true(isnan(out[i]));
}

static void decodes_every_e4m3_code(void **state) {
    /* Proves: mxfp8 values and nvfp4 scales take all 256 E4M3 codes, NaN included. */
    (void)state;
    uint8_t codes[256], scales[8];
    float out[256];
    for (int i = 0; i < 256; i++) codes[i] = (uint8_t)i;
    memset(scales, 125, sizeof scales);
    mica_quant_decode_row(mxfp8, codes, scales, NULL, 256, out);
    for (int i = 0; i < 256; i++) {
        float want = (float)(e4m3(i) * 0.25);
        assert_true(isnan(want) ? isnan(out[i]) : same_bits(out[i], want));
        if (!isnan(want)) assert_int_equal(mica_e4m3_from_f32((float)e4m3(i)), i);
        uint8_t pairs[8] = {0x21, 0x43, 0x65, 0x87, 0xA9, 0xCB, 0xED, 0x0F}, scale = (uint8_t)i;
        mica_quant_decode_row(nvfp4, pairs, &scale, NULL, 16, out);
        for (int j = 0; j < 16 && !isnan(want); j++)
            assert_true(out[j] == (float)(e2m1((j + 1) & 15) * e4m3(i)));
        mica_quant_decode_row(mxfp8, codes, scales, NULL, 256, out);
    }
}

/* Element i by its bits, one at a time. */
static unsigned bits_at(const uint8_t *stream, int64_t i, int bits) {
    unsigned v = 0;
    for (int b = 0; b < bits; b++) {
        int64_t at = i * bits + b;
        v |= (unsigned)(stream[at / 8] >> (at % 8) & 1) << b;
    }
    return v;
}

static void decodes_affine_streams_of_every_width(void **state) {
    /* Proves: codes that straddle bytes and words, and negative scales, decode to scale*q + bias.
     */
    (void)state;
    static const uint8_t widths[] = {2, 3, 4, 5, 6, 8};
    static const uint16_t groups[] = {32, 64, 128};
    uint64_t seed = test_seed();
    for (int c = 0; c < 6 * 3 * 3; c++) {
        mica_quant_desc q = {MICA_QUANT_DESC_AFFINE, widths[c % 6], groups[c / 6 % 3],
                             (uint8_t)(MICA_KIND_F32 + c / 18)};
        int64_t k = 384;
        uint8_t codes[384], scales[4 * 12], biases[4 * 12];
        float out[384];
        for (int i = 0; i < 384; i++) codes[i] = (uint8_t)test_random(&seed);
        for (int i = 0; i < 12; i++) {
            float v[2] = {test_random_float(&seed), test_random_float(&seed)};
            uint8_t *to[2] = {scales, biases};
            for (int p = 0; p < 2; p++) {
                uint16_t h = q.scale_kind == MICA_KIND_F16 ? mica_f16_from_f32(v[p])
                                                           : mica_bf16_from_f32(v[p]);
                if (q.scale_kind == MICA_KIND_F32)
                    memcpy(to[p] + 4 * i, &v[p], 4);
                else
                    memcpy(to[p] + 2 * i, &h, 2);
            }
        }
        mica_quant_decode_row(q, codes, scales, biases, k, out);
        for (int64_t i = 0; i < k; i++) {
            float s = mica_kind_load(q.scale_kind, scales, i / q.group);
            float b = mica_kind_load(q.scale_kind, biases, i / q.group);
            float product = s * (float)bits_at(codes, i, q.bits);
            assert_true(same_bits(out[i], product + b));
        }
    }
}

static void fill(float *x, int count, int shape, uint64_t *seed) {
    for (int i = 0; i < count; i++) {
        float r = test_random_float(seed);
        x[i] = shape == 0 ? r : shape == 1 ? -1.0f - fabsf(r) : shape == 2 ? 0.0f : r * 1e4f;
        if (shape == 3 && i % 7) x[i] *= 1e-5f;
    }
}

static void affine_encoding_stays_within_a_step(void **state) {
    /* Proves: |w - decode(encode(w))| <= |scale| for mixed, all-negative, zero and outlier groups.
     */
    (void)state;
    static const uint8_t widths[] = {2, 3, 4, 5, 6, 8};
    uint64_t seed = test_seed();
    for (int c = 0; c < 24; c++) {
        mica_quant_desc q = {MICA_QUANT_DESC_AFFINE, widths[c % 6], 64, MICA_KIND_F32};
        float x[128], out[128], scales[2], biases[2];
        uint8_t codes[128];
        fill(x, 128, c / 6, &seed);
        mica_quant_encode_row(q, x, 128, codes, scales, biases);
        mica_quant_decode_row(q, codes, scales, biases, 128, out);
        for (int i = 0; i < 128; i++) {
            float bound = fabsf(scales[i / 64]) + 1e-6f * fabsf(x[i]);
            if (!(fabsf(x[i] - out[i]) <= bound))
                fail_msg("%d bits, shape %d: %g became %g, scale %g", q.bits, c / 6, (double)x[i],
                         (double)out[i], (double)scales[i / 64]);
        }
    }
}

static void affine_encoding_matches_worked_values(void **state) {
    /* Proves: the edge farther from zero is exact, and the scale has its sign (MLX's rule). */
    (void)state;
    mica_quant_desc q = {MICA_QUANT_DESC_AFFINE, 4, 32, MICA_KIND_F32};
    float x[32] = {0}, scale, bias, out[32];
    uint8_t codes[16];
    x[0] = -1.5f;
    x[1] = 0.75f;
    mica_quant_encode_row(q, x, 32, codes, &scale, &bias);
    /* s = 2.25 / 15 = 0.15; q0 = -10; scale = 0.15, bias = -1.5. */
    assert_true(bias == -1.5f && scale == 0.15f);
    mica_quant_decode_row(q, codes, &scale, &bias, 32, out);
    assert_true(out[0] == -1.5f && fabsf(out[2]) < 1e-6f);
    x[1] = 3.0f; /* now the upper edge: s = -0.3, q0 = -10, bias = 3 */
    mica_quant_encode_row(q, x, 32, codes, &scale, &bias);
    assert_true(bias == 3.0f && scale < 0 && fabsf(scale + 0.3f) < 1e-6f);
}

static void block_encoding_picks_the_nearest_code(void **state) {
    /* Proves: each element of mxfp4, mxfp8 and nvfp4 gets the value of its grid nearest to it. */
    (void)state;
    uint64_t seed = test_seed();
    const mica_quant_desc all[3] = {mxfp4, mxfp8, nvfp4};
    for (int c = 0; c < 12; c++) {
        mica_quant_desc q = all[c % 3];
        float x[64], out[64];
        uint8_t codes[64], scales[4];
        fill(x, 64, c / 3, &seed);
        mica_quant_encode_row(q, x, 64, codes, scales, NULL);
        mica_quant_decode_row(q, codes, scales, NULL, 64, out);
        for (int i = 0; i < 64; i++) {
            uint8_t s = scales[i / q.group];
            double scale = q.mode == MICA_QUANT_DESC_NVFP4 ? e4m3(s) : ldexp(1, s - 127);
            double best = INFINITY;
            for (int code = 0; code < 1 << q.bits; code++) {
                double v = (q.bits == 4 ? e2m1(code) : e4m3(code)) * scale;
                if (fabs(v - (double)x[i]) < best) best = fabs(v - (double)x[i]);
            }
            double got = fabs((double)out[i] - (double)x[i]);
            if (!(got <= best * (1 + 1e-6)))
                fail_msg("case %d: %g is %g off, best %g", c, (double)x[i], got, best);
        }
    }
}

static void small_floats_round_to_even_and_saturate(void **state) {
    /* Proves: ties, saturation, NaN and signed zero of the E2M1 and E4M3 encoders. */
    (void)state;
    static const struct {
        float in;
        uint8_t code;
    } cases[] = {{0.25f, 0}, {0.75f, 2}, {1.25f, 2}, {1.75f, 4}, {2.5f, 4},       {3.5f, 6},
                 {5.0f, 6},  {5.1f, 7},  {1e9f, 7},  {-0.0f, 8}, {-INFINITY, 15}, {NAN, 7}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(mica_e2m1_from_f32(cases[i].in), cases[i].code);
    assert_int_equal(mica_e4m3_from_f32(1e9f), 0x7E);
    assert_int_equal(mica_e4m3_from_f32(-INFINITY), 0xFE);
    assert_int_equal(mica_e4m3_from_f32(464.0f), 0x7E);
    assert_int_equal(mica_e4m3_from_f32(NAN), 0x7F);
    assert_int_equal(mica_e4m3_from_f32(0x1p-10f), 0x00);  /* tie to even */
    assert_int_equal(mica_e4m3_from_f32(0x1.8p-9f), 0x02); /* tie to even */
    assert_int_equal(mica_e4m3_from_f32(0x1.fp-7f), 0x08); /* rounds up to the first normal */
    assert_int_equal(mica_e4m3_from_f32(1.0625f), 0x38);   /* tie to even */
    assert_int_equal(mica_e4m3_from_f32(1.1875f), 0x3A);
}

static void encoding_survives_values_that_are_not_finite(void **state) {
    /* Proves: NaN and infinities are encoded without undefined conversions. */
    (void)state;
    float x[64], out[64];
    uint8_t codes[64], scales[64], biases[64];
    for (int i = 0; i < 64; i++) x[i] = i % 3 == 0 ? NAN : i % 3 == 1 ? INFINITY : -1.0f;
    for (int bits = 2; bits <= 8; bits++) {
        mica_quant_desc q = {MICA_QUANT_DESC_AFFINE, (uint8_t)bits, 32, MICA_KIND_F16};
        mica_quant_encode_row(q, x, 64, codes, scales, biases);
    }
    mica_quant_encode_row(mxfp4, x, 64, codes, scales, NULL);
    mica_quant_decode_row(mxfp4, codes, scales, NULL, 64, out);
    assert_true(out[1] == 6.0f * 0x1p127f || isinf(out[1]));
    mica_quant_encode_row(mxfp8, x, 64, codes, scales, NULL);
    mica_quant_encode_row(nvfp4, x, 64, codes, scales, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_every_mxfp4_code_at_the_edges_of_scales),
        cmocka_unit_test(decodes_every_e4m3_code),
        cmocka_unit_test(decodes_affine_streams_of_every_width),
        cmocka_unit_test(affine_encoding_stays_within_a_step),
        cmocka_unit_test(affine_encoding_matches_worked_values),
        cmocka_unit_test(block_encoding_picks_the_nearest_code),
        cmocka_unit_test(small_floats_round_to_even_and_saturate),
        cmocka_unit_test(encoding_survives_values_that_are_not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
