/* Reading IR text, which may come from anywhere: every line is taken apart first and then added to
 * the graph by the same calls as any other node, so the shape rules check it; the type that the
 * text states must be the one that comes out. Weights and data have no bytes, but for scalars. */
#include <float.h>
#include <math.h>
#include <string.h>
#include "base/error.h"
#include "core/ir_text.h"
#include "core/op.h"
#include "core/runtime.h"
#include "core/weights.h"

#define IR_TEXT_BYTES_MAX ((size_t)64 << 20)
#define IR_NAME_BYTES_MAX 512
#define IR_ATTRIBUTES_MAX 32

typedef struct attribute {
    mica_slice name;
    mica_slice value;
    bool is_used;
} attribute;

/* One line, taken apart. */
typedef struct node_text {
    mica_slice op;
    char name[IR_NAME_BYTES_MAX]; /* leaves */
    mica_ref inputs[MICA_INPUTS_MAX];
    int n_inputs;
    attribute attributes[IR_ATTRIBUTES_MAX];
    int n_attributes;
    mica_dtype dtype;
    mica_quant quant;
    mica_shape shape;
    mica_live live;
    mica_place place;
    mica_slice kernel; /* empty = none */
} node_text;

typedef struct parser {
    mica_graph *graph;
    const char *at;
    const char *end;
    size_t line;
    mica_status st;
    mica_error *err;
    bool has_output;
    node_text node;
} parser;

#define BAD(p, ...) bad_line((p), MICA_STATUS_FORMAT, __VA_ARGS__)

MICA_PRINTF(3, 4)
static bool bad_line(parser *p, mica_status st, const char *format, ...) {
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    mica_format_list(text, sizeof text, format, arguments);
    va_end(arguments);
    p->st = mica_fail(p->err, st, "IR text, line %zu: %s", p->line, text);
    return false;
}

/* ---- tokens ---- */

static void skip_spaces(parser *p) {
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\t')) p->at++;
}

static bool is_next(parser *p, char c) {
    skip_spaces(p);
    return p->at < p->end && *p->at == c;
}

static bool take(parser *p, char c) {
    if (!is_next(p, c)) return false;
    p->at++;
    return true;
}

static bool expect(parser *p, char c) { return take(p, c) || BAD(p, "expected '%c'", c); }

static bool is_word_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-' || c == '+';
}

/* Letters, digits and what numbers hold; may be empty. */
static mica_slice take_word(parser *p) {
    skip_spaces(p);
    const char *begin = p->at;
    while (p->at < p->end && is_word_char(*p->at)) p->at++;
    return mica_slice_of(begin, (size_t)(p->at - begin));
}

/* At the end of the line but for a comment, which is skipped together with the newline. */
static bool take_line_end(parser *p) {
    skip_spaces(p);
    if (p->at < p->end && *p->at == '#')
        while (p->at < p->end && *p->at != '\n') p->at++;
    if (p->at < p->end && *p->at != '\n') return false;
    if (p->at < p->end) p->at++;
    p->line++;
    return true;
}

