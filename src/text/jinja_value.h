/* Values of the template interpreter: plain data in one arena per render, plus the budget that
 * every operation charges. A string knows for each byte whether it came from the template or from
 * input. Printing is jinja_print.c, JSON is jinja_json.c, operators are jinja_operator.c. */
#pragma once
#include "base/arena.h"
#include "base/host.h"
#include "base/str.h"

/* Budget and memory of one compile or one render. Threads: one at a time. */
typedef struct jinja_run {
    mica_arena arena; /* limit_bytes is the heap budget */
    const mica_host *host;
    mica_error *err;     /* where the first failure is written; may be NULL */
    mica_status status;  /* the first failure, sticky */
    uint32_t line;       /* line of the template that is at work, for errors; 0 = none */
    int depth;           /* native recursion of the evaluator */
    int64_t steps_left;  /* counts down to 0 = LIMIT */
    int64_t steps_check; /* at or below this many steps left the clock is read again */
    int64_t deadline_ns; /* monotonic clock; 0 = none */
    int64_t now_seconds; /* of strftime_now; 0 = the system's clock */
} jinja_run;

typedef enum jinja_kind {
    JINJA_ABSENT = 0, /* no value: an argument that was not given */
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_FLOAT,
    JINJA_BIG, /* an integer of the input beyond int64: printed and compared, not computed with */
    JINJA_STRING,
    JINJA_LIST, /* lists, tuples, dictionary views, results of map and its kin */
    JINJA_DICT,
    JINJA_RANGE,
    JINJA_NAMESPACE,
    JINJA_LOOP,     /* the `loop` variable */
    JINJA_MACRO,    /* a macro or the caller() of a call block */
    JINJA_FUNCTION, /* a global function, by its row in the table */
    JINJA_METHOD,   /* a method bound to its object */
} jinja_kind;

typedef struct jinja_string jinja_string;
typedef struct jinja_list jinja_list;
typedef struct jinja_dict jinja_dict;
typedef struct jinja_range jinja_range;
typedef struct jinja_loop jinja_loop;
typedef struct jinja_macro jinja_macro;
typedef struct jinja_method jinja_method;

typedef struct jinja_value {
    uint8_t kind;
    uint8_t owner; /* UNDEFINED: kind of the object without the attribute; 0 = a variable */
    union {
        bool boolean;
        int64_t integer;
        double real;
        jinja_string *string; /* also UNDEFINED: the name (or NULL) and BIG: the digits */
        jinja_list *list;
        jinja_dict *dict; /* also NAMESPACE */
        jinja_range *range;
        jinja_loop *loop;
        jinja_macro *macro;
        jinja_method *method;
        int32_t function;
    } as;
} jinja_value;

/* UTF-8 text, immutable. Origin: byte 0 is from input if input_first; it flips at each mark. */
struct jinja_string {
    const char *data;
    const uint32_t *marks;       /* [n_marks] rising byte positions, 0 < mark < bytes */
    struct jinja_buffer *buffer; /* memory that may be extended behind the text, or NULL */
    uint32_t bytes;
    uint32_t n_marks;
    bool input_first;
    bool is_ascii;
    bool is_markup; /* passed through `safe` or `escape`: what is added to it gets escaped */
};

typedef enum jinja_flavour {
    JINJA_PLAIN_LIST,
    JINJA_TUPLE,
    JINJA_DICT_KEYS,
    JINJA_DICT_VALUES,
    JINJA_DICT_ITEMS,
    JINJA_GENERATOR, /* what map, select ... return: iterable, printed as a list */
} jinja_flavour;

struct jinja_list {
    jinja_value *items;
    size_t count;
    size_t capacity;
    uint8_t flavour;
    bool is_frozen; /* part of the input: append and its kin are refused */
};

typedef struct jinja_entry {
    jinja_value key;
    jinja_value value;
    uint64_t hash;
} jinja_entry;

/* Keeps insertion order. Small ones are scanned; larger ones have a hash index. */
struct jinja_dict {
    jinja_entry *entries;
    size_t count;
    size_t capacity;
    uint32_t *index;   /* [index_size] entry number + 1, 0 = free; NULL while small */
    size_t index_size; /* power of two */
    bool is_frozen;
};

