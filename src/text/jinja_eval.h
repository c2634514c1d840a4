/* Runs a parsed template: jinja_eval.c walks expressions and calls, jinja_exec.c statements. */
#pragma once
#include "text/jinja_ast.h"
#include "text/jinja_table.h"

typedef struct jinja_binding {
    int32_t symbol;
    jinja_value value;
} jinja_binding;

/* Variables of one level; the outermost has a slot for each name of the template. */
typedef struct jinja_scope jinja_scope;
struct jinja_scope {
    jinja_scope *parent; /* NULL: the outermost */
    jinja_value *slots;  /* outermost only: [n_symbols], ABSENT = not set */
    jinja_binding *bindings;
    size_t count;
    size_t capacity;
    bool is_captured; /* a macro made here still sees it: do not reuse */
};

struct jinja_macro {
    const jinja_node *node;
    jinja_scope *scope; /* where it was made */
};

struct jinja_loop {
    const jinja_list *list; /* what is iterated, or NULL for a range */
    const jinja_range *range;
    int64_t index0;
    jinja_value changed; /* last arguments of loop.changed(), a tuple, or ABSENT */
};

typedef enum jinja_jump { JINJA_NO_JUMP, JINJA_BREAK, JINJA_CONTINUE } jinja_jump;

typedef struct jinja_state {
    jinja_run *run;
    const jinja_program *program;
    jinja_builder output;
    jinja_scope *scope;
    int macro_depth;
    jinja_jump jump;    /* break or continue on its way to its loop */
    jinja_value *stack; /* [stack_size] arguments and operands under evaluation */
    size_t stack_used;
    size_t stack_size;
    int32_t loop_symbol; /* numbers of names that the interpreter sets itself, or -1 */
    int32_t caller_symbol;
    int32_t varargs_symbol;
    int32_t kwargs_symbol;
} jinja_state;

/* Renders into state->output, which the caller has prepared; the outermost scope's slots hold the
 * variables. False with run->status set on failure. */
bool mica_jinja_render(jinja_state *state);
/* The number of a name in the program, or -1. */
int32_t mica_jinja_program_symbol(const jinja_program *program, const char *name);

/* Between jinja_eval.c and jinja_exec.c. */
bool mica_jinja_eval(jinja_state *state, const jinja_node *node, jinja_value *out);
/* Applies filters without subject (of a block) to a value in place. */
bool mica_jinja_eval_filters(jinja_state *state, const jinja_node *holder, jinja_value *value);
/* Calls with arguments from the node and, if caller is not NULL, a keyword argument caller. */
bool mica_jinja_eval_call(jinja_state *state, const jinja_node *node, const jinja_value *caller,
                          jinja_value *out);
bool mica_jinja_exec(jinja_state *state, const jinja_node *block);
bool mica_jinja_set_variable(jinja_state *state, int32_t symbol, jinja_value value);
bool mica_jinja_make_macro(jinja_state *state, const jinja_node *node, jinja_value *out);