static bool take_number(parser *p, int64_t max, int64_t *out) {
    mica_slice word = take_word(p);
    if (mica_parse_i64(word, out) && *out >= 0 && *out <= max) return true;
    return BAD(p, "\"%.*s\" is no number up to %lld", (int)(word.bytes < 32 ? word.bytes : 32),
               word.data, (long long)max);
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool take_escape(parser *p, char *out) {
    size_t left = (size_t)(p->end - p->at);
    if (left >= 1 && (p->at[0] == '"' || p->at[0] == '\\')) {
        *out = *p->at++;
        return true;
    }
    int high = left >= 3 && p->at[0] == 'x' ? hex_digit(p->at[1]) : -1;
    int low = high >= 0 ? hex_digit(p->at[2]) : -1;
    if (low < 0 || (high == 0 && low == 0)) return BAD(p, "bad escape in a name");
    *out = (char)(high * 16 + low);
    p->at += 3;
    return true;
}

static bool take_name(parser *p, char out[IR_NAME_BYTES_MAX]) {
    size_t n = 0;
    if (!expect(p, '"')) return false;
    for (;;) {
        if (p->at >= p->end || (unsigned char)*p->at < 0x20) return BAD(p, "a name has no end");
        char c = *p->at++;
        if (c == '"') break;
        if (c == '\\' && !take_escape(p, &c)) return false;
        if (n + 1 >= IR_NAME_BYTES_MAX)
            return bad_line(p, MICA_STATUS_LIMIT, "a name of more than %d bytes",
                            IR_NAME_BYTES_MAX - 1);
        out[n++] = c;
    }
    out[n] = '\0';
    return true;
}

/* ---- the parts of a line ---- */

static bool take_ref(parser *p, mica_ref *out) {
    int64_t number;
    if (!expect(p, '%') || !take_number(p, MICA_GRAPH_NODES_MAX, &number)) return false;
    if (number < 1 || number >= mica_graph_count(p->graph))
        return BAD(p, "%%%lld is not defined above", (long long)number);
    *out = (mica_ref)number;
    return true;
}

static bool take_inputs(parser *p) {
    node_text *n = &p->node;
    if (!expect(p, '(')) return false;
    if (take(p, ')')) return true;
    do {
        if (n->n_inputs == MICA_INPUTS_MAX) return BAD(p, "more than %d inputs", MICA_INPUTS_MAX);
        mica_ref *input = &n->inputs[n->n_inputs++];
        if (take(p, '_'))
            *input = 0;
        else if (!take_ref(p, input))
            return false;
    } while (take(p, ','));
    return expect(p, ')');
}

/* A word, or everything between brackets. */
static bool take_value(parser *p, mica_slice *out) {
    if (!is_next(p, '[')) {
        *out = take_word(p);
        return out->bytes > 0 || BAD(p, "an attribute without a value");
    }
    const char *begin = ++p->at;
    while (p->at < p->end && *p->at != ']' && *p->at != '\n') p->at++;
    *out = mica_slice_of(begin, (size_t)(p->at - begin));
    return expect(p, ']');
}

static bool take_attributes(parser *p) {
    node_text *n = &p->node;
    if (!take(p, '{')) return true;
    do {
        if (n->n_attributes == IR_ATTRIBUTES_MAX)
            return BAD(p, "more than %d attributes", IR_ATTRIBUTES_MAX);
        attribute *a = &n->attributes[n->n_attributes++];
        a->name = take_word(p);
        if (!a->name.bytes) return BAD(p, "an attribute without a name");
        if (!expect(p, '=') || !take_value(p, &a->value)) return false;
        for (attribute *b = n->attributes; b < a; b++)
            if (mica_slice_equal(a->name, b->name)) return BAD(p, "an attribute stands twice");
    } while (take(p, ','));
    return expect(p, '}');
}

static mica_dtype find_dtype(mica_slice word) {
    for (int d = MICA_DTYPE_NONE + 1; d < MICA_DTYPE_COUNT_; d++)
        if (mica_slice_is(word, mica_dtype_name((mica_dtype)d))) return (mica_dtype)d;
    return MICA_DTYPE_NONE;
}

static bool is_quant_named(mica_quant q, mica_slice word) {
    char text[32];
    return mica_slice_is(word, mica_quant_format(q, text));
}

static bool find_quant(mica_slice word, mica_quant *out) {
    static const uint8_t bits[] = {2, 3, 4, 5, 6, 8};
    static const mica_quant fixed[] = {{MICA_QUANT_MXFP4, 4, 32, MICA_DTYPE_U8},
                                       {MICA_QUANT_MXFP8, 8, 32, MICA_DTYPE_U8},
                                       {MICA_QUANT_NVFP4, 4, 16, MICA_DTYPE_U8},
                                       {MICA_QUANT_NVFP4_SCALED, 4, 16, MICA_DTYPE_U8}};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        *out = fixed[i];
        if (is_quant_named(*out, word)) return true;
    }
    for (size_t i = 0; i < sizeof bits; i++)
        for (int group = 32; group <= 128; group *= 2) {
            *out = (mica_quant){MICA_QUANT_AFFINE, bits[i], (uint16_t)group, MICA_DTYPE_F32};
            if (is_quant_named(*out, word)) return true;
        }
    return false;
}

