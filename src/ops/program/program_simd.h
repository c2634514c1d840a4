/* program in vectors: an interpreter whose registers are blocks of elements, so that the switch
 * over instruction codes costs little. The blocks are computed by the kernels of unary and binary:
 * the same bits as the chain of these ops. Included by program_avx2.c and program_neon.c after the
 * vector header and after they name these kernels UNARY_BLOCK and BINARY_BLOCK. */
#pragma once
#include "ops/binary/binary.h"
#include "ops/common/block_simd.h"
#include "ops/common/strided.h"
#include "ops/program/program.h"
#include "ops/unary/unary.h"

#define BLOCK 128 /* floats: all registers stay in the first-level cache */

static inline void round_block(uint8_t code, const float *in, float *out, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        out[i] = code == MICA_PROGRAM_ROUND_F16 ? mica_f32_from_f16(mica_f16_from_f32(in[i]))
                                                : mica_f32_from_bf16(mica_bf16_from_f32(in[i]));
}

static inline void run_code(const mica_program_args *p, const float *r[], float results[][BLOCK],
                            int64_t count) {
    for (int c = 0; c < p->n_code; c++) {
        uint8_t code = p->code[c].code;
        const float *a = r[p->code[c].a], *b = r[p->code[c].b];
        float *out = results[c];
        if (code < MICA_PROGRAM_BINARY)
            UNARY_BLOCK(code, a, out, count);
        else if (code < MICA_PROGRAM_ROUND_F16)
            BINARY_BLOCK(code - MICA_PROGRAM_BINARY, a, b, out, count);
        else
            round_block(code, a, out, count);
        r[MICA_PROGRAM_RESULT_0 + c] = out;
    }
}

/* Rounding to the output's dtype changes nothing more where the last instruction did it. */
static inline void store_block(const mica_program_args *p, const float *v, int64_t at,
                               int64_t count) {
    const mica_elementwise_args *e = &p->e;
    if (e->dtype_out == MICA_DTYPE_F32)
        memcpy((float *)mica_cpu_at(e->out) + at, v, (size_t)count * sizeof *v);
    else
        mica_block_store(v, e->dtype_out, e->out, at, count);
}

static inline void program_walk(const mica_program_args *p, const mica_cpu_worker *worker) {
    const mica_elementwise_args *e = &p->e;
    float loaded[MICA_PROGRAM_RESULT_0][BLOCK], results[MICA_PROGRAM_CODE_MAX][BLOCK];
    const float *r[MICA_PROGRAM_REGISTERS];
    mica_walk w;
    for (int k = 0; k < MICA_PROGRAM_REGISTERS; k++) r[k] = loaded[MICA_PROGRAM_CONSTANT_0];
    for (int k = 0; k < MICA_PROGRAM_CONSTANTS_MAX; k++) {
        float *constant = loaded[MICA_PROGRAM_CONSTANT_0 + k];
        for (int i = 0; i < BLOCK; i++) constant[i] = p->constants[k];
        r[MICA_PROGRAM_CONSTANT_0 + k] = constant;
    }
    mica_walk_share(&w, e, worker);
    for (; w.count; mica_walk_next(&w)) {
        for (int64_t i = 0; i < w.count; i += BLOCK) {
            int64_t count = w.count - i < BLOCK ? w.count - i : BLOCK;
            for (int k = 0; k < p->n_inputs; k++) {
                int64_t stride = mica_walk_stride(&w, k);
                r[k] = mica_block_load(loaded[k], e->dtype_in[k], e->in[k],
                                       w.offset[k] + i * stride, stride, count);
            }
            run_code(p, r, results, count);
            store_block(p, results[p->n_code - 1], w.at + i, count);
        }
    }
}
