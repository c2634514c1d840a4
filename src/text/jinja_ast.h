/* The syntax tree of a template and what makes it: lexer (jinja_lexer.c), expressions
 * (jinja_expression.c), statements (jinja_parser.c). A tree is immutable once it is parsed.
 * Chains of one kind (a + b + c, a and b, x | f | g) are flat lists, not nested nodes. */
#pragma once
#include "base/vec.h"
#include "text/jinja_value.h"

typedef enum jinja_node_kind {
    /* expressions */
    JINJA_NODE_CONSTANT,  /* value */
    JINJA_NODE_NAME,      /* symbol */
    JINJA_NODE_LIST,      /* items */
    JINJA_NODE_TUPLE,     /* items */
    JINJA_NODE_DICT,      /* items: key, value, key, value ... */
    JINJA_NODE_MATH,      /* items and ops: + and -, or * / // %; left to right */
    JINJA_NODE_POWER,     /* items, left to right */
    JINJA_NODE_CONCAT,    /* items joined by ~ */
    JINJA_NODE_COMPARE,   /* items and ops, chained */
    JINJA_NODE_AND,       /* items */
    JINJA_NODE_OR,        /* items */
    JINJA_NODE_NOT,       /* a */
    JINJA_NODE_NEGATE,    /* a */
    JINJA_NODE_PLUS,      /* a */
    JINJA_NODE_TERNARY,   /* a if b else c; c may be NULL */
    JINJA_NODE_ATTRIBUTE, /* a.value (a name) */
    JINJA_NODE_ITEM,      /* a[b] */
    JINJA_NODE_SLICE,     /* a[items[0]:items[1]:items[2]], each may be NULL */
    JINJA_NODE_CALL,      /* a(arguments) */
    JINJA_NODE_FILTER,    /* a | row(arguments); a NULL in a filter block or a block set */
    JINJA_NODE_TEST,      /* a is row(arguments); op = 1 for `is not` */
    /* statements */
    JINJA_NODE_TEXT,   /* value: a string */
    JINJA_NODE_OUTPUT, /* a */
    JINJA_NODE_IF,     /* items: condition, block, condition, block ...; c = else block or NULL */
    JINJA_NODE_FOR,    /* a target, b iterable, items[0] body, items[1] else or NULL, c = filter */
    JINJA_NODE_SET,    /* a target, b expression */
    JINJA_NODE_SET_BLOCK,    /* a target, b body, items: filters */
    JINJA_NODE_MACRO,        /* symbol, parameters, b body */
    JINJA_NODE_CALL_BLOCK,   /* a the call, c the macro node of the caller */
    JINJA_NODE_FILTER_BLOCK, /* b body, items: filters */
    JINJA_NODE_WITH,         /* items: target, expression ...; b body */
    JINJA_NODE_SCOPE,        /* b body in a scope of its own (generation) */
    JINJA_NODE_BREAK,
    JINJA_NODE_CONTINUE,
    JINJA_NODE_BLOCK, /* items: statements */
} jinja_node_kind;

typedef enum jinja_op {
    JINJA_OP_ADD,
    JINJA_OP_SUBTRACT,
    JINJA_OP_MULTIPLY,
    JINJA_OP_DIVIDE,
    JINJA_OP_FLOOR_DIVIDE,
    JINJA_OP_MODULO,
    JINJA_OP_POWER,
    JINJA_OP_EQUAL,
    JINJA_OP_NOT_EQUAL,
    JINJA_OP_LESS,
    JINJA_OP_LESS_EQUAL,
    JINJA_OP_GREATER,
    JINJA_OP_GREATER_EQUAL,
    JINJA_OP_IN,
    JINJA_OP_NOT_IN,
} jinja_op;

typedef struct jinja_node jinja_node;

/* Arguments of a call, filter or test: positional ones, then those by keyword. */
typedef struct jinja_arguments {
    jinja_node **positional;
    size_t n_positional;
    jinja_string **names; /* [n_keyword] */
    jinja_node **keyword;
    size_t n_keyword;
    jinja_node *star;      /* *list, or NULL */
    jinja_node *star_star; /* **dictionary, or NULL */
} jinja_arguments;

/* Parameters of a macro. */
typedef struct jinja_parameters {
    jinja_string *macro_name;
    int32_t *symbols; /* [count] */
    jinja_string **names;
    jinja_node **defaults; /* [count], NULL = none */
    size_t count;
    bool takes_varargs; /* the body reads the name varargs, kwargs, caller */
    bool takes_kwargs;
    bool takes_caller;
} jinja_parameters;

struct jinja_node {
    uint8_t kind;
    uint8_t op;
    bool in_scope_of_macro;
    uint32_t line;
    int32_t symbol; /* NAME, MACRO: number of the name */
    int32_t row;    /* FILTER, TEST: row of the table; ATTRIBUTE: first method of the name or -1 */
    jinja_node *a, *b, *c;
    jinja_node **items;
    size_t count;
    uint8_t *ops; /* [count - 1] */
    jinja_value value;
    jinja_arguments *arguments;
    jinja_parameters *parameters;
};

