/* matmul: products of two arrays of matrices; leading axes broadcast, any strides. For weights
 * there is linear, which is faster. */
#include "ops/matmul/matmul.h"
#include <string.h>
#include "base/error.h"
#include "mica/ops.h"
#include "ops/common/launch_args.h"
#include "ops/common/rule.h"

mica_array mica_matmul(mica_graph *g, mica_array a, mica_array b) {
    return mica_array_add(g, MICA_OP_matmul, (mica_array[]){a, b}, 2, NULL, 0);
}

/* s without its last two axes. */
static mica_shape leading(const mica_shape *s) {
    mica_shape out = *s;
    out.rank -= 2;
    return out;
}

static mica_status matmul_shape(const mica_shape *a, const mica_shape *b, mica_shape *out,
                                mica_error *err) {
    char a_text[176], b_text[176];
    mica_shape shape, a_leading, b_leading;
    bool fits = a->rank >= 2 && b->rank >= 2 && a->dims[a->rank - 1] == b->dims[b->rank - 2];
    if (fits) {
        a_leading = leading(a);
        b_leading = leading(b);
        fits = mica_shape_broadcast(&a_leading, &b_leading, &shape);
    }
    if (fits) {
        shape.dims[shape.rank++] = a->dims[a->rank - 2];
        shape.dims[shape.rank++] = b->dims[b->rank - 1];
        fits = mica_shape_make(shape.rank, shape.dims, out);
    }
    if (fits) return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_INVALID,
                     "shapes %s and %s, expected [.., m, k] and [.., k, n]",
                     mica_shape_format(a, a_text), mica_shape_format(b, b_text));
}

static mica_status matmul_infer(const mica_graph *g, mica_node *n, mica_error *err) {
    const mica_node *a = mica_rule_input(g, n, 0), *b = mica_rule_input(g, n, 1);
    if (a->dtype != b->dtype || !mica_dtype_is_float((mica_dtype)a->dtype))
        return mica_fail(err, MICA_STATUS_INVALID, "dtypes %s and %s, expected the same float",
                         mica_dtype_name((mica_dtype)a->dtype),
                         mica_dtype_name((mica_dtype)b->dtype));
    mica_status st = matmul_shape(&a->shape, &b->shape, &n->shape, err);
    if (st != MICA_STATUS_OK) return st;
    if (b->live != MICA_LIVE_ALL && b->shape.rank == 2)
        return mica_fail(err, MICA_STATUS_INVALID, "live rows on the axis that is summed over");
    bool is_short =
        (a->live && a->shape.rank != n->shape.rank) || (b->live && b->shape.rank != n->shape.rank);
    if (is_short)
        return mica_fail(err, MICA_STATUS_INVALID, "live axis 0 is not axis 0 of the result");
    n->dtype = a->dtype;
    n->live = MICA_LIVE_ALL;
    st = mica_rule_live(g, n, 0, err);
    return st == MICA_STATUS_OK ? mica_rule_live(g, n, 1, err) : st;
}

static void matmul_cost(const mica_graph *g, const mica_node *n, mica_cost *out) {
    const mica_node *a = mica_rule_input(g, n, 0), *b = mica_rule_input(g, n, 1);
    uint64_t elements = (uint64_t)(mica_shape_count(&a->shape) + mica_shape_count(&b->shape) +
                                   mica_shape_count(&n->shape));
    out->bytes = elements * mica_dtype_bytes((mica_dtype)n->dtype);
    out->flops =
        2 * (uint64_t)mica_shape_count(&n->shape) * (uint64_t)a->shape.dims[a->shape.rank - 1];
}

/* Gives t the rank of out, and stride 0 to its leading axes that out repeats. */
static void widen(mica_tensor_args *t, int rank) {
    int64_t dims[MICA_TENSOR_RANK_MAX], strides[MICA_TENSOR_RANK_MAX] = {0};
    int added = rank - t->rank;
    for (int i = 0; i < rank; i++) {
        dims[i] = i < added ? 1 : t->dims[i - added];
        if (i >= added && (dims[i] != 1 || i >= rank - 2)) strides[i] = t->strides[i - added];
    }
    memcpy(t->dims, dims, (size_t)rank * sizeof *dims);
    memcpy(t->strides, strides, (size_t)rank * sizeof *strides);
    t->rank = rank;
}

static mica_status matmul_launch(mica_launch *l, const mica_node *n, mica_error *err) {
    mica_matmul_args *a = mica_launch_args(l, sizeof *a);
    if (!a) return mica_fail_memory(err, sizeof *a, "matmul arguments");
    mica_launch_tensor(l, &a->a, n->inputs[0]);
    mica_launch_tensor(l, &a->b, n->inputs[1]);
    mica_launch_write(l, &a->out, n, 0);
    mica_launch_live(l, &a->live, n);
    a->k = a->a.dims[a->a.rank - 1];
    widen(&a->a, n->shape.rank);
    widen(&a->b, n->shape.rank);
    a->rank = n->shape.rank;
    a->dtype = n->dtype;
    memcpy(a->dims, n->shape.dims, sizeof a->dims);
    mica_launch_elements(l, mica_shape_count(&n->shape) * (a->k < 4096 ? a->k : 4096));
    return MICA_STATUS_OK;
}

static bool is_small_float(const mica_graph *g, const mica_node *n) {
    (void)g;
    return n->dtype != MICA_DTYPE_F64;
}

static size_t matmul_scratch(const mica_graph *g, const mica_node *n) {
    const mica_node *a = mica_rule_input(g, n, 0);
    return mica_matmul_scratch_bytes(a->shape.dims[a->shape.rank - 1]);
}

static const mica_kernel matmul_kernels[] = {
#if defined(__x86_64__)
    {"matmul_avx512", MICA_DEVICE_CPU, MICA_CPU_AVX2 | MICA_CPU_AVX512, is_small_float,
     matmul_scratch, mica_matmul_avx512},
    {"matmul_avx2", MICA_DEVICE_CPU, MICA_CPU_AVX2, is_small_float, matmul_scratch,
     mica_matmul_avx2},
#elif defined(__aarch64__)
    {"matmul_neon", MICA_DEVICE_CPU, MICA_CPU_NEON, is_small_float, matmul_scratch,
     mica_matmul_neon},
#endif
    {"matmul_ref", MICA_DEVICE_CPU, 0, NULL, NULL, mica_matmul_ref},
};

const mica_op mica_op_matmul = {
    .name = "matmul",
    .n_inputs_min = 2,
    .n_inputs_max = 2,
    .strided = 3,
    .infer = matmul_infer,
    .cost = matmul_cost,
    .launch = matmul_launch,
    .kernels = matmul_kernels,
    .n_kernels = sizeof matmul_kernels / sizeof matmul_kernels[0],
};
