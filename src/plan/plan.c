/* The list of passes. Each is one file with one signature; some can be switched off by name, and
 * after each the draft can be dumped as IR text. order and place do their necessary part even when
 * switched off: an order that is right, and a place of its own for every node. */
#include "plan/plan.h"
#include <string.h>
#include "base/error.h"
#include "core/ir_text.h"
#include "plan/draft.h"

/* What switching a pass off by name does. */
typedef enum pass_switch {
    SWITCH_NONE,   /* there is no such switch */
    SWITCH_SKIPS,  /* it is not run */
    SWITCH_WITHIN, /* it does what is necessary: see its file */
} pass_switch;

static const struct {
    const char *name;
    mica_pass_function run; /* NULL = a part of the pass before that has a switch of its own */
    pass_switch off;
} passes[] = {
    {"collect", mica_pass_collect, SWITCH_NONE},
    {"check", mica_pass_check, SWITCH_NONE},
    {"assign", mica_pass_assign, SWITCH_NONE},
    /* shard stands here once a plan has several devices. */
    {"simplify", mica_pass_simplify, SWITCH_SKIPS},
    {"fuse", mica_pass_fuse, SWITCH_SKIPS},
    {"lower", mica_pass_lower, SWITCH_NONE},
    {"order", mica_pass_order, SWITCH_WITHIN},
    {"replicate", mica_pass_replicate, SWITCH_SKIPS},
    {"place", mica_pass_place, SWITCH_WITHIN},
    {"donation", NULL, SWITCH_WITHIN},
    {"select", mica_pass_select, SWITCH_NONE},
    {"sync", mica_pass_sync, SWITCH_NONE},
    {"seal", mica_pass_seal, SWITCH_NONE},
};

#define PASSES (sizeof passes / sizeof *passes)

/* ---- names ---- */

static bool can_dump(size_t pass) { return passes[pass].run != NULL; }
static bool can_switch(size_t pass) { return passes[pass].off != SWITCH_NONE; }

static bool is_known(mica_slice name, bool (*is_wanted)(size_t)) {
    for (size_t i = 0; i < PASSES; i++)
        if (is_wanted(i) && mica_slice_is(name, passes[i].name)) return true;
    return false;
}

static mica_status fail_name(mica_slice name, const char *option, bool (*is_wanted)(size_t),
                             const char *last, mica_error *err) {
    char names[256];
    size_t bytes = 0;
    for (size_t i = 0; i < PASSES; i++)
        if (is_wanted(i) && bytes < sizeof names)
            bytes += mica_format(names + bytes, sizeof names - bytes, "%s%s", bytes ? ", " : "",
                                 passes[i].name);
    return mica_fail(err, MICA_STATUS_INVALID, "%s \"%.*s\": wanted %s%s", option,
                     name.bytes < 40 ? (int)name.bytes : 40, name.data, names, last);
}

static mica_status check_list(const char *list, const char *option, bool (*is_wanted)(size_t),
                              const char *last, mica_error *err) {
    while (list && *list) {
        mica_slice name = mica_slice_of(list, strcspn(list, ","));
        bool is_all = *last && mica_slice_is(name, "all");
        if (!is_all && !is_known(name, is_wanted))
            return fail_name(name, option, is_wanted, last, err);
        list += name.bytes;
        if (*list == ',') list++;
    }
    return MICA_STATUS_OK;
}

mica_status mica_plan_check_names(const char *no_pass, const char *dump, mica_error *err) {
    mica_status st = check_list(no_pass, "no-pass", can_switch, "", err);
    return st == MICA_STATUS_OK ? check_list(dump, "dump", can_dump, " or all", err) : st;
}

/* ---- dump ---- */

static void note_step(const mica_step *step, size_t index, mica_str *text) {
    mica_str_append_format(text, " # step %zu%s%s grid=%u,%u,%u bytes=%llu flops=%llu", index,
                           step->barrier_before ? " barrier" : "",
                           step->is_private ? " private" : "", step->grid[0], step->grid[1],
                           step->grid[2], (unsigned long long)step->bytes,
                           (unsigned long long)step->flops);
    if (step->scratch_bytes) mica_str_append_format(text, " scratch=%zu", step->scratch_bytes);
}

