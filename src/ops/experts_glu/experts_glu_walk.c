/* How experts_glu is shared between workers. A job is a tile of an expert's gates and ups times a
 * block of the rows that chose it: the products go to scratch memory, and from there through the
 * activation to the result. */
#include "ops/experts_glu/experts_glu.h"
#include "mica/ops.h"
#include "ops/glu/glu.h"
#include "ops/linear/linear.h"
#include "ops/linear_experts/expert_jobs.h"
#include "ops/rms_norm/rms_norm.h"

/* ---- scratch ---- */

/* Parts of a worker's scratch: bytes from its start. The linear's own part comes first. */
typedef struct parts {
    size_t active;
    size_t products; /* [rows, columns of a tile]; of a second kind of columns behind it */
    size_t route;
    size_t normed;
    size_t end;
} parts;

static size_t align_part(size_t bytes) { return (bytes + 63) / 64 * 64; }

static parts find_parts(const mica_experts_glu_args *a) {
    const mica_linear_experts_args *e = &a->experts;
    size_t products = (size_t)2 * MICA_LINEAR_BLOCK * MICA_LINEAR_PANEL * sizeof(float);
    parts p = {.active = align_part(mica_linear_scratch_bytes(e->k))};
    p.products = p.active + align_part((size_t)e->n_experts * sizeof(int32_t));
    p.route = p.products + products;
    p.normed = p.route;
    if (a->route.scores) p.normed += mica_expert_route_bytes(e->tokens, e->slots, e->n_experts);
    p.end = p.normed;
    if (a->norm) p.end += align_part((size_t)(e->tokens * e->k) * sizeof(float));
    return p;
}

size_t mica_experts_glu_scratch_bytes(const mica_experts_glu_args *a) { return find_parts(a).end; }

/* ---- what comes before ---- */

static void norm_rows(const mica_experts_glu_args *a, const mica_expert_level *level,
                      mica_linear_experts_args *e, uint8_t *normed) {
    mica_rms_norm_args n = {
        .weight = a->norm, .weight_dtype = a->norm_dtype, .eps = a->eps, .offset = a->offset};
    n.rows = (mica_row_args){.x = e->x,
                             .out = (uintptr_t)normed,
                             .live = e->live,
                             .n_blocks = e->tokens,
                             .block_rows = 1,
                             .n = e->k,
                             .dtype = a->dtype};
    mica_expert_run(level->rms_norm, &n, NULL);
    e->x = (uintptr_t)normed;
}

/* ---- a job ---- */

typedef struct tile {
    const mica_experts_glu_args *args;
    const mica_expert_level *level;
    mica_linear_rows gates; /* of a group of the expert's rows */
    mica_linear_rows ups;   /* not where gates and ups are interleaved */
    int64_t begin;          /* columns of the result */
    int64_t count;
    uint8_t *products;
    void *scratch; /* of linear */
} tile;

/* Rows of the weight that give the tile's products, and the place of these. */
static void set_columns(mica_linear_rows *job, int64_t begin, int64_t count, uint8_t *products) {
    job->n_begin = job->out_begin = begin;
    job->n_end = begin + count;
    job->n = count;
    job->out = products;
    job->out_by_row = true;
}

static void set_up(const mica_experts_glu_args *a, const mica_linear_experts_args *e,
                   int32_t expert, tile *t) {
    mica_linear_experts_args up = *e;
    t->ups = t->gates;
    if (!a->up_codes) return;
    up.codes = a->up_codes;
    up.scales = a->up_scales;
    up.biases = a->up_biases;
    up.bias = a->up_bias;
    mica_experts_set_expert(&up, expert, &t->ups);
    t->ups.list = t->gates.list;
    t->ups.m = t->gates.m;
}

static void set_tile(const mica_experts_glu_args *a, tile *t) {
    if (a->is_interleaved) {
        set_columns(&t->gates, 2 * t->begin, 2 * t->count, t->products);
        return;
    }
    size_t half = (size_t)MICA_LINEAR_BLOCK * MICA_LINEAR_PANEL * sizeof(float);
    set_columns(&t->gates, t->begin, t->count, t->products);
    set_columns(&t->ups, t->begin + (a->up_codes ? 0 : a->width), t->count, t->products + half);
}

