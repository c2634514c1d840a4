/* slice: shape rule and public function. */
#include "ops/slice/slice.h"
#include "base/error.h"
#include "mica/ops.h"
#include <stddef.h>
#include <string.h>

/* A bound as Python reads it: counted from the end when negative, then kept in [low, high]. */
static int64_t clamp_bound(int64_t bound, int64_t length, int64_t low, int64_t high) {
    if (bound < 0) bound += length;
    return bound < low ? low : bound > high ? high : bound;
}

/* First index and number of elements of start:stop:step on an axis. */
static void resolve(const mica_slice_params *p, int64_t length, int64_t *first, int64_t *count) {
    int64_t low = p->step < 0 ? -1 : 0, high = p->step < 0 ? length - 1 : length;
    int64_t start = clamp_bound(p->start, length, low, high);
    int64_t stop = clamp_bound(p->stop, length, low, high);
    uint64_t distance = 0, step = (uint64_t)p->step;
    if (p->step > 0 && stop > start) distance = (uint64_t)(stop - start);
    if (p->step < 0 && stop < start) distance = (uint64_t)(start - stop);
    if (p->step < 0) step = 0 - step;
    *count = distance ? (int64_t)((distance - 1) / step + 1) : 0;
    *first = *count ? start : 0;
}

static mica_status infer(const mica_graph *g, mica_node *n, mica_error *err) {
    char text[176];
    const mica_node *x = mica_rule_input(g, n, 0);
    const mica_slice_params *p = MICA_PARAMS(mica_slice_params, n);
    int axis = 0;
    int64_t first = 0;
    mica_status st = MICA_STATUS_OK;
    MICA_TRY(mica_rule_axis(p->axis, &x->shape, &axis, err));
    MICA_REQUIRE(p->step != 0, MICA_STATUS_INVALID, "step 0 on axis %d of %s", axis,
                 mica_shape_format(&x->shape, text));
    MICA_TRY(mica_rule_view(g, n, err));
    MICA_REQUIRE(x->live == MICA_LIVE_ALL || axis > 0, MICA_STATUS_INVALID,
                 "axis 0 of %s is live and cannot be sliced", mica_shape_format(&x->shape, text));
    n->shape = x->shape;
    memcpy(n->strides, x->strides, sizeof n->strides);
    resolve(p, x->shape.dims[axis], &first, &n->shape.dims[axis]);
    n->view_offset += first * x->strides[axis];
    /* With one element or none the step is of no consequence, and may be too far to multiply. */
    if (n->shape.dims[axis] > 1) n->strides[axis] *= p->step;
done:
    return st;
}

static const mica_param params[] = {
    {"start", MICA_PARAM_I64, offsetof(mica_slice_params, start)},
    {"stop", MICA_PARAM_I64, offsetof(mica_slice_params, stop)},
    {"step", MICA_PARAM_I64, offsetof(mica_slice_params, step)},
    {"axis", MICA_PARAM_I32, offsetof(mica_slice_params, axis)},
};

const mica_op mica_op_slice = {
    .name = "slice",
    .n_inputs_min = 1,
    .n_inputs_max = 1,
    .flags = MICA_OP_IS_VIEW,
    .strided = 1,
    .quantized = 1, /* refused by the rule, with a message of its own */
    .params = params,
    .n_params = sizeof params / sizeof *params,
    .infer = infer,
};

mica_array mica_slice_axis(mica_graph *g, mica_array x, int axis, int64_t start, int64_t stop,
                           int64_t step) {
    mica_slice_params p = {.start = start, .stop = stop, .step = step, .axis = axis};
    mica_error err = {0};
    mica_ref ref = mica_array_ref(g, x, false);
    if (!ref) return (mica_array){0};
    const mica_shape *shape = &mica_graph_node(g, ref)->shape;
    int from_start = 0;
    if (mica_rule_axis(axis, shape, &from_start, &err) != MICA_STATUS_OK)
        return mica_rule_failed(g, "slice", &err);
    int64_t first = 0, count = 0;
    if (step == 1) resolve(&p, shape->dims[from_start], &first, &count);
    if (step == 1 && count == shape->dims[from_start]) return mica_array_retain(g, x);
    p.axis = from_start;
    return mica_array_add(g, MICA_OP_slice, &x, 1, &p, sizeof p);
}
