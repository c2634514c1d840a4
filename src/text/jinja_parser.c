/* Parses the statements of templates into a tree and checks names at the end: a call of a name that
 * is neither a known function nor assigned in the template is an error at load. */
#include <string.h>
#include "base/vec.h"
#include "text/jinja_ast.h"
#include "text/jinja_table.h"
#include "text/template.h"

#define SYMBOLS_MAX 65536

/* --- shared with jinja_expression.c --- */
bool mica_jinja_advance(jinja_parser *p) {
    if (p->has_ahead) {
        p->token = p->ahead;
        p->has_ahead = false;
    } else if (!mica_jinja_lexer_next(&p->lexer, &p->token))
        return false;
    p->run->line = p->token.line;
    return true;
}

bool mica_jinja_look_ahead(jinja_parser *p) {
    if (p->has_ahead) return true;
    p->has_ahead = mica_jinja_lexer_next(&p->lexer, &p->ahead);
    return p->has_ahead;
}

bool mica_jinja_is_operator(const jinja_token *t, const char *text) {
    return t->kind == JINJA_TOKEN_OPERATOR && mica_slice_is(t->text, text);
}

bool mica_jinja_is_name(const jinja_token *t, const char *text) {
    return t->kind == JINJA_TOKEN_NAME && mica_slice_is(t->text, text);
}

bool mica_jinja_fail_token(jinja_parser *p, const char *wanted) {
    static const char *const names[] = {[JINJA_TOKEN_END] = "the end of the template",
                                        [JINJA_TOKEN_TEXT] = "text",
                                        [JINJA_TOKEN_BLOCK_BEGIN] = "'{%'",
                                        [JINJA_TOKEN_BLOCK_END] = "'%}'",
                                        [JINJA_TOKEN_VARIABLE_BEGIN] = "'{{'",
                                        [JINJA_TOKEN_VARIABLE_END] = "'}}'"};
    p->run->line = p->token.line;
    if (p->token.kind <= JINJA_TOKEN_VARIABLE_END)
        return mica_jinja_fail(p->run, MICA_STATUS_FORMAT, "unexpected %s, expected %s",
                               names[p->token.kind], wanted);
    int bytes = p->token.text.bytes < 40 ? (int)p->token.text.bytes : 40;
    return mica_jinja_fail(p->run, MICA_STATUS_FORMAT, "unexpected '%.*s', expected %s", bytes,
                           p->token.text.data, wanted);
}

bool mica_jinja_expect_operator(jinja_parser *p, const char *text) {
    if (mica_jinja_is_operator(&p->token, text)) return mica_jinja_advance(p);
    char wanted[8] = "'";
    strncat(wanted, text, 4);
    strncat(wanted, "'", 2);
    return mica_jinja_fail_token(p, wanted);
}

bool mica_jinja_symbol(jinja_parser *p, mica_slice name, int32_t *out) {
    for (size_t i = 0; i < p->symbols.count; i++) {
        const jinja_symbol *s = mica_vec_at(&p->symbols, i);
        if (mica_slice_equal(name, mica_slice_of(s->name->data, s->name->bytes))) {
            *out = (int32_t)i;
            return mica_jinja_charge(p->run, 1 + i / 16);
        }
    }
    jinja_value text;
    if (p->symbols.count >= SYMBOLS_MAX)
        return mica_jinja_fail(p->run, MICA_STATUS_LIMIT, "more than %d names", SYMBOLS_MAX);
    if (!mica_jinja_string(p->run, name.data, name.bytes, false, &text)) return false;
    jinja_symbol *s = mica_vec_push(&p->symbols);
    if (!s) return mica_jinja_fail(p->run, MICA_STATUS_OUT_OF_MEMORY, "out of memory for a name");
    *s = (jinja_symbol){.name = text.as.string, .function = mica_jinja_find_function(name)};
    *out = (int32_t)p->symbols.count - 1;
    return mica_jinja_charge(p->run, 1 + p->symbols.count / 16);
}

jinja_node *mica_jinja_node(jinja_parser *p, jinja_node_kind kind) {
    jinja_node *node = mica_jinja_alloc(p->run, 1, sizeof *node);
    if (node)
        *node = (jinja_node){.kind = (uint8_t)kind, .line = p->token.line, .symbol = -1, .row = -1};
    return node;
}

bool mica_jinja_down(jinja_parser *p) {
    /* An expression takes two levels for each bracket: the expression and its operand. */
    if (p->depth >= 2 * MICA_TEMPLATE_DEPTH_MAX)
        return mica_jinja_fail(p->run, MICA_STATUS_LIMIT, "nested deeper than %d levels",
                               MICA_TEMPLATE_DEPTH_MAX);
    p->depth++;
    return true;
}

