/* Paged attention in plain C, in f64, one query head after the other. */
#include "ops/attention_paged/attention_paged.h"
#include "ops/attention/attention_row.h"

/* A row of q, k or v: elements may lie apart, in `row` they do not. */
static const float *take_row(uint64_t address, const int64_t *strides, const mica_paged_turn *turn,
                             int64_t token, int64_t head, int64_t dim, float *row) {
    const float *from = (const float *)mica_cpu_at(address);
    from += token * strides[0] + head * strides[1];
    mica_paged_copy_row(row, from, strides[2], dim);
    if (turn) mica_paged_turn_ref(turn, token, dim, row);
    return row;
}

/* Key or value j of a sequence, and its dtype; the batch's own come by way of `row`. */
static const void *find_key(const mica_attention_paged_args *a, const mica_paged_sequence *s,
                            int64_t j, int64_t which, int64_t kv_head, int *dtype, float *row) {
    if (j >= s->past) {
        *dtype = MICA_DTYPE_F32;
        return take_row(which ? a->v : a->k, which ? a->v_strides : a->k_strides,
                        which ? NULL : &a->k_turn, s->first + j - s->past, kv_head, a->dim, row);
    }
    int64_t at = mica_paged_offset(a, s, j / MICA_KV_PAGE, which, kv_head);
    *dtype = a->pool_dtype;
    return (const uint8_t *)mica_cpu_at(a->pool) +
           (at + j % MICA_KV_PAGE * a->dim) * (int64_t)mica_dtype_bytes((mica_dtype)*dtype);
}

static void attend_row(const mica_attention_paged_args *a, const mica_paged_sequence *s, int64_t i,
                       int64_t head, void *scratch) {
    attention_row r = {.dim = a->dim, .scale = (double)a->scale, .soft_cap = (double)a->soft_cap};
    int64_t at = ((s->first + i) * a->heads + head) * a->dim, position = s->past + i;
    int64_t kv_head = head / (a->heads / a->kv_heads);
    float *rows = (float *)((double *)scratch + a->dim);
    r.out = scratch;
    r.q = take_row(a->q, a->q_strides, &a->q_turn, s->first + i, head, a->dim, rows);
    bool has_sink = a->sinks != 0;
    attention_row_begin(&r, has_sink,
                        has_sink ? mica_element_f32(a->sinks_dtype, mica_cpu_at(a->sinks), head)
                                 : 0.0f);
    int64_t first = a->window && position + 1 > a->window ? position + 1 - a->window : 0;
    for (int64_t j = first; j <= position; j++) {
        int dtype;
        const void *k = find_key(a, s, j, 0, kv_head, &dtype, rows + a->dim);
        const void *v = find_key(a, s, j, 1, kv_head, &dtype, rows + 2 * a->dim);
        attention_row_add(&r, k, v, dtype, j >= s->past && a->pool_dtype == MICA_DTYPE_BF16);
    }
    float *out = (float *)mica_cpu_at(a->out) + at;
    for (int64_t d = 0; d < a->dim; d++) out[d] = (float)attention_row_result(&r, d);
}

void mica_attention_paged_ref(const void *args, const mica_cpu_worker *worker) {
    const mica_attention_paged_args *a = args;
    int64_t head, end;
    while (mica_cpu_take(worker, a->n_sequences * a->heads, 1, &head, &end)) {
        mica_paged_sequence s = mica_paged_find(a, head / a->heads);
        for (int64_t i = 0; i < s.count; i++)
            attend_row(a, &s, i, head % a->heads, worker->scratch);
    }
}
