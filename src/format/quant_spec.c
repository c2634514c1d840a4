/* The names of quantised types: a table of modes with what they allow. */
#include "format/quant_spec.h"
#include <string.h>
#include "base/error.h"

enum { SHOWN_BYTES = 64 }; /* of a wrong text, in errors */

typedef struct mode_row {
    const char *name;
    mica_quant_spec usual;
    bool is_fixed; /* only the usual form */
} mode_row;

static const mode_row modes[] = {
    {"none", {MICA_QUANT_NONE, 0, 0}, true},    {"affine", {MICA_QUANT_AFFINE, 4, 64}, false},
    {"mxfp4", {MICA_QUANT_MXFP4, 4, 32}, true}, {"mxfp8", {MICA_QUANT_MXFP8, 8, 32}, true},
    {"nvfp4", {MICA_QUANT_NVFP4, 4, 16}, true},
};

static mica_status fail_spec(mica_slice text, mica_error *err) {
    int bytes = (int)(text.bytes < SHOWN_BYTES ? text.bytes : SHOWN_BYTES);
    return mica_fail(err, MICA_STATUS_INVALID,
                     "\"%.*s\" is no quantisation: expected affine:BITS:GROUP (2, 3, 4, 5, 6 or 8 "
                     "bits; groups of 32, 64 or 128), mxfp4, mxfp8, nvfp4 or none",
                     bytes, text.data ? text.data : "");
}

/* The text up to the next ':' of *rest, which goes on behind it. */
static mica_slice take_part(mica_slice *rest) {
    const char *colon = rest->bytes ? memchr(rest->data, ':', rest->bytes) : NULL;
    size_t bytes = colon ? (size_t)(colon - rest->data) : rest->bytes;
    mica_slice part = mica_slice_of(rest->data, bytes);
    size_t skipped = colon ? bytes + 1 : bytes;
    *rest = mica_slice_of(rest->data + skipped, rest->bytes - skipped);
    return part;
}

/* The digits of a small number; nothing else, and no leading zero. */
static bool read_number(mica_slice text, uint32_t *out) {
    uint64_t v;
    if (text.bytes == 0 || text.bytes > 3 || text.data[0] == '0') return false;
    if (!mica_parse_u64(text, &v)) return false;
    *out = (uint32_t)v;
    return true;
}

static bool has_form(const mode_row *row, uint32_t bits, uint32_t group) {
    if (row->is_fixed) return bits == row->usual.bits && group == row->usual.group;
    bool has_bits = (bits >= 2 && bits <= 6) || bits == 8;
    return has_bits && (group == 32 || group == 64 || group == 128);
}

mica_status mica_quant_spec_parse(mica_slice text, mica_quant_spec *out, mica_error *err) {
    mica_slice rest = text;
    if (text.bytes == 0 || text.data[text.bytes - 1] == ':') return fail_spec(text, err);
    mica_slice name = take_part(&rest);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        const mode_row *row = &modes[i];
        uint32_t bits = row->usual.bits, group = row->usual.group;
        if (!mica_slice_is(name, row->name)) continue;
        if (rest.bytes > 0 && !read_number(take_part(&rest), &bits)) break;
        if (rest.bytes > 0 && !read_number(take_part(&rest), &group)) break;
        if (rest.bytes > 0 || !has_form(row, bits, group)) break;
        *out = (mica_quant_spec){row->usual.mode, (uint8_t)bits, (uint16_t)group};
        return MICA_STATUS_OK;
    }
    return fail_spec(text, err);
}

mica_quant_spec mica_quant_spec_usual(int mode) {
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (modes[i].usual.mode == mode) return modes[i].usual;
    return (mica_quant_spec){0};
}

const char *mica_quant_mode_name(int mode) {
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (modes[i].usual.mode == mode) return modes[i].name;
    return "?";
}

const char *mica_quant_spec_format(mica_quant_spec spec, char out[32]) {
    if (spec.mode == MICA_QUANT_AFFINE)
        mica_format(out, 32, "affine:%d:%d", spec.bits, spec.group);
    else
        mica_format(out, 32, "%s", mica_quant_mode_name(spec.mode));
    return out;
}

bool mica_quant_spec_equal(mica_quant_spec a, mica_quant_spec b) {
    return a.mode == b.mode && a.bits == b.bits && a.group == b.group;
}

mica_quant mica_quant_spec_type(mica_quant_spec spec, mica_dtype scale_dtype) {
    return (mica_quant){
        .mode = spec.mode,
        .bits = spec.bits,
        .group = spec.group,
        .scale_dtype = (uint8_t)(spec.mode == MICA_QUANT_AFFINE ? scale_dtype : MICA_DTYPE_U8),
    };
}
