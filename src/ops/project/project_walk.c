/* How a project is shared between workers: as a linear (linear_walk.c), over the tiles of all its
 * weights. A gated tile is computed twice into scratch memory, once for the gate, and put together
 * from there. */
#include "ops/linear/linear.h"
#include "ops/project/project.h"

enum { BLOCK_ROWS = MICA_LINEAR_BLOCK }; /* rows of x of one job */

typedef struct walk {
    const mica_project_args *a;
    const mica_project_level *level;
    mica_linear_scratch *linear; /* of the functions of linear */
    uint8_t *rows;               /* prepared rows of x */
    uint8_t *tiles[2];           /* gate and other side */
    const uint8_t *x;            /* what is projected; NULL = not prepared yet */
    int64_t m;
} walk;

/* ---- scratch ---- */

static size_t round_up(size_t bytes) { return (bytes + 63) / 64 * 64; }

static size_t rows_bytes(int64_t k) {
    return round_up((size_t)MICA_PROJECT_ROWS_MAX * (size_t)k * sizeof(float));
}

static size_t tile_bytes(int64_t m) {
    return (size_t)(m < BLOCK_ROWS ? m : BLOCK_ROWS) * MICA_LINEAR_PANEL * sizeof(float);
}

size_t mica_project_scratch_bytes(int64_t m, int64_t k, bool has_prologue, bool is_gated) {
    return round_up(mica_linear_scratch_bytes(k)) + (has_prologue ? rows_bytes(k) : 0) +
           (is_gated ? 2 * tile_bytes(m) : 0);
}

static bool has_prologue(const mica_project_args *a) { return a->is_normed || a->ids; }

static walk begin_walk(const mica_project_args *a, const mica_project_level *level,
                       const mica_cpu_worker *worker) {
    walk w = {.a = a, .level = level, .linear = worker->scratch};
    w.m = mica_cpu_live(a->live, a->rows) * a->rows_each;
    w.rows = (uint8_t *)worker->scratch + round_up(mica_linear_scratch_bytes(a->k));
    w.tiles[0] = w.rows + (has_prologue(a) ? rows_bytes(a->k) : 0);
    w.tiles[1] = w.tiles[0] + tile_bytes(a->rows * a->rows_each);
    if (!has_prologue(a)) w.x = mica_cpu_at(a->x);
    *w.linear = (mica_linear_scratch){0};
    return w;
}

/* ---- rows of x ---- */

/* Row i of those wanted; NULL = zeros. */
static const uint8_t *find_row(const mica_project_args *a, int64_t i, int64_t bytes) {
    const uint8_t *ids = mica_cpu_at(a->ids);
    int64_t row = ids ? (int32_t)mica_load_u32(ids + 4 * i) : i;
    bool is_inside = !a->ids || (row >= 0 && row < a->x_rows);
    return is_inside ? (const uint8_t *)mica_cpu_at(a->x) + row * bytes : NULL;
}

static void prepare_rows(walk *w) {
    const mica_project_args *a = w->a;
    int64_t bytes = a->k * mica_kind_bytes(a->parts[0].weight.x_kind);
    w->x = w->rows;
    for (int64_t i = 0; i < w->m; i++) {
        uint8_t *to = w->rows + i * bytes;
        const uint8_t *from = find_row(a, i, bytes);
        if (!from) memset(to, 0, (size_t)bytes);
        if (from && !a->is_normed) memcpy(to, from, (size_t)bytes);
        if (a->is_normed) w->level->norm(&a->norm, from ? from : to, to);
    }
}

/* ---- tiles ---- */

/* Columns [begin, end) of a part for rows [m, m + rows) of x. The job's result is `out`, whose rows
 * have n columns, from column `column` on. */
static void run_part(walk *w, const mica_project_part *part, int64_t m, int64_t rows, int64_t begin,
                     int64_t end, uint8_t *out, int64_t n, int64_t column) {
    const mica_project_args *a = w->a;
    mica_linear_rows job = {.weight = part->weight, .x_divide = 1, .m = rows, .n = n, .k = a->k};
    job.codes = mica_cpu_at(part->codes);
    job.scales = mica_cpu_at(part->scales);
    job.biases = mica_cpu_at(part->biases);
    job.bias = mica_cpu_at(part->bias);
    job.x = w->x + m * a->k * mica_kind_bytes(part->weight.x_kind);
    job.out = out;
    job.n_begin = part->first + begin;
    job.n_end = part->first + end;
    job.out_begin = job.n_begin - column;
    w->level->rows[part->kind](&job, w->linear);
}

static void run_gated(walk *w, int64_t m, int64_t rows, int64_t begin, int64_t end, uint8_t *out) {
    const mica_project_args *a = w->a;
    int64_t columns = end - begin, element = mica_kind_bytes(a->parts[0].weight.x_kind);
    for (int i = 0; i < 2; i++)
        run_part(w, &a->parts[i], m, rows, begin, end, w->tiles[i], columns, 0);
    for (int64_t r = 0; r < rows; r++) {
        int64_t at = r * columns * element;
        w->level->gate(a->activation, a->norm.rows.dtype, w->tiles[0] + at, w->tiles[1] + at,
                       out + (r * a->n + begin) * element, columns);
    }
}

/* Tile t of all parts, for the rows of x from m on. */
static void run_tile(walk *w, int64_t m, int64_t t, int64_t tile) {
    const mica_project_args *a = w->a;
    const mica_project_part *part = a->parts;
    for (int64_t tiles; t >= (tiles = (part->n + tile - 1) / tile); part++) t -= tiles;
    int64_t rows = w->m - m < BLOCK_ROWS ? w->m - m : BLOCK_ROWS, begin = t * tile;
    int64_t end = begin + tile < part->n ? begin + tile : part->n;
    uint8_t *out = (uint8_t *)mica_cpu_at(a->out) + m * a->n * mica_kind_bytes(part->weight.x_kind);
    if (!w->x) prepare_rows(w);
    if (a->is_gated)
        run_gated(w, m, rows, begin, end, out);
    else
        run_part(w, part, m, rows, begin, end, out, a->n, part->column + begin);
}

/* All tiles for a block of rows, then the next block: each is packed but once. */
void mica_project_walk(const mica_project_args *a, const mica_cpu_worker *worker,
                       const mica_project_level *level) {
    walk w = begin_walk(a, level, worker);
    int64_t blocks = (w.m + BLOCK_ROWS - 1) / BLOCK_ROWS, tiles = 0, block, begin, end;
    int64_t tile = mica_linear_tile(a->n * blocks, 4 * worker->count);
    for (int i = 0; i < (a->is_gated ? 1 : a->n_parts); i++)
        tiles += (a->parts[i].n + tile - 1) / tile;
    while (mica_linear_take(worker, tiles, blocks, &block, &begin, &end))
        for (int64_t t = begin; t < end; t++) run_tile(&w, block * BLOCK_ROWS, t, tile);
}
