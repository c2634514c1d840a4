/* The AMX body with tiles in plain C, so that it is tested on every machine. The tiles follow the
 * instruction set reference: LDTILECFG, TILELOADD, TDPBF16PS, TILESTORED. */
#include "test.h"
#include <math.h>
#include <stdlib.h>
#include "ops/linear/linear_rows.h"

typedef struct tile {
    int rows, row_bytes;
    uint8_t bytes[16][64];
} tile;

static tile tiles[8];
static bool is_configured;

static void tile_configure(const void *config) {
    const uint8_t *c = config;
    assert_int_equal(c[0], 1);
    assert_int_equal(c[1], 0);
    for (int t = 0; t < 8; t++) {
        tiles[t] = (tile){.rows = c[48 + t], .row_bytes = c[16 + 2 * t] | c[17 + 2 * t] << 8};
        assert_in_range(tiles[t].rows, 1, 16);
        assert_in_range(tiles[t].row_bytes, 1, 64);
        assert_int_equal(tiles[t].row_bytes % 4, 0);
    }
    is_configured = true;
}

static void tile_zero(int t) { memset(tiles[t].bytes, 0, sizeof tiles[t].bytes); }

static void tile_load(int t, const void *from, size_t stride) {
    assert_true(is_configured);
    tile_zero(t);
    for (int r = 0; r < tiles[t].rows; r++)
        memcpy(tiles[t].bytes[r], (const uint8_t *)from + (size_t)r * stride,
               (size_t)tiles[t].row_bytes);
}

static void tile_store(int t, void *to, size_t stride) {
    assert_true(is_configured);
    for (int r = 0; r < tiles[t].rows; r++)
        memcpy((uint8_t *)to + (size_t)r * stride, tiles[t].bytes[r], (size_t)tiles[t].row_bytes);
}

static float flush(float f) { return fpclassify(f) == FP_SUBNORMAL ? copysignf(0.0f, f) : f; }

static float half_at(const tile *t, int row, int i) {
    uint16_t h;
    memcpy(&h, &t->bytes[row][2 * i], sizeof h);
    return flush(mica_f32_from_bf16(h));
}

static void tile_dot(int sum, int a, int b) {
    tile *s = &tiles[sum];
    assert_int_equal(tiles[a].row_bytes, 4 * tiles[b].rows);
    assert_int_equal(s->rows, tiles[a].rows);
    assert_int_equal(s->row_bytes, tiles[b].row_bytes);
    for (int m = 0; m < s->rows; m++)
        for (int n = 0; n < s->row_bytes / 4; n++) {
            float v;
            memcpy(&v, &s->bytes[m][4 * n], sizeof v);
            for (int i = 0; i < tiles[a].row_bytes / 2; i++)
                v = flush(
                    fmaf(half_at(&tiles[a], m, i), half_at(&tiles[b], i / 2, 2 * n + i % 2), v));
            memcpy(&s->bytes[m][4 * n], &v, sizeof v);
        }
}

#define TILE_CONFIGURE(config) tile_configure(config)
#define TILE_RELEASE() (is_configured = false)
#define TILE_ZERO(t) tile_zero(t)
#define TILE_LOAD(t, from, stride) tile_load(t, from, stride)
#define TILE_STORE(t, to, stride) tile_store(t, to, stride)
#define TILE_DOT(sum, weights, x) tile_dot(sum, weights, x)

static void decode_block(const uint8_t *codes, uint8_t scale, uint16_t *to) {
    float values[32];
    mica_quant_desc q = {.mode = MICA_QUANT_DESC_MXFP4, .bits = 4, .group = 32};
    mica_quant_decode_row(q, codes, &scale, NULL, 32, values);
    for (int i = 0; i < 32; i++) to[i] = mica_bf16_from_f32(values[i]);
}

#include "ops/linear/linear_amx_tiles.h"

/* ---- jobs ---- */

enum { K_MAX = 160, N_MAX = 70, M_MAX = 300 };

typedef struct world {
    float x[M_MAX * K_MAX];
    uint16_t dense[N_MAX * K_MAX];
    uint8_t codes[N_MAX * K_MAX / 2];
    uint8_t scales[N_MAX * K_MAX / 32];
    float bias[N_MAX];
    float out[M_MAX * N_MAX];
    float want[M_MAX * N_MAX];
    uint8_t *scratch; /* just as many bytes as are asked for, so that a sanitizer sees more */
} world;

static uint32_t seed = 20261;

static float draw(void) {
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / 8388608.0f - 1.0f;
}

static mica_linear_rows make_job(world *w, bool is_dense, int64_t m, int64_t n, int64_t k) {
    mica_linear_rows job = {.x = (const uint8_t *)w->x, .out = (uint8_t *)w->out, .x_divide = 1};
    for (int64_t i = 0; i < m * k; i++) w->x[i] = draw();
    for (int64_t i = 0; i < n * k; i++) w->dense[i] = mica_bf16_from_f32(draw());
    for (int64_t i = 0; i < n * k / 2; i++) w->codes[i] = (uint8_t)(127.0f * (draw() + 1.0f));
    for (int64_t i = 0; i < n * k / 32; i++) w->scales[i] = (uint8_t)(125.0f + 2.0f * draw());
    for (int64_t i = 0; i < n; i++) w->bias[i] = draw();
    job.weight.x_kind = MICA_KIND_F32;
    job.weight.bias_kind = MICA_KIND_F32;
    job.bias = w->bias;
    if (is_dense) {
        job.weight.kind = MICA_KIND_BF16;
        job.codes = (const uint8_t *)w->dense;
        job.weight.row_bytes = 2 * k;
    } else {
        job.weight.kind = MICA_KIND_U8;
        job.weight.quant = (mica_quant_desc){.mode = MICA_QUANT_DESC_MXFP4, .bits = 4, .group = 32};
        job.codes = w->codes;
        job.scales = w->scales;
        job.weight.row_bytes = k / 2;
        job.weight.scale_bytes = k / 32;
    }
    job.m = m;
    job.n = n;
    job.n_end = n;
    job.k = k;
    free(w->scratch);
    w->scratch = aligned_alloc(64, (mica_linear_scratch_bytes(k) + 63) / 64 * 64);
    assert_non_null(w->scratch);
    memset(w->scratch, 0, sizeof(mica_linear_scratch));
    return job;
}

