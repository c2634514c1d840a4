/* The safetensors reader: length, header, then the rules on all tensors together (offsets, order,
 * file size). One pass over the JSON fills a growing table and one pool of names; what is kept is a
 * small multiple of the header, and the header itself is dropped. Element types are in
 * safetensors_dtype.c. */
#include "format/safetensors.h"
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "base/error.h"
#include "base/fuzz.h"
#include "base/json.h"
#include "base/vec.h"

enum {
    PREFIX_BYTES = 8,   /* the length */
    SHOWN_NAME_MAX = 96 /* bytes of a tensor name in a message */
};

/* A place of the pool of texts. */
typedef struct text_range {
    uint32_t begin;
    uint32_t bytes;
} text_range;

typedef struct metadata_item {
    text_range key;
    text_range value;
} metadata_item;

/* A tensor in the order of names. */
typedef struct name_entry {
    const char *name;
    uint32_t name_bytes;
    uint32_t tensor;
} name_entry;

struct mica_safetensors {
    const mica_host *host;
    mica_file *file;
    char *name;
    uint64_t data_begin;
    mica_vec tensors;  /* mica_safetensors_tensor; while parsing begin and end are relative */
    mica_vec metadata; /* metadata_item */
    mica_str names;    /* of the tensors, each with a closing NUL */
    mica_str texts;    /* keys and values of the metadata, each with a closing NUL */
    name_entry *by_name;
};

/* What one parse needs beside the result. */
typedef struct parser {
    mica_safetensors *s;
    mica_json *json;
    uint64_t file_bytes;
    bool has_ruled; /* err holds one of our own verdicts, not one of the JSON reader */
} parser;

/* The fields of one tensor as they are met. */
typedef struct draft {
    mica_slice name;
    mica_safetensors_tensor tensor;
    bool has_dtype;
    bool has_shape;
    bool has_offsets;
} draft;

static size_t shown(size_t bytes) { return bytes < SHOWN_NAME_MAX ? bytes : SHOWN_NAME_MAX; }

/* "model.safetensors: rule 9: tensor "x": <text>" */
static mica_status rule_list(parser *p, mica_status status, int rule, mica_slice tensor,
                             mica_error *err, const char *format, va_list arguments)
    MICA_PRINTF(6, 0);

static mica_status rule_list(parser *p, mica_status status, int rule, mica_slice tensor,
                             mica_error *err, const char *format, va_list arguments) {
    char text[sizeof err->message];
    mica_format_list(text, sizeof text, format, arguments);
    p->has_ruled = true;
    if (!tensor.data) return mica_fail(err, status, "%s: rule %d: %s", p->s->name, rule, text);
    return mica_fail(err, status, "%s: rule %d: tensor \"%.*s\": %s", p->s->name, rule,
                     (int)shown(tensor.bytes), tensor.data, text);
}

static mica_status broken(parser *p, int rule, mica_slice tensor, mica_error *err,
                          const char *format, ...) MICA_PRINTF(5, 6);

static mica_status broken(parser *p, int rule, mica_slice tensor, mica_error *err,
                          const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    mica_status st = rule_list(p, MICA_STATUS_FORMAT, rule, tensor, err, format, arguments);
    va_end(arguments);
    return st;
}

static mica_status past_limit(parser *p, int rule, mica_slice tensor, mica_error *err,
                              const char *format, ...) MICA_PRINTF(5, 6);

static mica_status past_limit(parser *p, int rule, mica_slice tensor, mica_error *err,
                              const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    mica_status st = rule_list(p, MICA_STATUS_LIMIT, rule, tensor, err, format, arguments);
    va_end(arguments);
    return st;
}

static const mica_slice no_tensor = {NULL, 0};

static mica_status no_memory(parser *p, size_t bytes, mica_error *err) {
    p->has_ruled = true;
    return mica_fail_memory(err, bytes, "a safetensors header");
}

/* ---- fields of a tensor ---- */

static mica_status read_dtype(parser *p, draft *d, mica_error *err) {
    mica_slice text;
    mica_status st = mica_json_read_string(p->json, &text, err);
    if (st != MICA_STATUS_OK) return st;
    d->tensor.dtype = mica_safetensors_dtype_from_name(text);
    d->has_dtype = true;
    if (d->tensor.dtype != MICA_SAFETENSORS_NONE) return MICA_STATUS_OK;
    return broken(p, 8, d->name, err, "dtype \"%.*s\", expected one of the 22 of the format",
                  (int)shown(text.bytes), text.data);
}

