/* Gated activations in plain C, in f64. */
#include "ops/glu/glu.h"
#include <math.h>
#include "mica/ops.h"
#include "ops/common/element.h"

/* NaN stays NaN. */
static double at_most(double v, double limit) { return v > limit ? limit : v; }
static double at_least(double v, double limit) { return v < limit ? limit : v; }

static double gated(const mica_glu_args *a, double gate, double up) {
    double limit = (double)a->limit;
    switch (a->kind) {
    case MICA_GLU_SILU:
        return gate / (1 + exp(-gate)) * up;
    case MICA_GLU_GELU:
        return gate * 0.5 * erfc(-gate * 0.70710678118654752440) * up;
    case MICA_GLU_GELU_TANH: {
        double cube = (double)MICA_GLU_GELU_CUBE * gate * gate * gate;
        return gate / (1 + exp(-(double)MICA_GLU_GELU_SCALE * (gate + cube))) * up;
    }
    default:
        gate = at_most(gate, limit);
        up = at_least(at_most(up, limit), -limit);
        return gate / (1 + exp(-(double)a->alpha * gate)) * (up + 1);
    }
}

/* Gate i and up i lie in their rows at i, or at 2 i. */
static void glu_row(const mica_glu_args *a, const void *gates, const void *ups, void *out) {
    int dtype = a->rows.dtype;
    for (int64_t i = 0; i < mica_glu_width(a); i++) {
        int64_t at = a->is_interleaved ? 2 * i : i;
        mica_element_put_f64(dtype, out, i,
                             gated(a, (double)mica_element_f32(dtype, gates, at),
                                   (double)mica_element_f32(dtype, ups, at)));
    }
}

void mica_glu_ref(const void *args, const mica_cpu_worker *worker) {
    const mica_glu_args *a = args;
    int64_t begin, end, item = (int64_t)mica_dtype_bytes((mica_dtype)a->rows.dtype);
    int64_t width = mica_glu_width(a);
    mica_row_share(&a->rows, worker, &begin, &end);
    for (int64_t r = begin; r < end; r++) {
        const uint8_t *gates = (const uint8_t *)mica_cpu_at(a->rows.x) + r * a->rows.n * item;
        const uint8_t *ups = gates + (a->is_interleaved ? 1 : width) * item;
        if (a->up) ups = (const uint8_t *)mica_cpu_at(a->up) + r * width * item;
        glu_row(a, gates, ups, (uint8_t *)mica_cpu_at(a->rows.out) + r * width * item);
    }
}