static bool take_shape(parser *p) {
    int64_t dims[MICA_RANK_MAX];
    int rank = 0;
    if (!expect(p, '[')) return false;
    if (!take(p, ']')) {
        do {
            if (rank == MICA_RANK_MAX) return BAD(p, "more than %d axes", MICA_RANK_MAX);
            if (!take_number(p, INT64_MAX, &dims[rank++])) return false;
        } while (take(p, ','));
        if (!expect(p, ']')) return false;
    }
    return mica_shape_make(rank, dims, &p->node.shape) || BAD(p, "the shape is too large");
}

static bool take_type(parser *p) {
    node_text *n = &p->node;
    if (!expect(p, ':')) return false;
    mica_slice word = take_word(p);
    n->dtype = find_dtype(word);
    if (n->dtype == MICA_DTYPE_NONE) {
        if (!find_quant(word, &n->quant))
            return BAD(p, "\"%.*s\" is no type", (int)(word.bytes < 32 ? word.bytes : 32),
                       word.data);
        n->dtype = MICA_DTYPE_BF16;
    }
    return take_shape(p);
}

static bool take_place(parser *p) {
    int64_t binding, offset;
    node_text *n = &p->node;
    mica_slice word = take_word(p); /* "1+4096" is one word */
    const char *plus = word.bytes ? memchr(word.data, '+', word.bytes) : NULL;
    if (!plus || !mica_parse_i64(mica_slice_of(word.data, (size_t)(plus - word.data)), &binding) ||
        !mica_parse_i64(mica_slice_of(plus + 1, (size_t)(word.data + word.bytes - plus - 1)),
                        &offset) ||
        binding < 0 || binding > UINT16_MAX || offset < 0)
        return BAD(p, "a place is @binding+offset");
    n->place = (mica_place){(int32_t)binding, (uint64_t)offset};
    return true;
}

static bool set_live(parser *p, mica_slice value) {
    if (mica_slice_is(value, "tokens"))
        p->node.live = MICA_LIVE_TOKENS;
    else if (mica_slice_is(value, "rows"))
        p->node.live = MICA_LIVE_ROWS;
    else
        return BAD(p, "live is tokens or rows");
    return true;
}

static bool set_dtype_note(parser *p, mica_slice name, mica_slice value) {
    node_text *n = &p->node;
    mica_dtype dtype = find_dtype(value);
    if (!dtype || !n->quant.mode)
        return BAD(p, "scales and decodes take a dtype, on quantised types");
    if (mica_slice_is(name, "scales"))
        n->quant.scale_dtype = (uint8_t)dtype;
    else
        n->dtype = dtype;
    return true;
}

/* Words behind the type, each at most once. */
static bool take_notes(parser *p) {
    static const char *const names[] = {"live", "scales", "decodes", "kernel"};
    bool is_seen[5] = {false};
    while (!take_line_end(p)) {
        size_t which = 4;
        mica_slice name = {0}, value = {0};
        bool is_place = take(p, '@');
        if (!is_place) {
            name = take_word(p);
            for (which = 0; which < 4 && !mica_slice_is(name, names[which]);) which++;
            if (which == 4) return BAD(p, "something unknown behind the type");
            if (!expect(p, '=')) return false;
            value = take_word(p);
        }
        if (is_seen[which]) return BAD(p, "a note stands twice");
        is_seen[which] = true;
        bool is_good = true;
        if (is_place)
            is_good = take_place(p);
        else if (which == 0)
            is_good = set_live(p, value);
        else if (which == 3)
            p->node.kernel = value;
        else
            is_good = set_dtype_note(p, name, value);
        if (!is_good) return false;
    }
    p->line--; /* what follows still speaks of this line */
    return true;
}

/* ---- values ---- */

static attribute *find_attribute(node_text *n, const char *name) {
    for (int i = 0; i < n->n_attributes; i++) {
        if (!mica_slice_is(n->attributes[i].name, name)) continue;
        n->attributes[i].is_used = true;
        return &n->attributes[i];
    }
    return NULL;
}

