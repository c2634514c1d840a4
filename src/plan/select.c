/* Pass select: the first row of the op's variant table that the device has and that accepts the
 * node; pass lower has seen to it that there is one. Where the runtime measures, the fastest of the
 * rows that give that row's bits. */
#include "base/error.h"
#include "plan/draft.h"
#include "plan/tuning.h"

/* What every worker does for itself is small. */
static bool is_measured(const mica_draft *d, const mica_node *n) {
    return d->runtime->tuning && d->runtime->device->backend->kind == MICA_DEVICE_CPU &&
           !n->is_private && !(d->options && d->options->is_probe);
}

mica_status mica_pass_select(mica_draft *d, mica_error *err) {
    char shape[176];
    for (mica_ref r = 1; r < mica_graph_count(d->graph); r++) {
        mica_node *n = mica_graph_node(d->graph, r);
        if (!mica_node_is_computed(n)) continue;
        n->kernel = mica_draft_find_kernel(d, n);
        if (!n->kernel)
            return mica_fail(err, MICA_STATUS_INTERNAL, "%s %s%s: no kernel after lowering",
                             mica_draft_op(d, n)->name, mica_dtype_name((mica_dtype)n->dtype),
                             mica_shape_format(&n->shape, shape));
        if (is_measured(d, n)) n->kernel = mica_tuning_choose(d, n, n->kernel);
    }
    if (d->runtime->tuning) mica_tuning_save(d->runtime->tuning);
    return MICA_STATUS_OK;
}
