/* A transformer layer written by hand with public ops: norm, attention with rotary embeddings and
 * grouped heads, a gated MLP with 4-bit weights. The whole layer becomes one plan.
 *
 *     cc block.c $(pkg-config --cflags --libs mica) -o block && ./block */
#include <mica/mica.h>
#include <stdio.h>
#include <stdlib.h>

enum { TOKENS = 5, HEADS = 4, KV_HEADS = 2, DIM = 16, HIDDEN = HEADS * DIM, INTER = 128 };

/* A matrix of small numbers that any machine makes alike. */
static mica_array matrix(mica_graph *g, int64_t rows, int64_t columns, uint32_t seed) {
    float *data = malloc((size_t)(rows * columns) * sizeof *data);
    if (!data) return (mica_array){0}; /* the null array: the graph reports it */
    for (int64_t i = 0; i < rows * columns; i++) {
        seed = seed * 1664525u + 1013904223u;
        data[i] = ((float)(seed >> 8) / 8388608.0f - 1.0f) * 0.2f;
    }
    mica_array a = mica_array_from_data(g, MICA_DTYPE_F32, 2, (int64_t[]){rows, columns}, data);
    free(data);
    return a;
}

static mica_array attention(mica_graph *g, mica_array h) {
    mica_array none = {0};
    mica_array q = mica_linear(g, h, matrix(g, HEADS * DIM, HIDDEN, 1), none);
    mica_array k = mica_linear(g, h, matrix(g, KV_HEADS * DIM, HIDDEN, 2), none);
    mica_array v = mica_linear(g, h, matrix(g, KV_HEADS * DIM, HIDDEN, 3), none);
    q = mica_reshape(g, q, 3, (int64_t[]){TOKENS, HEADS, DIM});
    k = mica_reshape(g, k, 3, (int64_t[]){TOKENS, KV_HEADS, DIM});
    v = mica_reshape(g, v, 3, (int64_t[]){TOKENS, KV_HEADS, DIM});
    const float inverse[DIM / 2] = {1,     0.3162f,   0.1f,   0.03162f,
                                    0.01f, 0.003162f, 0.001f, 0.0003162f};
    mica_array table = mica_array_from_data(g, MICA_DTYPE_F32, 1, (int64_t[]){DIM / 2}, inverse);
    mica_array positions = mica_arange(g, MICA_DTYPE_I32, TOKENS, 0, 1);
    q = mica_rope(g, q, positions, table, 1.0f, false);
    k = mica_rope(g, k, positions, table, 1.0f, false);
    mica_attention_options causal = {.causal = true};
    mica_array a = mica_attention(g, q, k, v, none, none, causal);
    a = mica_reshape(g, a, 2, (int64_t[]){TOKENS, HEADS * DIM});
    return mica_linear(g, a, matrix(g, HIDDEN, HEADS * DIM, 4), none);
}

/* The weights are quantised to MXFP4 first; the product reads the codes. */
static mica_array mlp(mica_graph *g, mica_array h) {
    mica_array none = {0};
    mica_quant mxfp4 = {MICA_QUANT_MXFP4, 4, 32, MICA_DTYPE_U8};
    mica_array up = mica_quantize(g, matrix(g, 2 * INTER, HIDDEN, 5), mxfp4);
    mica_array down = mica_quantize(g, matrix(g, HIDDEN, INTER, 6), mxfp4);
    mica_glu_options silu = {.kind = MICA_GLU_SILU};
    return mica_linear(g, mica_glu(g, mica_linear(g, h, up, none), silu), down, none);
}

int main(void) {
    mica_error err = {0};
    mica_runtime *runtime = NULL;
    mica_graph *g = NULL;
    float out[TOKENS * HIDDEN];
    if (mica_runtime_open(NULL, &runtime, &err) || mica_graph_create(runtime, &g, &err)) goto fail;
    mica_array none = {0};
    mica_array x = matrix(g, TOKENS, HIDDEN, 7);
    x = mica_add(g, x, attention(g, mica_rms_norm(g, x, none, 1e-5f, 0)));
    x = mica_add(g, x, mlp(g, mica_rms_norm(g, x, none, 1e-5f, 0)));
    if (mica_array_read(g, x, out, sizeof out, &err)) goto fail; /* evaluates */
    for (int t = 0; t < TOKENS; t++)
        printf("%8.4f %8.4f ... %8.4f\n", (double)out[t * HIDDEN], (double)out[t * HIDDEN + 1],
               (double)out[t * HIDDEN + HIDDEN - 1]);
    mica_graph_destroy(&g);
    mica_runtime_close(&runtime);
    return 0;
fail:
    fprintf(stderr, "block: %s\n", err.message);
    return 1;
}
