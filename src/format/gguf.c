/* The GGUF reader. How long the header is stands nowhere, so the file is read from its beginning in
 * growing steps until all keys and tensors are there; the parser itself works on memory. Nothing is
 * allocated for a count before that many items could fit in what is left of the file. */
#include "format/gguf.h"
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "base/error.h"
#include "base/vec.h"
#include "format/safetensors.h"

enum {
    FIRST_READ_BYTES = 1 << 20,
    SHOWN_NAME_MAX = 96,   /* bytes of a name in a message */
    VALUE_BYTES_MIN = 14,  /* length of the key, one byte of it, type, one byte of value */
    TENSOR_BYTES_MIN = 33, /* length of the name, one byte of it, rank, one dim, type, offset */
    COUNTS_END = 24,       /* magic, version, two counts */
};

struct mica_gguf {
    const mica_host *host;
    mica_file *file;
    char *name;
    uint8_t *header;         /* what values point into */
    mica_gguf_value *values; /* sorted by key */
    size_t n_values;
    mica_gguf_tensor *tensors; /* sorted by offset */
    const mica_gguf_tensor **by_name;
    size_t n_tensors;
    char *names; /* of tensors, with closing NULs */
    uint32_t alignment;
};

typedef struct parser {
    mica_gguf *g;
    const uint8_t *begin;
    const uint8_t *at;
    const uint8_t *end;
    uint64_t file_bytes;
    bool is_cut; /* the prefix ends before the header does, but the file goes on */
    size_t names_bytes;
} parser;

static int shown(size_t bytes) { return (int)(bytes < SHOWN_NAME_MAX ? bytes : SHOWN_NAME_MAX); }

/* ---- reading from memory ---- */

static size_t left(const parser *p) { return (size_t)(p->end - p->at); }

/* What is left of the file, which may be more than what is in memory. */
static uint64_t left_in_file(const parser *p) {
    return p->file_bytes - (uint64_t)(p->at - p->begin);
}

static mica_status fail_cut(parser *p, uint64_t bytes, const char *what, mica_error *err) {
    uint64_t place = (uint64_t)(p->at - p->begin);
    p->is_cut = bytes <= left_in_file(p);
    return mica_fail(err, MICA_STATUS_FORMAT,
                     "%s: rule G1: %s needs %llu bytes at offset %llu, but the file has %llu",
                     p->g->name, what, (unsigned long long)bytes, (unsigned long long)place,
                     (unsigned long long)p->file_bytes);
}

static mica_status take(parser *p, uint64_t bytes, const char *what, const uint8_t **out,
                        mica_error *err) {
    if (bytes > left(p)) return fail_cut(p, bytes, what, err);
    *out = p->at;
    p->at += bytes;
    return MICA_STATUS_OK;
}

static uint32_t load_u32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t load_u64(const uint8_t *p) { return load_u32(p) | (uint64_t)load_u32(p + 4) << 32; }

static mica_status take_u32(parser *p, const char *what, uint32_t *out, mica_error *err) {
    const uint8_t *bytes = NULL;
    mica_status st = take(p, 4, what, &bytes, err);
    if (st == MICA_STATUS_OK) *out = load_u32(bytes);
    return st;
}

static mica_status take_u64(parser *p, const char *what, uint64_t *out, mica_error *err) {
    const uint8_t *bytes = NULL;
    mica_status st = take(p, 8, what, &bytes, err);
    if (st == MICA_STATUS_OK) *out = load_u64(bytes);
    return st;
}

/* ---- values ---- */

static const uint8_t value_bytes[MICA_GGUF_VALUE_TYPE_COUNT_] = {
    [MICA_GGUF_U8] = 1,  [MICA_GGUF_I8] = 1,  [MICA_GGUF_U16] = 2, [MICA_GGUF_I16] = 2,
    [MICA_GGUF_U32] = 4, [MICA_GGUF_I32] = 4, [MICA_GGUF_F32] = 4, [MICA_GGUF_BOOL] = 1,
    [MICA_GGUF_U64] = 8, [MICA_GGUF_I64] = 8, [MICA_GGUF_F64] = 8,
};

static const char *const value_names[MICA_GGUF_VALUE_TYPE_COUNT_] = {
    "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64",
};

