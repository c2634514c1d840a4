/* Rotary embedding: shape rule, meaning in simpler ops, cost, launch, variants. The kernels are in
 * rope_ref.c and rope_simd.h. */
#include "ops/rope/rope.h"
#include <string.h>
#include "base/error.h"
#include "mica/ops.h"
#include "ops/common/element.h"
#include "ops/common/launch_args.h"

mica_array mica_rope(mica_graph *g, mica_array x, mica_array positions,
                     mica_array inverse_frequencies, float scale, bool interleaved) {
    mica_rope_params p = {.scale = scale, .is_interleaved = interleaved};
    mica_array inputs[] = {x, positions, inverse_frequencies};
    return mica_array_add(g, MICA_OP_rope, inputs, 3, &p, sizeof p);
}

mica_array mica_rope_tables(mica_graph *g, mica_array x, mica_array positions,
                            mica_array inverse_frequencies, mica_array tables, float scale,
                            bool interleaved) {
    mica_rope_params p = {.scale = scale, .is_interleaved = interleaved};
    mica_array inputs[] = {x, positions, inverse_frequencies, tables};
    return mica_array_add(g, MICA_OP_rope, inputs, 4, &p, sizeof p);
}

/* rope(x, table): angles that are ready. */
static bool is_ready(const mica_node *n) { return n->n_inputs == 2; }

static mica_status infer_ready(const mica_graph *g, mica_node *n, mica_error *err) {
    const mica_node *x = mica_graph_node(g, n->inputs[0]), *t = mica_graph_node(g, n->inputs[1]);
    char xs[176], ts[176];
    if (!mica_dtype_is_small_float(x->dtype) || x->shape.rank != 3 || t->dtype != MICA_DTYPE_F32 ||
        t->shape.rank != 2 || t->shape.dims[0] != x->shape.dims[0] || t->shape.dims[1] % 2 ||
        t->shape.dims[1] > x->shape.dims[2])
        return mica_fail(err, MICA_STATUS_INVALID,
                         "x %s and table %s, wanted floats [t, heads, dim] and f32 [t, 2 pairs]",
                         mica_shape_format(&x->shape, xs), mica_shape_format(&t->shape, ts));
    n->dtype = x->dtype;
    n->shape = x->shape;
    n->live = x->live ? x->live : t->live;
    return MICA_STATUS_OK;
}

/* The node of the table numbers; NULL where there is one table. */
static const mica_node *find_tables(const mica_graph *g, const mica_node *n) {
    return n->n_inputs > 3 ? mica_graph_node(g, n->inputs[3]) : NULL;
}

static mica_status check_tables(const mica_graph *g, const mica_node *n, mica_error *err) {
    const mica_node *positions = mica_graph_node(g, n->inputs[1]), *tables = find_tables(g, n);
    char ps[176], ts[176];
    if (!tables || (tables->dtype == MICA_DTYPE_I32 && tables->live == positions->live &&
                    mica_shape_equal(&tables->shape, &positions->shape)))
        return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_INVALID, "tables are %s %s, wanted i32 %s as the positions",
                     mica_dtype_name((mica_dtype)tables->dtype),
                     mica_shape_format(&tables->shape, ts),
                     mica_shape_format(&positions->shape, ps));
}

static mica_status infer_rope(const mica_graph *g, mica_node *n, mica_error *err) {
    if (is_ready(n)) return infer_ready(g, n, err);
    const mica_node *x = mica_graph_node(g, n->inputs[0]);
    const mica_node *positions = mica_graph_node(g, n->inputs[1]);
    const mica_node *frequencies = mica_graph_node(g, n->inputs[2]);
    char xs[176], ps[176], fs[176];
    if (!mica_dtype_is_small_float(x->dtype) || positions->dtype != MICA_DTYPE_I32 ||
        frequencies->dtype != MICA_DTYPE_F32)
        return mica_fail(
            err, MICA_STATUS_INVALID, "dtypes %s, %s and %s, wanted f32, f16 or bf16; i32; f32",
            mica_dtype_name((mica_dtype)x->dtype), mica_dtype_name((mica_dtype)positions->dtype),
            mica_dtype_name((mica_dtype)frequencies->dtype));
    int rank = find_tables(g, n) ? 2 : 1;
    if (x->shape.rank != 3 || positions->shape.rank != 1 || frequencies->shape.rank != rank ||
        positions->shape.dims[0] != x->shape.dims[0] ||
        frequencies->shape.dims[rank - 1] > x->shape.dims[2] / 2 || frequencies->live)
        return mica_fail(err, MICA_STATUS_INVALID,
                         "x %s, positions %s and inverse frequencies %s, wanted [t, heads, dim], "
                         "[t] and at most %s",
                         mica_shape_format(&x->shape, xs), mica_shape_format(&positions->shape, ps),
                         mica_shape_format(&frequencies->shape, fs),
                         rank == 2 ? "[tables, dim / 2]" : "[dim / 2]");
    mica_status st = check_tables(g, n, err);
    if (st != MICA_STATUS_OK) return st;
    n->dtype = x->dtype;
    n->shape = x->shape;
    n->live = x->live ? x->live : positions->live;
    return MICA_STATUS_OK;
}