/* --- statements --- */
static bool parse_block(jinja_parser *p, const char *const *ends, jinja_node **out);

static bool at_block_end(const jinja_parser *p) { return p->token.kind == JINJA_TOKEN_BLOCK_END; }

static bool end_tag(jinja_parser *p) {
    return at_block_end(p) ? mica_jinja_advance(p) : mica_jinja_fail_token(p, "'%}'");
}

/* The body up to one of the end words, which stays the current token. */
static bool parse_body(jinja_parser *p, const char *const *ends, jinja_node **out) {
    return end_tag(p) && parse_block(p, ends, out);
}

/* The body up to one end word, and its tag. */
static bool parse_whole_body(jinja_parser *p, const char *end, jinja_node **out) {
    const char *const ends[] = {end, NULL};
    return parse_body(p, ends, out) && mica_jinja_advance(p) && end_tag(p);
}

static bool parse_if(jinja_parser *p, jinja_node *node) {
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    mica_vec items;
    mica_vec_init(&items, p->run->host->allocator, sizeof(jinja_node *));
    bool ok = true, more = true;
    while (ok && more) {
        jinja_node *pair[2] = {0};
        ok = mica_jinja_parse_tuple(p, false, &pair[0]) && parse_body(p, ends, &pair[1]);
        if (ok && !mica_vec_append(&items, pair, 2))
            ok = mica_jinja_fail(p->run, MICA_STATUS_OUT_OF_MEMORY, "out of memory in an if");
        more = ok && mica_jinja_is_name(&p->token, "elif");
        if (more) ok = mica_jinja_advance(p);
    }
    ok = ok && mica_jinja_take_nodes(p, &items, node);
    mica_vec_deinit(&items);
    if (!ok) return false;
    if (mica_jinja_is_name(&p->token, "else"))
        return mica_jinja_advance(p) && parse_whole_body(p, "endif", &node->c);
    return mica_jinja_advance(p) && end_tag(p);
}

/* Is this the content of a message: x.content, x['content'], content, with filters or not? */
static bool is_content(const jinja_parser *p, const jinja_node *node) {
    while (node && node->kind == JINJA_NODE_FILTER) node = node->a;
    if (!node) return false;
    const jinja_value *name = NULL;
    if (node->kind == JINJA_NODE_ATTRIBUTE) name = &node->value;
    if (node->kind == JINJA_NODE_ITEM && node->b->kind == JINJA_NODE_CONSTANT)
        name = &node->b->value;
    if (name) return name->kind == JINJA_STRING && mica_slice_is(mica_jinja_slice(name), "content");
    if (node->kind != JINJA_NODE_NAME) return false;
    const jinja_string *s = ((jinja_symbol *)mica_vec_at(&p->symbols, (size_t)node->symbol))->name;
    return mica_slice_is(mica_slice_of(s->data, s->bytes), "content");
}

static bool parse_for(jinja_parser *p, jinja_node *node) {
    static const char *const ends[] = {"else", "endfor", NULL};
    if (!mica_jinja_parse_target(p, false, &node->a)) return false;
    if (!mica_jinja_is_name(&p->token, "in")) return mica_jinja_fail_token(p, "'in'");
    if (!mica_jinja_advance(p) || !mica_jinja_parse_tuple(p, false, &node->b)) return false;
    p->iterates_over_content = p->iterates_over_content || is_content(p, node->b);
    if (mica_jinja_is_name(&p->token, "if"))
        if (!mica_jinja_advance(p) || !mica_jinja_parse_expression(p, true, &node->c)) return false;
    if (mica_jinja_is_name(&p->token, "recursive"))
        return mica_jinja_fail(p->run, MICA_STATUS_UNSUPPORTED,
                               "recursive loops are not supported");
    node->items = mica_jinja_alloc(p->run, 2, sizeof *node->items);
    if (!node->items) return false;
    node->items[1] = NULL;
    node->count = 2;
    p->loop_depth++;
    if (!parse_body(p, ends, &node->items[0])) return false;
    p->loop_depth--;
    if (mica_jinja_is_name(&p->token, "else"))
        return mica_jinja_advance(p) && parse_whole_body(p, "endfor", &node->items[1]);
    return mica_jinja_advance(p) && end_tag(p);
}

