/* A plan made ready: prepared segments, the table of addresses, the shared arena. */
#include "core/runtime.h"
#include <string.h>
#include "base/alloc.h"
#include "base/error.h"

struct mica_executable {
    mica_runtime *runtime;
    mica_plan *plan;
    mica_prepared **prepared; /* one per segment */
    mica_bound *bound;        /* one per binding */
    int32_t *output_binding;  /* per output; -1 = a leaf */
};

/* The arena of the runtime grows to the largest plan and is shared: plans run one at a time. */
static mica_status reserve_arena(mica_runtime *rt, uint64_t bytes, mica_error *err) {
    if (rt->arena && rt->arena->bytes >= bytes) return MICA_STATUS_OK;
    mica_buffer *arena = NULL;
    if (rt->memory_budget_bytes && bytes > rt->memory_budget_bytes)
        return mica_fail(err, MICA_STATUS_LIMIT,
                         "activations need %llu bytes, the memory budget is %llu",
                         (unsigned long long)bytes, (unsigned long long)rt->memory_budget_bytes);
    mica_status st = rt->device->backend->buffer_create(rt->device, bytes, &arena, err);
    if (st != MICA_STATUS_OK) return st;
    mica_buffer_release(&rt->arena);
    rt->arena = arena;
    rt->arena_bytes = bytes;
    if (bytes > rt->arena_peak_bytes) rt->arena_peak_bytes = bytes;
    return MICA_STATUS_OK;
}

void mica_runtime_trim(mica_runtime *rt) {
    if (rt->n_executables) return;
    mica_buffer_release(&rt->arena);
    rt->arena_bytes = 0;
    if (rt->device) rt->device->backend->trim(rt->device);
}

/* The binding that holds the output's root. */
static int32_t find_output(const mica_plan *plan, mica_ref ref) {
    for (size_t b = 0; b < plan->n_bindings; b++)
        if (plan->bindings[b].kind == MICA_BIND_OUTPUT && plan->bindings[b].node == ref)
            return (int32_t)b;
    return -1;
}

static mica_status fill_tables(mica_executable *e, mica_error *err) {
    const mica_plan *plan = e->plan;
    const mica_allocator *a = e->runtime->host.allocator;
    e->prepared = MICA_NEW_ARRAY(a, mica_prepared *, plan->n_segments + 1);
    e->bound = MICA_NEW_ARRAY(a, mica_bound, plan->n_bindings + 1);
    e->output_binding = MICA_NEW_ARRAY(a, int32_t, plan->n_outputs + 1);
    if (!e->prepared || !e->bound || !e->output_binding)
        return mica_fail_memory(err, plan->n_bindings * sizeof *e->bound, "a plan's bindings");
    for (size_t b = 0; b < plan->n_bindings; b++) {
        const mica_binding *binding = &plan->bindings[b];
        if (binding->kind != MICA_BIND_BUFFER) continue;
        if (!binding->storage.buffer) /* a plan of parsed IR text: weights without bytes */
            return mica_fail(err, MICA_STATUS_INVALID, "%s has no data",
                             binding->name ? binding->name : "an array");
        e->bound[b].address = binding->storage.buffer->handle + binding->storage.offset;
        e->bound[b].bytes = binding->bytes;
    }
    for (size_t i = 0; i < plan->n_outputs; i++)
        e->output_binding[i] = find_output(plan, plan->outputs[i]);
    return MICA_STATUS_OK;
}

mica_status mica_executable_create(mica_runtime *rt, mica_plan *plan, mica_executable **out,
                                   mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_executable *e = MICA_NEW(rt->host.allocator, mica_executable);
    if (!e) {
        mica_plan_destroy(&plan);
        return mica_fail_memory(err, sizeof *e, "an executable");
    }
    e->runtime = rt;
    e->plan = plan;
    rt->n_executables++;
    MICA_TRY(fill_tables(e, err));
    for (size_t s = 0; s < plan->n_segments; s++) {
        const mica_segment *segment = &plan->segments[s];
        MICA_TRY(reserve_arena(rt, segment->arena_bytes, err));
        MICA_TRY(segment->device->backend->prepare(segment->device, plan, s, &e->prepared[s], err));
    }
    *out = e;
    e = NULL;
done:
    mica_executable_destroy(&e);
    return st;
}

