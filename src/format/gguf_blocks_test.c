/* Blocks against the values that the reference package decodes them to. */
#include "test.h"
#include "base/error.h"
#include "format/gguf_blocks.h"
#include "kernel/float_format.h"

#define VECTORS MICA_SOURCE_DIR "/tests/data/gguf/blocks.gguf"

static const struct {
    uint32_t type;
    const char *name;
} types[] = {{MICA_GGUF_TENSOR_Q4_0, "q4_0"},   {MICA_GGUF_TENSOR_Q4_1, "q4_1"},
             {MICA_GGUF_TENSOR_Q5_0, "q5_0"},   {MICA_GGUF_TENSOR_Q5_1, "q5_1"},
             {MICA_GGUF_TENSOR_Q8_0, "q8_0"},   {MICA_GGUF_TENSOR_Q4_K, "q4_k"},
             {MICA_GGUF_TENSOR_Q5_K, "q5_k"},   {MICA_GGUF_TENSOR_Q6_K, "q6_k"},
             {MICA_GGUF_TENSOR_MXFP4, "mxfp4"}, {MICA_GGUF_TENSOR_NVFP4, "nvfp4"}};

static void *read_tensor(const mica_gguf *g, const char *type, const char *what,
                         const mica_gguf_tensor **out) {
    mica_error err = {0};
    char name[64];
    snprintf(name, sizeof name, "%s.%s", type, what);
    const mica_gguf_tensor *t = *out = mica_gguf_find_tensor(g, name);
    if (!t) fail_msg("no tensor %s", name);
    void *data = malloc((size_t)(t->end - t->begin));
    assert_non_null(data);
    assert_ok(mica_gguf_read_tensor(g, t, data, &err));
    return data;
}

/* Element i of a row of packed codes. */
static unsigned code_at(const uint8_t *codes, int bits, int64_t i) {
    unsigned code = 0;
    for (int b = 0; b < bits; b++) {
        int64_t bit = i * bits + b;
        code |= (unsigned)(codes[bit / 8] >> bit % 8 & 1) << b;
    }
    return code;
}

static float number_at(mica_dtype dtype, const uint8_t *p, int64_t i) {
    return dtype == MICA_DTYPE_F16 ? mica_f32_from_f16(mica_load_u16(p + 2 * i))
                                   : mica_load_f32(p + 4 * i);
}

/* A row as MLX decodes it, by the formulas of its formats. */
static void decode(const mica_gguf_target *t, const uint8_t *codes, const uint8_t *scales,
                   const uint8_t *biases, int64_t k, float *out) {
    for (int64_t i = 0; i < k; i++) {
        unsigned code = code_at(codes, t->bits, i);
        int64_t g = i / t->group;
        if (t->mode == MICA_QUANT_AFFINE)
            out[i] = number_at(t->scale_dtype, scales, g) * (float)code +
                     number_at(t->scale_dtype, biases, g);
        else if (t->mode == MICA_QUANT_MXFP4)
            out[i] = mica_f32_from_e2m1((uint8_t)code) * mica_f32_from_e8m0(scales[g]);
        else
            out[i] = mica_f32_from_e2m1((uint8_t)code) * mica_f32_from_e4m3(scales[g]);
    }
}

static bool is_same(float a, float b) {
    /* 0 * -1 is -0 in one form and 0 in the other: one number. */
    return mica_bits_from_f32(a) == mica_bits_from_f32(b) || (a == 0 && b == 0);
}

static void check_type(const mica_gguf *g, uint32_t type, const char *name) {
    const mica_gguf_tensor *t, *values_tensor;
    uint8_t *blocks = read_tensor(g, name, "blocks", &t);
    float *want = read_tensor(g, name, "values", &values_tensor);
    assert_int_equal(t->type, type);
    const mica_gguf_target *target = mica_gguf_target_of(type);
    int64_t rows = t->shape.dims[0], k = t->shape.dims[1];
    size_t row_bytes = (size_t)(t->end - t->begin) / (size_t)rows;
    uint8_t codes[512], scales[512], biases[512];
    float got[512];
    assert_true(k <= 512);
    for (int64_t r = 0; r < rows; r++) {
        const uint8_t *row = blocks + (size_t)r * row_bytes;
        if (target->mode == MICA_QUANT_NONE) {
            mica_gguf_row_values(type, row, k, got);
        } else {
            mica_gguf_row_codes(type, row, k, codes);
            assert_true(mica_gguf_row_scales(type, row, k, scales));
            if (target->mode == MICA_QUANT_AFFINE)
                assert_true(mica_gguf_row_biases(type, row, k, biases));
            decode(target, codes, scales, biases, k, got);
        }
        for (int64_t i = 0; i < k; i++)
            if (!is_same(got[i], want[r * k + i]))
                fail_msg("%s: row %d, element %d is %.9g, expected %.9g", name, (int)r, (int)i,
                         (double)got[i], (double)want[r * k + i]);
    }
    free(blocks), free(want);
}