static bool parse_set(jinja_parser *p, jinja_node *node) {
    if (!mica_jinja_parse_target(p, true, &node->a)) return false;
    if (mica_jinja_is_operator(&p->token, "="))
        return mica_jinja_advance(p) && mica_jinja_parse_tuple(p, true, &node->b) && end_tag(p);
    node->kind = JINJA_NODE_SET_BLOCK;
    return mica_jinja_parse_filters(p, false, node) && parse_whole_body(p, "endset", &node->b);
}

typedef struct parameter_lists {
    mica_vec symbols, names, defaults;
} parameter_lists;

static bool parse_parameter(jinja_parser *p, parameter_lists *lists) {
    if (p->token.kind != JINJA_TOKEN_NAME) return mica_jinja_fail_token(p, "a parameter name");
    int32_t symbol = -1;
    jinja_node *value = NULL;
    if (!mica_jinja_symbol(p, p->token.text, &symbol) || !mica_jinja_advance(p)) return false;
    jinja_symbol *s = mica_vec_at(&p->symbols, (size_t)symbol);
    s->is_assigned = true;
    jinja_string *name = s->name;
    if (mica_jinja_is_operator(&p->token, "=")) {
        if (!mica_jinja_advance(p) || !mica_jinja_parse_expression(p, true, &value)) return false;
    } else if (lists->defaults.count > 0 &&
               *(jinja_node **)mica_vec_at(&lists->defaults, lists->defaults.count - 1)) {
        return mica_jinja_fail_token(p, "no parameter without default after one with");
    }
    if (mica_vec_append(&lists->symbols, &symbol, 1) && mica_vec_append(&lists->names, &name, 1) &&
        mica_vec_append(&lists->defaults, &value, 1))
        return true;
    return mica_jinja_fail(p->run, MICA_STATUS_OUT_OF_MEMORY, "out of memory for parameters");
}

static bool copy_list(jinja_parser *p, const mica_vec *v, void **out) {
    *out = mica_jinja_alloc(p->run, v->count + 1, v->item_bytes);
    if (*out && v->count > 0) memcpy(*out, v->data, v->count * v->item_bytes);
    return *out != NULL;
}

/* "(a, b=1)" into parameters. */
static bool parse_parameters(jinja_parser *p, jinja_parameters *parameters) {
    parameter_lists lists;
    mica_vec_init(&lists.symbols, p->run->host->allocator, sizeof(int32_t));
    mica_vec_init(&lists.names, p->run->host->allocator, sizeof(jinja_string *));
    mica_vec_init(&lists.defaults, p->run->host->allocator, sizeof(jinja_node *));
    bool ok = mica_jinja_expect_operator(p, "(");
    while (ok && !mica_jinja_is_operator(&p->token, ")")) {
        if (lists.symbols.count > 0) ok = mica_jinja_expect_operator(p, ",");
        ok = ok && parse_parameter(p, &lists);
    }
    void *symbols = NULL, *names = NULL, *defaults = NULL;
    ok = ok && mica_jinja_advance(p) && copy_list(p, &lists.symbols, &symbols) &&
         copy_list(p, &lists.names, &names) && copy_list(p, &lists.defaults, &defaults);
    parameters->symbols = symbols;
    parameters->names = names;
    parameters->defaults = defaults;
    parameters->count = lists.symbols.count;
    mica_vec_deinit(&lists.symbols);
    mica_vec_deinit(&lists.names);
    mica_vec_deinit(&lists.defaults);
    return ok;
}

/* Parameters and body of a macro; names of loops outside are out of reach for break. */
static bool parse_macro_rest(jinja_parser *p, jinja_node *node, const char *end) {
    jinja_parameters *outer = p->macro;
    int outer_loops = p->loop_depth;
    p->macro = node->parameters;
    p->loop_depth = 0;
    bool has_list = mica_jinja_is_operator(&p->token, "(");
    if (has_list && !parse_parameters(p, node->parameters)) return false;
    if (strcmp(end, "endcall") == 0) {
        if (!mica_jinja_parse_expression(p, true, &node->a)) return false;
        if (node->a->kind != JINJA_NODE_CALL)
            return mica_jinja_fail_token(p, "a call in a call block");
    } else if (!has_list)
        return mica_jinja_fail_token(p, "'('");
    if (!parse_whole_body(p, end, &node->b)) return false;
    p->macro = outer;
    p->loop_depth = outer_loops;
    return true;
}

static bool new_parameters(jinja_parser *p, jinja_node *node, mica_slice name) {
    jinja_value text;
    node->parameters = mica_jinja_alloc(p->run, 1, sizeof *node->parameters);
    if (!node->parameters || !mica_jinja_string(p->run, name.data, name.bytes, false, &text))
        return false;
    *node->parameters = (jinja_parameters){.macro_name = text.as.string};
    return true;
}