static mica_status read_name(parser *p, const char *what, mica_slice *out, mica_error *err) {
    uint64_t bytes = 0;
    const uint8_t *data = NULL;
    mica_status st = take_u64(p, what, &bytes, err);
    if (st != MICA_STATUS_OK) return st;
    if (bytes > MICA_SAFETENSORS_NAME_BYTES_MAX)
        return mica_fail(err, MICA_STATUS_LIMIT,
                         "%s: rule G3: %s at offset %zu has %llu bytes, expected at most %u",
                         p->g->name, what, (size_t)(p->at - p->begin) - 8,
                         (unsigned long long)bytes, MICA_SAFETENSORS_NAME_BYTES_MAX);
    st = take(p, bytes, what, &data, err);
    if (st != MICA_STATUS_OK) return st;
    *out = mica_slice_of((const char *)data, (size_t)bytes);
    if (mica_safetensors_name_is_valid(*out)) return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_FORMAT,
                     "%s: rule G3: %s \"%.*s\" is empty, not UTF-8, or has control bytes",
                     p->g->name, what, shown(out->bytes), out->data ? out->data : "");
}

static mica_status read_value_type(parser *p, mica_slice key, mica_gguf_value_type *out,
                                   mica_error *err) {
    uint32_t type = 0;
    mica_status st = take_u32(p, "the type of a value", &type, err);
    if (st != MICA_STATUS_OK) return st;
    if (type >= MICA_GGUF_VALUE_TYPE_COUNT_)
        return mica_fail(err, MICA_STATUS_FORMAT,
                         "%s: rule G4: key \"%.*s\" has type %u, expected 0 to 12", p->g->name,
                         shown(key.bytes), key.data, type);
    *out = (mica_gguf_value_type)type;
    return MICA_STATUS_OK;
}

static mica_status take_string(parser *p, mica_slice key, const uint8_t **data, uint64_t *bytes,
                               mica_error *err) {
    mica_status st = take_u64(p, "the length of a string", bytes, err);
    if (st != MICA_STATUS_OK) return st;
    if (*bytes > MICA_GGUF_STRING_BYTES_MAX)
        return mica_fail(err, MICA_STATUS_LIMIT,
                         "%s: rule G4: key \"%.*s\" has a string of %llu bytes, expected at most "
                         "%u",
                         p->g->name, shown(key.bytes), key.data, (unsigned long long)*bytes,
                         MICA_GGUF_STRING_BYTES_MAX);
    return take(p, *bytes, "a string", data, err);
}

static mica_status check_bools(parser *p, mica_slice key, const uint8_t *data, uint64_t n,
                               mica_error *err) {
    for (uint64_t i = 0; i < n; i++)
        if (data[i] > 1)
            return mica_fail(err, MICA_STATUS_FORMAT,
                             "%s: rule G4: key \"%.*s\" has the bool %d, expected 0 or 1",
                             p->g->name, shown(key.bytes), key.data, data[i]);
    return MICA_STATUS_OK;
}

static mica_status check_array(const parser *p, const mica_gguf_value *v, mica_error *err) {
    /* A string takes its length at least, an array its type and count. */
    uint64_t item = v->item_type == MICA_GGUF_STRING  ? 8
                    : v->item_type == MICA_GGUF_ARRAY ? 12
                                                      : value_bytes[v->item_type];
    uint64_t need;
    if (v->count > MICA_GGUF_ITEMS_MAX)
        return mica_fail(err, MICA_STATUS_LIMIT,
                         "%s: rule G5: key \"%.*s\" has %llu items, expected at most %u",
                         p->g->name, shown(v->key.bytes), v->key.data, (unsigned long long)v->count,
                         MICA_GGUF_ITEMS_MAX);
    if (mica_mul_u64(v->count, item, &need) && need <= left_in_file(p)) return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_FORMAT,
                     "%s: rule G5: key \"%.*s\" has %llu items of %llu bytes or more, but %llu "
                     "bytes are left in the file",
                     p->g->name, shown(v->key.bytes), v->key.data, (unsigned long long)v->count,
                     (unsigned long long)item, (unsigned long long)left_in_file(p));
}

static mica_status read_array(parser *p, mica_gguf_value *v, int depth, mica_error *err);

static mica_status read_items(parser *p, const mica_gguf_value *v, int depth, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const uint8_t *data = NULL;
    uint64_t bytes = 0;
    if (v->item_type == MICA_GGUF_STRING) {
        for (uint64_t i = 0; i < v->count && st == MICA_STATUS_OK; i++)
            st = take_string(p, v->key, &data, &bytes, err);
    } else if (v->item_type == MICA_GGUF_ARRAY) {
        mica_gguf_value inner = {.key = v->key};
        for (uint64_t i = 0; i < v->count && st == MICA_STATUS_OK; i++)
            st = read_array(p, &inner, depth + 1, err);
    } else {
        st = take(p, v->count * value_bytes[v->item_type], "an array", &data, err);
        if (st == MICA_STATUS_OK && v->item_type == MICA_GGUF_BOOL)
            st = check_bools(p, v->key, data, v->count, err);
    }
    return st;
}

