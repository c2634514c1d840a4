/* The work that linear and linear_experts share: rows of x times rows of a weight. A job is cut
 * from the whole by the ops' walks; one function per instruction set does it.
 *
 * One arithmetic serves every number of rows: lane j of a vector sums the products of the elements
 * that fall on it in order of k with one fused multiply-add each, the lanes are then added in one
 * fixed order, then the bias, then the residual. Neither the tile, the split over workers nor the
 * chunk of K shows in the bits. */
#pragma once
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include "kernel/quant_block.h"

enum {
    MICA_LINEAR_CHUNK = 1024,     /* elements of K in a decoded panel; a multiple of all groups */
    MICA_LINEAR_PANEL = 96,       /* weight rows in a panel; a multiple of all tiles */
    MICA_LINEAR_SPILL = 128 * 96, /* sums kept between chunks, as vectors of 8 floats */
    MICA_LINEAR_DIRECT = 4,       /* up to so many rows of x, weights are decoded in registers */
    MICA_LINEAR_TILE = 8,         /* no tile has more rows of x */
    MICA_LINEAR_AMX_ROWS = 128,   /* rows of x that AMX packs at a time */
    MICA_LINEAR_BLOCK = 128,      /* and those that integer kernels do */
};

/* What the weight is made of. kind is U8 for a quantised one. */
typedef struct mica_linear_weight {
    mica_quant_desc quant;
    uint8_t kind;        /* MICA_KIND_ of dense elements */
    uint8_t x_kind;      /* of x and out: F32, F16 or BF16 */
    uint8_t bias_kind;   /* F32, F16 or BF16 */
    int64_t row_bytes;   /* codes or elements of one weight row */
    int64_t scale_bytes; /* scales (and biases) of one weight row */
} mica_linear_weight;
static_assert(sizeof(mica_linear_weight) == 32, "host and device kernels share this layout");

typedef struct mica_linear_rows {
    mica_linear_weight weight;
    const uint8_t *codes; /* of weight row 0; scales and biases likewise */
    const uint8_t *scales;
    const uint8_t *biases;   /* nvfp4_scaled: the factor */
    const void *bias;        /* element i belongs to weight row i; NULL = none */
    const uint8_t *x;        /* [..., k] */
    uint8_t *out;            /* [..., n] */
    const uint8_t *residual; /* as out: is added to it; NULL = none */
    const int32_t *list;     /* row i of the job is entry list[i], NULL = entry i */
    int32_t x_divide;        /* entry e is row e / x_divide of x and row e of out */
    int64_t m;               /* rows of the job */
    int64_t n_begin;         /* weight rows of the job */
    int64_t n_end;
    int64_t n; /* columns of out */
    int64_t k;
    /* For results that a fused op takes from scratch memory; 0 and false otherwise. */
    int64_t out_begin; /* weight row n is column n - out_begin of out (the bias's element is n) */
    bool out_by_row;   /* row i of the job is row i of out, whatever the list says */
} mica_linear_rows;

/* Head of a worker's scratch: which rows lie packed behind it. To be zeroed at the start of a step,
 * and whenever the memory at x gets new values within one. */
typedef struct mica_linear_scratch {
    const void *packed_x;
    const int32_t *packed_list;
    int64_t packed_m;
    int64_t packed_as; /* which layout: one of its own for each function and kind of weight */
    int64_t reserved[4];
} mica_linear_scratch;
static_assert(sizeof(mica_linear_scratch) == 64, "what follows stays aligned");

typedef void (*mica_linear_rows_function)(const mica_linear_rows *job, void *scratch);

void mica_linear_rows_ref(const mica_linear_rows *job, void *scratch);
void mica_linear_rows_avx2(const mica_linear_rows *job, void *scratch);
void mica_linear_rows_avx512(const mica_linear_rows *job, void *scratch);
void mica_linear_rows_neon(const mica_linear_rows *job, void *scratch);
/* bf16 and mxfp4 weights only; x is split into two bf16 numbers (linear_amx_tiles.h). */
void mica_linear_rows_amx(const mica_linear_rows *job, void *scratch);

/* mxfp4 weights only; x is rounded to int8 (linear_int8_tiles.h). */
void mica_linear_rows_int8_avx2(const mica_linear_rows *job, void *scratch);
void mica_linear_rows_int8_avx512_vnni(const mica_linear_rows *job, void *scratch);
void mica_linear_rows_int8_neon_dot(const mica_linear_rows *job, void *scratch);

