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

/* Weight rows of one job when there are `rows` to share: small enough to keep all workers busy. */
int64_t mica_linear_tile(int64_t rows, int n_workers);

void mica_linear_ref(const void *args, const mica_cpu_worker *worker);
void mica_linear_avx2(const void *args, const mica_cpu_worker *worker);
void mica_linear_avx512(const void *args, const mica_cpu_worker *worker);
/* Fast mode, mxfp4 weights. */
void mica_linear_int8_avx2(const void *args, const mica_cpu_worker *worker);
void mica_linear_int8_avx512_vnni(const void *args, const mica_cpu_worker *worker);