static mica_status read_shape(parser *p, draft *d, mica_error *err) {
    mica_shape *shape = &d->tensor.shape;
    mica_status st = mica_json_begin_array(p->json, err);
    if (st != MICA_STATUS_OK) return st;
    while (mica_json_next_item(p->json)) {
        uint64_t dim;
        if (shape->rank == MICA_RANK_MAX)
            return past_limit(p, 9, d->name, err, "more than %d dims", MICA_RANK_MAX);
        st = mica_json_read_u64(p->json, &dim, err);
        if (st != MICA_STATUS_OK) {
            p->has_ruled = true;
            return mica_fail_prefix(err, st, "rule 9");
        }
        if (dim > (uint64_t)MICA_SAFETENSORS_DIM_MAX)
            return past_limit(p, 9, d->name, err, "dim %llu, expected at most %lld",
                              (unsigned long long)dim, (long long)MICA_SAFETENSORS_DIM_MAX);
        shape->dims[shape->rank++] = (int64_t)dim;
    }
    d->has_shape = true;
    return mica_json_check(p->json, err);
}

static mica_status read_offsets(parser *p, draft *d, mica_error *err) {
    uint64_t offsets[2];
    size_t count = 0;
    mica_status st = mica_json_begin_array(p->json, err);
    if (st != MICA_STATUS_OK) return st;
    while (mica_json_next_item(p->json)) {
        if (count == 2)
            return broken(p, 12, d->name, err, "more than two data_offsets, expected [begin, end]");
        st = mica_json_read_u64(p->json, &offsets[count++], err);
        if (st != MICA_STATUS_OK) {
            p->has_ruled = true;
            return mica_fail_prefix(err, st, "rule 12");
        }
    }
    st = mica_json_check(p->json, err);
    if (st != MICA_STATUS_OK) return st;
    if (count != 2)
        return broken(p, 12, d->name, err, "%zu data_offsets, expected [begin, end]", count);
    if (offsets[0] > offsets[1])
        return broken(p, 12, d->name, err, "data_offsets begin %llu is past end %llu",
                      (unsigned long long)offsets[0], (unsigned long long)offsets[1]);
    d->tensor.begin = offsets[0];
    d->tensor.end = offsets[1];
    d->has_offsets = true;
    return MICA_STATUS_OK;
}

static mica_status read_fields(parser *p, draft *d, mica_error *err) {
    mica_slice key;
    if (mica_json_peek(p->json) != MICA_JSON_OBJECT && mica_json_check(p->json, NULL) == 0)
        return broken(p, 7, d->name, err, "expected an object with dtype, shape and data_offsets");
    mica_status st = mica_json_begin_object(p->json, err);
    while (st == MICA_STATUS_OK && mica_json_next_key(p->json, &key)) {
        if (mica_slice_is(key, "dtype"))
            st = read_dtype(p, d, err);
        else if (mica_slice_is(key, "shape"))
            st = read_shape(p, d, err);
        else if (mica_slice_is(key, "data_offsets"))
            st = read_offsets(p, d, err);
        else
            st = broken(p, 7, d->name, err, "field \"%.*s\" is not one of the format",
                        (int)shown(key.bytes), key.data);
    }
    return st == MICA_STATUS_OK ? mica_json_check(p->json, err) : st;
}

static mica_status check_bytes(parser *p, const draft *d, mica_error *err) {
    uint64_t bytes;
    const mica_safetensors_tensor *t = &d->tensor;
    char shape[176];
    switch (mica_safetensors_tensor_bytes(t->dtype, &t->shape, &bytes)) {
    case 0:
        break;
    case 10:
        return broken(p, 10, d->name, err, "the number of elements of %s overflows",
                      mica_shape_format(&t->shape, shape));
    default:
        return broken(p, 11, d->name, err, "%s %s is not a whole number of bytes, or overflows",
                      mica_safetensors_dtype_name(t->dtype), mica_shape_format(&t->shape, shape));
    }
    if (t->end - t->begin == bytes) return MICA_STATUS_OK;
    return broken(p, 11, d->name, err, "data_offsets span %llu bytes, but %s %s needs %llu",
                  (unsigned long long)(t->end - t->begin), mica_safetensors_dtype_name(t->dtype),
                  mica_shape_format(&t->shape, shape), (unsigned long long)bytes);
}

/* ---- the header ---- */

