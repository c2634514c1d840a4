/* Parses the expressions of templates: precedence as in Jinja (filters and tests bind tightest,
 * then ** * ~ + comparison not and or if-else). Native recursion is counted. */
#include <string.h>
#include "base/vec.h"
#include "text/jinja_ast.h"
#include "text/jinja_table.h"
#include "text/template.h"

/* Levels of binary operators, loosest first. */
enum {
    LEVEL_OR,
    LEVEL_AND,
    LEVEL_NOT,
    LEVEL_COMPARE,
    LEVEL_SUM,
    LEVEL_CONCAT,
    LEVEL_PRODUCT,
    LEVEL_POWER,
    LEVEL_UNARY
};

static bool parse_level(jinja_parser *p, int level, jinja_node **out);
static bool parse_unary(jinja_parser *p, bool with_filters, jinja_node **out);
static bool parse_primary(jinja_parser *p, jinja_node **out);
static bool parse_postfix(jinja_parser *p, jinja_node **node);

static bool at_operator(jinja_parser *p, const char *text) {
    return mica_jinja_is_operator(&p->token, text);
}

static bool push_node(jinja_parser *p, mica_vec *v, jinja_node *node) {
    if (mica_vec_append(v, &node, 1)) return true;
    return mica_jinja_fail(p->run, MICA_STATUS_OUT_OF_MEMORY,
                           "out of memory in the template parser");
}

bool mica_jinja_take_nodes(jinja_parser *p, mica_vec *from, jinja_node *to) {
    to->items = mica_jinja_alloc(p->run, from->count + 1, sizeof *to->items);
    if (!to->items) return false;
    if (from->count > 0) memcpy(to->items, from->data, from->count * sizeof *to->items);
    to->count = from->count;
    return true;
}

/* --- operators --- */
static bool match_compare(jinja_parser *p, uint8_t *op) {
    static const struct {
        const char *text;
        uint8_t op;
    } rows[] = {{"==", JINJA_OP_EQUAL},  {"!=", JINJA_OP_NOT_EQUAL},
                {"<", JINJA_OP_LESS},    {"<=", JINJA_OP_LESS_EQUAL},
                {">", JINJA_OP_GREATER}, {">=", JINJA_OP_GREATER_EQUAL}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        *op = rows[i].op;
        if (at_operator(p, rows[i].text)) return mica_jinja_advance(p);
    }
    *op = JINJA_OP_IN;
    if (mica_jinja_is_name(&p->token, "in")) return mica_jinja_advance(p);
    *op = JINJA_OP_NOT_IN;
    if (!mica_jinja_is_name(&p->token, "not") || !mica_jinja_look_ahead(p) ||
        !mica_jinja_is_name(&p->ahead, "in"))
        return false;
    return mica_jinja_advance(p) && mica_jinja_advance(p);
}

/* Takes an operator of this level if one stands here; errors show in run->status. */
static bool match_level(jinja_parser *p, int level, uint8_t *op) {
    static const struct {
        const char *text;
        uint8_t level, op;
    } rows[] = {{"+", LEVEL_SUM, JINJA_OP_ADD},
                {"-", LEVEL_SUM, JINJA_OP_SUBTRACT},
                {"~", LEVEL_CONCAT, 0},
                {"*", LEVEL_PRODUCT, JINJA_OP_MULTIPLY},
                {"/", LEVEL_PRODUCT, JINJA_OP_DIVIDE},
                {"//", LEVEL_PRODUCT, JINJA_OP_FLOOR_DIVIDE},
                {"%", LEVEL_PRODUCT, JINJA_OP_MODULO},
                {"**", LEVEL_POWER, JINJA_OP_POWER}};
    if (level == LEVEL_COMPARE) return match_compare(p, op);
    *op = 0;
    if (level == LEVEL_OR || level == LEVEL_AND)
        return mica_jinja_is_name(&p->token, level == LEVEL_OR ? "or" : "and") &&
               mica_jinja_advance(p);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].level != level || !at_operator(p, rows[i].text)) continue;
        *op = rows[i].op;
        return mica_jinja_advance(p);
    }
    return false;
}

