/* quantize and dequantize, which test each other: codes go in by one and out by the other. */
#include "mica/ops.h"
#include "kernel/quant_block.h"
#include "op_test.h"

enum { ROWS = 6, K = 128 };

typedef struct quant_case {
    mica_quant quant;
    mica_dtype dtype;
    int rank;
    int64_t dims[3];
    const float *x;
} quant_case;

static mica_array build(mica_graph *g, void *context) {
    const quant_case *c = context;
    mica_array x = mica_array_from_data(g, MICA_DTYPE_F32, c->rank, c->dims, c->x);
    return mica_dequantize(g, mica_quantize(g, mica_cast(g, x, c->dtype), c->quant), c->dtype);
}

static const mica_quant formats[] = {
    {MICA_QUANT_MXFP4, 4, 32, MICA_DTYPE_U8},     {MICA_QUANT_MXFP8, 8, 32, MICA_DTYPE_U8},
    {MICA_QUANT_NVFP4, 4, 16, MICA_DTYPE_U8},     {MICA_QUANT_AFFINE, 2, 32, MICA_DTYPE_F32},
    {MICA_QUANT_AFFINE, 3, 64, MICA_DTYPE_BF16},  {MICA_QUANT_AFFINE, 4, 64, MICA_DTYPE_BF16},
    {MICA_QUANT_AFFINE, 5, 128, MICA_DTYPE_F16},  {MICA_QUANT_AFFINE, 6, 32, MICA_DTYPE_F32},
    {MICA_QUANT_AFFINE, 8, 128, MICA_DTYPE_BF16},
};
enum { FORMATS = sizeof formats / sizeof formats[0] };

static float round_to(mica_dtype dtype, float v) {
    if (dtype == MICA_DTYPE_BF16) return mica_f32_from_bf16(mica_bf16_from_f32(v));
    if (dtype == MICA_DTYPE_F16) return mica_f32_from_f16(mica_f16_from_f32(v));
    return v;
}

static void gives_back_what_the_row_functions_give(void **state) {
    /* Proves: for every format, dtype and rank, the ops lay out parts so that each row decodes to
     * what encoding and decoding it alone gives. */
    (void)state;
    uint64_t seed = test_seed();
    float x[ROWS * K];
    for (int i = 0; i < ROWS * K; i++) x[i] = test_random_float(&seed) * (i % 50 ? 1.0f : 30.0f);
    for (int f = 0; f < FORMATS * 3; f++) {
        static const mica_dtype dtypes[] = {MICA_DTYPE_F32, MICA_DTYPE_F16, MICA_DTYPE_BF16};
        quant_case c = {formats[f / 3], dtypes[f % 3], 1 + f % 3, {ROWS * K}, x};
        if (c.rank == 2) c.dims[0] = ROWS, c.dims[1] = K;
        if (c.rank == 3) c.dims[0] = 2, c.dims[1] = 3, c.dims[2] = K;
        uint8_t kind = c.quant.scale_dtype == MICA_DTYPE_F32    ? MICA_KIND_F32
                       : c.quant.scale_dtype == MICA_DTYPE_F16  ? MICA_KIND_F16
                       : c.quant.scale_dtype == MICA_DTYPE_BF16 ? MICA_KIND_BF16
                                                                : MICA_KIND_U8;
        mica_quant_desc q = {c.quant.mode, c.quant.bits, c.quant.group, kind};
        double want[ROWS * K];
        for (int r = 0; r < ROWS; r++) {
            float row[K];
            uint8_t codes[K], scales[K], biases[K];
            for (int i = 0; i < K; i++) row[i] = round_to(c.dtype, x[r * K + i]);
            mica_quant_encode_row(q, row, K, codes, scales, biases);
            mica_quant_decode_row(q, codes, scales, biases, K, row);
            for (int i = 0; i < K; i++) want[r * K + i] = (double)round_to(c.dtype, row[i]);
        }
        op_test_all_levels(build, &c, want, ROWS * K, 0, 0);
    }
}

