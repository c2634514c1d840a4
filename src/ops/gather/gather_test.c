/* gather: dense rows of every dtype and layout, conversion, quantised rows, ids out of range. */
#include "ops/common/op_test_case.h"
#include "core/dtype.h"
#include "kernel/quant_block.h"

typedef struct gather_case {
    mica_dtype dtype, out, id_dtype;
    op_layout layout, id_layout;
    int rank, id_rank;
    int64_t dims[6], id_dims[6];
    const double *values, *ids;
} gather_case;

static mica_array build(mica_graph *g, void *context) {
    const gather_case *c = context;
    mica_array x = op_case_input(g, c->layout, c->dtype, c->rank, c->dims, c->values);
    mica_array ids = op_case_input(g, c->id_layout, c->id_dtype, c->id_rank, c->id_dims, c->ids);
    return mica_gather(g, x, ids, c->out);
}

static void rows_by_number(void **state) {
    /* Proves: rows of each dtype and layout in its own dtype; ids outside of x give zeros. */
    (void)state;
    uint64_t seed = test_seed();
    double values[7 * 2 * 13], ids[6] = {6, 0, -1, 3, 7, 3}, want[6 * 26];
    for (mica_dtype d = MICA_DTYPE_BOOL; d < MICA_DTYPE_COUNT_; d++)
        for (int layout = 0; layout < OP_LAYOUT_COUNT; layout++) {
            gather_case c = {.dtype = d, .id_dtype = MICA_DTYPE_I32, .rank = 3, .id_rank = 2};
            c.layout = (op_layout)layout;
            c.id_layout = (op_layout)((layout + d) % OP_LAYOUT_COUNT);
            memcpy(c.dims, (int64_t[]){7, 2, 13}, 3 * sizeof *c.dims);
            memcpy(c.id_dims, (int64_t[]){2, 3}, 2 * sizeof *c.dims);
            c.values = values, c.ids = ids;
            op_case_fill(&seed, d, values, 182, true);
            for (int i = 0; i < 156; i++) {
                int id = (int)ids[i / 26];
                want[i] = id >= 0 && id < 7 ? values[id * 26 + i % 26] : 0;
            }
            op_test_all_levels(build, &c, want, 156, 0, 0);
        }
}

static void rows_in_another_dtype(void **state) {
    /* Proves: conversions on the way, the common bf16 to f32 among them, one id of rank 0, a table
     * of single numbers, and no ids. */
    (void)state;
    static const mica_dtype from[] = {MICA_DTYPE_BF16, MICA_DTYPE_F16, MICA_DTYPE_F32,
                                      MICA_DTYPE_I32};
    static const mica_dtype to[] = {MICA_DTYPE_F32, MICA_DTYPE_BF16, MICA_DTYPE_F16,
                                    MICA_DTYPE_F32};
    uint64_t seed = 21;
    double values[5 * 33], ids[1] = {4}, want[33];
    for (int p = 0; p < 4; p++)
        for (op_layout layout = 0; layout < OP_LAYOUT_COUNT; layout++) {
            gather_case c = {.dtype = from[p], .out = to[p], .id_dtype = MICA_DTYPE_I32};
            c.layout = layout;
            c.rank = 2, c.dims[0] = 5, c.dims[1] = 33;
            c.values = values, c.ids = ids;
            op_case_fill(&seed, from[p], values, 165, true);
            for (int i = 0; i < 33; i++) want[i] = op_case_value(to[p], values[4 * 33 + i]);
            op_test_all_levels(build, &c, want, 33, 0, 0);
            c.id_rank = 1, c.id_dims[0] = 0;
            op_test_all_levels(build, &c, want, 0, 0, 0);
            c.rank = 1, c.id_dims[0] = 1;
            want[0] = op_case_value(to[p], values[4]);
            op_test_all_levels(build, &c, want, 1, 0, 0);
        }
}

/* ---- quantised ---- */

typedef struct packed_case {
    mica_quant quant;
    mica_dtype out;
    const uint8_t *codes, *scales, *biases;
    const int32_t *ids;
} packed_case;

static mica_array build_packed(mica_graph *g, void *context) {
    const packed_case *c = context;
    mica_array x = mica_array_view_quantized(g, c->quant, 3, (int64_t[]){4, 2, 128}, c->codes,
                                             c->scales, c->biases);
    mica_array ids = mica_array_from_data(g, MICA_DTYPE_I32, 1, (int64_t[]){5}, c->ids);
    return mica_gather(g, x, ids, c->out);
}

/* Of row r where a matrix has two. */
static void *third_part(mica_quant_desc q, uint8_t *biases, int r, int64_t scale_bytes) {
    return biases + (q.mode == MICA_QUANT_DESC_NVFP4_SCALED ? r / 2 * 4 : r * scale_bytes);
}

