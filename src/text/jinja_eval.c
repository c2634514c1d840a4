/* Evaluates expressions: variables, operators, calls of macros, functions and methods. Native
 * recursion is counted by mica_jinja_enter; operands wait on the state's value stack. */
#include "text/jinja_eval.h"
#include <string.h>
#include "text/template.h"

static bool push_value(jinja_state *state, const jinja_value *v) {
    if (state->stack_used >= state->stack_size)
        return mica_jinja_fail(state->run, MICA_STATUS_LIMIT, "more than %zu values at work",
                               state->stack_size);
    state->stack[state->stack_used++] = *v;
    return true;
}

/* --- variables --- */
static bool read_variable(jinja_state *state, int32_t symbol, jinja_value *out) {
    for (const jinja_scope *s = state->scope; s; s = s->parent) {
        for (size_t i = 0; i < s->count; i++)
            if (s->bindings[i].symbol == symbol) {
                *out = s->bindings[i].value;
                return true;
            }
        if (s->slots && s->slots[symbol].kind != JINJA_ABSENT) {
            *out = s->slots[symbol];
            return true;
        }
    }
    const jinja_symbol *name = &state->program->symbols[symbol];
    if (name->function >= 0)
        *out = (jinja_value){.kind = JINJA_FUNCTION, .as.function = name->function};
    else
        *out = mica_jinja_undefined(name->name, JINJA_ABSENT);
    return true;
}

bool mica_jinja_set_variable(jinja_state *state, int32_t symbol, jinja_value value) {
    jinja_scope *s = state->scope;
    if (s->slots) {
        s->slots[symbol] = value;
        return true;
    }
    for (size_t i = 0; i < s->count; i++)
        if (s->bindings[i].symbol == symbol) {
            s->bindings[i].value = value;
            return true;
        }
    if (s->count == s->capacity) {
        size_t capacity = s->capacity < 4 ? 4 : 2 * s->capacity;
        jinja_binding *bindings = mica_jinja_alloc(state->run, capacity, sizeof *bindings);
        if (!bindings) return false;
        if (s->count > 0) memcpy(bindings, s->bindings, s->count * sizeof *bindings);
        s->bindings = bindings;
        s->capacity = capacity;
    }
    s->bindings[s->count++] = (jinja_binding){symbol, value};
    return true;
}

/* --- operators --- */
static bool eval_items(jinja_state *state, const jinja_node *node, size_t *first) {
    *first = state->stack_used;
    for (size_t i = 0; i < node->count; i++) {
        jinja_value v;
        if (!mica_jinja_eval(state, node->items[i], &v) || !push_value(state, &v)) return false;
    }
    return true;
}

/* All operands first, then from left to right. A sum of plain strings is made in one piece.
 */
static bool eval_math(jinja_state *state, const jinja_node *node, jinja_value *out) {
    size_t first;
    if (!eval_items(state, node, &first)) return false;
    const jinja_value *items = state->stack + first;
    bool all_text = true;
    for (size_t i = 0; i < node->count; i++)
        all_text = all_text && items[i].kind == JINJA_STRING && !items[i].as.string->is_markup &&
                   (i == 0 || node->ops[i - 1] == JINJA_OP_ADD);
    bool ok = true;
    if (all_text)
        ok = mica_jinja_concatenate(state->run, items, node->count, out);
    else {
        jinja_value sum = items[0];
        for (size_t i = 1; ok && i < node->count; i++)
            ok = mica_jinja_charge(state->run, 1) &&
                 mica_jinja_operate(state->run, node->ops[i - 1], &sum, &items[i], &sum);
        *out = sum;
    }
    state->stack_used = first;
    return ok;
}

static bool eval_concat(jinja_state *state, const jinja_node *node, jinja_value *out) {
    size_t first;
    if (!eval_items(state, node, &first)) return false;
    jinja_value *items = state->stack + first;
    for (size_t i = 0; i < node->count; i++)
        if (!mica_jinja_to_string(state->run, &items[i], &items[i])) return false;
    state->stack_used = first;
    return mica_jinja_concatenate(state->run, items, node->count, out);
}