/* Proves: every type, repacked and then decoded as MLX decodes, has the reference's values bit for
 * bit; those that have no exact form decode to them directly. */
static void equals_the_reference(void **state) {
    (void)state;
    mica_error err = {0};
    mica_gguf *g = NULL;
    assert_ok(mica_gguf_open(mica_host_default(), VECTORS, &g, &err));
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        check_type(g, types[i].type, types[i].name);
    mica_gguf_close(&g);
}

/* Proves: for every f16 scale and every code, the affine form of Q4_0, Q5_0 and Q8_0 is exactly
 * d * (q - offset), or the row is refused. */
static void offsets_are_exact(void **state) {
    (void)state;
    static const struct {
        uint32_t type;
        int offset;
        float limit; /* largest |d| */
    } cases[] = {{MICA_GGUF_TENSOR_Q4_0, 8, 8188.0f},
                 {MICA_GGUF_TENSOR_Q5_0, 16, 4094.0f},
                 {MICA_GGUF_TENSOR_Q8_0, 128, 511.75f}};
    for (size_t c = 0; c < 3; c++)
        for (uint32_t h = 0; h < 65536; h++) {
            uint8_t block[34] = {0}, scale[2], bias[2];
            uint16_t half = (uint16_t)h;
            float d = mica_f32_from_f16(half);
            memcpy(block, &half, 2);
            bool is_taken = mica_gguf_row_scales(cases[c].type, block, 32, scale) &&
                            mica_gguf_row_biases(cases[c].type, block, 32, bias);
            bool is_wanted = fabsf(d) <= cases[c].limit;
            if (is_taken != is_wanted) fail_msg("type %u, d %g", cases[c].type, (double)d);
            for (int q = 0; is_taken && q < 2 * cases[c].offset; q++) {
                float want = d * (float)(q - cases[c].offset);
                float got = mica_f32_from_f16(mica_load_u16(scale)) * (float)q +
                            mica_f32_from_f16(mica_load_u16(bias));
                if (!is_same(got, want))
                    fail_msg("type %u, d %g, q %d", cases[c].type, (double)d, q);
            }
        }
}

/* Proves: scales and offsets that are not finite are refused in the other types too. */
static void refuses_infinite_scales(void **state) {
    (void)state;
    static const uint8_t infinity[2] = {0x00, 0x7C}, nan[2] = {0x01, 0x7E};
    uint8_t block[256] = {0}, out[512];
    memset(block + 4, 0xFF, 12); /* all scales of a K block at their largest */
    memcpy(block, infinity, 2);
    assert_false(mica_gguf_row_scales(MICA_GGUF_TENSOR_Q4_1, block, 32, out));
    assert_false(mica_gguf_row_scales(MICA_GGUF_TENSOR_Q4_K, block, 256, out));
    memcpy(block + 2, nan, 2);
    assert_false(mica_gguf_row_biases(MICA_GGUF_TENSOR_Q4_1, block, 32, out));
    assert_false(mica_gguf_row_biases(MICA_GGUF_TENSOR_Q5_K, block, 256, out));
}

/* Proves: types that mica does not take have no target, and numbers of no type have no name. */
static void unknown_types(void **state) {
    (void)state;
    assert_null(mica_gguf_target_of(MICA_GGUF_TENSOR_F32));
    assert_null(mica_gguf_target_of(20)); /* IQ4_NL */
    assert_string_equal(mica_gguf_type_find(20)->name, "IQ4_NL");
    assert_null(mica_gguf_type_find(4)->name); /* taken out of the format */
    assert_null(mica_gguf_type_find(64)->name);
    assert_null(mica_gguf_type_find(UINT32_MAX)->name);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_the_reference),
        cmocka_unit_test(offsets_are_exact),
        cmocka_unit_test(refuses_infinite_scales),
        cmocka_unit_test(unknown_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
