/* reshape: shape rule and public function. Where strides allow no view the public function copies
 * first; the node itself is always a view. */
#include "ops/reshape/reshape.h"
#include "base/checked.h"
#include "base/error.h"
#include "mica/ops.h"

/* Copies the axes that are longer than 1. */
static int squeeze(const mica_shape *s, const int64_t *strides, int64_t *dims, int64_t *kept) {
    int rank = 0;
    for (int i = 0; i < s->rank; i++) {
        if (s->dims[i] == 1) continue;
        dims[rank] = s->dims[i];
        kept[rank++] = strides[i];
    }
    return rank;
}

/* Runs of old axes are matched with runs of new axes of the same product; each run of old axes must
 * advance by one stride. */
bool mica_reshape_strides(const mica_shape *from, const int64_t *from_strides, const mica_shape *to,
                          int64_t *strides) {
    mica_shape_strides(to, strides);
    if (mica_shape_count(to) == 0) return true;
    int64_t dims[MICA_RANK_MAX], kept[MICA_RANK_MAX];
    int old_rank = squeeze(from, from_strides, dims, kept);
    int begin = 0;
    for (int i = 0; i < to->rank;) {
        if (to->dims[i] == 1) {
            i++;
            continue;
        }
        int end = begin + 1, last = i + 1;
        int64_t old_count = dims[begin], new_count = to->dims[i];
        while (old_count != new_count) {
            if (old_count < new_count) {
                if (kept[end - 1] != kept[end] * dims[end]) return false;
                old_count *= dims[end++];
            } else {
                new_count *= to->dims[last++];
            }
        }
        int64_t stride = kept[end - 1];
        for (int j = last - 1; j >= i; j--) {
            strides[j] = stride;
            stride *= to->dims[j];
        }
        begin = end;
        i = last;
    }
    return begin == old_rank;
}

static mica_status infer(const mica_graph *g, mica_node *n, mica_error *err) {
    char a[176], b[176];
    const mica_node *x = mica_rule_input(g, n, 0);
    mica_status st = MICA_STATUS_OK;
    MICA_TRY(mica_shape_params_unpack(&MICA_PARAMS(mica_reshape_params, n)->shape, &n->shape, err));
    MICA_REQUIRE(mica_shape_count(&n->shape) == mica_shape_count(&x->shape), MICA_STATUS_INVALID,
                 "shape %s to %s, the number of elements differs", mica_shape_format(&x->shape, a),
                 mica_shape_format(&n->shape, b));
    MICA_TRY(mica_rule_view(g, n, err));
    n->live = MICA_LIVE_ALL;
    MICA_TRY(mica_rule_live(g, n, 0, err));
    MICA_REQUIRE(mica_reshape_strides(&x->shape, x->strides, &n->shape, n->strides),
                 MICA_STATUS_INVALID, "strides of %s allow no view as %s",
                 mica_shape_format(&x->shape, a), mica_shape_format(&n->shape, b));
done:
    return st;
}

static const mica_param params[] = {MICA_SHAPE_PARAM_ROWS(0)};

const mica_op mica_op_reshape = {
    .name = "reshape",
    .n_inputs_min = 1,
    .n_inputs_max = 1,
    .flags = MICA_OP_IS_VIEW,
    .strided = 1,
    .quantized = 1, /* refused by the rule, with a message of its own */
    .params = params,
    .n_params = sizeof params / sizeof *params,
    .infer = infer,
};

/* Replaces the one -1 in dims. */
static mica_status resolve(const mica_shape *x, int rank, const int64_t *dims, int64_t *out,
                           mica_error *err) {
    char text[176];
    int64_t known = 1, count = mica_shape_count(x);
    int unknown = -1;
    mica_status st = MICA_STATUS_OK;
    MICA_REQUIRE(rank >= 0 && rank <= MICA_RANK_MAX, MICA_STATUS_INVALID, "rank %d, expected 0..%d",
                 rank, MICA_RANK_MAX);
    for (int i = 0; i < rank; i++) {
        out[i] = dims[i];
        if (dims[i] == -1 && unknown < 0) {
            unknown = i;
            continue;
        }
        MICA_REQUIRE(dims[i] >= 0 && mica_mul_i64(known, dims[i], &known), MICA_STATUS_INVALID,
                     "axis %d of the new shape has length %lld", i, (long long)dims[i]);
    }
    if (unknown >= 0) {
        MICA_REQUIRE(known > 0 && count % known == 0, MICA_STATUS_INVALID,
                     "%s has no whole number of rows for axis %d", mica_shape_format(x, text),
                     unknown);
        out[unknown] = count / known;
    }
done:
    return st;
}

static mica_array reshape_to(mica_graph *g, mica_array x, const mica_shape *to) {
    mica_error err = {0};
    mica_reshape_params p;
    int64_t strides[MICA_RANK_MAX];
    if (mica_shape_params_pack(to->rank, to->dims, &p.shape, &err) != MICA_STATUS_OK)
        return mica_rule_failed(g, "reshape", &err);
    const mica_node *n = mica_graph_node(g, mica_array_ref(g, x, false));
    bool copies = mica_shape_count(&n->shape) == mica_shape_count(to) &&
                  !mica_reshape_strides(&n->shape, n->strides, to, strides);
    mica_array source = copies ? mica_contiguous(g, x) : mica_array_retain(g, x);
    mica_array result = mica_array_add(g, MICA_OP_reshape, &source, 1, &p, sizeof p);
    mica_array_release(g, &source);
    return result;
}

mica_array mica_reshape(mica_graph *g, mica_array x, int rank, const int64_t *dims) {
    mica_error err = {0};
    int64_t resolved[MICA_RANK_MAX];
    mica_shape to;
    mica_ref ref = mica_array_ref(g, x, false);
    if (!ref) return (mica_array){0};
    const mica_shape *from = &mica_graph_node(g, ref)->shape;
    if (rank > 0 && !dims) {
        mica_fail(&err, MICA_STATUS_INVALID, "no dims");
        return mica_rule_failed(g, "reshape", &err);
    }
    if (resolve(from, rank, dims, resolved, &err) != MICA_STATUS_OK)
        return mica_rule_failed(g, "reshape", &err);
    if (!mica_shape_make(rank, resolved, &to)) {
        mica_fail(&err, MICA_STATUS_INVALID, "more than 2^48 elements");
        return mica_rule_failed(g, "reshape", &err);
    }
    if (mica_shape_equal(from, &to)) return mica_array_retain(g, x);
    return reshape_to(g, x, &to);
}