static bool read_double(mica_slice text, double *out) {
    if (mica_slice_is(text, "nan"))
        *out = (double)NAN;
    else if (mica_slice_is(text, "inf"))
        *out = (double)INFINITY;
    else if (mica_slice_is(text, "-inf"))
        *out = -(double)INFINITY;
    else
        return mica_parse_double(text, out);
    return true;
}

static bool read_float(mica_slice text, float *out) {
    double v;
    if (!read_double(text, &v) || (isfinite(v) && fabs(v) > (double)FLT_MAX)) return false;
    *out = (float)v;
    return true;
}

static bool read_integer(mica_slice text, int64_t min, int64_t max, int64_t *out) {
    return mica_parse_i64(text, out) && *out >= min && *out <= max;
}

/* "1, -2, 3": at most max numbers in low..high. Returns how many, or -1. */
static int read_numbers(mica_slice text, int64_t low, int64_t high, int max, uint8_t *out) {
    size_t at = 0;
    int count = 0;
    for (; at < text.bytes; count++) {
        size_t begin, end;
        while (at < text.bytes && text.data[at] == ' ') at++;
        for (begin = at; at < text.bytes && text.data[at] != ','; at++) {
        }
        for (end = at; end > begin && text.data[end - 1] == ' '; end--) {
        }
        int64_t v;
        if (count == max ||
            !read_integer(mica_slice_of(text.data + begin, end - begin), low, high, &v))
            return -1;
        out[count] = (uint8_t)v;
        if (at < text.bytes && ++at == text.bytes) return -1; /* a comma at the end */
    }
    return count;
}

static bool read_bytes(mica_slice text, uint8_t *at, size_t room) {
    int count = read_numbers(text, 0, UINT8_MAX, (int)room - 1, at + 1);
    *at = count < 0 ? 0 : (uint8_t)count;
    return count >= 0;
}

/* room: bytes from `at` to the end of the parameters. */
static bool read_param(mica_param_type type, mica_slice text, uint8_t *at, size_t room) {
    int64_t i = 0;
    int32_t narrow;
    float f;
    double d;
    bool is_true = mica_slice_is(text, "true");
    switch (type) {
    case MICA_PARAM_BOOL:
        *at = is_true;
        return is_true || mica_slice_is(text, "false");
    case MICA_PARAM_I32:
        if (!read_integer(text, INT32_MIN, INT32_MAX, &i)) return false;
        narrow = (int32_t)i;
        memcpy(at, &narrow, sizeof narrow);
        return true;
    case MICA_PARAM_I64:
        if (!read_integer(text, INT64_MIN, INT64_MAX, &i)) return false;
        memcpy(at, &i, sizeof i);
        return true;
    case MICA_PARAM_F32:
        if (!read_float(text, &f)) return false;
        memcpy(at, &f, sizeof f);
        return true;
    case MICA_PARAM_F64:
        if (!read_double(text, &d)) return false;
        memcpy(at, &d, sizeof d);
        return true;
    case MICA_PARAM_I8_LIST:
        return read_numbers(text, INT8_MIN, INT8_MAX, MICA_RANK_MAX, at) >= 0;
    case MICA_PARAM_U8_LIST:
        return read_bytes(text, at, room);
    }
    return false;
}

/* One element of dtype; 16-bit floats are given as bits. */
static bool read_element(mica_dtype dtype, mica_slice text, uint8_t out[8]) {
    int64_t i = 0;
    uint64_t u = 0;
    if (dtype == MICA_DTYPE_F32) return read_param(MICA_PARAM_F32, text, out, 8);
    if (dtype == MICA_DTYPE_F64) return read_param(MICA_PARAM_F64, text, out, 8);
    size_t bytes = mica_dtype_bytes(dtype);
    bool is_signed = dtype == MICA_DTYPE_I8 || dtype == MICA_DTYPE_I16 || dtype == MICA_DTYPE_I32 ||
                     dtype == MICA_DTYPE_I64;
    int64_t max = INT64_MAX >> (64 - 8 * bytes);
    uint64_t unsigned_max = dtype == MICA_DTYPE_BOOL ? 1 : UINT64_MAX >> (64 - 8 * bytes);
    if (is_signed ? !read_integer(text, -max - 1, max, &i)
                  : !mica_parse_u64(text, &u) || u > unsigned_max)
        return false;
    if (is_signed) u = (uint64_t)i;
    for (size_t b = 0; b < bytes; b++) out[b] = (uint8_t)(u >> (8 * b)); /* little-endian */
    return true;
}

