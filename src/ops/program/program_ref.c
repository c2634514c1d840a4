/* program in plain C: element by element, by the functions of unary and binary. */
#include "mica/ops.h"
#include "ops/binary/binary.h"
#include "ops/common/element.h"
#include "ops/common/strided.h"
#include "ops/program/program.h"
#include "ops/unary/unary.h"

static float apply(uint8_t code, float a, float b) {
    if (code < MICA_PROGRAM_BINARY) return mica_unary_apply(code, a);
    if (code < MICA_PROGRAM_ROUND_F16) return mica_binary_apply(code - MICA_PROGRAM_BINARY, a, b);
    if (code == MICA_PROGRAM_ROUND_F16) return mica_f32_from_f16(mica_f16_from_f32(a));
    return mica_f32_from_bf16(mica_bf16_from_f32(a));
}

static void run_element(const mica_program_args *p, const mica_walk *w, int64_t i, float r[]) {
    const mica_elementwise_args *e = &p->e;
    for (int k = 0; k < p->n_inputs; k++)
        r[k] = mica_element_f32(e->dtype_in[k], mica_cpu_at(e->in[k]),
                                w->offset[k] + i * mica_walk_stride(w, k));
    for (int c = 0; c < p->n_code; c++)
        r[MICA_PROGRAM_RESULT_0 + c] = apply(p->code[c].code, r[p->code[c].a], r[p->code[c].b]);
    mica_element_put_f32(e->dtype_out, mica_cpu_at(e->out), w->at + i,
                         r[MICA_PROGRAM_RESULT_0 + p->n_code - 1]);
}

void mica_program_ref(const void *args, const mica_cpu_worker *worker) {
    const mica_program_args *p = args;
    float r[MICA_PROGRAM_REGISTERS] = {0};
    mica_walk w;
    memcpy(r + MICA_PROGRAM_CONSTANT_0, p->constants, sizeof p->constants);
    mica_walk_share(&w, &p->e, worker);
    for (; w.count; mica_walk_next(&w))
        for (int64_t i = 0; i < w.count; i++) run_element(p, &w, i, r);
}