/* items joined by operators of one level, as one flat node. */
static bool parse_chain(jinja_parser *p, int level, jinja_node *first, uint8_t op,
                        jinja_node **out) {
    static const uint8_t kinds[] = {
        [LEVEL_OR] = JINJA_NODE_OR,           [LEVEL_AND] = JINJA_NODE_AND,
        [LEVEL_COMPARE] = JINJA_NODE_COMPARE, [LEVEL_SUM] = JINJA_NODE_MATH,
        [LEVEL_CONCAT] = JINJA_NODE_CONCAT,   [LEVEL_PRODUCT] = JINJA_NODE_MATH,
        [LEVEL_POWER] = JINJA_NODE_POWER};
    mica_vec items, ops;
    mica_vec_init(&items, p->run->host->allocator, sizeof(jinja_node *));
    mica_vec_init(&ops, p->run->host->allocator, 1);
    bool ok = push_node(p, &items, first);
    bool more = ok;
    while (ok && more) {
        jinja_node *item = NULL;
        ok = parse_level(p, level + 1, &item) && push_node(p, &items, item);
        if (ok && !mica_vec_append(&ops, &op, 1))
            ok = mica_jinja_fail(p->run, MICA_STATUS_OUT_OF_MEMORY,
                                 "out of memory in an expression");
        more = ok && match_level(p, level, &op);
    }
    jinja_node *node = ok ? mica_jinja_node(p, (jinja_node_kind)kinds[level]) : NULL;
    ok = node && mica_jinja_take_nodes(p, &items, node);
    if (ok) {
        node->line = first->line;
        node->ops = mica_jinja_alloc(p->run, ops.count, 1);
        if (node->ops) memcpy(node->ops, ops.data, ops.count);
        *out = node;
    }
    mica_vec_deinit(&items);
    mica_vec_deinit(&ops);
    return ok && p->run->status == MICA_STATUS_OK;
}

static bool parse_not(jinja_parser *p, jinja_node **out) {
    uint32_t line = p->token.line;
    if (!mica_jinja_down(p) || !mica_jinja_advance(p)) return false;
    jinja_node *node = mica_jinja_node(p, JINJA_NODE_NOT);
    if (!node || !parse_level(p, LEVEL_NOT, &node->a)) return false;
    node->line = line;
    *out = node;
    p->depth--;
    return true;
}

/* Every level: its operand is the next level, then a chain if an operator follows. The operand of
 * the tightest level is parsed first and carried up, so that nesting costs few native frames. */
static bool parse_level(jinja_parser *p, int level, jinja_node **out) {
    jinja_node *node = NULL;
    uint8_t op = 0;
    if (level <= LEVEL_NOT && mica_jinja_is_name(&p->token, "not")) {
        if (!parse_not(p, &node)) return false;
        for (int l = LEVEL_AND; l >= level; l--)
            if (match_level(p, l, &op) && !parse_chain(p, l, node, op, &node)) return false;
        *out = node;
        return p->run->status == MICA_STATUS_OK;
    }
    if (!parse_unary(p, true, &node)) return false;
    for (int l = LEVEL_POWER; l >= level; l--) {
        if (l == LEVEL_NOT) continue;
        if (match_level(p, l, &op) && !parse_chain(p, l, node, op, &node)) return false;
        if (p->run->status != MICA_STATUS_OK) return false;
    }
    *out = node;
    return true;
}

bool mica_jinja_parse_expression(jinja_parser *p, bool with_condition, jinja_node **out) {
    if (!mica_jinja_down(p) || !parse_level(p, LEVEL_OR, out)) return false;
    while (with_condition && mica_jinja_is_name(&p->token, "if")) {
        jinja_node *node = mica_jinja_node(p, JINJA_NODE_TERNARY);
        if (!node || !mica_jinja_advance(p)) return false;
        node->b = *out;
        if (!parse_level(p, LEVEL_OR, &node->a)) return false;
        if (mica_jinja_is_name(&p->token, "else"))
            if (!mica_jinja_advance(p) || !mica_jinja_parse_expression(p, true, &node->c))
                return false;
        *out = node;
    }
    p->depth--;
    return true;
}