static bool parse_macro(jinja_parser *p, jinja_node *node) {
    if (p->token.kind != JINJA_TOKEN_NAME) return mica_jinja_fail_token(p, "a macro name");
    if (!mica_jinja_symbol(p, p->token.text, &node->symbol) ||
        !new_parameters(p, node, p->token.text) || !mica_jinja_advance(p))
        return false;
    ((jinja_symbol *)mica_vec_at(&p->symbols, (size_t)node->symbol))->is_assigned = true;
    return parse_macro_rest(p, node, "endmacro");
}

/* {% call(a) f(x) %}body{% endcall %}: the body is a macro that f reaches as caller(). */
static bool parse_call_block(jinja_parser *p, jinja_node *node) {
    int32_t symbol;
    jinja_node *macro = mica_jinja_node(p, JINJA_NODE_MACRO);
    if (!macro || !mica_jinja_symbol(p, mica_slice_from("caller"), &symbol) ||
        !new_parameters(p, macro, mica_slice_from("caller")) ||
        !parse_macro_rest(p, macro, "endcall"))
        return false;
    node->a = macro->a;
    node->c = macro;
    return true;
}

static bool parse_with(jinja_parser *p, jinja_node *node) {
    mica_vec items;
    mica_vec_init(&items, p->run->host->allocator, sizeof(jinja_node *));
    bool ok = true;
    while (ok && !at_block_end(p)) {
        jinja_node *pair[2] = {0};
        if (items.count > 0) ok = mica_jinja_expect_operator(p, ",");
        ok = ok && mica_jinja_parse_target(p, false, &pair[0]) &&
             mica_jinja_expect_operator(p, "=") && mica_jinja_parse_expression(p, true, &pair[1]);
        if (ok && !mica_vec_append(&items, pair, 2))
            ok = mica_jinja_fail(p->run, MICA_STATUS_OUT_OF_MEMORY, "out of memory in a with");
    }
    ok = ok && mica_jinja_take_nodes(p, &items, node);
    mica_vec_deinit(&items);
    return ok && parse_whole_body(p, "endwith", &node->b);
}

static bool parse_filter_block(jinja_parser *p, jinja_node *node) {
    return mica_jinja_parse_filters(p, true, node) && parse_whole_body(p, "endfilter", &node->b);
}

static bool parse_generation(jinja_parser *p, jinja_node *node) {
    return parse_whole_body(p, "endgeneration", &node->b);
}

static bool parse_jump(jinja_parser *p, jinja_node *node) {
    (void)node;
    if (p->loop_depth == 0)
        return mica_jinja_fail(p->run, MICA_STATUS_FORMAT, "break or continue outside of a loop");
    return end_tag(p);
}

static const struct statement {
    const char *word;
    jinja_node_kind kind;
    bool (*parse)(jinja_parser *p, jinja_node *node);
} statements[] = {
    {"if", JINJA_NODE_IF, parse_if},
    {"for", JINJA_NODE_FOR, parse_for},
    {"set", JINJA_NODE_SET, parse_set},
    {"macro", JINJA_NODE_MACRO, parse_macro},
    {"call", JINJA_NODE_CALL_BLOCK, parse_call_block},
    {"filter", JINJA_NODE_FILTER_BLOCK, parse_filter_block},
    {"with", JINJA_NODE_WITH, parse_with},
    {"generation", JINJA_NODE_SCOPE, parse_generation},
    {"break", JINJA_NODE_BREAK, parse_jump},
    {"continue", JINJA_NODE_CONTINUE, parse_jump},
};

static bool parse_statement(jinja_parser *p, jinja_node **out) {
    if (p->token.kind != JINJA_TOKEN_NAME) return mica_jinja_fail_token(p, "a statement");
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        if (!mica_jinja_is_name(&p->token, statements[i].word)) continue;
        jinja_node *node = mica_jinja_node(p, statements[i].kind);
        if (!node || !mica_jinja_down(p) || !mica_jinja_down(p) || !mica_jinja_advance(p) ||
            !statements[i].parse(p, node))
            return false;
        *out = node;
        p->depth -= 2;
        return true;
    }
    int bytes = p->token.text.bytes < 40 ? (int)p->token.text.bytes : 40;
    return mica_jinja_fail(p->run, MICA_STATUS_UNSUPPORTED, "no statement named '%.*s'", bytes,
                           p->token.text.data);
}

