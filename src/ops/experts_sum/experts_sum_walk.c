/* How experts_sum is shared between workers. A job is a tile of columns: the products of all rows
 * with their experts go to scratch memory, and from there through the weighted sum and the residual
 * to the result. */
#include "ops/experts_sum/experts_sum.h"
#include "core/dtype.h"
#include "ops/combine/combine.h"
#include "ops/linear/linear.h"
#include "ops/linear_experts/expert_jobs.h"

/* ---- scratch ---- */

/* Parts of a worker's scratch: bytes from its start. The linear's own part comes first. */
typedef struct parts {
    size_t active;
    size_t route;
    size_t products; /* [tokens, slots, columns of a tile] */
    size_t end;
} parts;

static size_t align_part(size_t bytes) { return (bytes + 63) / 64 * 64; }

static parts find_parts(const mica_experts_sum_args *a) {
    const mica_linear_experts_args *e = &a->experts;
    size_t entries = (size_t)(e->tokens * e->slots);
    parts p = {.active = align_part(mica_linear_scratch_bytes(e->k))};
    p.route = p.active + align_part((size_t)e->n_experts * sizeof(int32_t));
    p.products = p.route + mica_expert_route_bytes(e->tokens, e->slots, e->n_experts);
    p.end = p.products + align_part(entries * MICA_EXPERTS_SUM_COLUMNS * sizeof(float));
    return p;
}

size_t mica_experts_sum_scratch_bytes(const mica_experts_sum_args *a) { return find_parts(a).end; }

/* ---- a job ---- */

typedef struct tile {
    const mica_experts_sum_args *args;
    const mica_linear_experts_args *experts; /* with ids and list */
    const mica_expert_level *level;
    mica_tensor_args shares;
    int64_t begin; /* columns of the result */
    int64_t count;
    const int32_t *active;
    int64_t n_active;
    uint8_t *products;
    void *scratch; /* of linear */
} tile;

/* Rows without an expert are zeros. */
static void clear_products(const tile *t) {
    const mica_linear_experts_args *e = t->experts;
    size_t row_bytes = (size_t)(t->count * mica_kind_bytes(e->weight.x_kind));
    for (int64_t i = 0; i < mica_cpu_live(e->live, e->tokens) * e->slots; i++)
        if (!mica_experts_has_expert(e, i)) memset(t->products + i * row_bytes, 0, row_bytes);
}

static void multiply(const tile *t) {
    mica_linear_rows job = mica_experts_whole_job(t->experts);
    job.out = t->products;
    job.n = t->count;
    job.n_begin = job.out_begin = t->begin;
    job.n_end = t->begin + t->count;
    clear_products(t);
    for (int64_t i = 0; i < t->n_active; i++) {
        mica_experts_set_expert(t->experts, t->active[i], &job);
        t->level->rows(&job, t->scratch);
    }
}

static void combine_rows(const tile *t) {
    const mica_experts_sum_args *a = t->args;
    const mica_linear_experts_args *e = t->experts;
    int64_t item = mica_kind_bytes(e->weight.x_kind), rows = mica_cpu_live(e->live, e->tokens);
    int64_t share_bytes = (int64_t)mica_dtype_bytes((mica_dtype)t->shares.dtype);
    mica_combine_args c = {.rows = 1, .slots = e->slots, .n = t->count, .dtype = a->dtype};
    c.weights = t->shares;
    for (int64_t i = 0; i < rows; i++) {
        uint64_t at = (uint64_t)((i * e->n + t->begin) * item);
        c.x = (uintptr_t)(t->products + i * e->slots * t->count * item);
        c.weights.address = t->shares.address + (uint64_t)(i * t->shares.strides[0] * share_bytes);
        c.out = e->out + at;
        if (a->residual) c.residual = a->residual + at;
        mica_expert_run(t->level->combine, &c, NULL);
    }
}

/* ---- the walk ---- */

static void find_shares(const mica_experts_sum_args *a, const mica_expert_route *route,
                        mica_tensor_args *out) {
    *out = a->shares;
    if (!a->route.scores) return;
    *out = (mica_tensor_args){.address = (uintptr_t)route->shares,
                              .dtype = a->route.dtype,
                              .rank = 2,
                              .dims = {a->experts.tokens, a->experts.slots},
                              .strides = {a->experts.slots, 1}};
}

/* A multiple of 12 holds whole register tiles of every instruction set. */
static int64_t tile_columns(int64_t n, int n_workers) {
    int64_t columns = n / (4 * (int64_t)n_workers) / 12 * 12;
    return columns < 12                         ? 12
           : columns > MICA_EXPERTS_SUM_COLUMNS ? MICA_EXPERTS_SUM_COLUMNS
                                                : columns;
}

static void walk(const void *args, const mica_cpu_worker *worker, const mica_expert_level *level) {
    const mica_experts_sum_args *a = args;
    mica_linear_experts_args e = a->experts;
    mica_expert_route route;
    parts p = find_parts(a);
    uint8_t *scratch = worker->scratch;
    int32_t *active = (int32_t *)(void *)(scratch + p.active);
    tile t = {.args = a, .experts = &e, .level = level, .active = active, .scratch = scratch};
    mica_expert_route_find(&a->route, level, &e, scratch + p.route, &route);
    find_shares(a, &route, &t.shares);
    t.n_active = mica_experts_find_active(&e, active);
    t.products = scratch + p.products;
    *(mica_linear_scratch *)(void *)scratch = (mica_linear_scratch){0};
    int64_t columns = tile_columns(e.n, worker->count), end;
    while (mica_cpu_take(worker, e.n, columns, &t.begin, &end)) {
        t.count = end - t.begin;
        multiply(&t);
        combine_rows(&t);
    }
}

/* ---- kernels ---- */

#define EXPERT_LEVEL(name, rows_, around, needs, accepts)                                          \
    void mica_experts_sum_##name(const void *args, const mica_cpu_worker *worker) {                \
        walk(args, worker, &mica_expert_level_##name);                                             \
    }
#include "ops/linear_experts/expert_levels.def"
