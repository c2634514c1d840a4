/* Runs statements. Text goes to one output; what a block set, a filter block or a macro collects is
 * the end of that output, copied and cut off. */
#include <string.h>
#include "text/jinja_eval.h"
#include "text/template.h"

#define STACK_SIZE 4096

static void push_scope(jinja_state *state, jinja_scope *scope) {
    *scope = (jinja_scope){.parent = state->scope};
    state->scope = scope;
}

/* Runs a block in a scope of its own; in the arena, because a macro made there keeps it. */
static bool exec_in_scope(jinja_state *state, const jinja_node *block) {
    jinja_scope *outer = state->scope;
    jinja_scope *scope = mica_jinja_alloc(state->run, 1, sizeof *scope);
    if (!scope) return false;
    push_scope(state, scope);
    bool ok = mica_jinja_exec(state, block);
    state->scope = outer;
    return ok;
}

/* Unpacks a value onto a target: a name, a tuple of targets, or an attribute of a namespace. */
static bool assign(jinja_state *state, const jinja_node *target, jinja_value value) {
    jinja_run *run = state->run;
    if (target->kind == JINJA_NODE_NAME)
        return mica_jinja_set_variable(state, target->symbol, value);
    if (target->kind == JINJA_NODE_ATTRIBUTE) {
        jinja_value object;
        if (!mica_jinja_eval(state, target->a, &object)) return false;
        if (object.kind != JINJA_NAMESPACE)
            return mica_jinja_fail(run, MICA_STATUS_FORMAT,
                                   "cannot assign attribute on non-namespace object");
        return mica_jinja_dict_set(run, object.as.dict, target->value, value);
    }
    jinja_list *list = NULL;
    if (!mica_jinja_to_list(run, &value, &list)) return false;
    if (list->count != target->count)
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "cannot unpack %zu values into %zu names",
                               list->count, target->count);
    if (!mica_jinja_enter(run)) return false;
    for (size_t i = 0; i < target->count; i++)
        if (!assign(state, target->items[i], list->items[i])) return false;
    run->depth--;
    return true;
}

static bool exec_if(jinja_state *state, const jinja_node *node) {
    for (size_t i = 0; i + 1 < node->count; i += 2) {
        jinja_value condition;
        if (!mica_jinja_eval(state, node->items[i], &condition)) return false;
        if (mica_jinja_truth(&condition)) return mica_jinja_exec(state, node->items[i + 1]);
    }
    return !node->c || mica_jinja_exec(state, node->c);
}

static int64_t loop_count(const jinja_loop *loop) {
    return loop->range ? loop->range->count : (int64_t)loop->list->count;
}

static jinja_value loop_item(const jinja_loop *loop, int64_t i) {
    if (loop->range) return mica_jinja_int(loop->range->start + i * loop->range->step);
    return loop->list->items[i];
}

bool mica_jinja_loop_attribute(jinja_run *run, const jinja_loop *loop, mica_slice name,
                               jinja_value *out) {
    (void)run;
    int64_t n = loop_count(loop), i = loop->index0;
    const struct {
        const char *name;
        jinja_value value;
    } rows[] = {
        {"index", mica_jinja_int(i + 1)},    {"index0", mica_jinja_int(i)},
        {"revindex", mica_jinja_int(n - i)}, {"revindex0", mica_jinja_int(n - i - 1)},
        {"first", mica_jinja_bool(i == 0)},  {"last", mica_jinja_bool(i + 1 >= n)},
        {"length", mica_jinja_int(n)},       {"depth", mica_jinja_int(1)},
        {"depth0", mica_jinja_int(0)},
    };
    *out = mica_jinja_undefined(NULL, JINJA_LOOP);
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
        if (mica_slice_is(name, rows[k].name)) *out = rows[k].value;
    if (mica_slice_is(name, "previtem") && i > 0) *out = loop_item(loop, i - 1);
    if (mica_slice_is(name, "nextitem") && i + 1 < n) *out = loop_item(loop, i + 1);
    return true;
}