static bool eval_compare(jinja_state *state, const jinja_node *node, jinja_value *out) {
    jinja_value left, right;
    bool holds = true;
    if (!mica_jinja_eval(state, node->items[0], &left)) return false;
    for (size_t i = 1; holds && i < node->count; i++) {
        if (!mica_jinja_eval(state, node->items[i], &right) ||
            !mica_jinja_compare(state->run, node->ops[i - 1], &left, &right, &holds))
            return false;
        left = right;
    }
    *out = mica_jinja_bool(holds);
    return true;
}

/* The value that decides, as in Python. */
static bool eval_logic(jinja_state *state, const jinja_node *node, jinja_value *out) {
    bool stops_at = node->kind == JINJA_NODE_OR;
    for (size_t i = 0; i < node->count; i++) {
        if (!mica_jinja_eval(state, node->items[i], out)) return false;
        if (mica_jinja_truth(out) == stops_at) return true;
    }
    return true;
}

static bool eval_sign(jinja_state *state, const jinja_node *node, jinja_value *out) {
    jinja_value v, zero = mica_jinja_int(0);
    if (!mica_jinja_eval(state, node->a, &v)) return false;
    if (v.kind == JINJA_FLOAT) {
        *out = mica_jinja_float(node->kind == JINJA_NODE_NEGATE ? -v.as.real : v.as.real);
        return true;
    }
    int op = node->kind == JINJA_NODE_NEGATE ? JINJA_OP_SUBTRACT : JINJA_OP_ADD;
    return mica_jinja_operate(state->run, op, &zero, &v, out);
}

static bool eval_ternary(jinja_state *state, const jinja_node *node, jinja_value *out) {
    jinja_value condition;
    if (!mica_jinja_eval(state, node->a, &condition)) return false;
    if (mica_jinja_truth(&condition)) return mica_jinja_eval(state, node->b, out);
    if (node->c) return mica_jinja_eval(state, node->c, out);
    *out = mica_jinja_undefined(NULL, JINJA_ABSENT);
    return true;
}

static bool eval_list(jinja_state *state, const jinja_node *node, jinja_value *out) {
    jinja_flavour flavour = node->kind == JINJA_NODE_TUPLE ? JINJA_TUPLE : JINJA_PLAIN_LIST;
    jinja_value list;
    if (!mica_jinja_list(state->run, node->count, flavour, &list)) return false;
    for (size_t i = 0; i < node->count; i++) {
        jinja_value item;
        if (!mica_jinja_eval(state, node->items[i], &item) ||
            !mica_jinja_list_push(state->run, list.as.list, item))
            return false;
    }
    *out = list;
    return true;
}

static bool eval_dict(jinja_state *state, const jinja_node *node, jinja_value *out) {
    jinja_value dict;
    if (!mica_jinja_dict(state->run, node->count / 2, &dict)) return false;
    for (size_t i = 0; i + 1 < node->count; i += 2) {
        jinja_value key, value;
        if (!mica_jinja_eval(state, node->items[i], &key) ||
            !mica_jinja_eval(state, node->items[i + 1], &value) ||
            !mica_jinja_dict_set(state->run, dict.as.dict, key, value))
            return false;
    }
    *out = dict;
    return true;
}

static bool eval_slice(jinja_state *state, const jinja_node *node, jinja_value *out) {
    jinja_value subject, part[3];
    memset(part, 0, sizeof part);
    if (!mica_jinja_eval(state, node->a, &subject)) return false;
    for (int i = 0; i < 3; i++)
        if (node->items[i] && !mica_jinja_eval(state, node->items[i], &part[i])) return false;
    return mica_jinja_slice_value(state->run, &subject, part, out);
}

static bool eval_item(jinja_state *state, const jinja_node *node, jinja_value *out) {
    jinja_value subject, key;
    return mica_jinja_eval(state, node->a, &subject) && mica_jinja_eval(state, node->b, &key) &&
           mica_jinja_item(state->run, &subject, &key, out);
}

/* --- calls --- */
/* Arguments of one call while they are on the stack; names of keywords are in the arena. */
typedef struct call_frame {
    jinja_call call;
    size_t stack_used; /* to go back to */
} call_frame;