static bool parse_output(jinja_parser *p, jinja_node **out) {
    jinja_node *node = mica_jinja_node(p, JINJA_NODE_OUTPUT);
    if (!node || !mica_jinja_advance(p) || !mica_jinja_parse_tuple(p, true, &node->a)) return false;
    if (p->token.kind != JINJA_TOKEN_VARIABLE_END) return mica_jinja_fail_token(p, "'}}'");
    *out = node;
    return mica_jinja_advance(p);
}

static bool parse_text(jinja_parser *p, jinja_node **out) {
    jinja_node *node = mica_jinja_node(p, JINJA_NODE_TEXT);
    *out = node;
    return node &&
           mica_jinja_string(p->run, p->token.text.data, p->token.text.bytes, false,
                             &node->value) &&
           mica_jinja_advance(p);
}

static bool is_one_of(const jinja_token *t, const char *const *words) {
    for (; words && *words; words++)
        if (mica_jinja_is_name(t, *words)) return true;
    return false;
}

/* One text, output or statement; *is_end when an end word stands here instead. */
static bool parse_piece(jinja_parser *p, const char *const *ends, jinja_node **out, bool *is_end) {
    *is_end = false;
    switch (p->token.kind) {
    case JINJA_TOKEN_TEXT:
        return parse_text(p, out);
    case JINJA_TOKEN_VARIABLE_BEGIN:
        return parse_output(p, out);
    case JINJA_TOKEN_BLOCK_BEGIN:
        if (!mica_jinja_advance(p)) return false;
        *is_end = is_one_of(&p->token, ends);
        return *is_end || parse_statement(p, out);
    default:
        *is_end = !ends && p->token.kind == JINJA_TOKEN_END;
        return *is_end || mica_jinja_fail_token(p, ends ? ends[0] : "a tag or text");
    }
}

/* Statements up to an end word (ends = NULL: up to the end of the template). */
static bool parse_block(jinja_parser *p, const char *const *ends, jinja_node **out) {
    jinja_node *block = mica_jinja_node(p, JINJA_NODE_BLOCK);
    if (!block) return false;
    mica_vec items;
    mica_vec_init(&items, p->run->host->allocator, sizeof(jinja_node *));
    bool ok = true, is_end = false;
    while (ok && !is_end) {
        jinja_node *node = NULL;
        ok = parse_piece(p, ends, &node, &is_end);
        if (ok && !is_end && !mica_vec_append(&items, &node, 1))
            ok = mica_jinja_fail(p->run, MICA_STATUS_OUT_OF_MEMORY, "out of memory in the parser");
    }
    ok = ok && mica_jinja_take_nodes(p, &items, block);
    mica_vec_deinit(&items);
    *out = block;
    return ok;
}

static bool check_calls(jinja_parser *p) {
    static const char *const implied[] = {"caller", "loop", "varargs", "kwargs"};
    for (size_t i = 0; i < p->calls.count; i++) {
        const jinja_node *node = *(jinja_node **)mica_vec_at(&p->calls, i);
        const jinja_symbol *s = mica_vec_at(&p->symbols, (size_t)node->symbol);
        mica_slice name = mica_slice_of(s->name->data, s->name->bytes);
        bool is_known = s->is_assigned || s->function >= 0;
        for (size_t k = 0; k < sizeof implied / sizeof *implied; k++)
            is_known = is_known || mica_slice_is(name, implied[k]);
        p->run->line = node->line;
        if (!is_known)
            return mica_jinja_fail(p->run, MICA_STATUS_UNSUPPORTED, "no function named '%.*s'",
                                   (int)(name.bytes & 127), name.data);
    }
    return true;
}

static bool mentions(mica_slice source, const char *word) {
    return source.bytes > 0 && memmem(source.data, source.bytes, word, strlen(word)) != NULL;
}

bool mica_jinja_parse(jinja_run *run, mica_slice source, jinja_program *out) {
    jinja_parser p = {.run = run};
    mica_jinja_lexer_init(&p.lexer, run, source);
    mica_vec_init(&p.symbols, run->host->allocator, sizeof(jinja_symbol));
    mica_vec_init(&p.calls, run->host->allocator, sizeof(jinja_node *));
    void *symbols = NULL;
    bool ok = mica_jinja_advance(&p) && parse_block(&p, NULL, &out->root) && check_calls(&p) &&
              copy_list(&p, &p.symbols, &symbols);
    out->symbols = symbols;
    out->n_symbols = p.symbols.count;
    out->iterates_over_content = p.iterates_over_content;
    out->takes_objects = mentions(source, "tojson") || mentions(source, "items");
    mica_vec_deinit(&p.symbols);
    mica_vec_deinit(&p.calls);
    run->line = 0;
    return ok;
}