static mica_status check_name(parser *p, mica_slice name, mica_error *err) {
    if (name.bytes > MICA_SAFETENSORS_NAME_BYTES_MAX)
        return past_limit(p, 16, name, err, "a name of %zu bytes, expected at most %u", name.bytes,
                          MICA_SAFETENSORS_NAME_BYTES_MAX);
    if (mica_safetensors_name_is_valid(name)) return MICA_STATUS_OK;
    return broken(p, 16, mica_slice_of(name.data ? name.data : "", name.bytes), err,
                  "a name that is empty or has control bytes");
}

static mica_status read_tensor(parser *p, mica_slice name, mica_error *err) {
    mica_safetensors *s = p->s;
    draft d = {.name = name};
    mica_status st = check_name(p, name, err);
    if (st != MICA_STATUS_OK) return st;
    if (s->tensors.count == MICA_SAFETENSORS_TENSORS_MAX)
        return past_limit(p, 17, no_tensor, err, "more than %u tensors",
                          MICA_SAFETENSORS_TENSORS_MAX);
    st = read_fields(p, &d, err);
    if (st != MICA_STATUS_OK) return st;
    if (!d.has_dtype || !d.has_shape || !d.has_offsets)
        return broken(p, 7, name, err, "%s is missing",
                      !d.has_dtype   ? "dtype"
                      : !d.has_shape ? "shape"
                                     : "data_offsets");
    st = check_bytes(p, &d, err);
    if (st != MICA_STATUS_OK) return st;
    mica_str_append_slice(&s->names, name);
    mica_str_append_char(&s->names, '\0');
    mica_safetensors_tensor *slot = mica_vec_push(&s->tensors);
    if (s->names.failed || !slot) return no_memory(p, s->tensors.count * sizeof *slot, err);
    *slot = d.tensor;
    slot->name_bytes = (uint32_t)name.bytes;
    return MICA_STATUS_OK;
}

static text_range keep_text(mica_safetensors *s, mica_slice text) {
    text_range range = {(uint32_t)s->texts.bytes, (uint32_t)text.bytes};
    mica_str_append_slice(&s->texts, text);
    mica_str_append_char(&s->texts, '\0');
    return range;
}

static mica_status read_metadata_item(parser *p, mica_slice key, mica_error *err) {
    mica_safetensors *s = p->s;
    mica_slice value;
    if (mica_json_peek(p->json) != MICA_JSON_STRING && mica_json_check(p->json, NULL) == 0)
        return broken(p, 6, no_tensor, err, "__metadata__ \"%.*s\" is not a string",
                      (int)shown(key.bytes), key.data);
    mica_status st = mica_json_read_string(p->json, &value, err);
    if (st != MICA_STATUS_OK) return st;
    size_t room = MICA_SAFETENSORS_METADATA_BYTES_MAX - s->texts.bytes;
    if (key.bytes >= room || value.bytes >= room - key.bytes - 1)
        return past_limit(p, 6, no_tensor, err, "__metadata__ is longer than %u bytes",
                          MICA_SAFETENSORS_METADATA_BYTES_MAX);
    metadata_item *item = mica_vec_push(&s->metadata);
    if (!item) return no_memory(p, s->metadata.count * sizeof *item, err);
    item->key = keep_text(s, key);
    item->value = keep_text(s, value);
    return s->texts.failed ? no_memory(p, s->texts.bytes, err) : MICA_STATUS_OK;
}

static mica_status read_metadata(parser *p, mica_error *err) {
    mica_slice key;
    if (mica_json_peek(p->json) != MICA_JSON_OBJECT && mica_json_check(p->json, NULL) == 0)
        return broken(p, 6, no_tensor, err, "__metadata__ is not an object of strings");
    mica_status st = mica_json_begin_object(p->json, err);
    while (st == MICA_STATUS_OK && mica_json_next_key(p->json, &key))
        st = read_metadata_item(p, key, err);
    return st == MICA_STATUS_OK ? mica_json_check(p->json, err) : st;
}

static mica_status read_header(parser *p, mica_error *err) {
    mica_slice key;
    mica_status st = mica_json_begin_object(p->json, err);
    while (st == MICA_STATUS_OK && mica_json_next_key(p->json, &key))
        st = mica_slice_is(key, "__metadata__") ? read_metadata(p, err) : read_tensor(p, key, err);
    if (st == MICA_STATUS_OK) st = mica_json_check(p->json, err);
    if (st == MICA_STATUS_OK) st = mica_json_end(p->json, err);
    /* Spelling, white space, depth and duplicate keys are the JSON reader's to judge. */
    if (st == MICA_STATUS_FORMAT && !p->has_ruled) mica_fail_prefix(err, st, "rules 2 to 5");
    return st;
}

