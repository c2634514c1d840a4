/* linear_experts: arguments and CPU kernels. The matrix work is linear's (linear_rows.h). */
#pragma once
#include "core/cpu.h"
#include "ops/linear/linear_rows.h"

typedef struct mica_linear_experts_args {
    uint64_t x;     /* [tokens, k] or [tokens, slots, k] */
    uint64_t codes; /* or dense elements of [n_experts, n, k] */
    uint64_t scales;
    uint64_t biases; /* nvfp4_scaled: factors [n_experts] */
    uint64_t bias;   /* [n_experts, n]; 0 = none */
    uint64_t ids;    /* i32 [tokens, slots] */
    uint64_t list;   /* of op expert_list */
    uint64_t out;    /* [tokens, slots, n] */
    uint64_t live;   /* address of the count of live tokens, 0 = all */
    int64_t tokens;
    int64_t n;
    int64_t k;
    int32_t slots;
    int32_t n_experts;
    int32_t x_divide; /* entry e (token * slots + slot) is row e / x_divide of x */
    int32_t reserved;
    mica_linear_weight weight;
} mica_linear_experts_args;
static_assert(sizeof(mica_linear_experts_args) == 144, "host and device kernels share this layout");

/* Gives the workers their jobs: tiles of weight rows of the experts that have rows. */
void mica_linear_experts_walk(const void *args, const mica_cpu_worker *worker,
                              mica_linear_rows_function rows);

void mica_linear_experts_ref(const void *args, const mica_cpu_worker *worker);
void mica_linear_experts_avx2(const void *args, const mica_cpu_worker *worker);
void mica_linear_experts_neon(const void *args, const mica_cpu_worker *worker);
void mica_linear_experts_amx(const void *args, const mica_cpu_worker *worker);
void mica_linear_experts_avx512(const void *args, const mica_cpu_worker *worker);
/* Fast mode, mxfp4 weights. */
void mica_linear_experts_int8_avx2(const void *args, const mica_cpu_worker *worker);
void mica_linear_experts_int8_avx512_vnni(const void *args, const mica_cpu_worker *worker);
void mica_linear_experts_int8_neon_dot(const void *args, const mica_cpu_worker *worker);
/* Fast mode, affine weights. */
void mica_linear_experts_int16_avx2(const void *args, const mica_cpu_worker *worker);
void mica_linear_experts_int16_avx512_vnni(const void *args, const mica_cpu_worker *worker);
