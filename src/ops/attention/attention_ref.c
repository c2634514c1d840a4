/* Attention in plain C, in f64, one query head after the other. */
#include "ops/attention/attention.h"
#include "ops/attention/attention_row.h"

/* Keys that query i may see by position: *first .. *end - 1. */
static void find_range(const mica_attention_args *a, int64_t i, int64_t *first, int64_t *end) {
    *first = 0;
    *end = a->n_keys;
    if (!a->is_causal) return;
    int64_t position = i + a->n_keys - a->n_queries;
    if (position + 1 < *end) *end = position + 1;
    if (a->window && position + 1 > a->window) *first = position + 1 - a->window;
}

static void attend_row(const mica_attention_args *a, int64_t i, int64_t head, void *scratch) {
    attention_row r = {.dim = a->dim, .scale = (double)a->scale, .soft_cap = (double)a->soft_cap};
    r.out = scratch;
    float *q = (float *)(r.out + a->dim);
    r.q = q;
    int64_t at = (i * a->heads + head) * a->dim;
    for (int64_t d = 0; d < a->dim; d++)
        q[d] = mica_element_f32(a->dtype, mica_cpu_at(a->q), at + d);
    bool has_sink = a->sinks != 0;
    attention_row_begin(&r, has_sink,
                        has_sink ? mica_element_f32(a->sinks_dtype, mica_cpu_at(a->sinks), head)
                                 : 0.0f);
    const uint8_t *mask = mica_cpu_at(a->mask);
    int64_t first, end, bytes = (int64_t)mica_dtype_bytes((mica_dtype)a->kv_dtype);
    find_range(a, i, &first, &end);
    for (int64_t j = first; j < end; j++) {
        if (mask && !mask[i * a->n_keys + j]) continue;
        int64_t row = (j * a->kv_heads + head / (a->heads / a->kv_heads)) * a->dim * bytes;
        attention_row_add(&r, (const uint8_t *)mica_cpu_at(a->k) + row,
                          (const uint8_t *)mica_cpu_at(a->v) + row, a->kv_dtype, false);
    }
    for (int64_t d = 0; d < a->dim; d++)
        mica_element_put_f64(a->dtype, mica_cpu_at(a->out), at + d, attention_row_result(&r, d));
}

void mica_attention_ref(const void *args, const mica_cpu_worker *worker) {
    const mica_attention_args *a = args;
    int64_t begin, end, rows = mica_cpu_live(a->live, a->n_queries) * a->heads;
    while (mica_cpu_take(worker, rows, 1, &begin, &end))
        attend_row(a, begin / a->heads, begin % a->heads, worker->scratch);
}