/* The items for which the condition of `for x in y if condition` holds. */
static bool filter_items(jinja_state *state, const jinja_node *node, jinja_loop *loop) {
    jinja_value kept;
    jinja_scope *scope = mica_jinja_alloc(state->run, 1, sizeof *scope);
    if (!scope || !mica_jinja_list(state->run, 0, JINJA_PLAIN_LIST, &kept)) return false;
    jinja_scope *outer = state->scope;
    push_scope(state, scope);
    for (int64_t i = 0; i < loop_count(loop); i++) {
        jinja_value item = loop_item(loop, i), holds;
        if (!assign(state, node->a, item) || !mica_jinja_eval(state, node->c, &holds)) return false;
        if (mica_jinja_truth(&holds) && !mica_jinja_list_push(state->run, kept.as.list, item))
            return false;
    }
    state->scope = outer;
    loop->range = NULL;
    loop->list = kept.as.list;
    return true;
}

static bool begin_loop(jinja_state *state, const jinja_node *node, jinja_loop **out) {
    jinja_value over;
    jinja_list *list = NULL;
    jinja_loop *loop = mica_jinja_alloc(state->run, 1, sizeof *loop);
    if (!loop || !mica_jinja_eval(state, node->b, &over)) return false;
    memset(loop, 0, sizeof *loop);
    if (over.kind == JINJA_RANGE)
        loop->range = over.as.range;
    else if (!mica_jinja_to_list(state->run, &over, &list))
        return false;
    loop->list = list;
    *out = loop;
    return !node->c || filter_items(state, node, loop);
}

/* One pass of the body in a scope of its own. */
static bool exec_pass(jinja_state *state, const jinja_node *node, jinja_loop *loop) {
    jinja_value loop_value = {.kind = JINJA_LOOP, .as.loop = loop};
    if (state->loop_symbol >= 0 && !mica_jinja_set_variable(state, state->loop_symbol, loop_value))
        return false;
    return assign(state, node->a, loop_item(loop, loop->index0)) &&
           mica_jinja_exec(state, node->items[0]);
}

static bool exec_for(jinja_state *state, const jinja_node *node) {
    jinja_loop *loop = NULL;
    jinja_scope *outer = state->scope, *scope = NULL;
    if (!begin_loop(state, node, &loop)) return false;
    bool any_whole = false; /* Jinja's else runs unless one pass came to its end */
    for (; loop->index0 < loop_count(loop); loop->index0++) {
        if (!scope || scope->is_captured) {
            scope = mica_jinja_alloc(state->run, 1, sizeof *scope);
            if (!scope) return false;
            push_scope(state, scope);
        }
        scope->count = 0;
        if (!mica_jinja_charge(state->run, 1) || !exec_pass(state, node, loop)) return false;
        state->scope = outer;
        jinja_jump jump = state->jump;
        state->jump = JINJA_NO_JUMP;
        any_whole = any_whole || jump == JINJA_NO_JUMP;
        if (jump == JINJA_BREAK) break;
        state->scope = scope->is_captured ? outer : scope;
    }
    state->scope = outer;
    if (any_whole || !node->items[1]) return true;
    return exec_in_scope(state, node->items[1]);
}

/* Runs the body in a scope of its own and takes what it printed. */
static bool capture(jinja_state *state, const jinja_node *body, jinja_value *out) {
    size_t from = state->output.bytes;
    bool ok = exec_in_scope(state, body) && mica_jinja_builder_copy(&state->output, from, out);
    mica_jinja_builder_cut(&state->output, from);
    return ok;
}

static bool exec_capture(jinja_state *state, const jinja_node *node) {
    jinja_value text;
    if (!capture(state, node->b, &text) || state->jump != JINJA_NO_JUMP)
        return state->run->status == MICA_STATUS_OK;
    if (!mica_jinja_eval_filters(state, node, &text)) return false;
    if (node->kind == JINJA_NODE_FILTER_BLOCK) return mica_jinja_print(&state->output, &text);
    return assign(state, node->a, text);
}

static bool exec_set(jinja_state *state, const jinja_node *node) {
    jinja_value value;
    return mica_jinja_eval(state, node->b, &value) && assign(state, node->a, value);
}

static bool exec_output(jinja_state *state, const jinja_node *node) {
    jinja_value value;
    return mica_jinja_eval(state, node->a, &value) && mica_jinja_print(&state->output, &value);
}