/* Elements 2i and 2i + 1, or i and i + n_pairs, of x [t, heads, dim]: [t, heads, n_pairs]. */
static mica_array pick_pairs(mica_graph *g, mica_array x, int64_t n_pairs, bool is_interleaved,
                             int64_t which) {
    if (is_interleaved) return mica_slice_axis(g, x, 2, which, 2 * n_pairs, 2);
    return mica_slice_axis(g, x, 2, which * n_pairs, (which + 1) * n_pairs, 1);
}

static mica_array join_pairs(mica_graph *g, mica_array first, mica_array second,
                             const mica_shape *s, int64_t n_pairs, bool is_interleaved) {
    if (!is_interleaved) return mica_concat(g, (mica_array[]){first, second}, 2, 2);
    int64_t column[4] = {s->dims[0], s->dims[1], n_pairs, 1};
    mica_array parts[2] = {mica_reshape(g, first, 4, column), mica_reshape(g, second, 4, column)};
    mica_array joined = mica_concat(g, parts, 2, 3);
    return mica_reshape(g, joined, 3, (int64_t[]){s->dims[0], s->dims[1], 2 * n_pairs});
}

static int64_t count_pairs(const mica_graph *g, const mica_node *n) {
    const mica_shape *s = &mica_graph_node(g, n->inputs[is_ready(n) ? 1 : 2])->shape;
    return is_ready(n) ? s->dims[1] / 2 : s->dims[s->rank - 1];
}

/* Cosines and sines [t, 1, n_pairs]. */
static void compose_table(mica_graph *g, const mica_node *node, mica_array out[2]) {
    int64_t n_pairs = count_pairs(g, node), t = node->shape.dims[0];
    if (is_ready(node)) {
        for (int i = 0; i < 2; i++) {
            out[i] = mica_slice_axis(g, mica_array_of(g, node->inputs[1]), 1, i * n_pairs,
                                     (i + 1) * n_pairs, 1);
            out[i] = mica_reshape(g, out[i], 3, (int64_t[]){t, 1, n_pairs});
        }
        return;
    }
    mica_array positions = mica_array_of(g, node->inputs[1]);
    mica_array frequencies = mica_array_of(g, node->inputs[2]);
    if (node->n_inputs > 3) {
        mica_array tables = mica_array_of(g, node->inputs[3]);
        frequencies = mica_gather(g, frequencies, tables, MICA_DTYPE_NONE);
        frequencies = mica_reshape(g, frequencies, 3, (int64_t[]){t, 1, n_pairs});
    }
    positions = mica_reshape(g, mica_cast(g, positions, MICA_DTYPE_F32), 3, (int64_t[]){t, 1, 1});
    mica_array angle = mica_mul(g, positions, frequencies);
    mica_array scale = mica_scalar(g, MICA_PARAMS(mica_rope_params, node)->scale);
    out[0] = mica_mul(g, mica_unary(g, MICA_UNARY_COS, angle), scale);
    out[1] = mica_mul(g, mica_unary(g, MICA_UNARY_SIN, angle), scale);
}

static mica_ref compose_rope(mica_graph *g, const mica_node *node) {
    mica_rope_params p = *MICA_PARAMS(mica_rope_params, node);
    mica_dtype dtype = (mica_dtype)node->dtype;
    mica_shape s = node->shape;
    mica_array x = mica_cast(g, mica_array_of(g, node->inputs[0]), MICA_DTYPE_F32);
    int64_t n_pairs = count_pairs(g, node), rotated = 2 * n_pairs;
    mica_array table[2];
    compose_table(g, node, table);
    mica_array c = table[0], sn = table[1];
    mica_array u = pick_pairs(g, x, n_pairs, p.is_interleaved, 0);
    mica_array v = pick_pairs(g, x, n_pairs, p.is_interleaved, 1);
    mica_array first = mica_sub(g, mica_mul(g, u, c), mica_mul(g, v, sn));
    mica_array second = mica_add(g, mica_mul(g, v, c), mica_mul(g, u, sn));
    mica_array out = join_pairs(g, first, second, &s, n_pairs, p.is_interleaved);
    if (rotated < s.dims[2]) {
        mica_array rest = mica_slice_axis(g, x, 2, rotated, s.dims[2], 1);
        out = mica_concat(g, (mica_array[]){out, rest}, 2, 2);
    }
    return mica_array_ref(g, mica_cast(g, out, dtype), false);
}