struct jinja_range {
    int64_t start;
    int64_t step;
    int64_t count;
    int64_t stop; /* as it was given; for printing */
};

/* Text under construction; origin marks as in jinja_string. Memory: the run's arena, or `allocator`
 * when that is set (the output). Appends return false once something failed. */
typedef struct jinja_builder {
    jinja_run *run;
    const mica_allocator *allocator;
    char *data;
    size_t bytes;
    size_t capacity;
    size_t limit_bytes; /* LIMIT past it; 0 = the heap's limit only */
    uint32_t *marks;
    size_t n_marks;
    size_t marks_capacity;
    bool input_first;
    bool input_last; /* origin of the last byte */
} jinja_builder;

/* Writes the first failure with the line in front and returns false. */
bool mica_jinja_fail(jinja_run *run, mica_status status, const char *format, ...) MICA_PRINTF(3, 4);
/* Charges n steps; false when the steps or the time are used up. */
bool mica_jinja_charge(jinja_run *run, size_t n);
/* Charges for touching so many bytes. */
bool mica_jinja_charge_bytes(jinja_run *run, size_t bytes);
/* 16-byte aligned arena memory, not zeroed; NULL after writing LIMIT or OUT_OF_MEMORY. */
void *mica_jinja_alloc(jinja_run *run, size_t count, size_t item_bytes);
/* One level of native recursion down; false (LIMIT) past the limit. Leave with run->depth--. */
bool mica_jinja_enter(jinja_run *run);

static inline jinja_value mica_jinja_none(void) { return (jinja_value){.kind = JINJA_NONE}; }
static inline jinja_value mica_jinja_bool(bool b) {
    return (jinja_value){.kind = JINJA_BOOL, .as.boolean = b};
}
static inline jinja_value mica_jinja_int(int64_t i) {
    return (jinja_value){.kind = JINJA_INT, .as.integer = i};
}
static inline jinja_value mica_jinja_float(double f) {
    return (jinja_value){.kind = JINJA_FLOAT, .as.real = f};
}
static inline jinja_value mica_jinja_undefined(jinja_string *name, jinja_kind owner) {
    return (jinja_value){.kind = JINJA_UNDEFINED, .owner = (uint8_t)owner, .as.string = name};
}
static inline jinja_value mica_jinja_text(jinja_string *s) {
    return (jinja_value){.kind = JINJA_STRING, .as.string = s};
}
static inline mica_slice mica_jinja_slice(const jinja_value *v) {
    return mica_slice_of(v->as.string->data, v->as.string->bytes);
}
static inline bool mica_jinja_is(const jinja_value *v, jinja_kind kind) { return v->kind == kind; }
/* A tuple or a plain list. */
bool mica_jinja_is_sequence(const jinja_value *v);
/* INT or BOOL as a number; false for anything else. */
bool mica_jinja_as_int(const jinja_value *v, int64_t *out);
/* INT, BOOL, FLOAT or BIG as a double. */
bool mica_jinja_as_double(const jinja_value *v, double *out);

/* "int", "str", "NoneType" ...: Python's names, for messages. */
const char *mica_jinja_kind_name(const jinja_value *v);
/* "'x' is undefined" or "'dict object' has no attribute 'x'" as an error. */
bool mica_jinja_fail_undefined(jinja_run *run, const jinja_value *v);

/* --- strings --- */
bool mica_jinja_string(jinja_run *run, const char *data, size_t bytes, bool from_input,
                       jinja_value *out); /* copies */
/* Bytes [from, to) of s, sharing its memory. */
bool mica_jinja_substring(jinja_run *run, const jinja_string *s, size_t from, size_t to,
                          jinja_value *out);
/* The origin of the byte at `position` and where its run ends. */
size_t mica_jinja_run_end(const jinja_string *s, size_t position, bool *from_input);
int64_t mica_jinja_char_count(const jinja_string *s);
/* Byte offset of code point number `index` (0..count). */
size_t mica_jinja_char_offset(const jinja_string *s, int64_t index);
/* Bytes of the code point at data[0] of valid UTF-8. */
size_t mica_jinja_char_bytes(const char *data);
/* Joins n strings; extends the first one's memory in place where it can, so that a text which
 * grows by repeated `+` costs linear memory. */
bool mica_jinja_concatenate(jinja_run *run, const jinja_value *strings, size_t n, jinja_value *out);