static bool push_star(jinja_state *state, const jinja_node *node) {
    jinja_value v;
    jinja_list *list = NULL;
    if (!mica_jinja_eval(state, node, &v) || !mica_jinja_to_list(state->run, &v, &list))
        return false;
    for (size_t i = 0; i < list->count; i++)
        if (!push_value(state, &list->items[i])) return false;
    return true;
}

/* Keyword arguments with those of a ** dictionary and the caller of a call block. */
static bool push_extra_keywords(jinja_state *state, const jinja_arguments *a,
                                const jinja_value *caller, jinja_call *call) {
    jinja_value dict = {0};
    size_t n_extra = caller ? 1 : 0;
    if (a && a->star_star) {
        if (!mica_jinja_eval(state, a->star_star, &dict)) return false;
        if (dict.kind != JINJA_DICT)
            return mica_jinja_fail(state->run, MICA_STATUS_FORMAT, "** needs a dictionary, not %s",
                                   mica_jinja_kind_name(&dict));
        n_extra += dict.as.dict->count;
    }
    if (n_extra == 0) return true;
    jinja_string **names = mica_jinja_alloc(state->run, call->n_keyword + n_extra, sizeof *names);
    if (!names) return false;
    for (size_t i = 0; i < call->n_keyword; i++) names[i] = call->names[i];
    call->names = names;
    for (size_t i = 0; dict.kind == JINJA_DICT && i < dict.as.dict->count; i++) {
        const jinja_entry *e = &dict.as.dict->entries[i];
        if (e->key.kind != JINJA_STRING)
            return mica_jinja_fail(state->run, MICA_STATUS_FORMAT, "keywords must be strings");
        names[call->n_keyword++] = e->key.as.string;
        if (!push_value(state, &e->value)) return false;
    }
    if (!caller) return true;
    names[call->n_keyword++] = state->program->symbols[state->caller_symbol].name;
    return push_value(state, caller);
}

static bool begin_call(jinja_state *state, const jinja_arguments *a, const jinja_value *caller,
                       call_frame *frame) {
    *frame = (call_frame){.stack_used = state->stack_used};
    jinja_value v;
    for (size_t i = 0; a && i < a->n_positional; i++)
        if (!mica_jinja_eval(state, a->positional[i], &v) || !push_value(state, &v)) return false;
    if (a && a->star && !push_star(state, a->star)) return false;
    frame->call.positional = state->stack + frame->stack_used;
    frame->call.n_positional = state->stack_used - frame->stack_used;
    frame->call.keyword = state->stack + state->stack_used;
    for (size_t i = 0; a && i < a->n_keyword; i++)
        if (!mica_jinja_eval(state, a->keyword[i], &v) || !push_value(state, &v)) return false;
    frame->call.names = a ? a->names : NULL;
    frame->call.n_keyword = a ? a->n_keyword : 0;
    return push_extra_keywords(state, a, caller, &frame->call);
}

static bool end_call(jinja_state *state, const call_frame *frame, bool ok) {
    state->stack_used = frame->stack_used;
    return ok;
}

bool mica_jinja_make_macro(jinja_state *state, const jinja_node *node, jinja_value *out) {
    jinja_macro *macro = mica_jinja_alloc(state->run, 1, sizeof *macro);
    if (!macro) return false;
    *macro = (jinja_macro){node, state->scope};
    for (jinja_scope *s = state->scope; s && !s->is_captured; s = s->parent) s->is_captured = true;
    *out = (jinja_value){.kind = JINJA_MACRO, .as.macro = macro};
    return true;
}

static bool name_equal(const jinja_string *a, const jinja_string *b) {
    return a->bytes == b->bytes && memcmp(a->data, b->data, a->bytes) == 0;
}