typedef enum jinja_token_kind {
    JINJA_TOKEN_END,
    JINJA_TOKEN_TEXT,        /* text outside of tags */
    JINJA_TOKEN_BLOCK_BEGIN, /* {% */
    JINJA_TOKEN_BLOCK_END,
    JINJA_TOKEN_VARIABLE_BEGIN, /* {{ */
    JINJA_TOKEN_VARIABLE_END,
    JINJA_TOKEN_NAME,
    JINJA_TOKEN_STRING, /* text with quotes and escapes as written */
    JINJA_TOKEN_INTEGER,
    JINJA_TOKEN_FLOAT,
    JINJA_TOKEN_OPERATOR, /* text: "+", "//", "==", "(" ... */
} jinja_token_kind;

typedef struct jinja_token {
    jinja_token_kind kind;
    mica_slice text;
    uint32_t line;
} jinja_token;

/* Threads: one at a time. source has "\n" line ends only and outlives the tree. */
typedef struct jinja_lexer {
    jinja_run *run;
    const char *source;
    size_t bytes;
    size_t at;
    uint32_t line;
    enum { JINJA_IN_TEXT, JINJA_IN_BLOCK, JINJA_IN_VARIABLE } mode;
    int n_open;         /* brackets open in this tag */
    bool at_line_start; /* nothing but white space stands before `at` on its line */
} jinja_lexer;

void mica_jinja_lexer_init(jinja_lexer *lexer, jinja_run *run, mica_slice source);
bool mica_jinja_lexer_next(jinja_lexer *lexer, jinja_token *out);
/* The value of a string token. */
bool mica_jinja_unescape(jinja_run *run, const jinja_token *token, jinja_value *out);

/* A name of the template: variables are found by number. */
typedef struct jinja_symbol {
    jinja_string *name;
    int32_t function; /* row of the global function of this name, or -1 */
    bool is_assigned; /* by set, for, macro, with or as a parameter */
    bool is_read;
} jinja_symbol;

#define JINJA_OPEN_BRACKETS_MAX 128

typedef struct jinja_parser {
    jinja_run *run;
    jinja_lexer lexer;
    jinja_token token; /* the current one */
    jinja_token ahead; /* the one after it, if has_ahead */
    bool has_ahead;
    int depth;
    int loop_depth;          /* loops around, inside of the current macro */
    mica_vec symbols;        /* jinja_symbol */
    jinja_parameters *macro; /* around the current place, or NULL */
    mica_vec calls;          /* jinja_node *: calls of plain names, checked at the end */
    bool iterates_over_content;
} jinja_parser;

/* What a template compiles to. */
typedef struct jinja_program {
    jinja_node *root;
    const jinja_symbol *symbols; /* [n_symbols] */
    size_t n_symbols;
    bool iterates_over_content; /* has a `for` over something named content */
    bool takes_objects;         /* has tojson or items: arguments of calls may be objects */
} jinja_program;

/* Parses a whole template; everything lives in the run's arena. Errors: FORMAT with the line,
 * UNSUPPORTED for a statement, filter, test or function that is not known, LIMIT. */
bool mica_jinja_parse(jinja_run *run, mica_slice source, jinja_program *out);

/* Between jinja_parser.c and jinja_expression.c. */
bool mica_jinja_advance(jinja_parser *p);
bool mica_jinja_look_ahead(jinja_parser *p);
bool mica_jinja_is_operator(const jinja_token *t, const char *text);
bool mica_jinja_is_name(const jinja_token *t, const char *text);
bool mica_jinja_expect_operator(jinja_parser *p, const char *text);
bool mica_jinja_fail_token(jinja_parser *p, const char *wanted);
bool mica_jinja_symbol(jinja_parser *p, mica_slice name, int32_t *out);
jinja_node *mica_jinja_node(jinja_parser *p, jinja_node_kind kind);
bool mica_jinja_down(jinja_parser *p); /* one nesting level; leave with p->depth-- */
/* Collects nodes and copies them into the arena. */
bool mica_jinja_take_nodes(jinja_parser *p, mica_vec *from, jinja_node *to);
/* Expression without (parse_or) or with a trailing `if ... else ...`. */
bool mica_jinja_parse_expression(jinja_parser *p, bool with_condition, jinja_node **out);
/* Expressions separated by commas make a tuple. */
bool mica_jinja_parse_tuple(jinja_parser *p, bool with_condition, jinja_node **out);
/* name, name.attribute (for set) or a tuple of names. */
bool mica_jinja_parse_target(jinja_parser *p, bool with_attribute, jinja_node **out);
/* Filters of `filter` blocks and block sets, without their subject. */
bool mica_jinja_parse_filters(jinja_parser *p, bool starts_with_name, jinja_node *holder);
bool mica_jinja_parse_arguments(jinja_parser *p, jinja_arguments **out);