/* ---- all tensors together ---- */

static int compare_offsets(const void *a, const void *b) {
    const mica_safetensors_tensor *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1;
    return strcmp(x->name, y->name); /* tensors of 0 bytes share a place */
}

static int compare_slices(const char *a, size_t a_bytes, const char *b, size_t b_bytes) {
    int order = memcmp(a, b, a_bytes < b_bytes ? a_bytes : b_bytes);
    if (order != 0) return order;
    return (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

static int compare_names(const void *a, const void *b) {
    const name_entry *x = a, *y = b;
    return compare_slices(x->name, x->name_bytes, y->name, y->name_bytes);
}

static mica_safetensors_tensor *tensor_at(const mica_safetensors *s, size_t i) {
    return mica_vec_at(&s->tensors, i);
}

/* The pool no longer moves. */
static void point_names(mica_safetensors *s) {
    const char *name = s->names.data;
    for (size_t i = 0; i < s->tensors.count; i++) {
        tensor_at(s, i)->name = name;
        name += tensor_at(s, i)->name_bytes + 1;
    }
}

/* Rules 12 to 14: no hole, no overlap, and the last byte of the file is the last of a tensor. */
static mica_status check_layout(parser *p, mica_error *err) {
    mica_safetensors *s = p->s;
    uint64_t position = 0;
    for (size_t i = 0; i < s->tensors.count; i++) {
        mica_safetensors_tensor *t = tensor_at(s, i);
        if (t->begin != position)
            return broken(p, 12, mica_slice_of(t->name, t->name_bytes), err,
                          "begin %llu, expected %llu (%s)", (unsigned long long)t->begin,
                          (unsigned long long)position,
                          t->begin > position ? "a hole" : "an overlap");
        position = t->end;
    }
    uint64_t room = p->file_bytes - s->data_begin;
    if (position != room)
        return broken(p, 13, no_tensor, err,
                      "%llu bytes follow the header, but the tensors need %llu (%s)",
                      (unsigned long long)room, (unsigned long long)position,
                      room < position ? "the file is cut short" : "trailing bytes");
    for (size_t i = 0; i < s->tensors.count; i++) { /* end <= file size: the sums cannot wrap */
        tensor_at(s, i)->begin += s->data_begin;
        tensor_at(s, i)->end += s->data_begin;
    }
    return MICA_STATUS_OK;
}

static mica_status order_tensors(parser *p, mica_error *err) {
    mica_safetensors *s = p->s;
    size_t count = s->tensors.count;
    if (count == 0) return MICA_STATUS_OK;
    point_names(s);
    qsort(s->tensors.data, count, s->tensors.item_bytes, compare_offsets);
    s->by_name = mica_alloc_array(s->host->allocator, count, sizeof *s->by_name);
    if (!s->by_name) return no_memory(p, count * sizeof *s->by_name, err);
    for (size_t i = 0; i < count; i++) {
        const mica_safetensors_tensor *t = tensor_at(s, i);
        s->by_name[i] = (name_entry){t->name, t->name_bytes, (uint32_t)i};
    }
    qsort(s->by_name, count, sizeof *s->by_name, compare_names);
    return MICA_STATUS_OK;
}

static mica_status parse_header(mica_safetensors *s, const char *text, size_t bytes,
                                uint64_t file_bytes, mica_error *err) {
    parser p = {.s = s, .file_bytes = file_bytes};
    char name[MICA_PATH_BYTES_MAX];
    mica_format(name, sizeof name, "%s header", s->name);
    mica_status st =
        mica_json_open(s->host, name, text, bytes, MICA_SAFETENSORS_DEPTH_MAX, &p.json, err);
    if (st == MICA_STATUS_OK) st = read_header(&p, err);
    mica_json_close(&p.json);
    if (st == MICA_STATUS_OK) st = order_tensors(&p, err);
    if (st == MICA_STATUS_OK) st = check_layout(&p, err);
    return st;
}

/* ---- the length ---- */

static uint64_t load_u64(const unsigned char *b) {
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--) v = v << 8 | b[i];
    return v;
}

/* Rule 1. head: the first bytes of the file, at least as many as it and 32 have in common. */
static mica_status check_length(parser *p, const unsigned char *head, size_t head_bytes,
                                size_t *header_bytes, mica_error *err) {
    const char *name = p->s->name;
    if (mica_is_lfs_pointer(head, head_bytes))
        return mica_fail(err, MICA_STATUS_FORMAT,
                         "%s is a Git LFS pointer, not the data: run git lfs pull", name);
    if (p->file_bytes < PREFIX_BYTES)
        return broken(p, 1, no_tensor, err, "the file has %llu bytes, expected at least %d",
                      (unsigned long long)p->file_bytes, PREFIX_BYTES);
    uint64_t length = load_u64(head);
    if (length > MICA_SAFETENSORS_HEADER_BYTES_MAX)
        return past_limit(p, 1, no_tensor, err, "a header of %llu bytes, expected at most %u",
                          (unsigned long long)length, MICA_SAFETENSORS_HEADER_BYTES_MAX);
    if (length < 2)
        return broken(p, 1, no_tensor, err, "a header of %llu bytes, expected at least 2",
                      (unsigned long long)length);
    if (length > p->file_bytes - PREFIX_BYTES)
        return broken(p, 1, no_tensor, err, "a header of %llu bytes, but the file has %llu",
                      (unsigned long long)length, (unsigned long long)p->file_bytes);
    *header_bytes = (size_t)length;
    p->s->data_begin = PREFIX_BYTES + length;
    return MICA_STATUS_OK;
}

static const char *last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static mica_status create_reader(const mica_host *host, const char *path, mica_safetensors **out,
                                 mica_error *err) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    return mica_fail(err, MICA_STATUS_UNSUPPORTED, "rule 19: this machine is big-endian");
#endif
    const char *name = last_part(path);
    mica_safetensors *s = MICA_NEW(host->allocator, mica_safetensors);
    if (!s) return mica_fail_memory(err, sizeof *s, "a safetensors reader");
    s->host = host;
    mica_vec_init(&s->tensors, host->allocator, sizeof(mica_safetensors_tensor));
    mica_vec_init(&s->metadata, host->allocator, sizeof(metadata_item));
    mica_str_init(&s->names, host->allocator);
    mica_str_init(&s->texts, host->allocator);
    s->name = mica_alloc_string(host->allocator, name, strlen(name));
    *out = s; /* a partly made reader may be closed */
    return s->name ? MICA_STATUS_OK : mica_fail_memory(err, strlen(name) + 1, "a file name");
}