/* ---- adding to the graph ---- */

static bool take_graph_error(parser *p) {
    const mica_error *e = &p->graph->error;
    bool is_own = e->status == MICA_STATUS_OUT_OF_MEMORY || e->status == MICA_STATUS_LIMIT;
    return bad_line(p, is_own ? e->status : MICA_STATUS_FORMAT, "%s", e->message);
}

static bool check_leaf(parser *p) {
    const node_text *n = &p->node;
    int64_t last = n->shape.rank ? n->shape.dims[n->shape.rank - 1] : 0;
    if (!mica_quant_is_valid(n->quant)) return BAD(p, "scales of a dtype that the type has not");
    if (n->quant.mode && (n->shape.rank < 1 || last % n->quant.group))
        return BAD(p, "the last axis must be a multiple of %u", (unsigned)n->quant.group);
    bool is_counts = n->shape.rank == 1 && last == 4 && n->dtype == MICA_DTYPE_I32;
    if (strcmp(n->name, "batch.counts") == 0 && (!is_counts || n->quant.mode))
        return BAD(p, "batch.counts is i32[4]");
    if (n->live && n->shape.rank < 1) return BAD(p, "a live count needs an axis");
    return true;
}

static mica_ref add_input(parser *p) {
    const node_text *n = &p->node;
    mica_ref ref = mica_graph_input(p->graph, n->name, n->dtype, &n->shape, n->live);
    if (ref) mica_graph_node(p->graph, ref)->quant = n->quant;
    return ref;
}

/* The entry lives as long as the graph, and has no bytes. */
static mica_ref add_weight(parser *p) {
    const node_text *n = &p->node;
    mica_graph *g = p->graph;
    mica_weight *w = mica_arena_alloc_zero(&g->arena, sizeof *w);
    char *name = mica_arena_string(&g->arena, n->name, strlen(n->name));
    if (!w || !name) {
        mica_graph_fail(g, MICA_STATUS_OUT_OF_MEMORY, "out of memory: a weight's entry");
        return 0;
    }
    *w = (mica_weight){.name = name, .dtype = (uint8_t)n->dtype, .quant = n->quant};
    w->shape = n->shape;
    for (int part = 0; part < mica_quant_parts(n->quant); part++)
        w->bytes += mica_part_bytes(n->dtype, n->quant, &n->shape, part);
    mica_ref ref = mica_graph_weight(g, w);
    if (ref) mica_graph_node(g, ref)->live = (uint8_t)n->live;
    return ref;
}

static bool create_element(parser *p, const uint8_t element[8], mica_buffer **out) {
    mica_device *device = p->graph->runtime->device;
    size_t bytes = mica_dtype_bytes(p->node.dtype);
    mica_error err = {0};
    void *host;
    mica_status st = device->backend->buffer_create(device, bytes, out, &err);
    if (st == MICA_STATUS_OK) st = device->backend->buffer_map(device, *out, true, &host, &err);
    if (st != MICA_STATUS_OK) {
        mica_buffer_release(out);
        return bad_line(p, st, "%s", err.message);
    }
    memcpy(host, element, bytes);
    return true;
}

static bool add_data(parser *p, mica_ref *out) {
    node_text *n = &p->node;
    mica_storage storage[MICA_PARTS_MAX] = {{0}};
    uint8_t element[8] = {0};
    bool is_bits = n->dtype == MICA_DTYPE_F16 || n->dtype == MICA_DTYPE_BF16;
    const attribute *value = find_attribute(n, is_bits ? "bits" : "value");
    if (value) {
        if (n->shape.rank || n->quant.mode || !read_element(n->dtype, value->value, element))
            return BAD(p, "a value that is none of %s[]", mica_dtype_name(n->dtype));
        if (!create_element(p, element, &storage[0].buffer)) return false;
    }
    *out = mica_graph_data(p->graph, n->dtype, n->quant, &n->shape, storage);
    if (*out) mica_graph_node(p->graph, *out)->live = (uint8_t)n->live;
    return true;
}