static void quantised_rows(void **state) {
    /* Proves: rows of each quantised format are those that the row decoder gives, in f32 and
     * rounded to bf16, at the right place of a [4, 2, 128] table; ids outside give zeros. */
    (void)state;
    static const mica_quant quants[] = {
        {MICA_QUANT_AFFINE, 4, 64, MICA_DTYPE_BF16},    {MICA_QUANT_AFFINE, 3, 32, MICA_DTYPE_F16},
        {MICA_QUANT_AFFINE, 8, 128, MICA_DTYPE_F32},    {MICA_QUANT_MXFP4, 4, 32, MICA_DTYPE_U8},
        {MICA_QUANT_MXFP8, 8, 32, MICA_DTYPE_U8},       {MICA_QUANT_NVFP4, 4, 16, MICA_DTYPE_U8},
        {MICA_QUANT_NVFP4_SCALED, 4, 16, MICA_DTYPE_U8}};
    static const uint8_t kinds[] = {MICA_KIND_BF16, MICA_KIND_F16, MICA_KIND_F32, MICA_KIND_U8,
                                    MICA_KIND_U8,   MICA_KIND_U8,  MICA_KIND_U8};
    uint64_t seed = test_seed();
    int32_t ids[5] = {3, 0, -2, 1, 4};
    for (int f = 0; f < 7; f++) {
        uint8_t codes[8 * 128], scales[8 * 16], biases[8 * 16];
        float row[128];
        double want[5 * 256];
        mica_quant_desc q = {quants[f].mode, quants[f].bits, quants[f].group, kinds[f]};
        int64_t code_bytes = mica_quant_code_bytes(q, 128);
        int64_t scale_bytes = mica_quant_scale_bytes(q, 128);
        bool has_third = mica_quant_parts(quants[f]) > 2;
        const float factors[4] = {0.5f, 3.0f, 0.1f, 1.0f}; /* nvfp4_scaled: of the 4 matrices */
        memcpy(biases, factors, sizeof factors);
        for (int r = 0; r < 8; r++) {
            for (int i = 0; i < 128; i++) row[i] = test_random_float(&seed);
            mica_quant_encode_row(q, row, 128, codes + r * code_bytes, scales + r * scale_bytes,
                                  third_part(q, biases, r, scale_bytes));
        }
        for (int out = 0; out < 2; out++) {
            packed_case c = {quants[f],
                             out ? MICA_DTYPE_BF16 : MICA_DTYPE_F32,
                             codes,
                             scales,
                             has_third ? biases : NULL,
                             ids};
            for (int i = 0; i < 10; i++) {
                int32_t id = ids[i / 2];
                int line = id * 2 + i % 2;
                bool is_row = id >= 0 && id < 4;
                if (is_row)
                    mica_quant_decode_row(q, codes + line * code_bytes, scales + line * scale_bytes,
                                          third_part(q, biases, line, scale_bytes), 128, row);
                for (int k = 0; k < 128; k++)
                    want[i * 128 + k] = is_row ? op_case_value(c.out, (double)row[k]) : 0;
            }
            op_test_all_levels(build_packed, &c, want, 1280, 0, 0);
        }
    }
}

static void wrong_arguments_are_refused(void **state) {
    /* Proves: ids must be i32, x needs an axis, the result's rank has a limit, a quantised x gives
     * no integers. */
    (void)state;
    double values[64] = {0};
    gather_case c = {.dtype = MICA_DTYPE_F32, .id_dtype = MICA_DTYPE_I64, .rank = 2, .id_rank = 1};
    c.values = c.ids = values;
    c.dims[0] = 2, c.dims[1] = 3, c.id_dims[0] = 4;
    op_case_expect_invalid(build, &c, "x [2, 3] and ids i64[4]");
    c.id_dtype = MICA_DTYPE_I32, c.rank = 0;
    op_case_expect_invalid(build, &c, "x [] and ids");
    c.rank = c.id_rank = 6;
    for (int i = 0; i < 6; i++) c.dims[i] = c.id_dims[i] = 1;
    op_case_expect_invalid(build, &c, "too large");
    c.rank = c.id_rank = 1, c.out = (mica_dtype)50;
    op_case_expect_invalid(build, &c, "50 is not a dtype");
    uint8_t bytes[1024] = {0};
    packed_case p = {{MICA_QUANT_MXFP4, 4, 32, MICA_DTYPE_U8}, MICA_DTYPE_I32, bytes, bytes, NULL,
                     (const int32_t[]){0, 0, 0, 0, 0}};
    op_case_expect_invalid(build_packed, &p, "quantised x [4, 2, 128] as i32");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_by_number),
        cmocka_unit_test(rows_in_another_dtype),
        cmocka_unit_test(quantised_rows),
        cmocka_unit_test(wrong_arguments_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
