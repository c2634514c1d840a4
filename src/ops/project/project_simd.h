/* The gate of project in blocks, by the functions of unary and binary. Included by project_avx2.c
 * and project_neon.c after the vector header and after they name these functions UNARY_BLOCK and
 * BINARY_BLOCK. */
#pragma once
#include "mica/ops.h"
#include "ops/binary/binary.h"
#include "ops/common/block_simd.h"
#include "ops/project/project.h"
#include "ops/unary/unary.h"

/* What a value that is stored as dtype is read back as. */
static inline void round_block(int dtype, float *v, int64_t count) {
    uint16_t half[MICA_BLOCK];
    if (dtype == MICA_DTYPE_F32) return;
    mica_block_store(v, dtype, (uintptr_t)half, 0, count);
    mica_block_read(v, dtype, (const uint8_t *)half, count);
}

static inline void gate_rows(int activation, int dtype, const void *gate, const void *up, void *out,
                             int64_t n) {
    float loaded[2][MICA_BLOCK], active[MICA_BLOCK], result[MICA_BLOCK];
    for (int64_t i = 0; i < n; i += MICA_BLOCK) {
        int64_t count = n - i < MICA_BLOCK ? n - i : MICA_BLOCK;
        const float *g = mica_block_load(loaded[0], dtype, (uintptr_t)gate, i, 1, count);
        const float *u = mica_block_load(loaded[1], dtype, (uintptr_t)up, i, 1, count);
        float *to = mica_block_target(result, dtype, (uintptr_t)out, i);
        UNARY_BLOCK(activation, g, active, count);
        round_block(dtype, active, count);
        BINARY_BLOCK(MICA_BINARY_MUL, active, u, to, count);
        mica_block_store(to, dtype, (uintptr_t)out, i, count);
    }
}