/* The depth of the recursion is bounded by MICA_GGUF_NESTING_MAX. */
static mica_status read_array(parser *p, mica_gguf_value *v, int depth, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    MICA_REQUIRE(depth <= MICA_GGUF_NESTING_MAX, MICA_STATUS_LIMIT,
                 "%s: rule G5: key \"%.*s\" nests arrays more than %d deep", p->g->name,
                 shown(v->key.bytes), v->key.data, MICA_GGUF_NESTING_MAX);
    MICA_TRY(read_value_type(p, v->key, &v->item_type, err));
    MICA_TRY(take_u64(p, "the count of an array", &v->count, err));
    MICA_TRY(check_array(p, v, err));
    v->data = p->at;
    MICA_TRY(read_items(p, v, depth, err));
    v->bytes = (size_t)(p->at - v->data);
done:
    return st;
}

static mica_status read_value(parser *p, mica_gguf_value *v, mica_error *err) {
    mica_status st = read_name(p, "a key", &v->key, err);
    if (st == MICA_STATUS_OK) st = read_value_type(p, v->key, &v->type, err);
    if (st != MICA_STATUS_OK) return st;
    uint64_t bytes = value_bytes[v->type];
    if (v->type == MICA_GGUF_ARRAY) return read_array(p, v, 1, err);
    if (v->type == MICA_GGUF_STRING)
        st = take_string(p, v->key, &v->data, &bytes, err);
    else
        st = take(p, bytes, "a value", &v->data, err);
    v->bytes = (size_t)bytes;
    if (st == MICA_STATUS_OK && v->type == MICA_GGUF_BOOL)
        st = check_bools(p, v->key, v->data, 1, err);
    return st;
}

