/* Pass assign: a device for every node. All go to the default device, so the plan has one segment;
 * with several, copies and events between segments are inserted here. */
#include "base/error.h"
#include "plan/draft.h"

mica_status mica_pass_assign(mica_draft *d, mica_error *err) {
    if (!d->runtime->device)
        return mica_fail(err, MICA_STATUS_UNAVAILABLE, "the runtime has no device");
    d->n_segments = 1;
    d->segments = mica_draft_keep(d, d->n_segments, sizeof *d->segments);
    if (!d->segments) return mica_draft_fail_memory(d, "segments", err);
    d->segments[0].device = d->runtime->device;
    return MICA_STATUS_OK;
}