void mica_jinja_builder_init(jinja_builder *b, jinja_run *run);
bool mica_jinja_append(jinja_builder *b, const char *data, size_t bytes, bool from_input);
bool mica_jinja_append_text(jinja_builder *b, const char *text); /* of the template's origin */
bool mica_jinja_append_string(jinja_builder *b, const jinja_string *s);
bool mica_jinja_append_range(jinja_builder *b, const jinja_string *s, size_t from, size_t to);
bool mica_jinja_append_codepoint(jinja_builder *b, uint32_t codepoint, bool from_input);
/* Forgets everything from byte `bytes` on. */
void mica_jinja_builder_cut(jinja_builder *b, size_t bytes);
/* The text as a string; the builder must live in the arena and not be used again. */
bool mica_jinja_builder_take(jinja_builder *b, jinja_value *out);
/* A copy of the text from byte `from` to the end, as a string in the arena. */
bool mica_jinja_builder_copy(const jinja_builder *b, size_t from, jinja_value *out);

/* --- lists and dictionaries --- */
bool mica_jinja_list(jinja_run *run, size_t capacity, jinja_flavour flavour, jinja_value *out);
bool mica_jinja_list_push(jinja_run *run, jinja_list *list, jinja_value item);
bool mica_jinja_pair(jinja_run *run, jinja_value a, jinja_value b, jinja_value *out); /* tuple */
bool mica_jinja_dict(jinja_run *run, size_t capacity, jinja_value *out);
/* Adds or replaces. Fails for a key that cannot be hashed (a list or a dictionary). */
bool mica_jinja_dict_set(jinja_run *run, jinja_dict *d, jinja_value key, jinja_value value);
/* *found is NULL when the key is not there. A key that cannot be hashed is not there. */
bool mica_jinja_dict_find(jinja_run *run, const jinja_dict *d, const jinja_value *key,
                          jinja_value **found);
/* The same by text; no budget is charged. NULL when it is not there. */
jinja_value *mica_jinja_dict_get(const jinja_dict *d, const char *key);
bool mica_jinja_dict_remove(jinja_run *run, jinja_dict *d, const jinja_value *key);
bool mica_jinja_is_hashable(jinja_run *run, const jinja_value *v, bool *out);
/* Everything that can be iterated over as a list: a list is returned itself (do not change it),
 * dictionaries give keys, strings characters, undefined nothing; anything else fails. */
bool mica_jinja_to_list(jinja_run *run, const jinja_value *v, jinja_list **out);
/* Makes v and all it holds immutable (values from JSON; depth is bounded by the reader). */
void mica_jinja_freeze(jinja_value *v);
/* Number of characters, items or keys; false without an error for a value without a length. */
bool mica_jinja_length(const jinja_value *v, int64_t *out);
bool mica_jinja_truth(const jinja_value *v);
/* Python's ==; fails only on values nested past the depth limit. */
bool mica_jinja_equal(jinja_run *run, const jinja_value *a, const jinja_value *b, bool *out);
/* Python's ordering: -1, 0, 1, or 2 when a number is NaN; fails for unlike types. */
bool mica_jinja_order(jinja_run *run, const jinja_value *a, const jinja_value *b, int *out);

/* --- printing (jinja_print.c) and JSON (jinja_json.c) --- */
/* str(v); a string is returned itself. */
bool mica_jinja_to_string(jinja_run *run, const jinja_value *v, jinja_value *out);
bool mica_jinja_print(jinja_builder *b, const jinja_value *v); /* str(v) */
bool mica_jinja_print_repr(jinja_builder *b, const jinja_value *v);

typedef struct jinja_json_style {
    bool ensure_ascii;
    bool sort_keys;
    const jinja_string *indent;         /* text of one level, or NULL for one line */
    const jinja_string *item_separator; /* NULL: ", ", or "," with an indent */
    const jinja_string *key_separator;  /* NULL: ": " */
} jinja_json_style;
bool mica_jinja_print_json(jinja_builder *b, const jinja_value *v, const jinja_json_style *style);
/* Reads one JSON text; strings get the origin. name is used in errors. */
bool mica_jinja_read_json(jinja_run *run, const char *name, const char *text, size_t bytes,
                          bool from_input, jinja_value *out);
