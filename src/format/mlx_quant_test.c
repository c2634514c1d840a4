/* Decoder and encoder of quantised rows against MLX, on what tools/golden/mlx_quant.py wrote:
 * tests/data/quant/mlx.safetensors, or the file given as argument. */
#include <math.h>
#include "test.h"
#include "base/host.h"
#include "format/safetensors.h"
#include "kernel/quant_block.h"

#define VECTORS MICA_SOURCE_DIR "/tests/data/quant/mlx.safetensors"

static const char *path = VECTORS;
static mica_safetensors *file;

/* A tensor of the file, copied out; NULL when there is none of that name. */
typedef struct tensor {
    void *data;
    mica_shape shape;
    mica_safetensors_dtype dtype;
} tensor;

static tensor take(const char *format, ...) {
    char name[128];
    mica_error err = {0};
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    const mica_safetensors_tensor *t = mica_safetensors_find(file, mica_slice_from(name));
    if (!t) return (tensor){0};
    tensor out = {.data = malloc(t->end - t->begin), .shape = t->shape, .dtype = t->dtype};
    assert_ok(mica_file_read(mica_safetensors_file(file), t->begin, out.data,
                             (size_t)(t->end - t->begin), &err));
    return out;
}

/* One format of the file. */
typedef struct vector {
    char name[64];
    mica_quant_desc quant;
    tensor weight, scales, biases, values, native;
    int64_t rows, k;
} vector;

static const struct {
    const char *name;
    uint8_t mode;
} modes[] = {{"affine", MICA_QUANT_DESC_AFFINE},
             {"mxfp4", MICA_QUANT_DESC_MXFP4},
             {"mxfp8", MICA_QUANT_DESC_MXFP8},
             {"nvfp4", MICA_QUANT_DESC_NVFP4},
             {"nvfp4_scaled", MICA_QUANT_DESC_NVFP4_SCALED}};
static const char *const kinds[] = {"U8", "F32", "F16", "BF16"};

/* "[codes.]affine.4.64.BF16" */
static bool open_vector(const char *prefix, size_t mode, int bits, int group, int kind, vector *v) {
    *v = (vector){.quant = {modes[mode].mode, (uint8_t)bits, (uint16_t)group, (uint8_t)kind}};
    snprintf(v->name, sizeof v->name, "%s%s.%d.%d.%s", prefix, modes[mode].name, bits, group,
             kinds[kind]);
    v->weight = take("%s.weight", v->name);
    if (!v->weight.data) return false;
    v->scales = take("%s.scales", v->name);
    v->biases = take("%s.biases", v->name);
    v->native = take("%s.native", v->name);
    v->values = take("%s.values", v->name);
    if (modes[mode].mode == MICA_QUANT_DESC_NVFP4_SCALED)
        v->biases = take("%s.global_scale", v->name);
    assert_non_null(v->scales.data);
    assert_non_null(v->values.data);
    v->rows = v->values.shape.dims[0];
    v->k = v->values.shape.dims[1];
    assert_int_equal(v->weight.shape.dims[1] * 4, mica_quant_code_bytes(v->quant, v->k));
    return true;
}

static void close_vector(vector *v) {
    free(v->weight.data), free(v->scales.data), free(v->biases.data);
    free(v->values.data), free(v->native.data);
}

static void decode(const vector *v, int64_t row, float *out) {
    int64_t at = row * mica_quant_scale_bytes(v->quant, v->k);
    mica_quant_decode_row(v->quant,
                          (uint8_t *)v->weight.data + row * mica_quant_code_bytes(v->quant, v->k),
                          (uint8_t *)v->scales.data + at,
                          mica_quant_biases_at(v->quant, v->biases.data, 0, at), v->k, out);
}