static int find_op(const parser *p, mica_slice name) {
    for (int id = 0; id < MICA_OP_COUNT_; id++)
        if (p->graph->runtime->ops[id] && mica_slice_is(name, p->graph->runtime->ops[id]->name))
            return id;
    return MICA_OP_NONE;
}

static bool read_params(parser *p, const mica_op *op, mica_params *out) {
    for (size_t i = 0; i < op->n_params; i++) {
        const mica_param *param = &op->params[i];
        const attribute *a = find_attribute(&p->node, param->name);
        if (a && !read_param(param->type, a->value, out->bytes + param->offset,
                             MICA_PARAM_BYTES - param->offset))
            return BAD(p, "%s of %s: a bad value", param->name, op->name);
    }
    return true;
}

static bool set_kernel(parser *p, const mica_op *op, mica_ref ref) {
    if (!p->node.kernel.bytes) return true;
    for (size_t i = 0; op && i < op->n_kernels; i++) {
        if (!mica_slice_is(p->node.kernel, op->kernels[i].name)) continue;
        mica_graph_node(p->graph, ref)->kernel = &op->kernels[i];
        return true;
    }
    return BAD(p, "the op has no kernel of that name");
}

static bool check_type(parser *p, const mica_node *n) {
    char seen[176], got[176];
    const node_text *t = &p->node;
    bool is_same_quant = n->quant.mode == t->quant.mode && n->quant.bits == t->quant.bits &&
                         n->quant.group == t->quant.group &&
                         n->quant.scale_dtype == t->quant.scale_dtype;
    if (n->dtype == t->dtype && n->live == t->live && is_same_quant &&
        mica_shape_equal(&n->shape, &t->shape))
        return true;
    return BAD(p, "the text says %s%s, the rule of %.*s gives %s%s", mica_dtype_name(t->dtype),
               mica_shape_format(&t->shape, seen), (int)(t->op.bytes < 32 ? t->op.bytes : 32),
               t->op.data, mica_dtype_name((mica_dtype)n->dtype),
               mica_shape_format(&n->shape, got));
}

static bool add_op(parser *p, const mica_op **op, mica_ref *out) {
    mica_params params = {{0}};
    int id = find_op(p, p->node.op);
    *op = p->graph->runtime->ops[id];
    if (!*op)
        return BAD(p, "\"%.*s\" is no op", (int)(p->node.op.bytes < 32 ? p->node.op.bytes : 32),
                   p->node.op.data);
    if (!read_params(p, *op, &params)) return false;
    *out = mica_graph_add(p->graph, (mica_op_id)id, p->node.inputs, p->node.n_inputs, &params,
                          sizeof params);
    return true;
}

static bool add_node(parser *p, int64_t number) {
    const node_text *t = &p->node;
    const mica_op *op = NULL;
    mica_ref ref = 0;
    bool is_input = mica_slice_is(t->op, "input"), is_weight = mica_slice_is(t->op, "weight");
    bool is_data = mica_slice_is(t->op, "data"), is_leaf = is_input || is_weight || is_data;
    if (is_leaf && !check_leaf(p)) return false;
    if (is_input)
        ref = add_input(p);
    else if (is_weight)
        ref = add_weight(p);
    else if (is_data ? !add_data(p, &ref) : !add_op(p, &op, &ref))
        return false;
    if (!ref) return take_graph_error(p);
    for (int i = 0; i < t->n_attributes; i++)
        if (!t->attributes[i].is_used) return BAD(p, "attribute %d is unknown", i + 1);
    if (ref != number) return bad_line(p, MICA_STATUS_INVALID, "the graph was not empty");
    mica_graph_node(p->graph, ref)->place = t->place;
    return check_type(p, mica_graph_node(p->graph, ref)) && set_kernel(p, op, ref);
}

/* ---- lines ---- */

