/* Printing a graph as IR text. The format is in ir_text.h; ir_text_parse.c reads it back. */
#include "core/ir_text.h"
#include <float.h>
#include <math.h>
#include <string.h>
#include "core/op.h"
#include "core/runtime.h"

/* ---- values ---- */

static void print_double(double v, mica_str *out) {
    char text[32];
    mica_format_double(v, text);
    mica_str_append_text(out, text);
}

/* The shortest decimal that reads back to the same float. */
static void print_float(float v, mica_str *out) {
    char text[32];
    for (int digits = 1; isfinite(v) && digits <= FLT_DECIMAL_DIG; digits++) {
        double back;
        size_t bytes = mica_format(text, sizeof text, "%.*g", digits, (double)v);
        if (mica_parse_double(mica_slice_of(text, bytes), &back) && (float)back == v) {
            mica_str_append(out, text, bytes);
            return;
        }
    }
    print_double((double)v, out); /* inf, nan */
}

/* Reads sizeof(type) bytes, which may lie anywhere. */
#define PRINT_AS(type, format, wide)                                                               \
    do {                                                                                           \
        type value_;                                                                               \
        memcpy(&value_, at, sizeof value_);                                                        \
        mica_str_append_format(out, format, (wide)value_);                                         \
    } while (0)

/* The element of a scalar; 16-bit floats as their bits. */
static void print_element(mica_dtype dtype, const uint8_t *at, mica_str *out) {
    float f;
    double d;
    mica_str_append_text(out,
                         dtype == MICA_DTYPE_F16 || dtype == MICA_DTYPE_BF16 ? "bits=" : "value=");
    switch (dtype) {
    case MICA_DTYPE_BOOL:
    case MICA_DTYPE_U8:
        PRINT_AS(uint8_t, "%u", unsigned);
        break;
    case MICA_DTYPE_I8:
        PRINT_AS(int8_t, "%d", int);
        break;
    case MICA_DTYPE_U16:
    case MICA_DTYPE_F16:
    case MICA_DTYPE_BF16:
        PRINT_AS(uint16_t, "%u", unsigned);
        break;
    case MICA_DTYPE_I16:
        PRINT_AS(int16_t, "%d", int);
        break;
    case MICA_DTYPE_U32:
        PRINT_AS(uint32_t, "%u", unsigned);
        break;
    case MICA_DTYPE_I32:
        PRINT_AS(int32_t, "%d", int);
        break;
    case MICA_DTYPE_U64:
        PRINT_AS(uint64_t, "%llu", unsigned long long);
        break;
    case MICA_DTYPE_I64:
        PRINT_AS(int64_t, "%lld", long long);
        break;
    case MICA_DTYPE_F32:
        memcpy(&f, at, sizeof f);
        print_float(f, out);
        break;
    default:
        memcpy(&d, at, sizeof d);
        print_double(d, out);
        break;
    }
}

static void print_list(const mica_node *n, const uint8_t *at, mica_str *out) {
    mica_str_append_char(out, '[');
    for (int i = 0; i < n->shape.rank; i++)
        mica_str_append_format(out, i ? ", %d" : "%d", (int)(int8_t)at[i]);
    mica_str_append_char(out, ']');
}

/* A count that points past the parameters is cut. */
static void print_bytes(const mica_node *n, size_t offset, mica_str *out) {
    size_t room = MICA_PARAM_BYTES - 1 - offset, count = n->params.bytes[offset];
    mica_str_append_char(out, '[');
    for (size_t i = 0; i < count && i < room; i++)
        mica_str_append_format(out, i ? ", %d" : "%d", n->params.bytes[offset + 1 + i]);
    mica_str_append_char(out, ']');
}

static size_t param_bytes(mica_param_type type) {
    static const uint8_t bytes[] = {1, 4, 8, 4, 8, MICA_RANK_MAX, 1};
    return bytes[type];
}

static void print_param(const mica_node *n, const mica_param *p, mica_str *out) {
    const uint8_t *at = n->params.bytes + p->offset;
    float f;
    double d;
    mica_str_append_format(out, "%s=", p->name);
    switch (p->type) {
    case MICA_PARAM_BOOL:
        mica_str_append_text(out, *at ? "true" : "false");
        break;
    case MICA_PARAM_I32:
        PRINT_AS(int32_t, "%d", int);
        break;
    case MICA_PARAM_I64:
        PRINT_AS(int64_t, "%lld", long long);
        break;
    case MICA_PARAM_F32:
        memcpy(&f, at, sizeof f);
        print_float(f, out);
        break;
    case MICA_PARAM_F64:
        memcpy(&d, at, sizeof d);
        print_double(d, out);
        break;
    case MICA_PARAM_I8_LIST:
        print_list(n, at, out);
        break;
    case MICA_PARAM_U8_LIST:
        print_bytes(n, p->offset, out);
        break;
    }
}

/* ---- lines ---- */

static void print_name(const char *name, mica_str *out) {
    mica_str_append_text(out, " \"");
    for (const char *c = name ? name : ""; *c; c++) {
        unsigned char byte = (unsigned char)*c;
        if (byte == '"' || byte == '\\')
            mica_str_append_format(out, "\\%c", byte);
        else if (byte < 0x20 || byte == 0x7F)
            mica_str_append_format(out, "\\x%02x", byte);
        else
            mica_str_append_char(out, *c);
    }
    mica_str_append_char(out, '"');
}