/* x read and written once; 3 operations an element (the table is shared by the heads). */
static void cost_rope(const mica_graph *g, const mica_node *n, mica_cost *out) {
    (void)g;
    uint64_t count = (uint64_t)mica_shape_count(&n->shape);
    out->bytes = 2 * count * mica_dtype_bytes((mica_dtype)n->dtype);
    out->flops = 3 * count;
}

static mica_status launch_rope(mica_launch *l, const mica_node *n, mica_error *err) {
    const mica_rope_params *p = MICA_PARAMS(mica_rope_params, n);
    mica_rope_args *a = mica_launch_args(l, sizeof *a);
    if (!a) return mica_fail_memory(err, sizeof *a, "the arguments of rope");
    mica_launch_read(l, &a->x, n->inputs[0], 0);
    if (is_ready(n)) {
        mica_launch_read(l, &a->ready, n->inputs[1], 0);
    } else {
        mica_launch_read(l, &a->positions, n->inputs[1], 0);
        mica_launch_read(l, &a->inverse_frequencies, n->inputs[2], 0);
    }
    if (n->n_inputs > 3) mica_launch_read(l, &a->tables, n->inputs[3], 0);
    memcpy(a->x_strides, mica_graph_node(l->graph, n->inputs[0])->strides, sizeof a->x_strides);
    mica_launch_write(l, &a->out, n, 0);
    mica_launch_live(l, &a->live, n);
    a->n_tokens = n->shape.dims[0];
    a->n_heads = n->shape.dims[1];
    a->dim = n->shape.dims[2];
    a->n_pairs = count_pairs(l->graph, n);
    a->n_tables = n->n_inputs > 3 ? mica_graph_node(l->graph, n->inputs[2])->shape.dims[0] : 1;
    a->scale = p->scale;
    a->dtype = n->dtype;
    a->is_interleaved = p->is_interleaved;
    mica_launch_elements(l, mica_shape_count(&n->shape));
    return MICA_STATUS_OK;
}

static size_t scratch_rope(const mica_graph *g, const mica_node *n) {
    return (size_t)(count_pairs(g, n) * 2 + n->shape.dims[2]) * sizeof(float);
}

static bool accepts_f32_halves(const mica_graph *g, const mica_node *n) {
    (void)g;
    return n->dtype == MICA_DTYPE_F32 && !MICA_PARAMS(mica_rope_params, n)->is_interleaved;
}

static const mica_kernel kernels[] = {
#if defined(__x86_64__)
    {.name = "rope_avx512",
     .needs = MICA_CPU_AVX512,
     .accepts = accepts_f32_halves,
     .scratch_bytes = scratch_rope,
     .cpu = mica_rope_avx512},
    {.name = "rope_avx2",
     .needs = MICA_CPU_AVX2,
     .accepts = accepts_f32_halves,
     .scratch_bytes = scratch_rope,
     .cpu = mica_rope_avx2},
#elif defined(__aarch64__)
    {.name = "rope_neon",
     .needs = MICA_CPU_NEON,
     .accepts = accepts_f32_halves,
     .scratch_bytes = scratch_rope,
     .cpu = mica_rope_neon},
#endif
    {.name = "rope_ref", .scratch_bytes = scratch_rope, .cpu = mica_rope_ref},
};

static const mica_param params[] = {
    {"scale", MICA_PARAM_F32, offsetof(mica_rope_params, scale)},
    {"interleaved", MICA_PARAM_BOOL, offsetof(mica_rope_params, is_interleaved)},
};

const mica_op mica_op_rope = {
    .name = "rope",
    .n_inputs_min = 2,
    .n_inputs_max = 4,
    .strided = 1,
    .in_place = 1,
    .params = params,
    .n_params = sizeof params / sizeof *params,
    .infer = infer_rope,
    .compose = compose_rope,
    .cost = cost_rope,
    .launch = launch_rope,
    .kernels = kernels,
    .n_kernels = sizeof kernels / sizeof *kernels,
};