static bool parse_node(parser *p) {
    int64_t number;
    p->node = (node_text){.place.binding = -1};
    if (!expect(p, '%') || !take_number(p, MICA_GRAPH_NODES_MAX, &number)) return false;
    if (number != mica_graph_count(p->graph))
        return BAD(p, "%%%lld, expected %%%u", (long long)number, mica_graph_count(p->graph));
    if (!expect(p, '=')) return false;
    p->node.op = take_word(p);
    bool is_data = mica_slice_is(p->node.op, "data");
    bool is_named = mica_slice_is(p->node.op, "input") || mica_slice_is(p->node.op, "weight");
    if (is_named && !take_name(p, p->node.name)) return false;
    if (!is_named && !is_data && !take_inputs(p)) return false;
    if (!take_attributes(p) || !take_type(p) || !take_notes(p) || !add_node(p, number))
        return false;
    p->line++;
    return true;
}

static bool parse_outputs(parser *p, mica_ref *outputs, size_t outputs_max, size_t *n_outputs) {
    mica_slice word = take_word(p);
    size_t n = 0;
    if (!mica_slice_is(word, "output")) return BAD(p, "expected a node or the outputs");
    if (is_next(p, '%')) {
        do {
            if (n == outputs_max)
                return bad_line(p, MICA_STATUS_LIMIT, "more than %zu outputs", outputs_max);
            if (!take_ref(p, &outputs[n++])) return false;
        } while (take(p, ','));
    }
    if (!take_line_end(p)) return BAD(p, "something behind the outputs");
    *n_outputs = n;
    p->has_output = true;
    return true;
}

mica_status mica_graph_parse(mica_graph *g, const char *text, size_t bytes, mica_ref *outputs,
                             size_t outputs_max, size_t *n_outputs, mica_error *err) {
    parser p = {.graph = g, .at = text, .end = text + bytes, .line = 1, .err = err};
    *n_outputs = 0;
    if (bytes > IR_TEXT_BYTES_MAX)
        return mica_fail(err, MICA_STATUS_LIMIT, "IR text of %zu bytes, at most %zu", bytes,
                         IR_TEXT_BYTES_MAX);
    bool is_good = true;
    while (is_good && p.at < p.end) {
        if (take_line_end(&p)) continue;
        if (p.has_output)
            is_good = BAD(&p, "something behind the outputs");
        else if (is_next(&p, '%'))
            is_good = parse_node(&p);
        else
            is_good = parse_outputs(&p, outputs, outputs_max, n_outputs);
    }
    if (is_good && !p.has_output) BAD(&p, "the outputs are missing");
    return p.st;
}

#ifdef MICA_FUZZ_IR_TEXT
#include <stdlib.h>
#include "base/fuzz.h"

/* What parses must print, and parse again to the same text. */
MICA_FUZZ_ENTRY(ir_text) {
    static mica_runtime *runtime;
    mica_runtime_options options = {.struct_bytes = sizeof options, .backend = "null"};
    if (!runtime && mica_runtime_open(&options, &runtime, NULL) != MICA_STATUS_OK) abort();
    const char *text = (const char *)data;
    mica_str printed[2];
    size_t bytes = size;
    for (int round = 0; round < 2; round++) {
        mica_graph *g = NULL;
        mica_ref outputs[16];
        size_t n = 0;
        mica_str_init(&printed[round], mica_allocator_default());
        if (mica_graph_create_internal(runtime, true, &g, NULL) != MICA_STATUS_OK) abort();
        mica_status st = mica_graph_parse(g, text, bytes, outputs, 16, &n, NULL);
        if (st == MICA_STATUS_OK) mica_graph_print(g, outputs, n, &printed[round]);
        mica_graph_destroy(&g);
        if (st != MICA_STATUS_OK && round == 1) abort();
        if (st != MICA_STATUS_OK) return 0;
        text = printed[round].data;
        bytes = printed[round].bytes;
    }
    if (strcmp(printed[0].data, printed[1].data) != 0) abort();
    for (int round = 0; round < 2; round++) mica_str_deinit(&printed[round]);
    return 0;
}
#endif