/* What is left over: varargs and kwargs if the macro reads them, the caller, else an error. */
static bool bind_rest(jinja_state *state, const jinja_parameters *p, const jinja_call *call,
                      const bool *is_used) {
    jinja_value rest, caller = mica_jinja_none();
    jinja_run *run = state->run;
    if (p->takes_varargs) {
        if (!mica_jinja_list(run, 0, JINJA_TUPLE, &rest)) return false;
        for (size_t i = p->count; i < call->n_positional; i++)
            if (!mica_jinja_list_push(run, rest.as.list, call->positional[i])) return false;
        if (!mica_jinja_set_variable(state, state->varargs_symbol, rest)) return false;
    } else if (call->n_positional > p->count) {
        return mica_jinja_fail(run, MICA_STATUS_FORMAT,
                               "macro '%.*s' takes not more than %zu argument(s)",
                               (int)(p->macro_name->bytes & 127), p->macro_name->data, p->count);
    }
    if (!mica_jinja_dict(run, 0, &rest)) return false;
    const jinja_string *caller_name =
        state->caller_symbol >= 0 ? state->program->symbols[state->caller_symbol].name : NULL;
    for (size_t i = 0; i < call->n_keyword; i++) {
        if (is_used[i]) continue;
        if (p->takes_caller && caller_name && name_equal(call->names[i], caller_name))
            caller = call->keyword[i];
        else if (!p->takes_kwargs)
            return mica_jinja_fail(run, MICA_STATUS_FORMAT,
                                   "macro '%.*s' takes no keyword argument '%.*s'",
                                   (int)(p->macro_name->bytes & 127), p->macro_name->data,
                                   (int)(call->names[i]->bytes & 127), call->names[i]->data);
        else if (!mica_jinja_dict_set(run, rest.as.dict, mica_jinja_text(call->names[i]),
                                      call->keyword[i]))
            return false;
    }
    if (p->takes_kwargs && !mica_jinja_set_variable(state, state->kwargs_symbol, rest))
        return false;
    if (!p->takes_caller) return true;
    if (caller.kind == JINJA_NONE) caller = mica_jinja_undefined((jinja_string *)caller_name, 0);
    return mica_jinja_set_variable(state, state->caller_symbol, caller);
}

#define MACRO_KEYWORDS_MAX 64

/* Sets the parameters in the macro's own scope; defaults may use the parameters before them. */
static bool bind_parameters(jinja_state *state, const jinja_parameters *p, const jinja_call *call) {
    bool is_used[MACRO_KEYWORDS_MAX] = {0};
    if (call->n_keyword > MACRO_KEYWORDS_MAX)
        return mica_jinja_fail(state->run, MICA_STATUS_LIMIT, "more than %d keyword arguments",
                               MACRO_KEYWORDS_MAX);
    for (size_t i = 0; i < p->count; i++) {
        jinja_value v = {0};
        if (i < call->n_positional) v = call->positional[i];
        for (size_t k = 0; k < call->n_keyword; k++) {
            if (!name_equal(call->names[k], p->names[i])) continue;
            if (v.kind != JINJA_ABSENT)
                return mica_jinja_fail(state->run, MICA_STATUS_FORMAT,
                                       "macro '%.*s': two values for argument '%.*s'",
                                       (int)(p->macro_name->bytes & 127), p->macro_name->data,
                                       (int)(p->names[i]->bytes & 127), p->names[i]->data);
            v = call->keyword[k];
            is_used[k] = true;
        }
        if (v.kind == JINJA_ABSENT && p->defaults[i]) {
            if (!mica_jinja_eval(state, p->defaults[i], &v)) return false;
        } else if (v.kind == JINJA_ABSENT)
            v = mica_jinja_undefined(p->names[i], 0);
        if (!mica_jinja_set_variable(state, p->symbols[i], v)) return false;
    }
    return bind_rest(state, p, call, is_used);
}

/* The macro's output is what it appends to the output, cut off again. */
static bool call_macro(jinja_state *state, const jinja_macro *macro, const jinja_call *call,
                       jinja_value *out) {
    if (state->macro_depth >= MICA_TEMPLATE_DEPTH_MAX)
        return mica_jinja_fail(state->run, MICA_STATUS_LIMIT, "macros nested deeper than %d calls",
                               MICA_TEMPLATE_DEPTH_MAX);
    jinja_scope *scope = mica_jinja_alloc(state->run, 1, sizeof *scope);
    if (!scope) return false;
    *scope = (jinja_scope){.parent = macro->scope};
    jinja_scope *outer = state->scope;
    size_t from = state->output.bytes;
    uint32_t line = state->run->line;
    state->scope = scope;
    state->macro_depth++;
    bool ok = bind_parameters(state, macro->node->parameters, call) &&
              mica_jinja_exec(state, macro->node->b) &&
              mica_jinja_builder_copy(&state->output, from, out);
    mica_jinja_builder_cut(&state->output, from);
    state->macro_depth--;
    state->scope = outer;
    if (ok) state->run->line = line;
    return ok;
}

