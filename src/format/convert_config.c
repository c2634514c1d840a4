/* Copying JSON value by value, with indentation. Numbers keep their spelling. */
#include "format/convert_config.h"
#include "base/error.h"
#include "base/json.h"

enum { INDENT = 4 };

/* ---- copying ---- */

static void append_line(mica_str *out, size_t depth) {
    mica_str_append_format(out, "\n%*s", (int)(depth * INDENT), "");
}

static mica_status copy_scalar(mica_json *j, mica_str *out, mica_error *err) {
    mica_slice text;
    bool is_true = false;
    mica_status st;
    switch (mica_json_peek(j)) {
    case MICA_JSON_STRING:
        st = mica_json_read_string(j, &text, err);
        if (st == MICA_STATUS_OK) mica_json_append_string(out, text);
        return st;
    case MICA_JSON_NUMBER:
        st = mica_json_read_number_text(j, &text, err);
        if (st == MICA_STATUS_OK) mica_str_append_slice(out, text);
        return st;
    case MICA_JSON_BOOL:
        st = mica_json_read_bool(j, &is_true, err);
        mica_str_append_text(out, is_true ? "true" : "false");
        return st;
    default:
        mica_str_append_text(out, "null");
        return mica_json_read_null(j, err);
    }
}

/* The places that a copy is in: objects and lists around the next value. */
typedef struct nesting {
    bool is_object[MICA_JSON_DEPTH_MAX];
    bool has_items[MICA_JSON_DEPTH_MAX];
    size_t depth;
} nesting;

/* A scalar, or the beginning of a container, which is entered. */
static mica_status copy_one(mica_json *j, nesting *n, mica_str *out, mica_error *err) {
    mica_json_kind kind = mica_json_peek(j);
    if (kind != MICA_JSON_OBJECT && kind != MICA_JSON_ARRAY) return copy_scalar(j, out, err);
    if (n->depth == MICA_JSON_DEPTH_MAX) return mica_json_fail(j, err, "nested too deeply");
    bool is_object = kind == MICA_JSON_OBJECT;
    n->is_object[n->depth] = is_object;
    n->has_items[n->depth++] = false;
    mica_str_append_char(out, is_object ? '{' : '[');
    return is_object ? mica_json_begin_object(j, err) : mica_json_begin_array(j, err);
}

/* Goes to the next value of the innermost container that has one, and leaves those that end.
 * outer: the depth at which the value as a whole stands. */
static mica_status go_on(mica_json *j, nesting *n, size_t outer, mica_str *out, mica_error *err) {
    mica_slice key = {0};
    while (n->depth > 0) {
        size_t last = n->depth - 1;
        bool more = n->is_object[last] ? mica_json_next_key(j, &key) : mica_json_next_item(j);
        if (more) {
            if (n->has_items[last]) mica_str_append_char(out, ',');
            append_line(out, outer + n->depth);
            n->has_items[last] = true;
            if (!n->is_object[last]) return MICA_STATUS_OK;
            mica_json_append_string(out, key);
            mica_str_append_text(out, ": ");
            return MICA_STATUS_OK;
        }
        mica_status st = mica_json_check(j, err);
        if (st != MICA_STATUS_OK) return st;
        n->depth--;
        if (n->has_items[last]) append_line(out, outer + n->depth);
        mica_str_append_char(out, n->is_object[last] ? '}' : ']');
    }
    return MICA_STATUS_OK;
}

static mica_status copy_value(mica_json *j, size_t outer, mica_str *out, mica_error *err) {
    mica_status st;
    nesting n = {.depth = 0};
    do {
        st = copy_one(j, &n, out, err);
        if (st == MICA_STATUS_OK) st = go_on(j, &n, outer, out, err);
    } while (st == MICA_STATUS_OK && n.depth > 0);
    return st;
}

/* ---- what is new ---- */

