/* Runs a plan with clocks and tells what each step was. Descriptions live in an arena of the pass:
 * whoever profiles pays for them, after the clocks have stopped. */
#include "engine/profile.h"
#include <string.h>
#include "base/arena.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "engine/engine.h"

#define RESULT_BYTES 224 /* a dtype or a quantisation, and a shape */

static size_t count_steps(const mica_plan *plan) {
    size_t n = 0;
    for (size_t s = 0; s < plan->n_segments; s++) n += plan->segments[s].n_steps;
    return n;
}

/* The largest weight among the inputs, also through a view of it. */
static const char *find_weight(const mica_graph *g, const mica_node *n) {
    const char *name = NULL;
    int64_t most = 0;
    for (int i = 0; i < n->n_inputs; i++) {
        if (!n->inputs[i]) continue;
        const mica_node *input = mica_graph_node(g, n->inputs[i]);
        if (input->is_view) input = mica_graph_node(g, input->view_of);
        int64_t count = mica_shape_count(&input->shape);
        if (input->op != MICA_OP_WEIGHT || count <= most) continue;
        most = count;
        name = input->name;
    }
    return name;
}

static const char *describe_result(mica_arena *arena, const mica_node *n) {
    char shape[176], quant[32], text[RESULT_BYTES];
    const char *type =
        n->quant.mode ? mica_quant_format(n->quant, quant) : mica_dtype_name((mica_dtype)n->dtype);
    size_t bytes =
        mica_format(text, sizeof text, "%s%s", type, mica_shape_format(&n->shape, shape));
    return mica_arena_string(arena, text, bytes < sizeof text ? bytes : sizeof text - 1);
}

static bool describe_steps(const mica_runtime *rt, const mica_plan *plan, mica_arena *arena,
                           mica_profile_step *out) {
    for (size_t s = 0; s < plan->n_segments; s++) {
        const mica_segment *segment = &plan->segments[s];
        for (size_t i = 0; i < segment->n_steps; i++, out++) {
            const mica_step *step = &segment->steps[i];
            const mica_node *n = mica_graph_node(plan->graph, step->node);
            *out = (mica_profile_step){
                .op = rt->ops[n->op]->name,
                .kernel = step->kernel->name,
                .weight = find_weight(plan->graph, n),
                .result = describe_result(arena, n),
                .node = step->node,
                .bytes = step->bytes,
                .flops = step->flops,
                .has_barrier = step->barrier_before,
                .is_private = step->is_private,
            };
            if (!out->result) return false;
        }
    }
    return true;
}

/* The devices give [workers, steps] for each segment, on the machine's clock; one table of all
 * steps is made of them, that begins at 0. */
static void join_times(const mica_plan *plan, size_t n_workers, size_t n_steps, double start,
                       const mica_step_time *from, mica_profile_time *to) {
    size_t first = 0;
    for (size_t s = 0; s < plan->n_segments; s++) {
        size_t n = plan->segments[s].n_steps;
        for (size_t w = 0; w < n_workers; w++)
            for (size_t i = 0; i < n; i++, from++)
                to[w * n_steps + first + i] = (mica_profile_time){
                    from->arrive - start, from->begin - start, from->end - start};
        first += n;
    }
}

mica_status mica_profiler_run(const mica_profiler *p, mica_runtime *rt, mica_executable *e,
                              const int32_t counts[2], int32_t n_capacity, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_plan *plan = mica_executable_plan(e);
    size_t n_steps = count_steps(plan), n_workers = (size_t)rt->limits.n_workers, n_times = 0;
    mica_arena arena;
    mica_arena_init(&arena, rt->host.allocator, 0);
    MICA_REQUIRE(mica_mul_size(n_steps, n_workers, &n_times), MICA_STATUS_LIMIT,
                 "a plan of %zu steps on %zu workers", n_steps, n_workers);
    mica_profile_step *steps = mica_arena_alloc_array(&arena, n_steps + 1, sizeof *steps);
    mica_step_time *stamps = mica_arena_alloc_array(&arena, n_times + 1, sizeof *stamps);
    mica_profile_time *times = mica_arena_alloc_array(&arena, n_times + 1, sizeof *times);
    MICA_REQUIRE(steps && stamps && times, MICA_STATUS_OUT_OF_MEMORY,
                 "out of memory: a profile of %zu steps", n_steps);
    double start = mica_clock_seconds();
    MICA_TRY(mica_executable_run_timed(e, stamps, err));
    double seconds = mica_clock_seconds() - start;
    join_times(plan, n_workers, n_steps, start, stamps, times);
    MICA_REQUIRE(describe_steps(rt, plan, &arena, steps), MICA_STATUS_OUT_OF_MEMORY,
                 "out of memory: a profile of %zu steps", n_steps);
    mica_profile_pass pass = {
        .n_tokens = counts[0],
        .n_rows = counts[1],
        .n_capacity = n_capacity,
        .n_workers = (int)n_workers,
        .n_steps = n_steps,
        .steps = steps,
        .times = times,
        .seconds = seconds,
    };
    p->callback(p->context, &pass);
done:
    mica_arena_deinit(&arena);
    return st;
}

mica_status mica_engine_set_profile(mica_engine *e, mica_profile_callback callback, void *context,
                                    mica_error *err) {
    if (!e) return mica_fail(err, MICA_STATUS_INVALID, "mica_engine_set_profile: no engine");
    const mica_backend *backend = e->model->runtime->device->backend;
    if (callback && !backend->run_timed)
        return mica_fail(err, MICA_STATUS_UNAVAILABLE, "backend %s cannot time its steps",
                         backend->name);
    e->runner.profiler = (mica_profiler){callback, context};
    return MICA_STATUS_OK;
}
