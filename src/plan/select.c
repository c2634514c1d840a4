/* Pass select: the first row of the op's variant table that the device has and that accepts the
 * node. Pass lower has seen to it that there is one. */
#include "base/error.h"
#include "plan/draft.h"

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
    }
    return MICA_STATUS_OK;
}