static bool cycle_loop(jinja_state *state, const jinja_loop *loop, const jinja_call *call,
                       jinja_value *out) {
    if (call->n_positional == 0)
        return mica_jinja_fail(state->run, MICA_STATUS_FORMAT, "no items for cycling given");
    *out = call->positional[(size_t)loop->index0 % call->n_positional];
    return true;
}

static bool loop_changed(jinja_state *state, jinja_loop *loop, const jinja_call *call,
                         jinja_value *out) {
    jinja_value now;
    bool is_same = false;
    if (!mica_jinja_list(state->run, call->n_positional, JINJA_TUPLE, &now)) return false;
    for (size_t i = 0; i < call->n_positional; i++)
        if (!mica_jinja_list_push(state->run, now.as.list, call->positional[i])) return false;
    if (loop->changed.kind != JINJA_ABSENT &&
        !mica_jinja_equal(state->run, &loop->changed, &now, &is_same))
        return false;
    loop->changed = now;
    *out = mica_jinja_bool(!is_same);
    return true;
}

/* x.name(...) without making a bound method. *is_done = false: not a method, call the attribute. */
static bool call_attribute(jinja_state *state, const jinja_node *node, const jinja_call *call,
                           const jinja_value *self, jinja_value *out, bool *is_done) {
    const jinja_node *attribute = node->a;
    *is_done = true;
    if (self->kind == JINJA_LOOP) {
        mica_slice name = mica_jinja_slice(&attribute->value);
        if (mica_slice_is(name, "cycle")) return cycle_loop(state, self->as.loop, call, out);
        if (mica_slice_is(name, "changed")) return loop_changed(state, self->as.loop, call, out);
    }
    const jinja_method_row *row = mica_jinja_method(attribute->row, self);
    if (row) return mica_jinja_apply_method(state->run, row, self, call, out);
    *is_done = false;
    return true;
}

static bool call_value(jinja_state *state, const jinja_value *callee, const jinja_call *call,
                       jinja_value *out) {
    jinja_run *run = state->run;
    switch (callee->kind) {
    case JINJA_MACRO:
        return call_macro(state, callee->as.macro, call, out);
    case JINJA_METHOD:
        return mica_jinja_apply_method(run, callee->as.method->row, &callee->as.method->self, call,
                                       out);
    case JINJA_FUNCTION: {
        const jinja_function_row *f = mica_jinja_function(callee->as.function);
        jinja_value bound[JINJA_PARAMETERS_MAX];
        return mica_jinja_bind(run, f->name, f->parameters, call, bound) &&
               f->call(run, bound, call, out);
    }
    case JINJA_UNDEFINED:
        return mica_jinja_fail_undefined(run, callee);
    default:
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "'%s' object is not callable",
                               mica_jinja_kind_name(callee));
    }
}

bool mica_jinja_eval_call(jinja_state *state, const jinja_node *node, const jinja_value *caller,
                          jinja_value *out) {
    jinja_value callee, self;
    bool has_self = node->a->kind == JINJA_NODE_ATTRIBUTE, is_done = false;
    if (!mica_jinja_eval(state, has_self ? node->a->a : node->a, has_self ? &self : &callee))
        return false;
    if (has_self && self.kind == JINJA_UNDEFINED)
        return mica_jinja_fail_undefined(state->run, &self);
    call_frame frame;
    if (!begin_call(state, node->arguments, caller, &frame)) return false;
    state->run->line = node->line;
    bool ok = true;
    if (has_self) ok = call_attribute(state, node, &frame.call, &self, out, &is_done);
    if (ok && has_self && !is_done)
        ok = mica_jinja_attribute(state->run, &self, node->a->value.as.string, node->a->row,
                                  &callee);
    if (ok && !is_done) ok = call_value(state, &callee, &frame.call, out);
    return end_call(state, &frame, ok);
}