static void activate_rows(const tile *t) {
    const mica_experts_glu_args *a = t->args;
    int64_t item = mica_kind_bytes(a->experts.weight.x_kind);
    int64_t columns = a->is_interleaved ? 2 * t->count : t->count;
    mica_glu_args g = {
        .kind = a->kind, .is_interleaved = a->is_interleaved, .alpha = a->alpha, .limit = a->limit};
    g.rows = (mica_row_args){.n_blocks = 1, .block_rows = 1, .n = columns, .dtype = a->dtype};
    mica_cpu_function glu = a->kind == MICA_GLU_GELU ? mica_glu_ref : t->level->glu;
    for (int64_t i = 0; i < t->gates.m; i++) {
        uint8_t *out = mica_cpu_at(a->experts.out);
        g.rows.x = (uintptr_t)(t->gates.out + i * columns * item);
        if (!a->is_interleaved) g.up = (uintptr_t)(t->ups.out + i * columns * item);
        g.rows.out = (uintptr_t)(out + (t->gates.list[i] * a->width + t->begin) * item);
        mica_expert_run(glu, &g, NULL);
    }
}

static void run_tile(const tile *t) {
    t->level->rows(&t->gates, t->scratch);
    if (!t->args->is_interleaved) t->level->rows(&t->ups, t->scratch);
    activate_rows(t);
}

/* ---- the walk ---- */

/* Columns of the result in a job: whole panels of the weight. */
static int64_t tile_columns(const mica_experts_glu_args *a, int64_t groups, int n_workers) {
    int64_t rows = mica_linear_tile(a->width * groups * 2, n_workers);
    return a->is_interleaved ? rows / 2 : rows;
}

static void prepare(const mica_experts_glu_args *a, const mica_expert_level *level, const parts *p,
                    uint8_t *scratch, mica_linear_experts_args *e) {
    mica_expert_route route;
    *e = a->experts;
    *(mica_linear_scratch *)(void *)scratch = (mica_linear_scratch){0};
    if (a->route.scores) mica_expert_route_find(&a->route, level, e, scratch + p->route, &route);
    if (a->norm) norm_rows(a, level, e, scratch + p->normed);
}

static void walk(const void *args, const mica_cpu_worker *worker, const mica_expert_level *level) {
    const mica_experts_glu_args *a = args;
    mica_linear_experts_args e;
    parts p = find_parts(a);
    uint8_t *scratch = worker->scratch;
    int32_t *active = (int32_t *)(void *)(scratch + p.active);
    prepare(a, level, &p, scratch, &e);
    int64_t n_active = mica_experts_find_active(&e, active), item, end;
    int64_t groups = mica_experts_count_groups(&e, active, n_active);
    int64_t columns = tile_columns(a, groups, worker->count);
    int64_t tiles = (a->width + columns - 1) / columns;
    tile t = {.args = a, .level = level, .products = scratch + p.products, .scratch = scratch};
    mica_experts_cursor cursor = {0};
    mica_experts_clear_rows(&e, a->width, worker);
    while (mica_cpu_take(worker, tiles * groups, 1, &item, &end)) {
        t.gates = mica_experts_whole_job(&e);
        set_up(a, &e, mica_experts_set_group(&e, active, item / tiles, &cursor, &t.gates), &t);
        t.begin = item % tiles * columns;
        t.count = a->width - t.begin < columns ? a->width - t.begin : columns;
        set_tile(a, &t);
        run_tile(&t);
    }
}

/* ---- kernels ---- */

#define EXPERT_LEVEL(name, rows_, around, needs, accepts)                                          \
    void mica_experts_glu_##name(const void *args, const mica_cpu_worker *worker) {                \
        walk(args, worker, &mica_expert_level_##name);                                             \
    }
#include "ops/linear_experts/expert_levels.def"