static void append_spec(mica_str *out, size_t depth, mica_quant_spec spec) {
    append_line(out, depth);
    mica_str_append_format(out, "\"group_size\": %d,", spec.group);
    append_line(out, depth);
    mica_str_append_format(out, "\"bits\": %d,", spec.bits);
    append_line(out, depth);
    mica_str_append_format(out, "\"mode\": \"%s\"", mica_quant_mode_name(spec.mode));
}

static void append_quantization(mica_str *out, const char *key, const convert_config *changes) {
    mica_str_append_char(out, ',');
    append_line(out, 1);
    mica_str_append_format(out, "\"%s\": {", key);
    append_spec(out, 2, changes->top);
    for (size_t i = 0; i < changes->units->count; i++) {
        const convert_unit *u = mica_vec_at(changes->units, i);
        mica_quant_spec spec = {u->to.mode, u->to.bits, u->to.group};
        if (spec.mode == MICA_QUANT_NONE || mica_quant_spec_equal(spec, changes->top)) continue;
        mica_str_append_char(out, ',');
        append_line(out, 2);
        mica_json_append_string(out, mica_slice_from(u->path));
        mica_str_append_text(out, ": {");
        append_spec(out, 3, spec);
        append_line(out, 2);
        mica_str_append_char(out, '}');
    }
    append_line(out, 1);
    mica_str_append_char(out, '}');
}

static bool has_quantized(const mica_vec *units) {
    for (size_t i = 0; i < units->count; i++)
        if (((const convert_unit *)mica_vec_at(units, i))->to.mode != MICA_QUANT_NONE) return true;
    return false;
}

static const char *torch_name(mica_dtype dtype) {
    return dtype == MICA_DTYPE_F16 ? "float16" : dtype == MICA_DTYPE_F32 ? "float32" : "bfloat16";
}

static mica_status copy_keys(mica_json *j, const convert_config *changes, mica_str *out,
                             mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_slice key;
    bool has_keys = false, has_dtype = false;
    MICA_TRY(mica_json_begin_object(j, err));
    mica_str_append_char(out, '{');
    while (mica_json_next_key(j, &key)) {
        bool is_dtype = mica_slice_is(key, "torch_dtype") || mica_slice_is(key, "dtype");
        bool is_gone =
            mica_slice_is(key, "quantization") || mica_slice_is(key, "quantization_config");
        if (!is_gone) {
            if (has_keys) mica_str_append_char(out, ',');
            append_line(out, 1);
            mica_json_append_string(out, key);
            mica_str_append_text(out, ": ");
            has_keys = true;
        }
        if (is_dtype && changes->dtype)
            mica_str_append_format(out, "\"%s\"", torch_name(changes->dtype));
        has_dtype |= is_dtype;
        if (is_gone || (is_dtype && changes->dtype))
            MICA_TRY(mica_json_skip(j, err));
        else
            MICA_TRY(copy_value(j, 1, out, err));
    }
    MICA_TRY(mica_json_check(j, err));
    MICA_TRY(mica_json_end(j, err));
    MICA_REQUIRE(has_keys, MICA_STATUS_FORMAT, "an empty configuration");
    if (!has_dtype && changes->dtype)
        mica_str_append_format(out, ",\n%*s\"torch_dtype\": \"%s\"", INDENT, "",
                               torch_name(changes->dtype));
done:
    return st;
}

mica_status convert_config_write(const mica_host *host, const char *name, const char *text,
                                 size_t bytes, const convert_config *changes, mica_str *out,
                                 mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_json *j = NULL;
    MICA_TRY(mica_json_open(host, name, text, bytes, MICA_JSON_DEPTH_MAX, &j, err));
    MICA_TRY(copy_keys(j, changes, out, err));
    if (has_quantized(changes->units)) {
        append_quantization(out, "quantization", changes);
        append_quantization(out, "quantization_config", changes);
    }
    mica_str_append_text(out, "\n}\n");
    MICA_REQUIRE(!out->failed, MICA_STATUS_OUT_OF_MEMORY, "out of memory: %s", name);
done:
    mica_json_close(&j);
    return st;
}
