/* The median pass in the trace-event format that Chrome's tracing page and Perfetto open: complete
 * events ("ph": "X") in microseconds, one thread for each worker. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include "base/error.h"
#include "base/file.h"
#include "profile_samples.h"

#define WAIT_SECONDS_MIN 1e-6 /* shorter waits would only clutter the page */

static json_t *name_event(int worker) {
    char name[32];
    snprintf(name, sizeof name, "worker %d", worker);
    return json_pack("{s:s,s:s,s:i,s:i,s:{s:s}}", "name", "thread_name", "ph", "M", "pid", 0, "tid",
                     worker, "args", "name", name);
}

static json_t *span_event(const char *name, const char *category, int worker, double begin,
                          double end) {
    return json_pack("{s:s,s:s,s:s,s:i,s:i,s:f,s:f}", "name", name, "cat", category, "ph", "X",
                     "pid", 0, "tid", worker, "ts", begin * 1e6, "dur", (end - begin) * 1e6);
}

static json_t *step_event(const cli_profile_row *row, int worker, const mica_profile_time *t) {
    json_t *event = span_event(row->kernel, row->op, worker, t->begin, t->end);
    json_t *details =
        json_pack("{s:I,s:s,s:s*,s:I,s:I,s:b}", "node", (json_int_t)row->node, "result",
                  row->result, "weight", row->weight, "bytes", (json_int_t)row->bytes, "flops",
                  (json_int_t)row->flops, "private", row->is_private);
    if (event && details && json_object_set_new(event, "args", details) == 0) return event;
    if (!event) json_decref(details);
    json_decref(event);
    return NULL;
}

static bool add_worker(json_t *events, const cli_profile_samples *s, int worker) {
    const mica_profile_time *times =
        s->times + (s->median_pass * (size_t)s->n_workers + (size_t)worker) * s->n_steps;
    bool is_ok = json_array_append_new(events, name_event(worker)) == 0;
    for (size_t i = 0; is_ok && i < s->n_steps; i++) {
        const mica_profile_time *t = &times[i];
        if (t->begin - t->arrive >= WAIT_SECONDS_MIN)
            is_ok = json_array_append_new(
                        events, span_event("barrier", "wait", worker, t->arrive, t->begin)) == 0;
        if (is_ok) is_ok = json_array_append_new(events, step_event(&s->rows[i], worker, t)) == 0;
    }
    if (is_ok && s->n_steps &&
        s->seconds[s->median_pass] - times[s->n_steps - 1].end >= WAIT_SECONDS_MIN)
        is_ok = json_array_append_new(events, span_event("barrier", "wait", worker,
                                                         times[s->n_steps - 1].end,
                                                         s->seconds[s->median_pass])) == 0;
    return is_ok;
}

mica_status cli_profile_trace_write(const cli_profile_samples *s, const char *path,
                                    mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    json_t *events = json_array();
    json_t *object = json_pack("{s:O,s:s}", "traceEvents", events, "displayTimeUnit", "ns");
    bool is_ok = events && object;
    for (int w = 0; is_ok && w < s->n_workers; w++) is_ok = add_worker(events, s, w);
    MICA_REQUIRE(is_ok, MICA_STATUS_OUT_OF_MEMORY, "out of memory: a trace");
    errno = 0;
    if (json_dump_file(object, path, JSON_COMPACT) != 0)
        st = mica_fail_errno(err, errno ? errno : EIO, "writing", path);
done:
    json_decref(events);
    json_decref(object);
    return st;
}