/* Calls visit with every vector of the file, and returns how many there are. */
static int for_each(const char *prefix, void (*visit)(const vector *v)) {
    int n = 0;
    for (size_t m = 0; m < sizeof modes / sizeof *modes; m++)
        for (int bits = 2; bits <= 8; bits++)
            for (int group = 16; group <= 128; group *= 2)
                for (int kind = 0; kind < 4; kind++) {
                    vector v;
                    if (!open_vector(prefix, m, bits, group, kind, &v)) continue;
                    visit(&v);
                    close_vector(&v);
                    n++;
                }
    return n;
}

/* NaN counts as equal to NaN; zeros have signs. */
static bool is_same(float a, float b) {
    return (isnan(a) && isnan(b)) || mica_bits_from_f32(a) == mica_bits_from_f32(b);
}

static void check_values(const vector *v) {
    float *out = malloc((size_t)v->k * sizeof *out);
    for (int64_t r = 0; r < v->rows; r++) {
        const float *want = (const float *)v->values.data + r * v->k;
        decode(v, r, out);
        for (int64_t i = 0; i < v->k; i++)
            if (!is_same(out[i], want[i]))
                fail_msg("%s: element [%lld, %lld] is %.9g, MLX says %.9g", v->name, (long long)r,
                         (long long)i, (double)out[i], (double)want[i]);
    }
    free(out);
}

/* Proves: every format decodes to the bits of mx.dequantize in float32: of what mx.quantize made of
 * random and extreme groups, and of every code under scales at the edges. */
static void decodes_as_mlx(void **state) {
    (void)state;
    assert_int_equal(for_each("", check_values), 6 * 3 * 2 + 4);
    assert_int_equal(for_each("codes.", check_values), 3);
}

/* f32 rounded to the type of the scales and back. */
static float round_to(int kind, float f) {
    return kind == MICA_KIND_BF16 ? mica_f32_from_bf16(mica_bf16_from_f32(f))
                                  : mica_f32_from_f16(mica_f16_from_f32(f));
}

static int n_native;

static void check_native(const vector *v) {
    if (!v->native.data) return;
    n_native++;
    float *out = malloc((size_t)v->k * sizeof *out);
    vector products = *v; /* without the biases */
    products.biases.data = calloc(4, (size_t)(v->rows * v->k / v->quant.group));
    for (int64_t r = 0; r < v->rows; r++) {
        decode(&products, r, out);
        for (int64_t i = 0; i < v->k; i++) {
            int kind = v->quant.scale_kind;
            float bias = mica_kind_load(kind, v->biases.data, (r * v->k + i) / v->quant.group);
            float want = mica_kind_load(kind, v->native.data, r * v->k + i);
            float got = round_to(kind, round_to(kind, out[i]) + bias);
            if (!is_same(got, want))
                fail_msg("%s: element [%lld, %lld] is %.9g, MLX says %.9g", v->name, (long long)r,
                         (long long)i, (double)got, (double)want);
        }
    }
    free(products.biases.data);
    free(out);
}

/* Proves: what MLX's CPU gives in the type of 16-bit scales is ours with product and sum each
 * rounded to that type: the only difference there is. */
static void native_differs_by_rounding(void **state) {
    (void)state;
    n_native = 0;
    for_each("", check_native);
    assert_int_equal(n_native, 2);
}

/* ---- encoding ---- */

static int64_t n_all, n_others;

static float scale_at(const vector *v, const void *scales, int64_t g) {
    uint8_t byte = ((const uint8_t *)scales)[g];
    if (v->quant.scale_kind != MICA_KIND_U8) return mica_kind_load(v->quant.scale_kind, scales, g);
    if (v->quant.mode < MICA_QUANT_DESC_NVFP4) return mica_f32_from_e8m0(byte);
    float factor = v->biases.data ? mica_load_f32(v->biases.data) : 1.0f;
    return mica_f32_from_e4m3(byte) * factor;
}

/* What an element may lose: affine a step, and a rounding of scale and bias; E2M1 half of its
 * widest step, E4M3 a sixteenth of the value; nvfp4 also what saturates where its scale was rounded
 * down, or all where the scale is the smallest there is. */