/* Affine weights only; x is rounded to 16 bits (linear_int16_tiles.h). */
void mica_linear_rows_int16_avx2(const mica_linear_rows *job, void *scratch);
void mica_linear_rows_int16_avx512_vnni(const mica_linear_rows *job, void *scratch);

/* Scratch of one worker for rows of k elements. */
static inline size_t mica_linear_scratch_bytes(int64_t k) {
    size_t padded = ((size_t)k + 63) / 64 * 64;
    size_t direct = (size_t)MICA_LINEAR_DIRECT * padded * sizeof(float);
    size_t panel = ((size_t)(MICA_LINEAR_TILE + MICA_LINEAR_PANEL) * MICA_LINEAR_CHUNK +
                    (size_t)MICA_LINEAR_SPILL * 8) *
                   sizeof(float);
    /* 4 tiles of sums, 32 weight rows in bf16, two halves of all rows of x */
    size_t amx = 4096 + padded * (32 * 2 + MICA_LINEAR_AMX_ROWS * 4);
    /* Integers with their scales and sums take at most 3 bytes an element. */
    panel += MICA_LINEAR_BLOCK * (((size_t)k + 127) / 128 * 128) * 3;
    size_t most = direct > panel ? direct : panel;
    return sizeof(mica_linear_scratch) + 64 + (amx > most ? amx : most);
}

/* Whether the rows that lie packed in scratch are those of the job in layout `as`; if not, the
 * caller packs them now. */
static inline bool mica_linear_is_packed(mica_linear_scratch *scratch, const mica_linear_rows *job,
                                         int64_t as) {
    if (scratch->packed_x == job->x && scratch->packed_list == job->list &&
        scratch->packed_m == job->m && scratch->packed_as == as)
        return true;
    scratch->packed_x = job->x;
    scratch->packed_list = job->list;
    scratch->packed_m = job->m;
    scratch->packed_as = as;
    return false;
}

static inline int64_t mica_linear_entry(const mica_linear_rows *job, int64_t i) {
    return job->list ? job->list[i] : i;
}
static inline const uint8_t *mica_linear_x(const mica_linear_rows *job, int64_t i) {
    int64_t row = mica_linear_entry(job, i) / job->x_divide;
    return job->x + row * job->k * mica_kind_bytes(job->weight.x_kind);
}

static inline void mica_linear_store(int kind, uint8_t *out, int64_t at, float v) {
    if (kind == MICA_KIND_F32) {
        memcpy(out + 4 * at, &v, sizeof v);
        return;
    }
    uint16_t h = kind == MICA_KIND_BF16 ? mica_bf16_from_f32(v) : mica_f16_from_f32(v);
    memcpy(out + 2 * at, &h, sizeof h);
}

/* out[entry of i][n] = sum + bias, rounded once; then the residual is added as `binary` would. */
static inline void mica_linear_put(const mica_linear_rows *job, int64_t i, int64_t n, float sum) {
    int64_t row = job->out_by_row ? i : mica_linear_entry(job, i);
    int64_t at = row * job->n + n - job->out_begin;
    int kind = job->weight.x_kind;
    if (job->bias) sum += mica_kind_load(job->weight.bias_kind, job->bias, n);
    if (job->residual) {
        if (kind == MICA_KIND_BF16) sum = mica_f32_from_bf16(mica_bf16_from_f32(sum));
        if (kind == MICA_KIND_F16) sum = mica_f32_from_f16(mica_f16_from_f32(sum));
        sum += mica_kind_load(kind, job->residual, at);
    }
    mica_linear_store(kind, job->out, at, sum);
}

/* Decodes elements [k0, k0 + count) of weight row n; k0 is a multiple of MICA_LINEAR_CHUNK. */
static inline void mica_linear_decode(const mica_linear_rows *job, int64_t n, int64_t k0,
                                      int64_t count, float *out) {
    const mica_linear_weight *w = &job->weight;
    const uint8_t *codes = job->codes + n * w->row_bytes;
    if (w->kind != MICA_KIND_U8) {
        for (int64_t i = 0; i < count; i++) out[i] = mica_kind_load(w->kind, codes, k0 + i);
        return;
    }
    int64_t at = n * w->scale_bytes + mica_quant_scale_bytes(w->quant, k0);
    mica_quant_decode_row(w->quant, codes + mica_quant_code_bytes(w->quant, k0), job->scales + at,
                          mica_quant_biases_at(w->quant, job->biases, 0, at), count, out);
}