/* The reference in f32, and how far 16 bits of x and the order of sums may lead away from it. */
static void expect_near(world *w, const mica_linear_rows *job) {
    mica_linear_rows plain = *job;
    uint8_t *scratch = malloc(mica_linear_scratch_bytes(job->k));
    memset(scratch, 0, sizeof(mica_linear_scratch));
    plain.out = (uint8_t *)w->want;
    mica_linear_rows_ref(&plain, scratch);
    linear_rows(job, w->scratch);
    assert_false(is_configured);
    for (int64_t i = 0; i < job->m; i++)
        for (int64_t n = job->n_begin; n < job->n_end; n++) {
            double magnitude = 1.0;
            float row[K_MAX];
            mica_linear_decode(job, n, 0, job->k, row);
            for (int64_t j = 0; j < job->k; j++)
                magnitude += fabs((double)row[j] * (double)w->x[i * job->k + j]);
            assert_true(fabsf(w->out[i * job->n + n] - w->want[i * job->n + n]) <=
                        (float)(magnitude * 2e-5));
        }
    free(scratch);
}

/* Any number of rows of x and of weights, whole and partial steps of k, in place and not. */
static void test_shapes(void **state) {
    (void)state;
    static const int64_t m[] = {1, 2, 4, 5, 16, 17, 33, 128, 129, 300};
    static const int64_t n[] = {1, 15, 16, 17, 32, 33, 48, 70}, k[] = {32, 96, 160, 40, 8};
    world *w = calloc(1, sizeof *w);
    for (size_t i = 0; i < sizeof m / sizeof *m; i++)
        for (size_t j = 0; j < sizeof n / sizeof *n; j++)
            for (size_t l = 0; l < sizeof k / sizeof *k; l++)
                for (int dense = k[l] % 32 != 0; dense < 2; dense++) {
                    mica_linear_rows job = make_job(w, dense, m[i], n[j], k[l]);
                    expect_near(w, &job);
                }
    free(w->scratch);
    free(w);
}

/* A row's bits are the same alone, among few, and among many. */
static void test_row_is_invariant(void **state) {
    (void)state;
    world *w = calloc(1, sizeof *w);
    float many[140 * 33];
    for (int dense = 0; dense < 2; dense++) {
        mica_linear_rows job = make_job(w, dense, 140, 33, 96);
        linear_rows(&job, w->scratch);
        memcpy(many, w->out, sizeof many);
        for (int64_t count = 1; count <= 20; count += count < 4 ? 1 : 8) {
            job.m = count;
            job.x = (const uint8_t *)(w->x + 96 * 7);
            memset(w->scratch, 0, sizeof(mica_linear_scratch));
            linear_rows(&job, w->scratch);
            assert_memory_equal(w->out, many + 33 * 7, (size_t)count * 33 * sizeof(float));
        }
    }
    free(w->scratch);
    free(w);
}

/* Packed rows are taken again only for the same rows. */
static void test_packed_rows(void **state) {
    (void)state;
    world *w = calloc(1, sizeof *w);
    mica_linear_rows job = make_job(w, true, 5, 48, 64);
    mica_linear_rows parts = job;
    static float whole[5 * 48];
    linear_rows(&job, w->scratch);
    memcpy(whole, w->out, sizeof whole);
    memset(w->out, 0, sizeof whole);
    for (int64_t begin = 0; begin < 48; begin += 12) {
        parts.n_begin = begin;
        parts.n_end = begin + 12;
        linear_rows(&parts, w->scratch);
    }
    assert_memory_equal(w->out, whole, sizeof whole);
    free(w->scratch);
    free(w);
}

/* Infinite and not-a-number elements of x stay what they are; nothing else is touched by them. */
static void test_special_values(void **state) {
    (void)state;
    world *w = calloc(1, sizeof *w);
    mica_linear_rows job = make_job(w, true, 3, 16, 32);
    for (int i = 0; i < 16 * 32; i++) w->dense[i] = mica_bf16_from_f32(1.0f);
    job.bias = NULL;
    w->x[5] = INFINITY;
    uint32_t bits = 0x7F800001u; /* not a number, by its lowest bit alone */
    memcpy(&w->x[32 + 3], &bits, sizeof bits);
    linear_rows(&job, w->scratch);
    for (int n = 0; n < 16; n++) {
        assert_true(isinf(w->out[n]) && w->out[n] > 0);
        assert_true(isnan(w->out[16 + n]));
        assert_true(isfinite(w->out[32 + n]));
    }
    free(w->scratch);
    free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_row_is_invariant),
        cmocka_unit_test(test_packed_rows),
        cmocka_unit_test(test_special_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