static mica_status status_of(mica_quant quant, int64_t k, mica_dtype x, mica_dtype out) {
    static const float zeros[512];
    mica_error err = {0};
    mica_runtime *rt = NULL;
    mica_graph *g = NULL;
    assert_ok(mica_runtime_open(NULL, &rt, &err));
    assert_ok(mica_graph_create(rt, &g, &err));
    mica_array a = mica_array_from_data(g, x, 2, (int64_t[]){2, k}, zeros);
    mica_array q = quant.mode ? mica_quantize(g, a, quant) : a;
    mica_array d = mica_dequantize(g, q, out);
    mica_status st = mica_graph_check(g, &err);
    if (st == MICA_STATUS_OK) assert_ok(mica_eval(g, &d, 1, &err));
    mica_graph_destroy(&g);
    mica_runtime_close(&rt);
    return st;
}

typedef struct scaled_case {
    const uint8_t *codes, *scales;
    const float *factors;
} scaled_case;

static mica_array build_scaled(mica_graph *g, void *context) {
    const scaled_case *c = context;
    const mica_quant q = {MICA_QUANT_NVFP4_SCALED, 4, 16, MICA_DTYPE_U8};
    mica_array x =
        mica_array_view_quantized(g, q, 3, (int64_t[]){3, 2, K}, c->codes, c->scales, c->factors);
    return mica_dequantize(g, x, MICA_DTYPE_F32);
}

static void each_matrix_has_its_factor(void **state) {
    /* Proves: dequantize of nvfp4_scaled [3, 2, K] takes the factor of the matrix, for all its
     * rows; quantize makes no such arrays. */
    (void)state;
    uint64_t seed = test_seed();
    const mica_quant_desc q = {MICA_QUANT_DESC_NVFP4_SCALED, 4, 16, MICA_KIND_U8};
    float factors[3] = {0.25f, 7.0f, 1e-3f}, row[K];
    uint8_t codes[6 * K / 2], scales[6 * K / 16];
    double want[6 * K];
    for (int r = 0; r < 6; r++) {
        for (int i = 0; i < K; i++) row[i] = test_random_float(&seed);
        mica_quant_encode_row(q, row, K, codes + r * K / 2, scales + r * K / 16, &factors[r / 2]);
        mica_quant_decode_row(q, codes + r * K / 2, scales + r * K / 16, &factors[r / 2], K, row);
        for (int i = 0; i < K; i++) want[r * K + i] = (double)row[i];
    }
    scaled_case c = {codes, scales, factors};
    op_test_all_levels(build_scaled, &c, want, 6 * K, 0, 0);
    mica_quant made = {MICA_QUANT_NVFP4_SCALED, 4, 16, MICA_DTYPE_U8};
    assert_int_equal(status_of(made, K, MICA_DTYPE_F32, MICA_DTYPE_F32), MICA_STATUS_INVALID);
}

static void refuses_formats_that_do_not_exist(void **state) {
    /* Proves: unknown formats, ragged groups and wrong dtypes are INVALID; empty arrays are fine.
     */
    (void)state;
    mica_quant good = formats[5], odd = good, none = {0};
    odd.bits = 7;
    assert_int_equal(status_of(good, 64, MICA_DTYPE_F32, MICA_DTYPE_F32), MICA_STATUS_OK);
    assert_int_equal(status_of(good, 0, MICA_DTYPE_F32, MICA_DTYPE_F32), MICA_STATUS_OK);
    assert_int_equal(status_of(odd, 64, MICA_DTYPE_F32, MICA_DTYPE_F32), MICA_STATUS_INVALID);
    assert_int_equal(status_of(good, 96, MICA_DTYPE_F32, MICA_DTYPE_F32), MICA_STATUS_INVALID);
    assert_int_equal(status_of(good, 64, MICA_DTYPE_I32, MICA_DTYPE_F32), MICA_STATUS_INVALID);
    assert_int_equal(status_of(good, 64, MICA_DTYPE_F32, MICA_DTYPE_I8), MICA_STATUS_INVALID);
    assert_int_equal(status_of(none, 64, MICA_DTYPE_F32, MICA_DTYPE_F32), MICA_STATUS_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_back_what_the_row_functions_give),
        cmocka_unit_test(each_matrix_has_its_factor),
        cmocka_unit_test(refuses_formats_that_do_not_exist),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