/* What can follow the last item of a tuple. */
static bool at_tuple_end(jinja_parser *p) {
    return p->token.kind == JINJA_TOKEN_VARIABLE_END || p->token.kind == JINJA_TOKEN_BLOCK_END ||
           at_operator(p, ")") || at_operator(p, "=") || mica_jinja_is_name(&p->token, "in");
}

bool mica_jinja_parse_tuple(jinja_parser *p, bool with_condition, jinja_node **out) {
    jinja_node *first = NULL;
    if (!mica_jinja_parse_expression(p, with_condition, &first)) return false;
    *out = first;
    if (!at_operator(p, ",")) return true;
    mica_vec items;
    mica_vec_init(&items, p->run->host->allocator, sizeof(jinja_node *));
    bool ok = push_node(p, &items, first);
    while (ok && at_operator(p, ",")) {
        jinja_node *item = NULL;
        ok = mica_jinja_advance(p);
        if (ok && at_tuple_end(p)) break;
        ok = ok && mica_jinja_parse_expression(p, with_condition, &item) &&
             push_node(p, &items, item);
    }
    jinja_node *node = ok ? mica_jinja_node(p, JINJA_NODE_TUPLE) : NULL;
    ok = node && mica_jinja_take_nodes(p, &items, node);
    *out = node;
    mica_vec_deinit(&items);
    return ok;
}

/* --- targets of set and for --- */
static bool parse_target_name(jinja_parser *p, bool with_attribute, jinja_node **out) {
    static const char *const reserved[] = {"true", "false", "none", "True", "False", "None"};
    if (p->token.kind != JINJA_TOKEN_NAME) return mica_jinja_fail_token(p, "a name");
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (mica_jinja_is_name(&p->token, reserved[i]))
            return mica_jinja_fail(p->run, MICA_STATUS_FORMAT, "cannot assign to '%s'",
                                   reserved[i]);
    jinja_node *name = mica_jinja_node(p, JINJA_NODE_NAME);
    if (!name || !mica_jinja_symbol(p, p->token.text, &name->symbol) || !mica_jinja_advance(p))
        return false;
    *out = name;
    jinja_symbol *symbol = mica_vec_at(&p->symbols, (size_t)name->symbol);
    if (!with_attribute || !at_operator(p, ".")) {
        symbol->is_assigned = true;
        return true;
    }
    symbol->is_read = true;
    jinja_node *node = mica_jinja_node(p, JINJA_NODE_ATTRIBUTE);
    if (!node || !mica_jinja_advance(p)) return false;
    if (p->token.kind != JINJA_TOKEN_NAME) return mica_jinja_fail_token(p, "an attribute name");
    node->a = name;
    *out = node;
    return mica_jinja_string(p->run, p->token.text.data, p->token.text.bytes, false,
                             &node->value) &&
           mica_jinja_advance(p);
}

static bool parse_target_item(jinja_parser *p, bool with_attribute, jinja_node **out) {
    if (!at_operator(p, "(")) return parse_target_name(p, with_attribute, out);
    if (!mica_jinja_down(p) || !mica_jinja_advance(p) ||
        !mica_jinja_parse_target(p, with_attribute, out) || !mica_jinja_expect_operator(p, ")"))
        return false;
    p->depth--;
    return true;
}