typedef struct note_state {
    const mica_draft *draft;
    size_t next; /* steps come in node order */
} note_state;

static void note_node(void *context, mica_ref ref, mica_str *text) {
    note_state *state = context;
    const mica_draft *d = state->draft;
    if (state->next >= d->n_steps || d->steps[state->next].node != ref) return;
    note_step(&d->steps[state->next], state->next, text);
    state->next++;
}

static void print_head(const mica_draft *d, mica_str *text) {
    static const char *const kinds[] = {"arena", "buffer", "input", "output", "private"};
    if (d->options && d->options->label) {
        char label[96];
        size_t bytes = strlen(d->options->label);
        if (bytes >= sizeof label) bytes = sizeof label - 1;
        memcpy(label, d->options->label, bytes);
        label[bytes] = '\0';
        mica_text_clean(label, bytes);
        mica_str_append_format(text, "# plan %s\n", label);
    }
    if (!d->plan) return;
    mica_str_append_format(text, "# at most %llu bytes of the arena are in use at once\n",
                           (unsigned long long)d->arena_floor_bytes);
    for (size_t b = 0; b < d->n_bindings; b++)
        mica_str_append_format(text, "# binding %zu %s %llu bytes\n", b, kinds[d->bindings[b].kind],
                               (unsigned long long)d->bindings[b].bytes);
}

static mica_status dump(const mica_draft *d, const char *pass, mica_error *err) {
    mica_runtime *rt = d->runtime;
    if (!rt->dump_callback || (d->options && d->options->is_probe) ||
        !mica_name_is_listed(rt->dump, pass, true))
        return MICA_STATUS_OK;
    mica_str text;
    mica_str_init(&text, rt->host.allocator);
    note_state state = {d, 0};
    print_head(d, &text);
    mica_graph_print_noted(d->graph, d->outputs, d->n_outputs, note_node, &state, &text);
    bool is_whole = !text.failed;
    if (is_whole) rt->dump_callback(rt->dump_context, pass, text.data);
    mica_str_deinit(&text);
    return is_whole ? MICA_STATUS_OK : mica_draft_fail_memory(d, "a dump", err);
}

/* ---- build ---- */

bool mica_draft_is_off(const mica_draft *d, const char *pass) {
    return mica_name_is_listed(d->runtime->no_pass, pass, false);
}

static mica_status run_passes(mica_draft *d, mica_error *err) {
    for (size_t i = 0; i < PASSES; i++) {
        bool is_skipped = passes[i].off == SWITCH_SKIPS && mica_draft_is_off(d, passes[i].name);
        if (!passes[i].run || is_skipped) continue;
        mica_status st = passes[i].run(d, err);
        if (st != MICA_STATUS_OK) return mica_fail_prefix(err, st, "plan, pass %s", passes[i].name);
        st = dump(d, passes[i].name, err);
        if (st != MICA_STATUS_OK) return st;
    }
    return MICA_STATUS_OK;
}

mica_status mica_plan_build(mica_runtime *rt, const mica_graph *g, const mica_ref *outputs,
                            size_t n_outputs, const mica_plan_options *options, mica_plan **out,
                            mica_error *err) {
    mica_draft d = {.runtime = rt, .options = options, .source = g};
    d.source_outputs = outputs;
    d.n_outputs = n_outputs;
    mica_arena_init(&d.scratch, rt->host.allocator, 0);
    if (!options || !options->is_probe) rt->n_plans_built++;
    mica_status st = run_passes(&d, err);
    if (st == MICA_STATUS_OK)
        *out = d.plan;
    else if (d.plan)
        mica_plan_destroy(&d.plan);
    else
        mica_graph_destroy(&d.graph);
    mica_arena_deinit(&d.scratch);
    return st;
}

/* The plan and all it points at lie in the arena of its graph. */
void mica_plan_destroy(mica_plan **plan) {
    if (!*plan) return;
    mica_graph *graph = (*plan)->graph;
    *plan = NULL;
    mica_graph_destroy(&graph);
}