static bool exec_macro(jinja_state *state, const jinja_node *node) {
    jinja_value macro;
    return mica_jinja_make_macro(state, node, &macro) &&
           mica_jinja_set_variable(state, node->symbol, macro);
}

static bool exec_call_block(jinja_state *state, const jinja_node *node) {
    jinja_value caller, value;
    return mica_jinja_make_macro(state, node->c, &caller) &&
           mica_jinja_eval_call(state, node->a, &caller, &value) &&
           mica_jinja_print(&state->output, &value);
}

/* Values of a `with` are all evaluated outside of it. */
static bool exec_with(jinja_state *state, const jinja_node *node) {
    jinja_scope *outer = state->scope;
    jinja_scope *scope = mica_jinja_alloc(state->run, 1, sizeof *scope);
    jinja_value values;
    if (!scope || !mica_jinja_list(state->run, node->count / 2, JINJA_TUPLE, &values)) return false;
    for (size_t i = 1; i < node->count; i += 2) {
        jinja_value v;
        if (!mica_jinja_eval(state, node->items[i], &v) ||
            !mica_jinja_list_push(state->run, values.as.list, v))
            return false;
    }
    push_scope(state, scope);
    for (size_t i = 0; i + 1 < node->count; i += 2)
        if (!assign(state, node->items[i], values.as.list->items[i / 2])) return false;
    bool ok = mica_jinja_exec(state, node->b);
    state->scope = outer;
    return ok;
}

static bool exec_statement(jinja_state *state, const jinja_node *node) {
    switch (node->kind) {
    case JINJA_NODE_TEXT:
        return mica_jinja_append_string(&state->output, node->value.as.string);
    case JINJA_NODE_OUTPUT:
        return exec_output(state, node);
    case JINJA_NODE_IF:
        return exec_if(state, node);
    case JINJA_NODE_FOR:
        return exec_for(state, node);
    case JINJA_NODE_SET:
        return exec_set(state, node);
    case JINJA_NODE_SET_BLOCK:
    case JINJA_NODE_FILTER_BLOCK:
        return exec_capture(state, node);
    case JINJA_NODE_MACRO:
        return exec_macro(state, node);
    case JINJA_NODE_CALL_BLOCK:
        return exec_call_block(state, node);
    case JINJA_NODE_WITH:
        return exec_with(state, node);
    case JINJA_NODE_SCOPE:
        return exec_in_scope(state, node->b);
    case JINJA_NODE_BREAK:
        state->jump = JINJA_BREAK;
        return true;
    case JINJA_NODE_CONTINUE:
        state->jump = JINJA_CONTINUE;
        return true;
    default:
        return mica_jinja_fail(state->run, MICA_STATUS_INTERNAL, "not a statement");
    }
}

bool mica_jinja_exec(jinja_state *state, const jinja_node *block) {
    if (!mica_jinja_enter(state->run)) return false;
    for (size_t i = 0; i < block->count && state->jump == JINJA_NO_JUMP; i++) {
        state->run->line = block->items[i]->line;
        if (!mica_jinja_charge(state->run, 1) || !exec_statement(state, block->items[i]))
            return false;
    }
    state->run->depth--;
    return true;
}

int32_t mica_jinja_program_symbol(const jinja_program *program, const char *name) {
    for (size_t i = 0; i < program->n_symbols; i++) {
        const jinja_string *s = program->symbols[i].name;
        if (mica_slice_is(mica_slice_of(s->data, s->bytes), name)) return (int32_t)i;
    }
    return -1;
}

bool mica_jinja_render(jinja_state *state) {
    state->stack = mica_jinja_alloc(state->run, STACK_SIZE, sizeof *state->stack);
    if (!state->stack) return false;
    state->stack_size = STACK_SIZE;
    state->loop_symbol = mica_jinja_program_symbol(state->program, "loop");
    state->caller_symbol = mica_jinja_program_symbol(state->program, "caller");
    state->varargs_symbol = mica_jinja_program_symbol(state->program, "varargs");
    state->kwargs_symbol = mica_jinja_program_symbol(state->program, "kwargs");
    return mica_jinja_exec(state, state->program->root);
}