static mica_status open_header(mica_safetensors *s, mica_error *err) {
    const mica_allocator *allocator = s->host->allocator;
    unsigned char head[32];
    uint64_t file_bytes = mica_file_bytes(s->file);
    size_t head_bytes = file_bytes < sizeof head ? (size_t)file_bytes : sizeof head;
    size_t header_bytes = 0;
    parser p = {.s = s, .file_bytes = file_bytes};
    mica_status st = mica_file_read(s->file, 0, head, head_bytes, err);
    if (st == MICA_STATUS_OK) st = check_length(&p, head, head_bytes, &header_bytes, err);
    if (st != MICA_STATUS_OK) return st;
    char *header = mica_alloc(allocator, header_bytes);
    if (!header) return mica_fail_memory(err, header_bytes, "a safetensors header");
    st = mica_file_read(s->file, PREFIX_BYTES, header, header_bytes, err);
    if (st == MICA_STATUS_OK) st = parse_header(s, header, header_bytes, file_bytes, err);
    mica_free(allocator, header);
    return st;
}

mica_status mica_safetensors_open(const mica_host *host, const char *path, mica_safetensors **out,
                                  mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_safetensors *s = NULL;
    *out = NULL;
    MICA_TRY(create_reader(host, path, &s, err));
    MICA_TRY(mica_file_open(host, path, &s->file, err));
    MICA_TRY(open_header(s, err));
    *out = s;
    s = NULL;
done:
    mica_safetensors_close(&s);
    return st;
}

