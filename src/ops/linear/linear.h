/* linear: arguments and CPU kernels. The matrix work itself is in linear_rows.h. */
#pragma once
#include "core/cpu.h"
#include "ops/linear/linear_rows.h"

/* x [rows, rows_each, k] times weight [n, k] transposed, plus bias [n], plus residual. */
typedef struct mica_linear_args {
    uint64_t x;
    uint64_t codes; /* or dense elements */
    uint64_t scales;
    uint64_t biases;
    uint64_t bias;     /* 0 = none */
    uint64_t residual; /* as out; 0 = none */
    uint64_t out;
    uint64_t live;     /* address of the count of live rows, 0 = all */
    int64_t rows;      /* length of axis 0 of x */
    int64_t rows_each; /* rows of k elements in one of them */
    int64_t n;
    int64_t k;
    mica_linear_weight weight;
} mica_linear_args;
static_assert(sizeof(mica_linear_args) == 128, "host and device kernels share this layout");

/* Gives the workers their jobs: tiles of weight rows times blocks of rows of x. */
void mica_linear_walk(const void *args, const mica_cpu_worker *worker,
                      mica_linear_rows_function rows);

/* All but x, out and residual, and the rows of each side. */
mica_linear_rows mica_linear_whole_job(const mica_linear_args *a);

/* Weight rows of one job when there are `rows` to share: small enough to keep all workers busy. */
int64_t mica_linear_tile(int64_t rows, int n_workers);

/* Dynamic share: tiles [*begin, *end) of a block, of tiles * blocks in all, blocks outermost; false
 * when none are left. Many at first and single ones at the end, so that a worker reads its weights
 * in a few long stretches and all are done at the same time. */
bool mica_linear_take(const mica_cpu_worker *worker, int64_t tiles, int64_t blocks, int64_t *block,
                      int64_t *begin, int64_t *end);

void mica_linear_ref(const void *args, const mica_cpu_worker *worker);
void mica_linear_avx2(const void *args, const mica_cpu_worker *worker);
void mica_linear_neon(const void *args, const mica_cpu_worker *worker);
void mica_linear_avx512(const void *args, const mica_cpu_worker *worker);
/* Fast mode, bf16 and mxfp4 weights. */
void mica_linear_amx(const void *args, const mica_cpu_worker *worker);
/* Fast mode, mxfp4 weights. */
void mica_linear_int8_avx2(const void *args, const mica_cpu_worker *worker);
void mica_linear_int8_avx512_vnni(const void *args, const mica_cpu_worker *worker);
void mica_linear_int8_neon_dot(const void *args, const mica_cpu_worker *worker);
/* Fast mode, affine weights. */
void mica_linear_int16_avx2(const void *args, const mica_cpu_worker *worker);
void mica_linear_int16_avx512_vnni(const void *args, const mica_cpu_worker *worker);

/* linear_direct.c: a few rows of x after the other, for 5 to 16 of them. */
void mica_linear_direct_avx2(const void *args, const mica_cpu_worker *worker);
void mica_linear_direct_avx512(const void *args, const mica_cpu_worker *worker);
void mica_linear_direct_int16_avx2(const void *args, const mica_cpu_worker *worker);
void mica_linear_direct_int16_avx512_vnni(const void *args, const mica_cpu_worker *worker);
void mica_linear_direct_neon(const void *args, const mica_cpu_worker *worker);