static int compare_slices(mica_slice a, mica_slice b) {
    size_t n = a.bytes < b.bytes ? a.bytes : b.bytes;
    int order = memcmp(a.data, b.data, n);
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

static int compare_values(const void *a, const void *b) {
    return compare_slices(((const mica_gguf_value *)a)->key, ((const mica_gguf_value *)b)->key);
}

static mica_status read_values(parser *p, uint64_t count, mica_error *err) {
    mica_gguf *g = p->g;
    if (count > MICA_GGUF_KEYS_MAX)
        return mica_fail(err, MICA_STATUS_LIMIT, "%s: rule G2: %llu keys, expected at most %u",
                         g->name, (unsigned long long)count, MICA_GGUF_KEYS_MAX);
    if (count * VALUE_BYTES_MIN > left_in_file(p))
        return mica_fail(err, MICA_STATUS_FORMAT,
                         "%s: rule G2: %llu keys do not fit in the %llu bytes that are left",
                         g->name, (unsigned long long)count, (unsigned long long)left_in_file(p));
    g->values = MICA_NEW_ARRAY(g->host->allocator, mica_gguf_value, (size_t)count + 1);
    if (!g->values) return mica_fail_memory(err, (size_t)count * sizeof *g->values, "GGUF keys");
    for (uint64_t i = 0; i < count; i++) {
        mica_status st = read_value(p, &g->values[i], err);
        if (st != MICA_STATUS_OK) return st;
    }
    g->n_values = (size_t)count;
    if (count > 1) qsort(g->values, g->n_values, sizeof *g->values, compare_values);
    for (size_t i = 1; i < g->n_values; i++)
        if (compare_values(&g->values[i - 1], &g->values[i]) == 0)
            return mica_fail(err, MICA_STATUS_FORMAT, "%s: rule G6: key \"%.*s\" stands twice",
                             g->name, shown(g->values[i].key.bytes), g->values[i].key.data);
    return MICA_STATUS_OK;
}

static mica_status read_alignment(mica_gguf *g, mica_error *err) {
    const mica_gguf_value *v = mica_gguf_find(g, "general.alignment");
    g->alignment = MICA_GGUF_ALIGNMENT_DEFAULT;
    if (!v) return MICA_STATUS_OK;
    uint32_t alignment = v->type == MICA_GGUF_U32 ? load_u32(v->data) : 0;
    if (alignment < 8 || alignment > MICA_GGUF_ALIGNMENT_MAX || (alignment & (alignment - 1)) != 0)
        return mica_fail(err, MICA_STATUS_FORMAT,
                         "%s: rule G7: general.alignment is %s %u, expected a u32 that is a power "
                         "of two from 8 to %u",
                         g->name, value_names[v->type], alignment, MICA_GGUF_ALIGNMENT_MAX);
    g->alignment = alignment;
    return MICA_STATUS_OK;
}

/* ---- tensors ---- */

static mica_status read_shape(parser *p, mica_gguf_tensor *t, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    uint32_t rank = 0;
    uint64_t dim = 0;
    MICA_TRY(take_u32(p, "the rank of a tensor", &rank, err));
    MICA_REQUIRE(rank >= 1 && rank <= MICA_GGUF_RANK_MAX, MICA_STATUS_LIMIT,
                 "%s: rule G8: tensor \"%.*s\" has %u dims, expected 1 to %u", p->g->name,
                 shown(t->name_bytes), t->name, rank, MICA_GGUF_RANK_MAX);
    t->shape.rank = (int32_t)rank;
    for (uint32_t i = 0; i < rank; i++) {
        MICA_TRY(take_u64(p, "a dim of a tensor", &dim, err));
        MICA_REQUIRE(dim >= 1 && dim <= (uint64_t)MICA_SAFETENSORS_DIM_MAX, MICA_STATUS_LIMIT,
                     "%s: rule G8: tensor \"%.*s\" has a dim of %llu, expected 1 to %lld",
                     p->g->name, shown(t->name_bytes), t->name, (unsigned long long)dim,
                     (long long)MICA_SAFETENSORS_DIM_MAX);
        t->shape.dims[rank - 1 - i] = (int64_t)dim;
    }
done:
    return st;
}

/* Bytes of type and shape; false when they overflow. */
static bool tensor_bytes(const mica_gguf_tensor *t, const mica_gguf_type_info *info,
                         uint64_t *out) {
    uint64_t blocks = (uint64_t)t->shape.dims[t->shape.rank - 1] / info->elements;
    for (int i = 0; i + 1 < t->shape.rank; i++)
        if (!mica_mul_u64(blocks, (uint64_t)t->shape.dims[i], &blocks)) return false;
    uint64_t elements; /* later layers count in 64 signed bits */
    return mica_mul_u64(blocks, info->elements, &elements) && elements <= INT64_MAX &&
           mica_mul_u64(blocks, info->bytes, out);
}

/* Leaves begin and end relative to the tensor bytes. */
static mica_status read_tensor(parser *p, mica_gguf_tensor *t, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_slice name;
    uint64_t bytes = 0;
    char shape[176];
    MICA_TRY(read_name(p, "a tensor name", &name, err));
    t->name = name.data; /* moves to memory of its own later */
    t->name_bytes = (uint32_t)name.bytes;
    p->names_bytes += name.bytes + 1;
    MICA_TRY(read_shape(p, t, err));
    MICA_TRY(take_u32(p, "the type of a tensor", &t->type, err));
    MICA_TRY(take_u64(p, "the offset of a tensor", &t->begin, err));
    const mica_gguf_type_info *info = mica_gguf_type_find(t->type);
    MICA_REQUIRE(info->name, MICA_STATUS_FORMAT,
                 "%s: rule G8: tensor \"%.*s\" has type %u, which is not one of the format",
                 p->g->name, shown(name.bytes), name.data, t->type);
    MICA_REQUIRE(t->shape.dims[t->shape.rank - 1] % info->elements == 0, MICA_STATUS_FORMAT,
                 "%s: rule G8: tensor \"%.*s\": rows of %lld elements are no whole blocks of %u "
                 "(%s)",
                 p->g->name, shown(name.bytes), name.data,
                 (long long)t->shape.dims[t->shape.rank - 1], info->elements, info->name);
    MICA_REQUIRE(tensor_bytes(t, info, &bytes) && mica_add_u64(t->begin, bytes, &t->end),
                 MICA_STATUS_FORMAT,
                 "%s: rule G9: tensor \"%.*s\": the bytes of %s %s at offset %llu overflow",
                 p->g->name, shown(name.bytes), name.data, info->name,
                 mica_shape_format(&t->shape, shape), (unsigned long long)t->begin);
done:
    return st;
}

static int compare_offsets(const void *a, const void *b) {
    const mica_gguf_tensor *x = a, *y = b;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

/* Every tensor begins where the one before ends, filled up to the alignment; the last one ends
 * with the file. So none overlaps, none lies outside, and there is no room for anything else. */
static mica_status place_tensors(parser *p, uint64_t data_begin, mica_error *err) {
    mica_gguf *g = p->g;
    uint64_t filled = 0, last = 0, mask = g->alignment - 1;
    if (g->n_tensors > 1) qsort(g->tensors, g->n_tensors, sizeof *g->tensors, compare_offsets);
    for (size_t i = 0; i < g->n_tensors; i++) {
        mica_gguf_tensor *t = &g->tensors[i];
        if (t->begin != filled)
            return mica_fail(
                err, MICA_STATUS_FORMAT,
                "%s: rule G9: tensor \"%.*s\" begins at %llu, expected %llu (alignment "
                "%u)",
                g->name, shown(t->name_bytes), t->name, (unsigned long long)t->begin,
                (unsigned long long)filled, g->alignment);
        last = t->end;
        if (!mica_add_u64(t->begin, data_begin, &t->begin) ||
            !mica_add_u64(t->end, data_begin, &t->end) || t->end > p->file_bytes)
            return mica_fail(err, MICA_STATUS_FORMAT,
                             "%s: rule G9: tensor \"%.*s\" needs bytes %llu to %llu past the "
                             "header of %llu, but the file has %llu",
                             g->name, shown(t->name_bytes), t->name, (unsigned long long)filled,
                             (unsigned long long)last, (unsigned long long)data_begin,
                             (unsigned long long)p->file_bytes);
        filled = (last + mask) & ~mask; /* last is at most the size of a file */
    }
    if (g->n_tensors > 0 && p->file_bytes - data_begin > filled)
        return mica_fail(err, MICA_STATUS_FORMAT,
                         "%s: rule G10: the tensors end at %llu, but the file has %llu bytes",
                         g->name, (unsigned long long)(data_begin + last),
                         (unsigned long long)p->file_bytes);
    return MICA_STATUS_OK;
}

static int compare_names(const void *a, const void *b) {
    return strcmp((*(const mica_gguf_tensor *const *)a)->name,
                  (*(const mica_gguf_tensor *const *)b)->name);
}

/* Names get closing NULs, and an order to be found by. */
static mica_status index_names(parser *p, mica_error *err) {
    mica_gguf *g = p->g;
    g->names = mica_alloc(g->host->allocator, p->names_bytes + 1);
    g->by_name = MICA_NEW_ARRAY(g->host->allocator, const mica_gguf_tensor *, g->n_tensors + 1);
    if (!g->names || !g->by_name)
        return mica_fail_memory(err, p->names_bytes, "names of GGUF tensors");
    char *at = g->names;
    for (size_t i = 0; i < g->n_tensors; i++) {
        mica_gguf_tensor *t = &g->tensors[i];
        memcpy(at, t->name, t->name_bytes);
        at[t->name_bytes] = '\0';
        t->name = at;
        at += t->name_bytes + 1;
        g->by_name[i] = t;
    }
    if (g->n_tensors > 1) qsort(g->by_name, g->n_tensors, sizeof *g->by_name, compare_names);
    for (size_t i = 1; i < g->n_tensors; i++)
        if (strcmp(g->by_name[i - 1]->name, g->by_name[i]->name) == 0)
            return mica_fail(err, MICA_STATUS_FORMAT, "%s: rule G6: tensor \"%.*s\" stands twice",
                             g->name, shown(g->by_name[i]->name_bytes), g->by_name[i]->name);
    return MICA_STATUS_OK;
}

static mica_status read_tensors(parser *p, uint64_t count, mica_error *err) {
    mica_gguf *g = p->g;
    if (count > MICA_GGUF_TENSORS_MAX)
        return mica_fail(err, MICA_STATUS_LIMIT, "%s: rule G2: %llu tensors, expected at most %u",
                         g->name, (unsigned long long)count, MICA_GGUF_TENSORS_MAX);
    if (count * TENSOR_BYTES_MIN > left_in_file(p))
        return mica_fail(err, MICA_STATUS_FORMAT,
                         "%s: rule G2: %llu tensors do not fit in the %llu bytes that are left",
                         g->name, (unsigned long long)count, (unsigned long long)left_in_file(p));
    g->tensors = MICA_NEW_ARRAY(g->host->allocator, mica_gguf_tensor, (size_t)count + 1);
    if (!g->tensors)
        return mica_fail_memory(err, (size_t)count * sizeof *g->tensors, "GGUF tensors");
    for (uint64_t i = 0; i < count; i++) {
        mica_status st = read_tensor(p, &g->tensors[i], err);
        if (st != MICA_STATUS_OK) return st;
    }
    g->n_tensors = (size_t)count;
    return MICA_STATUS_OK;
}

/* ---- the header ---- */

static mica_status read_version(parser *p, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const uint8_t *magic = NULL;
    uint32_t version = 0;
    MICA_TRY(take(p, 4, "the magic", &magic, err));
    MICA_REQUIRE(memcmp(magic, "GGUF", 4) == 0, MICA_STATUS_FORMAT,
                 "%s: rule G1: the file begins with %02x %02x %02x %02x, expected \"GGUF\"",
                 p->g->name, magic[0], magic[1], magic[2], magic[3]);
    MICA_TRY(take_u32(p, "the version", &version, err));
    MICA_REQUIRE(version == 0 || (version & 0xFFFFu) != 0, MICA_STATUS_UNSUPPORTED,
                 "%s: rule G1: a big-endian file, expected little endian", p->g->name);
    MICA_REQUIRE(version == 2 || version == 3, MICA_STATUS_UNSUPPORTED,
                 "%s: rule G1: version %u, expected 2 or 3", p->g->name, version);
done:
    return st;
}

static mica_status read_header(parser *p, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    uint64_t n_tensors = 0, n_values = 0;
    size_t data_begin;
    MICA_TRY(read_version(p, err));
    MICA_TRY(take_u64(p, "the number of tensors", &n_tensors, err));
    MICA_TRY(take_u64(p, "the number of keys", &n_values, err));
    MICA_TRY(read_values(p, n_values, err));
    MICA_TRY(read_alignment(p->g, err));
    MICA_TRY(read_tensors(p, n_tensors, err));
    MICA_REQUIRE(mica_align_size((size_t)(p->at - p->begin), p->g->alignment, &data_begin),
                 MICA_STATUS_LIMIT, "%s: rule G1: the header is too long", p->g->name);
    MICA_TRY(place_tensors(p, data_begin, err));
    MICA_TRY(index_names(p, err));
done:
    return st;
}

/* Takes over header and file, also on failure. */
static mica_status create(const mica_host *host, const char *name, uint8_t *header, size_t bytes,
                          uint64_t file_bytes, bool *is_cut, mica_gguf **out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_gguf *g = MICA_NEW(host->allocator, mica_gguf);
    *out = NULL;
    *is_cut = false;
    if (!g) {
        mica_free(host->allocator, header);
        return mica_fail_memory(err, sizeof *g, "a GGUF file");
    }
    g->host = host;
    g->header = header;
    g->name = mica_alloc_string(host->allocator, name, strlen(name));
    MICA_REQUIRE(g->name, MICA_STATUS_OUT_OF_MEMORY, "out of memory: a GGUF file");
    parser p = {.g = g, .begin = header, .at = header, .end = header + bytes};
    p.file_bytes = file_bytes;
    st = read_header(&p, err);
    *is_cut = p.is_cut;
    if (st != MICA_STATUS_OK) goto done;
    *out = g;
    g = NULL;
done:
    mica_gguf_close(&g);
    return st;
}

mica_status mica_gguf_parse(const mica_host *host, const char *name, const void *prefix,
                            size_t prefix_bytes, uint64_t file_bytes, mica_gguf **out,
                            mica_error *err) {
    bool is_cut;
    *out = NULL;
    if (prefix_bytes > file_bytes)
        return mica_fail(err, MICA_STATUS_INVALID, "%s: a prefix longer than the file", name);
    uint8_t *copy = mica_alloc(host->allocator, prefix_bytes);
    if (!copy) return mica_fail_memory(err, prefix_bytes, "a GGUF header");
    if (prefix_bytes > 0) memcpy(copy, prefix, prefix_bytes);
    return create(host, name, copy, prefix_bytes, file_bytes, &is_cut, out, err);
}

/* One try with the first `bytes` of the file. */
static mica_status try_prefix(const mica_host *host, mica_file *file, const char *name,
                              size_t bytes, bool *is_cut, mica_gguf **out, mica_error *err) {
    *is_cut = false;
    uint8_t *header = mica_alloc(host->allocator, bytes);
    if (!header) return mica_fail_memory(err, bytes, "a GGUF header");
    mica_status st = mica_file_read(file, 0, header, bytes, err);
    if (st != MICA_STATUS_OK) {
        mica_free(host->allocator, header);
        return st;
    }
    return create(host, name, header, bytes, mica_file_bytes(file), is_cut, out, err);
}

mica_status mica_gguf_open(const mica_host *host, const char *path, mica_gguf **out,
                           mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_file *file = NULL;
    bool is_cut = true;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    *out = NULL;
    MICA_TRY(mica_file_open(host, path, &file, err));
    for (size_t bytes = FIRST_READ_BYTES; is_cut; bytes *= 2) {
        if (bytes > mica_file_bytes(file)) bytes = (size_t)mica_file_bytes(file);
        MICA_REQUIRE(bytes <= MICA_GGUF_HEADER_BYTES_MAX, MICA_STATUS_LIMIT,
                     "%s: rule G1: the header has more than %zu bytes", name,
                     MICA_GGUF_HEADER_BYTES_MAX);
        st = try_prefix(host, file, name, bytes, &is_cut, out, err);
    }
    if (st != MICA_STATUS_OK) goto done;
    (*out)->file = file;
    file = NULL;
done:
    mica_file_close(&file);
    return st;
}

mica_status mica_gguf_is_file(const mica_host *host, const char *path, bool *out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_file *file = NULL;
    char magic[4] = "";
    *out = false;
    if (mica_path_kind_of(path) != MICA_PATH_FILE) return MICA_STATUS_OK;
    MICA_TRY(mica_file_open(host, path, &file, err));
    if (mica_file_bytes(file) >= sizeof magic)
        MICA_TRY(mica_file_read(file, 0, magic, sizeof magic, err));
    *out = memcmp(magic, "GGUF", sizeof magic) == 0;
done:
    mica_file_close(&file);
    return st;
}

void mica_gguf_close(mica_gguf **place) {
    mica_gguf *g = *place;
    if (!g) return;
    *place = NULL;
    const mica_allocator *a = g->host->allocator;
    mica_file_close(&g->file);
    mica_free(a, g->by_name);
    mica_free(a, g->names);
    mica_free(a, g->tensors);
    mica_free(a, g->values);
    mica_free(a, g->header);
    mica_free(a, g->name);
    mica_free(a, g);
}

/* ---- access ---- */

const char *mica_gguf_name(const mica_gguf *g) { return g->name; }

mica_file *mica_gguf_file(const mica_gguf *g) { return g->file; }

size_t mica_gguf_count(const mica_gguf *g) { return g->n_tensors; }

const mica_gguf_tensor *mica_gguf_at(const mica_gguf *g, size_t i) { return &g->tensors[i]; }

static int compare_name(const void *key, const void *item) {
    return strcmp(key, (*(const mica_gguf_tensor *const *)item)->name);
}

const mica_gguf_tensor *mica_gguf_find_tensor(const mica_gguf *g, const char *name) {
    if (g->n_tensors == 0) return NULL;
    const mica_gguf_tensor *const *found =
        bsearch(name, g->by_name, g->n_tensors, sizeof *g->by_name, compare_name);
    return found ? *found : NULL;
}

mica_status mica_gguf_read_tensor(const mica_gguf *g, const mica_gguf_tensor *t, void *out,
                                  mica_error *err) {
    if (!g->file)
        return mica_fail(err, MICA_STATUS_UNAVAILABLE, "%s: %s: there is no file", g->name,
                         t->name);
    return mica_file_read(g->file, t->begin, out, (size_t)(t->end - t->begin), err);
}

static int compare_key(const void *key, const void *value) {
    return compare_slices(*(const mica_slice *)key, ((const mica_gguf_value *)value)->key);
}

const mica_gguf_value *mica_gguf_find(const mica_gguf *g, const char *key) {
    mica_slice slice = mica_slice_from(key);
    if (g->n_values == 0) return NULL;
    return bsearch(&slice, g->values, g->n_values, sizeof *g->values, compare_key);
}

bool mica_gguf_value_is_integer(mica_gguf_value_type type) {
    return type < MICA_GGUF_F32 || type == MICA_GGUF_BOOL || type == MICA_GGUF_U64 ||
           type == MICA_GGUF_I64;
}

static bool is_number(mica_gguf_value_type type) {
    return type == MICA_GGUF_F32 || type == MICA_GGUF_F64;
}

/* Unsigned numbers above INT64_MAX come out as INT64_MAX: no field has use for them. */
static int64_t load_integer(mica_gguf_value_type type, const uint8_t *p) {
    switch (type) {
    case MICA_GGUF_I8:
        return (int8_t)p[0];
    case MICA_GGUF_U16:
        return p[0] | p[1] << 8;
    case MICA_GGUF_I16:
        return (int16_t)(p[0] | p[1] << 8);
    case MICA_GGUF_U32:
        return load_u32(p);
    case MICA_GGUF_I32:
        return (int32_t)load_u32(p);
    case MICA_GGUF_U64:
        return load_u64(p) > INT64_MAX ? INT64_MAX : (int64_t)load_u64(p);
    case MICA_GGUF_I64:
        return (int64_t)load_u64(p);
    default:
        return p[0];
    }
}

static double load_number(mica_gguf_value_type type, const uint8_t *p) {
    float f;
    double d;
    if (type == MICA_GGUF_F32) {
        uint32_t bits = load_u32(p);
        memcpy(&f, &bits, sizeof f);
        return (double)f;
    }
    if (type != MICA_GGUF_F64) return (double)load_integer(type, p);
    uint64_t bits = load_u64(p);
    memcpy(&d, &bits, sizeof d);
    return d;
}

int64_t mica_gguf_integer_at(const mica_gguf_value *v, uint64_t i) {
    return load_integer(v->item_type, v->data + i * value_bytes[v->item_type]);
}

double mica_gguf_number_at(const mica_gguf_value *v, uint64_t i) {
    return load_number(v->item_type, v->data + i * value_bytes[v->item_type]);
}

bool mica_gguf_next_string(const mica_gguf_value *v, size_t *place, mica_slice *out) {
    if (*place >= v->bytes) return false;
    uint64_t bytes = load_u64(v->data + *place); /* lengths were checked by the parser */
    *out = mica_slice_of((const char *)v->data + *place + 8, (size_t)bytes);
    *place += 8 + (size_t)bytes;
    return true;
}

static mica_status fail_kind(const mica_gguf *g, const mica_gguf_value *v, const char *wanted,
                             mica_error *err) {
    return mica_fail(err, MICA_STATUS_FORMAT, "%s: key \"%.*s\" is of type %s, expected %s",
                     g->name, shown(v->key.bytes), v->key.data, value_names[v->type], wanted);
}

/* The value of the key, and whether it is there. */
static const mica_gguf_value *find_value(const mica_gguf *g, const char *key, bool *is_there) {
    const mica_gguf_value *v = mica_gguf_find(g, key);
    if (is_there) *is_there = v != NULL;
    return v;
}

static mica_status read_equal_items(const mica_gguf *g, const mica_gguf_value *v, int64_t *out,
                                    mica_error *err) {
    int64_t first = v->count > 0 ? mica_gguf_integer_at(v, 0) : 0;
    for (uint64_t i = 1; i < v->count; i++)
        if (mica_gguf_integer_at(v, i) != first)
            return mica_fail(err, MICA_STATUS_UNSUPPORTED,
                             "%s: key \"%.*s\" differs between layers (%lld, %lld)", g->name,
                             shown(v->key.bytes), v->key.data, (long long)first,
                             (long long)mica_gguf_integer_at(v, i));
    if (v->count == 0) return fail_kind(g, v, "an integer", err);
    *out = first;
    return MICA_STATUS_OK;
}

mica_status mica_gguf_read_integer(const mica_gguf *g, const char *key, int64_t *out,
                                   bool *is_there, mica_error *err) {
    const mica_gguf_value *v = find_value(g, key, is_there);
    if (!v) return MICA_STATUS_OK;
    if (v->type == MICA_GGUF_ARRAY && mica_gguf_value_is_integer(v->item_type))
        return read_equal_items(g, v, out, err);
    if (!mica_gguf_value_is_integer(v->type) || v->type == MICA_GGUF_BOOL)
        return fail_kind(g, v, "an integer", err);
    *out = load_integer(v->type, v->data);
    return MICA_STATUS_OK;
}

mica_status mica_gguf_read_number(const mica_gguf *g, const char *key, double *out, bool *is_there,
                                  mica_error *err) {
    const mica_gguf_value *v = find_value(g, key, is_there);
    if (!v) return MICA_STATUS_OK;
    if (!is_number(v->type) && (!mica_gguf_value_is_integer(v->type) || v->type == MICA_GGUF_BOOL))
        return fail_kind(g, v, "a number", err);
    double d = load_number(v->type, v->data);
    if (!(d >= -1e300 && d <= 1e300))
        return mica_fail(err, MICA_STATUS_FORMAT, "%s: key \"%s\" is not finite", g->name, key);
    *out = d;
    return MICA_STATUS_OK;
}

mica_status mica_gguf_read_bool(const mica_gguf *g, const char *key, bool *out, bool *is_there,
                                mica_error *err) {
    const mica_gguf_value *v = find_value(g, key, is_there);
    if (!v) return MICA_STATUS_OK;
    if (v->type != MICA_GGUF_BOOL) return fail_kind(g, v, "a bool", err);
    *out = v->data[0] != 0;
    return MICA_STATUS_OK;
}

mica_status mica_gguf_read_string(const mica_gguf *g, const char *key, mica_slice *out,
                                  bool *is_there, mica_error *err) {
    const mica_gguf_value *v = find_value(g, key, is_there);
    if (!v) return MICA_STATUS_OK;
    if (v->type != MICA_GGUF_STRING) return fail_kind(g, v, "a string", err);
    *out = mica_slice_of((const char *)v->data, v->bytes);
    return MICA_STATUS_OK;
}
