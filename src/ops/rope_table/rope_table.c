/* The table of a rotary embedding: shape rule, meaning in simpler ops, cost, launch. Pass `fuse`
 * makes it, once for all layers that turn by the same angles; rope and the paged ops read it. The
 * kernel is that of rope, so a table's bits are those that rope would compute. */
#include "base/error.h"
#include "mica/ops.h"
#include "ops/common/launch_args.h"
#include "ops/rope/rope.h"

enum { IN_POSITIONS, IN_FREQUENCIES, IN_TABLES, N_INPUTS };

typedef struct rope_table_params {
    float scale; /* of cosine and sine */
} rope_table_params;

static const mica_node *find_tables(const mica_graph *g, const mica_node *n) {
    return n->n_inputs > IN_TABLES ? mica_graph_node(g, n->inputs[IN_TABLES]) : NULL;
}

static mica_status infer_rope_table(const mica_graph *g, mica_node *n, mica_error *err) {
    const mica_node *positions = mica_graph_node(g, n->inputs[IN_POSITIONS]);
    const mica_node *frequencies = mica_graph_node(g, n->inputs[IN_FREQUENCIES]);
    const mica_node *tables = find_tables(g, n);
    char ps[176], fs[176];
    int rank = tables ? 2 : 1;
    bool fits = positions->dtype == MICA_DTYPE_I32 && positions->shape.rank == 1 &&
                frequencies->dtype == MICA_DTYPE_F32 && frequencies->shape.rank == rank &&
                !frequencies->live;
    if (tables)
        fits = fits && tables->dtype == MICA_DTYPE_I32 && tables->live == positions->live &&
               mica_shape_equal(&tables->shape, &positions->shape);
    if (!fits)
        return mica_fail(err, MICA_STATUS_INVALID,
                         "positions %s and inverse frequencies %s, wanted i32 [t], f32 %s",
                         mica_shape_format(&positions->shape, ps),
                         mica_shape_format(&frequencies->shape, fs),
                         tables ? "[tables, pairs] and the tables' numbers i32 [t]" : "[pairs]");
    int64_t dims[2] = {positions->shape.dims[0], 2 * frequencies->shape.dims[rank - 1]};
    if (!mica_shape_make(2, dims, &n->shape))
        return mica_fail(err, MICA_STATUS_INVALID, "a table of more than 2^48 elements");
    n->dtype = MICA_DTYPE_F32;
    n->live = positions->live;
    return MICA_STATUS_OK;
}

static mica_ref compose_rope_table(mica_graph *g, const mica_node *node) {
    rope_table_params p = *MICA_PARAMS(rope_table_params, node);
    int64_t t = node->shape.dims[0];
    mica_array positions = mica_array_of(g, node->inputs[IN_POSITIONS]);
    mica_array frequencies = mica_array_of(g, node->inputs[IN_FREQUENCIES]);
    if (node->n_inputs > IN_TABLES)
        frequencies =
            mica_gather(g, frequencies, mica_array_of(g, node->inputs[IN_TABLES]), MICA_DTYPE_NONE);
    positions = mica_reshape(g, mica_cast(g, positions, MICA_DTYPE_F32), 2, (int64_t[]){t, 1});
    mica_array angle = mica_mul(g, positions, frequencies), scale = mica_scalar(g, p.scale);
    mica_array parts[2] = {mica_mul(g, mica_unary(g, MICA_UNARY_COS, angle), scale),
                           mica_mul(g, mica_unary(g, MICA_UNARY_SIN, angle), scale)};
    return mica_array_ref(g, mica_concat(g, parts, 2, 1), false);
}

/* A cosine or sine in f64 takes about as long as 40 simple operations. */
static void cost_rope_table(const mica_graph *g, const mica_node *n, mica_cost *out) {
    (void)g;
    uint64_t count = (uint64_t)mica_shape_count(&n->shape);
    out->bytes = count * sizeof(float);
    out->flops = 40 * count;
}

static mica_status launch_rope_table(mica_launch *l, const mica_node *n, mica_error *err) {
    const mica_node *frequencies = mica_graph_node(l->graph, n->inputs[IN_FREQUENCIES]);
    mica_rope_args *a = mica_launch_args(l, sizeof *a);
    if (!a) return mica_fail_memory(err, sizeof *a, "the arguments of rope_table");
    mica_launch_read(l, &a->positions, n->inputs[IN_POSITIONS], 0);
    mica_launch_read(l, &a->inverse_frequencies, n->inputs[IN_FREQUENCIES], 0);
    if (n->n_inputs > IN_TABLES) mica_launch_read(l, &a->tables, n->inputs[IN_TABLES], 0);
    mica_launch_write(l, &a->out, n, 0);
    mica_launch_live(l, &a->live, n);
    a->n_tokens = n->shape.dims[0];
    a->n_pairs = n->shape.dims[1] / 2;
    a->n_tables = n->n_inputs > IN_TABLES ? frequencies->shape.dims[0] : 1;
    a->scale = MICA_PARAMS(rope_table_params, n)->scale;
    mica_launch_elements(l, mica_shape_count(&n->shape));
    return MICA_STATUS_OK;
}

static void fill_rows(const void *args, const mica_cpu_worker *worker) {
    const mica_rope_args *a = args;
    int64_t begin, end;
    mica_cpu_share(worker, mica_cpu_live(a->live, a->n_tokens), 1, &begin, &end);
    for (int64_t t = begin; t < end; t++)
        mica_rope_table(a, t, (float *)mica_cpu_at(a->out) + t * 2 * a->n_pairs);
}

static const mica_kernel kernels[] = {{.name = "rope_table_ref", .cpu = fill_rows}};

static const mica_param params[] = {
    {"scale", MICA_PARAM_F32, offsetof(rope_table_params, scale)},
};

const mica_op mica_op_rope_table = {
    .name = "rope_table",
    .n_inputs_min = 2,
    .n_inputs_max = N_INPUTS,
    .params = params,
    .n_params = sizeof params / sizeof *params,
    .infer = infer_rope_table,
    .compose = compose_rope_table,
    .cost = cost_rope_table,
    .launch = launch_rope_table,
    .kernels = kernels,
    .n_kernels = sizeof kernels / sizeof *kernels,
};