void mica_executable_destroy(mica_executable **executable) {
    mica_executable *e = *executable;
    *executable = NULL;
    if (!e) return;
    const mica_allocator *a = e->runtime->host.allocator;
    for (size_t s = 0; e->prepared && s < e->plan->n_segments; s++) {
        mica_device *device = e->plan->segments[s].device;
        if (e->prepared[s]) device->backend->prepared_destroy(device, e->prepared[s]);
    }
    mica_free(a, e->prepared);
    mica_free(a, e->bound);
    mica_free(a, e->output_binding);
    mica_plan_destroy(&e->plan);
    e->runtime->n_executables--;
    mica_free(a, e);
}

const mica_plan *mica_executable_plan(const mica_executable *e) { return e->plan; }

static mica_status bind(mica_executable *e, size_t b, mica_storage storage, mica_error *err) {
    const mica_binding *binding = &e->plan->bindings[b];
    uint64_t all = storage.buffer->bytes;
    uint64_t room = storage.offset < all ? all - storage.offset : 0;
    if (room < binding->bytes)
        return mica_fail(err, MICA_STATUS_INVALID, "%s: %llu bytes bound, the plan wants %llu",
                         binding->name ? binding->name : "an output", (unsigned long long)room,
                         (unsigned long long)binding->bytes);
    e->bound[b].address = storage.buffer->handle + storage.offset;
    e->bound[b].bytes = room;
    return MICA_STATUS_OK;
}

mica_status mica_executable_bind_input(mica_executable *e, const char *name, mica_storage storage,
                                       mica_error *err) {
    for (size_t b = 0; b < e->plan->n_bindings; b++) {
        const mica_binding *binding = &e->plan->bindings[b];
        if (binding->kind == MICA_BIND_INPUT && strcmp(binding->name, name) == 0)
            return bind(e, b, storage, err);
    }
    return mica_fail(err, MICA_STATUS_NOT_FOUND, "the plan has no input %s", name);
}

mica_status mica_executable_bind_output(mica_executable *e, size_t index, mica_storage storage,
                                        mica_error *err) {
    if (index >= e->plan->n_outputs)
        return mica_fail(err, MICA_STATUS_NOT_FOUND, "the plan has %zu outputs, not %zu",
                         e->plan->n_outputs, index + 1);
    int32_t b = e->output_binding[index];
    return b < 0 ? MICA_STATUS_OK : bind(e, (size_t)b, storage, err);
}

static mica_status check_bound(mica_executable *e, mica_error *err) {
    const mica_plan *plan = e->plan;
    if (e->runtime->arena)
        e->bound[0] = (mica_bound){e->runtime->arena->handle, e->runtime->arena->bytes};
    for (size_t b = 1; b < plan->n_bindings; b++)
        if (plan->bindings[b].bytes && !e->bound[b].address &&
            plan->bindings[b].kind != MICA_BIND_PRIVATE)
            return mica_fail(err, MICA_STATUS_INVALID, "%s: the plan's binding %zu was not set",
                             plan->bindings[b].name ? plan->bindings[b].name : "an output", b);
    return MICA_STATUS_OK;
}

mica_status mica_executable_run(mica_executable *e, mica_error *err) {
    mica_status st = check_bound(e, err);
    for (size_t s = 0; s < e->plan->n_segments && st == MICA_STATUS_OK; s++) {
        mica_device *device = e->plan->segments[s].device;
        st = device->backend->run(device, e->prepared[s], e->bound, err);
    }
    return st;
}

mica_status mica_executable_run_timed(mica_executable *e, mica_step_time *times, mica_error *err) {
    mica_status st = check_bound(e, err);
    for (size_t s = 0; s < e->plan->n_segments && st == MICA_STATUS_OK; s++) {
        const mica_segment *segment = &e->plan->segments[s];
        mica_device *device = segment->device;
        if (!device->backend->run_timed)
            return mica_fail(err, MICA_STATUS_UNAVAILABLE, "backend %s cannot time its steps",
                             device->backend->name);
        st = device->backend->run_timed(device, e->prepared[s], e->bound, times, err);
        times += segment->n_steps * (size_t)e->runtime->limits.n_workers;
    }
    return st;
}

bool mica_name_is_listed(const char *list, const char *name, bool all_counts) {
    size_t n = strlen(name);
    while (list && *list) {
        size_t length = strcspn(list, ",");
        if (length == n && memcmp(list, name, n) == 0) return true;
        if (all_counts && length == 3 && memcmp(list, "all", 3) == 0) return true;
        list += length;
        if (*list == ',') list++;
    }
    return false;
}