static void print_leaf(const mica_node *n, mica_str *out) {
    if (n->op == MICA_OP_INPUT || n->op == MICA_OP_WEIGHT) {
        mica_str_append_text(out, n->op == MICA_OP_INPUT ? "input" : "weight");
        print_name(n->name, out);
        return;
    }
    mica_str_append_text(out, "data");
    const mica_buffer *buffer = n->storage[0].buffer;
    if (n->shape.rank != 0 || n->quant.mode || !buffer || !buffer->host) return;
    mica_str_append_text(out, " {");
    print_element((mica_dtype)n->dtype, (const uint8_t *)buffer->host + n->storage[0].offset, out);
    mica_str_append_char(out, '}');
}

static bool is_zero(const uint8_t *at, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        if (at[i]) return false;
    return true;
}

static void print_call(const mica_op *op, const mica_node *n, const uint32_t *number,
                       mica_str *out) {
    mica_str_append_format(out, "%s(", op->name);
    for (int i = 0; i < n->n_inputs; i++) {
        if (i) mica_str_append_text(out, ", ");
        if (n->inputs[i])
            mica_str_append_format(out, "%%%u", number[n->inputs[i]]);
        else
            mica_str_append_char(out, '_');
    }
    mica_str_append_char(out, ')');
    int n_printed = 0;
    for (size_t i = 0; i < op->n_params; i++) {
        const mica_param *p = &op->params[i];
        if (is_zero(n->params.bytes + p->offset, param_bytes(p->type))) continue;
        mica_str_append_text(out, n_printed++ ? ", " : " {");
        print_param(n, p, out);
    }
    if (n_printed) mica_str_append_char(out, '}');
}

static void print_type(const mica_node *n, mica_str *out) {
    char shape[176], quant[32];
    bool is_quantised = n->quant.mode != MICA_QUANT_NONE;
    mica_str_append_format(out, " : %s%s",
                           is_quantised ? mica_quant_format(n->quant, quant)
                                        : mica_dtype_name((mica_dtype)n->dtype),
                           mica_shape_format(&n->shape, shape));
    if (is_quantised && n->quant.scale_dtype != MICA_DTYPE_U8)
        mica_str_append_format(out, " scales=%s",
                               mica_dtype_name((mica_dtype)n->quant.scale_dtype));
    if (is_quantised && n->dtype != MICA_DTYPE_BF16)
        mica_str_append_format(out, " decodes=%s", mica_dtype_name((mica_dtype)n->dtype));
    if (n->live)
        mica_str_append_text(out, n->live == MICA_LIVE_TOKENS ? " live=tokens" : " live=rows");
    if (n->place.binding >= 0)
        mica_str_append_format(out, " @%d+%llu", (int)n->place.binding,
                               (unsigned long long)n->place.offset);
    if (n->kernel) mica_str_append_format(out, " kernel=%s", n->kernel->name);
}

static void print_node(const mica_graph *g, const mica_node *n, const uint32_t *number,
                       mica_str *out) {
    const mica_op *op = g->runtime->ops[n->op];
    if (op)
        print_call(op, n, number, out);
    else
        print_leaf(n, out);
    print_type(n, out);
}

/* ---- the whole ---- */

/* Slots of a user's graph are recycled, so operands may stand behind their users. */
static bool is_ready(const mica_graph *g, mica_ref ref, const uint32_t *number) {
    const mica_node *n = mica_graph_node(g, ref);
    if (n->op == MICA_OP_NONE || number[ref]) return false;
    for (int i = 0; i < n->n_inputs; i++)
        if (n->inputs[i] && !number[n->inputs[i]]) return false;
    return true;
}

static void print_nodes(const mica_graph *g, uint32_t *number, mica_graph_note note, void *context,
                        mica_str *out) {
    uint32_t printed = 0, before;
    do {
        before = printed;
        for (mica_ref r = 1; r < mica_graph_count(g); r++) {
            if (!is_ready(g, r, number)) continue;
            number[r] = ++printed;
            mica_str_append_format(out, "%%%u = ", printed);
            print_node(g, mica_graph_node(g, r), number, out);
            if (note) note(context, r, out);
            mica_str_append_char(out, '\n');
        }
    } while (printed != before && !g->is_tracing);
}

void mica_graph_print_noted(const mica_graph *g, const mica_ref *outputs, size_t n_outputs,
                            mica_graph_note note, void *context, mica_str *out) {
    const mica_allocator *a = g->nodes.allocator;
    uint32_t *number = MICA_NEW_ARRAY(a, uint32_t, mica_graph_count(g));
    if (!number) {
        out->failed = true;
        return;
    }
    print_nodes(g, number, note, context, out);
    mica_str_append_text(out, "output");
    for (size_t i = 0; i < n_outputs; i++)
        mica_str_append_format(out, i ? ", %%%u" : " %%%u", number[outputs[i]]);
    mica_str_append_char(out, '\n');
    mica_free(a, number);
}

void mica_graph_print(const mica_graph *g, const mica_ref *outputs, size_t n_outputs,
                      mica_str *out) {
    mica_graph_print_noted(g, outputs, n_outputs, NULL, NULL, out);
}