static float error_bound(const vector *v, float scale, float value) {
    float ulp = v->quant.scale_kind == MICA_KIND_BF16 ? 0x1p-8f : 0x1p-11f;
    float tiny = v->quant.scale_kind == MICA_KIND_F16 ? 257 * 0x1p-25f : 0; /* subnormal scales */
    if (v->quant.mode == MICA_QUANT_DESC_AFFINE)
        return fabsf(scale) * (1.0f + 256.0f * ulp) + fabsf(value) * 2 * ulp + tiny;
    if (v->quant.bits == 8) return fabsf(value) / 16 + scale * 0x1p-10f;
    if (v->quant.mode == MICA_QUANT_DESC_MXFP4) return scale;
    float factor = v->biases.data ? mica_load_f32(v->biases.data) : 1.0f;
    float above = fmaxf(fabsf(value) - 448 * 6 * factor, 0);
    return fmaxf(scale, factor * 0x1p-9f * 3) + fabsf(value) / 16 + above;
}

/* Whether two codes are equally good: MLX's CPU drops the sign of E2M1 zeros and takes the smaller
 * of two neighbours that are equally near. */
static bool is_as_near(float in, float a, float b) { return fabsf(in - a) == fabsf(in - b); }

static void check_encoder(const vector *v) {
    tensor input = take("input");
    int64_t code_bytes = mica_quant_code_bytes(v->quant, v->k);
    int64_t scale_bytes = mica_quant_scale_bytes(v->quant, v->k);
    float *in = malloc((size_t)v->k * sizeof *in), *out = malloc((size_t)v->k * sizeof *out);
    uint8_t *codes = malloc((size_t)code_bytes), *scales = malloc((size_t)scale_bytes);
    uint8_t *biases = malloc((size_t)scale_bytes + sizeof(float));
    if (v->quant.mode == MICA_QUANT_DESC_NVFP4_SCALED)
        memcpy(biases, v->biases.data, sizeof(float));
    for (int64_t r = 0; r < v->rows; r++) {
        memcpy(in, (float *)input.data + r * v->k, (size_t)v->k * sizeof *in);
        for (int64_t i = 0; i < v->k && v->quant.scale_kind > MICA_KIND_F32; i++)
            in[i] = round_to(v->quant.scale_kind, in[i]);
        mica_quant_encode_row(v->quant, in, v->k, codes, scales, biases);
        mica_quant_decode_row(v->quant, codes, scales, biases, v->k, out);
        for (int64_t i = 0; i < v->k; i++) {
            float bound = error_bound(v, scale_at(v, scales, i / v->quant.group), in[i]);
            if (!(fabsf(out[i] - in[i]) <= bound))
                fail_msg("%s: element [%lld, %lld]: %g became %g, bound %g", v->name, (long long)r,
                         (long long)i, (double)in[i], (double)out[i], (double)bound);
        }
        const float *want = (const float *)v->values.data + r * v->k;
        const uint8_t *want_scales = (const uint8_t *)v->scales.data + r * scale_bytes;
        for (int64_t i = 0; i < v->k; i++) n_others += !is_as_near(in[i], out[i], want[i]);
        for (int64_t i = 0; i < scale_bytes; i++) n_others += scales[i] != want_scales[i];
        n_all += v->k + scale_bytes;
    }
    free(input.data), free(in), free(out), free(codes), free(scales), free(biases);
}

/* Proves: the encoder stays within the bound of its format, and its scales and codes are those of
 * MLX's CPU, or as near. */
static void encodes_within_bounds(void **state) {
    (void)state;
    n_all = n_others = 0;
    for_each("", check_encoder);
    printf("%lld of %lld codes and bytes of scales are not MLX's\n", (long long)n_others,
           (long long)n_all);
    assert_int_equal(n_others, 0);
}

int main(int argc, char **argv) {
    if (argc > 1) path = argv[1];
    mica_error err = {0};
    if (mica_safetensors_open(mica_host_default(), path, &file, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_as_mlx),
        cmocka_unit_test(native_differs_by_rounding),
        cmocka_unit_test(encodes_within_bounds),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mica_safetensors_close(&file);
    return failed;
}