mica_status mica_safetensors_parse(const mica_host *host, const char *name, const void *prefix,
                                   size_t prefix_bytes, uint64_t file_bytes, mica_safetensors **out,
                                   mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_safetensors *s = NULL;
    size_t header_bytes = 0;
    *out = NULL;
    MICA_REQUIRE(prefix_bytes <= file_bytes, MICA_STATUS_INVALID, "%s: %zu bytes of a file of %llu",
                 name, prefix_bytes, (unsigned long long)file_bytes);
    MICA_REQUIRE(prefix_bytes >= PREFIX_BYTES || prefix_bytes == file_bytes, MICA_STATUS_INVALID,
                 "%s: the first %zu bytes, expected the whole header", name, prefix_bytes);
    MICA_TRY(create_reader(host, name, &s, err));
    parser p = {.s = s, .file_bytes = file_bytes};
    MICA_TRY(check_length(&p, prefix, prefix_bytes, &header_bytes, err));
    MICA_REQUIRE(header_bytes <= prefix_bytes - PREFIX_BYTES, MICA_STATUS_INVALID,
                 "%s: the first %zu bytes, expected the whole header", name, prefix_bytes);
    MICA_TRY(parse_header(s, (const char *)prefix + PREFIX_BYTES, header_bytes, file_bytes, err));
    *out = s;
    s = NULL;
done:
    mica_safetensors_close(&s);
    return st;
}

void mica_safetensors_close(mica_safetensors **place) {
    mica_safetensors *s = *place;
    if (!s) return;
    *place = NULL;
    mica_file_close(&s->file);
    mica_vec_deinit(&s->tensors);
    mica_vec_deinit(&s->metadata);
    mica_str_deinit(&s->names);
    mica_str_deinit(&s->texts);
    mica_free(s->host->allocator, s->by_name);
    mica_free(s->host->allocator, s->name);
    mica_free(s->host->allocator, s);
}

/* ---- access ---- */

size_t mica_safetensors_count(const mica_safetensors *s) { return s->tensors.count; }

const mica_safetensors_tensor *mica_safetensors_at(const mica_safetensors *s, size_t i) {
    return tensor_at(s, i);
}

const mica_safetensors_tensor *mica_safetensors_find(const mica_safetensors *s, mica_slice name) {
    size_t begin = 0, end = s->tensors.count;
    while (begin < end) {
        size_t middle = begin + (end - begin) / 2;
        const name_entry *entry = &s->by_name[middle];
        int order = compare_slices(name.data, name.bytes, entry->name, entry->name_bytes);
        if (order == 0) return tensor_at(s, entry->tensor);
        if (order < 0)
            end = middle;
        else
            begin = middle + 1;
    }
    return NULL;
}

size_t mica_safetensors_metadata_count(const mica_safetensors *s) { return s->metadata.count; }

void mica_safetensors_metadata_at(const mica_safetensors *s, size_t i, mica_slice *key,
                                  mica_slice *value) {
    const metadata_item *item = mica_vec_at(&s->metadata, i);
    *key = mica_slice_of(s->texts.data + item->key.begin, item->key.bytes);
    *value = mica_slice_of(s->texts.data + item->value.begin, item->value.bytes);
}

bool mica_safetensors_metadata_find(const mica_safetensors *s, const char *key, mica_slice *value) {
    for (size_t i = 0; i < s->metadata.count; i++) {
        mica_slice seen;
        mica_safetensors_metadata_at(s, i, &seen, value);
        if (mica_slice_is(seen, key)) return true;
    }
    *value = mica_slice_of(NULL, 0);
    return false;
}

mica_file *mica_safetensors_file(const mica_safetensors *s) { return s->file; }

const char *mica_safetensors_name(const mica_safetensors *s) { return s->name; }

uint64_t mica_safetensors_data_begin(const mica_safetensors *s) { return s->data_begin; }

#ifdef MICA_FUZZ_SAFETENSORS
/* The input is a whole file. What is accepted must keep its promises. */
MICA_FUZZ_ENTRY(safetensors) {
    mica_safetensors *s = NULL;
    mica_error err;
    if (mica_safetensors_parse(mica_host_default(), "fuzz.safetensors", data, size, size, &s,
                               &err) != MICA_STATUS_OK)
        return 0;
    uint64_t position = mica_safetensors_data_begin(s);
    for (size_t i = 0; i < mica_safetensors_count(s); i++) {
        const mica_safetensors_tensor *t = mica_safetensors_at(s, i);
        uint64_t bytes = 0;
        bool holds = t->begin == position && t->end <= size && t->end >= t->begin &&
                     mica_safetensors_tensor_bytes(t->dtype, &t->shape, &bytes) == 0 &&
                     bytes == t->end - t->begin &&
                     mica_safetensors_find(s, mica_slice_of(t->name, t->name_bytes)) == t;
        if (!holds) __builtin_trap();
        position = t->end;
    }
    if (position != size) __builtin_trap();
    mica_safetensors_close(&s);
    return 0;
}
#endif