bool mica_jinja_parse_target(jinja_parser *p, bool with_attribute, jinja_node **out) {
    if (!parse_target_item(p, with_attribute, out)) return false;
    if (!at_operator(p, ",")) return true;
    mica_vec items;
    mica_vec_init(&items, p->run->host->allocator, sizeof(jinja_node *));
    bool ok = push_node(p, &items, *out);
    while (ok && at_operator(p, ",")) {
        jinja_node *item = NULL;
        ok = mica_jinja_advance(p);
        if (ok && at_tuple_end(p)) break;
        ok = ok && parse_target_item(p, with_attribute, &item) && push_node(p, &items, item);
    }
    jinja_node *node = ok ? mica_jinja_node(p, JINJA_NODE_TUPLE) : NULL;
    ok = node && mica_jinja_take_nodes(p, &items, node);
    *out = node;
    mica_vec_deinit(&items);
    return ok;
}

/* --- primaries --- */
static bool parse_number(jinja_parser *p, jinja_node *node) {
    char digits[64];
    size_t n = 0;
    const mica_slice text = p->token.text;
    for (size_t i = 0; i < text.bytes; i++)
        if (text.data[i] != '_') {
            if (n + 1 >= sizeof digits)
                return mica_jinja_fail(p->run, MICA_STATUS_LIMIT,
                                       "a number of more than 63 digits");
            digits[n++] = text.data[i];
        }
    if (p->token.kind == JINJA_TOKEN_FLOAT) {
        node->value.kind = JINJA_FLOAT;
        if (!mica_parse_double(mica_slice_of(digits, n), &node->value.as.real))
            return mica_jinja_fail(p->run, MICA_STATUS_LIMIT, "a number that is too large");
        return true;
    }
    int base = 10;
    size_t i = 0;
    if (n > 1 && digits[0] == '0' && digits[1] > '9') {
        base = (digits[1] | 32) == 'x' ? 16 : (digits[1] | 32) == 'o' ? 8 : 2;
        i = 2;
    }
    int64_t value = 0;
    for (; i < n; i++) {
        int digit = digits[i] <= '9' ? digits[i] - '0' : (digits[i] | 32) - 'a' + 10;
        if (digit >= base) return mica_jinja_fail_token(p, "a number");
        if (__builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return mica_jinja_fail(p->run, MICA_STATUS_LIMIT, "an integer beyond 64 bits");
    }
    node->value = mica_jinja_int(value);
    return true;
}

/* Neighbouring string literals are one string. */
static bool parse_strings(jinja_parser *p, jinja_node *node) {
    if (!mica_jinja_unescape(p->run, &p->token, &node->value) || !mica_jinja_advance(p))
        return false;
    while (p->token.kind == JINJA_TOKEN_STRING) {
        jinja_value both[2] = {node->value};
        if (!mica_jinja_unescape(p->run, &p->token, &both[1]) ||
            !mica_jinja_concatenate(p->run, both, 2, &node->value) || !mica_jinja_advance(p))
            return false;
    }
    node->value.as.string->buffer = NULL; /* constants are shared by threads */
    return true;
}

static bool parse_name(jinja_parser *p, jinja_node *node) {
    static const struct {
        const char *name;
        jinja_value value;
    } constants[] = {{"true", {.kind = JINJA_BOOL, .as.boolean = true}},
                     {"True", {.kind = JINJA_BOOL, .as.boolean = true}},
                     {"false", {.kind = JINJA_BOOL}},
                     {"False", {.kind = JINJA_BOOL}},
                     {"none", {.kind = JINJA_NONE}},
                     {"None", {.kind = JINJA_NONE}}};
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (mica_jinja_is_name(&p->token, constants[i].name)) {
            node->value = constants[i].value;
            return mica_jinja_advance(p);
        }
    node->kind = JINJA_NODE_NAME;
    if (!mica_jinja_symbol(p, p->token.text, &node->symbol)) return false;
    jinja_symbol *symbol = mica_vec_at(&p->symbols, (size_t)node->symbol);
    symbol->is_read = true;
    if (p->macro) {
        p->macro->takes_varargs |= mica_jinja_is_name(&p->token, "varargs");
        p->macro->takes_kwargs |= mica_jinja_is_name(&p->token, "kwargs");
        p->macro->takes_caller |= mica_jinja_is_name(&p->token, "caller");
    }
    return mica_jinja_advance(p);
}

/* Items up to a closing bracket; with `is_dict` each is key: value. */
static bool parse_items(jinja_parser *p, const char *close, bool is_dict, jinja_node *node) {
    mica_vec items;
    mica_vec_init(&items, p->run->host->allocator, sizeof(jinja_node *));
    bool ok = mica_jinja_advance(p);
    while (ok && !at_operator(p, close)) {
        jinja_node *item = NULL;
        if (items.count > 0) ok = mica_jinja_expect_operator(p, ",");
        if (!ok || at_operator(p, close)) break;
        ok = mica_jinja_parse_expression(p, true, &item) && push_node(p, &items, item);
        if (ok && is_dict)
            ok = mica_jinja_expect_operator(p, ":") &&
                 mica_jinja_parse_expression(p, true, &item) && push_node(p, &items, item);
    }
    ok = ok && mica_jinja_take_nodes(p, &items, node) && mica_jinja_expect_operator(p, close);
    mica_vec_deinit(&items);
    return ok;
}

static bool parse_parenthesis(jinja_parser *p, jinja_node **out) {
    if (!mica_jinja_advance(p)) return false;
    if (at_operator(p, ")")) {
        *out = mica_jinja_node(p, JINJA_NODE_TUPLE);
        return *out && mica_jinja_advance(p);
    }
    return mica_jinja_parse_tuple(p, true, out) && mica_jinja_expect_operator(p, ")");
}

static bool parse_primary(jinja_parser *p, jinja_node **out) {
    if (at_operator(p, "(")) return parse_parenthesis(p, out);
    jinja_node *node = mica_jinja_node(p, JINJA_NODE_CONSTANT);
    if (!node) return false;
    *out = node;
    if (p->token.kind == JINJA_TOKEN_NAME) return parse_name(p, node);
    if (p->token.kind == JINJA_TOKEN_STRING) return parse_strings(p, node);
    if (p->token.kind == JINJA_TOKEN_INTEGER || p->token.kind == JINJA_TOKEN_FLOAT)
        return parse_number(p, node) && mica_jinja_advance(p);
    if (at_operator(p, "[")) {
        node->kind = JINJA_NODE_LIST;
        return parse_items(p, "]", false, node);
    }
    if (at_operator(p, "{")) {
        node->kind = JINJA_NODE_DICT;
        return parse_items(p, "}", true, node);
    }
    return mica_jinja_fail_token(p, "an expression");
}

/* --- postfix: subscripts, calls, filters, tests --- */
static bool push_keyword(jinja_parser *p, mica_vec *names, mica_vec *values) {
    jinja_value name;
    jinja_node *value = NULL;
    if (!mica_jinja_string(p->run, p->token.text.data, p->token.text.bytes, false, &name) ||
        !mica_jinja_advance(p) || !mica_jinja_advance(p) ||
        !mica_jinja_parse_expression(p, true, &value))
        return false;
    if (mica_vec_append(names, &name.as.string, 1) && push_node(p, values, value)) return true;
    return mica_jinja_fail(p->run, MICA_STATUS_OUT_OF_MEMORY, "out of memory in a call");
}

static bool parse_argument(jinja_parser *p, jinja_arguments *a, mica_vec *positional,
                           mica_vec *names, mica_vec *values) {
    jinja_node *node = NULL;
    bool is_star = at_operator(p, "*"), is_star_star = at_operator(p, "**");
    if (is_star || is_star_star) {
        jinja_node **slot = is_star ? &a->star : &a->star_star;
        if (*slot) return mica_jinja_fail_token(p, "one * and one ** argument at most");
        return mica_jinja_advance(p) && mica_jinja_parse_expression(p, true, slot);
    }
    if (p->token.kind == JINJA_TOKEN_NAME) {
        if (!mica_jinja_look_ahead(p)) return false;
        if (mica_jinja_is_operator(&p->ahead, "=")) return push_keyword(p, names, values);
    }
    if (names->count > 0 || a->star_star)
        return mica_jinja_fail_token(p, "no positional argument after keyword arguments");
    return mica_jinja_parse_expression(p, true, &node) && push_node(p, positional, node);
}

static void *copy_vec(jinja_parser *p, const mica_vec *v) {
    void *memory = mica_jinja_alloc(p->run, v->count + 1, v->item_bytes);
    if (memory && v->count > 0) memcpy(memory, v->data, v->count * v->item_bytes);
    return memory;
}

bool mica_jinja_parse_arguments(jinja_parser *p, jinja_arguments **out) {
    jinja_arguments *a = mica_jinja_alloc(p->run, 1, sizeof *a);
    if (!a) return false;
    *a = (jinja_arguments){0};
    *out = a;
    mica_vec positional, names, values;
    mica_vec_init(&positional, p->run->host->allocator, sizeof(jinja_node *));
    mica_vec_init(&names, p->run->host->allocator, sizeof(jinja_string *));
    mica_vec_init(&values, p->run->host->allocator, sizeof(jinja_node *));
    bool ok = mica_jinja_advance(p), is_first = true;
    while (ok && !at_operator(p, ")")) {
        if (!is_first) ok = mica_jinja_expect_operator(p, ",");
        is_first = false;
        if (!ok || at_operator(p, ")")) break;
        ok = parse_argument(p, a, &positional, &names, &values);
    }
    if (ok) {
        a->positional = copy_vec(p, &positional);
        a->names = copy_vec(p, &names);
        a->keyword = copy_vec(p, &values);
        a->n_positional = positional.count;
        a->n_keyword = names.count;
        ok = a->positional && a->names && a->keyword && mica_jinja_expect_operator(p, ")");
    }
    mica_vec_deinit(&positional);
    mica_vec_deinit(&names);
    mica_vec_deinit(&values);
    return ok;
}

static bool parse_attribute(jinja_parser *p, jinja_node *subject, jinja_node **out) {
    jinja_node *node = mica_jinja_node(p, JINJA_NODE_ATTRIBUTE);
    if (!node || !mica_jinja_advance(p)) return false;
    *out = node;
    node->a = subject;
    if (p->token.kind == JINJA_TOKEN_INTEGER) {
        node->kind = JINJA_NODE_ITEM;
        node->b = mica_jinja_node(p, JINJA_NODE_CONSTANT);
        return node->b && parse_number(p, node->b) && mica_jinja_advance(p);
    }
    if (p->token.kind != JINJA_TOKEN_NAME) return mica_jinja_fail_token(p, "a name or a number");
    if (!mica_jinja_string(p->run, p->token.text.data, p->token.text.bytes, false, &node->value))
        return false;
    node->row = mica_jinja_find_method(p->token.text);
    return mica_jinja_advance(p);
}

/* [expression] or [from:to:step] */
static bool parse_subscript(jinja_parser *p, jinja_node *subject, jinja_node **out) {
    jinja_node *node = mica_jinja_node(p, JINJA_NODE_ITEM);
    jinja_node *parts[3] = {0};
    int n_colons = 0;
    if (!node || !mica_jinja_advance(p)) return false;
    *out = node;
    node->a = subject;
    while (!at_operator(p, "]")) {
        if (at_operator(p, ":")) {
            if (++n_colons > 2) return mica_jinja_fail_token(p, "']'");
            if (!mica_jinja_advance(p)) return false;
            continue;
        }
        if (parts[n_colons]) return mica_jinja_fail_token(p, "']'");
        if (!mica_jinja_parse_expression(p, true, &parts[n_colons])) return false;
    }
    if (n_colons == 0) {
        node->b = parts[0];
        if (!node->b) return mica_jinja_fail_token(p, "a subscript");
        return mica_jinja_advance(p);
    }
    node->kind = JINJA_NODE_SLICE;
    node->items = mica_jinja_alloc(p->run, 3, sizeof *node->items);
    if (!node->items) return false;
    memcpy(node->items, parts, sizeof parts);
    node->count = 3;
    return mica_jinja_advance(p);
}

static bool parse_call(jinja_parser *p, jinja_node *callee, jinja_node **out) {
    jinja_node *node = mica_jinja_node(p, JINJA_NODE_CALL);
    if (!node) return false;
    *out = node;
    node->a = callee;
    if (callee->kind == JINJA_NODE_NAME && !push_node(p, &p->calls, callee)) return false;
    return mica_jinja_parse_arguments(p, &node->arguments);
}

/* Long chains of subscripts and filters nest in the tree, so their length is a depth as well. */
static bool count_link(jinja_parser *p, int *n_links) {
    if (++*n_links <= MICA_TEMPLATE_DEPTH_MAX) return true;
    return mica_jinja_fail(p->run, MICA_STATUS_LIMIT, "a chain of more than %d links",
                           MICA_TEMPLATE_DEPTH_MAX);
}

static bool parse_postfix(jinja_parser *p, jinja_node **node) {
    for (int n_links = 0;;) {
        bool ok = true;
        if (at_operator(p, "."))
            ok = parse_attribute(p, *node, node);
        else if (at_operator(p, "["))
            ok = parse_subscript(p, *node, node);
        else if (at_operator(p, "("))
            ok = parse_call(p, *node, node);
        else
            return true;
        if (!ok || !count_link(p, &n_links)) return false;
    }
}

/* map("upper"), select("odd") ...: a literal name must be known at load. */
static bool check_named(jinja_parser *p, const jinja_node *node, const char *filter) {
    bool names_filter = strcmp(filter, "map") == 0;
    size_t at = 0;
    if (strcmp(filter, "selectattr") == 0 || strcmp(filter, "rejectattr") == 0)
        at = 1;
    else if (!names_filter && strcmp(filter, "select") != 0 && strcmp(filter, "reject") != 0)
        return true;
    if (!node->arguments || node->arguments->n_positional <= at) return true;
    const jinja_node *name = node->arguments->positional[at];
    if (name->kind != JINJA_NODE_CONSTANT || name->value.kind != JINJA_STRING) return true;
    mica_slice text = mica_jinja_slice(&name->value);
    if ((names_filter ? mica_jinja_find_filter(text) : mica_jinja_find_test(text)) >= 0)
        return true;
    return mica_jinja_fail(p->run, MICA_STATUS_UNSUPPORTED, "no %s named '%.*s'",
                           names_filter ? "filter" : "test", (int)(text.bytes & 127), text.data);
}

static bool parse_filter(jinja_parser *p, jinja_node *subject, jinja_node **out) {
    jinja_node *node = mica_jinja_node(p, JINJA_NODE_FILTER);
    if (!node) return false;
    *out = node;
    node->a = subject;
    if (p->token.kind != JINJA_TOKEN_NAME) return mica_jinja_fail_token(p, "a filter name");
    node->row = mica_jinja_find_filter(p->token.text);
    if (node->row < 0)
        return mica_jinja_fail(p->run, MICA_STATUS_UNSUPPORTED, "no filter named '%.*s'",
                               (int)(p->token.text.bytes & 127), p->token.text.data);
    if (!mica_jinja_advance(p)) return false;
    if (at_operator(p, "(") && !mica_jinja_parse_arguments(p, &node->arguments)) return false;
    return check_named(p, node, mica_jinja_filter(node->row)->name);
}

bool mica_jinja_parse_filters(jinja_parser *p, bool starts_with_name, jinja_node *holder) {
    mica_vec items;
    mica_vec_init(&items, p->run->host->allocator, sizeof(jinja_node *));
    bool ok = true;
    while (ok && (starts_with_name || at_operator(p, "|"))) {
        jinja_node *node = NULL;
        if (!starts_with_name) ok = mica_jinja_advance(p);
        starts_with_name = false;
        ok = ok && parse_filter(p, NULL, &node) && push_node(p, &items, node);
    }
    ok = ok && mica_jinja_take_nodes(p, &items, holder);
    mica_vec_deinit(&items);
    return ok;
}

/* Does an argument without parentheses follow the name of a test? */
static bool at_test_argument(jinja_parser *p) {
    static const char *const ends[] = {"else", "or", "and", "if"};
    if (p->token.kind == JINJA_TOKEN_NAME) {
        for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
            if (mica_jinja_is_name(&p->token, ends[i])) return false;
        /* `x is defined in y` and `is defined not in` are comparisons to us, errors to Jinja. */
        return !mica_jinja_is_name(&p->token, "in") && !mica_jinja_is_name(&p->token, "not");
    }
    return p->token.kind == JINJA_TOKEN_STRING || p->token.kind == JINJA_TOKEN_INTEGER ||
           p->token.kind == JINJA_TOKEN_FLOAT || at_operator(p, "[") || at_operator(p, "{");
}

static bool parse_test_argument(jinja_parser *p, jinja_node *node) {
    if (at_operator(p, "(")) return mica_jinja_parse_arguments(p, &node->arguments);
    if (!at_test_argument(p)) return true;
    if (mica_jinja_is_name(&p->token, "is"))
        return mica_jinja_fail_token(p, "one test only: tests cannot be chained");
    jinja_arguments *a = mica_jinja_alloc(p->run, 1, sizeof *a);
    if (!a) return false;
    *a = (jinja_arguments){.n_positional = 1};
    a->positional = mica_jinja_alloc(p->run, 1, sizeof *a->positional);
    node->arguments = a;
    if (!a->positional || !mica_jinja_down(p) || !parse_primary(p, &a->positional[0]) ||
        !parse_postfix(p, &a->positional[0]))
        return false;
    p->depth--;
    return true;
}

static bool parse_test(jinja_parser *p, jinja_node *subject, jinja_node **out) {
    jinja_node *node = mica_jinja_node(p, JINJA_NODE_TEST);
    if (!node || !mica_jinja_advance(p)) return false;
    *out = node;
    node->a = subject;
    node->op = mica_jinja_is_name(&p->token, "not");
    if (node->op && !mica_jinja_advance(p)) return false;
    if (p->token.kind != JINJA_TOKEN_NAME) return mica_jinja_fail_token(p, "a test name");
    node->row = mica_jinja_find_test(p->token.text);
    if (node->row < 0)
        return mica_jinja_fail(p->run, MICA_STATUS_UNSUPPORTED, "no test named '%.*s'",
                               (int)(p->token.text.bytes & 127), p->token.text.data);
    return mica_jinja_advance(p) && parse_test_argument(p, node);
}

static bool parse_filters_and_tests(jinja_parser *p, jinja_node **node) {
    for (int n_links = 0;;) {
        bool ok = true;
        if (at_operator(p, "|"))
            ok = mica_jinja_advance(p) && parse_filter(p, *node, node);
        else if (mica_jinja_is_name(&p->token, "is"))
            ok = parse_test(p, *node, node);
        else if (at_operator(p, "("))
            ok = parse_call(p, *node, node);
        else
            return true;
        if (!ok || !count_link(p, &n_links)) return false;
    }
}

static bool parse_unary(jinja_parser *p, bool with_filters, jinja_node **out) {
    if (!mica_jinja_down(p)) return false;
    bool is_minus = at_operator(p, "-");
    if (is_minus || at_operator(p, "+")) {
        *out = mica_jinja_node(p, is_minus ? JINJA_NODE_NEGATE : JINJA_NODE_PLUS);
        if (!*out || !mica_jinja_advance(p) || !parse_unary(p, false, &(*out)->a)) return false;
    } else if (!parse_primary(p, out))
        return false;
    if (!parse_postfix(p, out)) return false;
    if (with_filters && !parse_filters_and_tests(p, out)) return false;
    p->depth--;
    return true;
}