static bool apply_filter(jinja_state *state, const jinja_node *node, const jinja_value *subject,
                         jinja_value *out) {
    call_frame frame;
    if (!begin_call(state, node->arguments, NULL, &frame)) return false;
    state->run->line = node->line;
    bool ok = mica_jinja_apply_filter(state->run, node->row, subject, &frame.call, out);
    return end_call(state, &frame, ok);
}

bool mica_jinja_eval_filters(jinja_state *state, const jinja_node *holder, jinja_value *value) {
    for (size_t i = 0; i < holder->count; i++) {
        jinja_value subject = *value;
        if (!apply_filter(state, holder->items[i], &subject, value)) return false;
    }
    return true;
}

static bool eval_filter(jinja_state *state, const jinja_node *node, jinja_value *out) {
    jinja_value subject;
    return mica_jinja_eval(state, node->a, &subject) && apply_filter(state, node, &subject, out);
}

static bool eval_test(jinja_state *state, const jinja_node *node, jinja_value *out) {
    jinja_value subject;
    call_frame frame;
    bool holds = false;
    if (!mica_jinja_eval(state, node->a, &subject) ||
        !begin_call(state, node->arguments, NULL, &frame))
        return false;
    bool ok = mica_jinja_apply_test(state->run, node->row, &subject, &frame.call, &holds);
    *out = mica_jinja_bool(holds != (node->op == 1));
    return end_call(state, &frame, ok);
}

static bool eval_attribute(jinja_state *state, const jinja_node *node, jinja_value *out) {
    jinja_value subject;
    return mica_jinja_eval(state, node->a, &subject) &&
           mica_jinja_attribute(state->run, &subject, node->value.as.string, node->row, out);
}

static bool eval_not(jinja_state *state, const jinja_node *node, jinja_value *out) {
    jinja_value v;
    if (!mica_jinja_eval(state, node->a, &v)) return false;
    *out = mica_jinja_bool(!mica_jinja_truth(&v));
    return true;
}

static bool eval_node(jinja_state *state, const jinja_node *node, jinja_value *out) {
    switch (node->kind) {
    case JINJA_NODE_CONSTANT:
        *out = node->value;
        return true;
    case JINJA_NODE_NAME:
        return read_variable(state, node->symbol, out);
    case JINJA_NODE_LIST:
    case JINJA_NODE_TUPLE:
        return eval_list(state, node, out);
    case JINJA_NODE_DICT:
        return eval_dict(state, node, out);
    case JINJA_NODE_MATH:
    case JINJA_NODE_POWER:
        return eval_math(state, node, out);
    case JINJA_NODE_CONCAT:
        return eval_concat(state, node, out);
    case JINJA_NODE_COMPARE:
        return eval_compare(state, node, out);
    case JINJA_NODE_AND:
    case JINJA_NODE_OR:
        return eval_logic(state, node, out);
    case JINJA_NODE_NOT:
        return eval_not(state, node, out);
    case JINJA_NODE_NEGATE:
    case JINJA_NODE_PLUS:
        return eval_sign(state, node, out);
    case JINJA_NODE_TERNARY:
        return eval_ternary(state, node, out);
    case JINJA_NODE_ATTRIBUTE:
        return eval_attribute(state, node, out);
    case JINJA_NODE_ITEM:
        return eval_item(state, node, out);
    case JINJA_NODE_SLICE:
        return eval_slice(state, node, out);
    case JINJA_NODE_CALL:
        return mica_jinja_eval_call(state, node, NULL, out);
    case JINJA_NODE_FILTER:
        return eval_filter(state, node, out);
    case JINJA_NODE_TEST:
        return eval_test(state, node, out);
    default:
        return mica_jinja_fail(state->run, MICA_STATUS_INTERNAL, "not an expression");
    }
}

bool mica_jinja_eval(jinja_state *state, const jinja_node *node, jinja_value *out) {
    if (!mica_jinja_charge(state->run, 1) || !mica_jinja_enter(state->run)) return false;
    state->run->line = node->line;
    bool ok = eval_node(state, node, out);
    state->run->depth--;
    return ok;
}
