/* Inputs are v(i, seed) = ((37 i + 11 seed) mod 64 - 32) / 16, exact in bf16, so that they need no
 * table. The same formulas stand in tools/known_answers.py, which computed the answers. */
#include "known_answers.h"
#include "base/error.h"

#define ELEMENTS_MAX 8192

static float value(int64_t i, int64_t seed) {
    return (float)((37 * i + 11 * seed) % 64 - 32) / 16.0f;
}

static int64_t count_of(int rank, const int64_t *dims) {
    int64_t n = 1;
    for (int d = 0; d < rank; d++) n *= dims[d];
    return n;
}

/* An f32 array of v(i, seed). */
static mica_array values(mica_graph *g, int seed, int rank, const int64_t *dims) {
    float data[ELEMENTS_MAX];
    int64_t n = count_of(rank, dims);
    for (int64_t i = 0; i < n && i < ELEMENTS_MAX; i++) data[i] = value(i, seed);
    return mica_array_from_data(g, MICA_DTYPE_F32, rank, dims, data);
}

#define DIMS(...)                                                                                  \
    (sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]) { __VA_ARGS__ }

static mica_array build_rms_norm(mica_graph *g) {
    return mica_rms_norm(g, values(g, 1, DIMS(3, 64)), values(g, 2, DIMS(64)), 1e-5f, 0);
}

static mica_array build_linear_f32(mica_graph *g) {
    return mica_linear(g, values(g, 1, DIMS(3, 64)), values(g, 3, DIMS(32, 64)),
                       values(g, 6, DIMS(32)));
}

static mica_array build_linear_bf16(mica_graph *g) {
    mica_array weight = mica_cast(g, values(g, 3, DIMS(32, 64)), MICA_DTYPE_BF16);
    return mica_linear(g, values(g, 1, DIMS(3, 64)), weight, values(g, 6, DIMS(32)));
}

static mica_array build_linear_mxfp4(mica_graph *g) {
    static const mica_quant quant = {
        .mode = MICA_QUANT_MXFP4, .bits = 4, .group = 32, .scale_dtype = MICA_DTYPE_U8};
    enum { N = 32, K = 64 };
    static uint8_t codes[N * K / 2], scales[N * K / 32]; /* viewed, so they outlive the graph */
    for (int i = 0; i < N * K / 2; i++) codes[i] = (uint8_t)((13 * i + 5) % 256);
    for (int i = 0; i < N * K / 32; i++) scales[i] = (uint8_t)(126 + i % 3);
    mica_array weight = mica_array_view_quantized(g, quant, DIMS(N, K), codes, scales, NULL);
    return mica_linear(g, values(g, 1, DIMS(3, 64)), weight, (mica_array){0});
}

static mica_array build_softmax(mica_graph *g) {
    return mica_softmax(g, mica_mul(g, values(g, 1, DIMS(3, 64)), mica_scalar(g, 2)));
}

static mica_array build_glu(mica_graph *g) {
    mica_glu_options options = {
        .kind = MICA_GLU_CLAMPED, .interleaved = true, .alpha = 1.702f, .limit = 7};
    return mica_glu(g, mica_mul(g, values(g, 4, DIMS(3, 64)), mica_scalar(g, 4)), options);
}

static mica_array build_rope(mica_graph *g) {
    float inverse[16];
    for (int i = 0; i < 16; i++) inverse[i] = 1.0f / (float)(1 << i);
    mica_array positions = mica_arange(g, MICA_DTYPE_I32, 5, 0, 100);
    mica_array frequencies = mica_array_from_data(g, MICA_DTYPE_F32, DIMS(16), inverse);
    return mica_rope(g, values(g, 1, DIMS(5, 4, 32)), positions, frequencies, 1, false);
}

static mica_array build_attention(mica_graph *g) {
    mica_attention_options options = {.causal = true, .window = 33};
    return mica_attention(g, values(g, 1, DIMS(5, 4, 32)), values(g, 2, DIMS(70, 2, 32)),
                          values(g, 3, DIMS(70, 2, 32)), values(g, 5, DIMS(4)), (mica_array){0},
                          options);
}

/* The f32 inputs of the sums are exact; the tolerance is 2^-20 of the sum of magnitudes, about a
 * thousand for the largest, and 2e-3 leaves room for bf16 weights taken by other instructions. */
const cli_known_answer cli_known_answers[] = {
    {"rms_norm", build_rms_norm, -114.834922027, 2e-3},
    {"linear f32", build_linear_f32, 38.375, 2e-3},
    {"linear bf16", build_linear_bf16, 38.375, 2e-3},
    {"linear mxfp4", build_linear_mxfp4, 164.71875, 2e-3},
    {"softmax", build_softmax, 2.128042935, 1e-5},
    {"glu", build_glu, 67.624255145, 2e-3},
    {"rope", build_rope, 544.746972633, 2e-3},
    {"attention", build_attention, -83.374536420, 2e-3},
};
const size_t cli_known_answer_count = sizeof cli_known_answers / sizeof *cli_known_answers;

mica_status cli_known_answer_run(const cli_known_answer *k, mica_runtime *runtime, double *seen,
                                 mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_graph *g = NULL;
    static float out[ELEMENTS_MAX];
    *seen = 0;
    MICA_TRY(mica_graph_create(runtime, &g, err));
    mica_array a = k->build(g);
    MICA_TRY(mica_eval(g, &a, 1, err));
    int64_t n = mica_array_count(g, a);
    MICA_REQUIRE(n > 0 && n <= ELEMENTS_MAX, MICA_STATUS_INTERNAL, "%s: %lld elements", k->name,
                 (long long)n);
    MICA_TRY(mica_array_read(g, a, out, (size_t)n * sizeof *out, err));
    for (int64_t i = 0; i < n; i++) *seen += (double)out[i] * (double)value(i, 7);
done:
    mica_graph_destroy(&g);
    return st;
}
