/* Table-driven fields of configuration files. */
#include "format/json_fields.h"
#include <string.h>
#include "base/error.h"

enum { TOKEN_ID_MAX = (1 << 21) - 1, SHOWN_TEXT_MAX = 80 };

static mica_status fail_range(const char *file, const mica_field *field, const char *seen,
                              mica_error *err) {
    char min[32], max[32];
    mica_format_double(field->min, min);
    mica_format_double(field->max, max);
    if (field->kind == MICA_FIELD_INTEGER) {
        mica_format(min, sizeof min, "%lld", (long long)field->min);
        mica_format(max, sizeof max, "%lld", (long long)field->max);
    }
    return mica_fail(err, MICA_STATUS_FORMAT, "%s: %s is %s, expected %s to %s", file, field->key,
                     seen, min, max);
}

static mica_status fail_twice(const char *file, const mica_field *field, mica_error *err) {
    return mica_fail(err, MICA_STATUS_FORMAT, "%s: %s differs from another spelling of that field",
                     file, field->key);
}

/* The reader's error with the name of the field. */
static mica_status fail_field(const char *key, mica_status st, mica_error *err) {
    return mica_fail_prefix(err, st, "%s", key);
}

static mica_status read_integer(mica_json *j, const char *file, const mica_field *field,
                                bool is_again, int64_t *out, mica_error *err) {
    int64_t v;
    mica_status st = mica_json_read_i64(j, &v, err);
    if (st != MICA_STATUS_OK) return fail_field(field->key, st, err);
    if ((double)v < field->min || (double)v > field->max) {
        char seen[32];
        mica_format(seen, sizeof seen, "%lld", (long long)v);
        return fail_range(file, field, seen, err);
    }
    if (is_again && *out != v) return fail_twice(file, field, err);
    *out = v;
    return MICA_STATUS_OK;
}

static mica_status read_number(mica_json *j, const char *file, const mica_field *field,
                               bool is_again, double *out, mica_error *err) {
    double v;
    mica_status st = mica_json_read_double(j, &v, err);
    if (st != MICA_STATUS_OK) return fail_field(field->key, st, err);
    if (!(v >= field->min && v <= field->max)) {
        char seen[32];
        mica_format_double(v, seen);
        return fail_range(file, field, seen, err);
    }
    if (is_again && (*out < v || *out > v)) return fail_twice(file, field, err);
    *out = v;
    return MICA_STATUS_OK;
}

static mica_status read_boolean(mica_json *j, const char *file, const mica_field *field,
                                bool is_again, bool *out, mica_error *err) {
    bool v;
    mica_status st = mica_json_read_bool(j, &v, err);
    if (st != MICA_STATUS_OK) return fail_field(field->key, st, err);
    if (is_again && *out != v) return fail_twice(file, field, err);
    *out = v;
    return MICA_STATUS_OK;
}

static mica_status read_text(mica_json *j, const char *file, const mica_field *field, bool is_again,
                             char *out, mica_error *err) {
    mica_slice v;
    mica_status st = mica_json_read_string(j, &v, err);
    if (st != MICA_STATUS_OK) return fail_field(field->key, st, err);
    if (v.bytes >= MICA_FIELD_TEXT_BYTES || (v.bytes > 0 && memchr(v.data, '\0', v.bytes)))
        return mica_fail(err, MICA_STATUS_FORMAT,
                         "%s: %s is \"%.*s\", expected a text of at most %d bytes", file,
                         field->key, (int)(v.bytes < SHOWN_TEXT_MAX ? v.bytes : SHOWN_TEXT_MAX),
                         v.data, MICA_FIELD_TEXT_BYTES - 1);
    if (is_again && !mica_slice_is(v, out)) return fail_twice(file, field, err);
    if (v.bytes > 0) memcpy(out, v.data, v.bytes);
    out[v.bytes] = '\0';
    return MICA_STATUS_OK;
}

static mica_status read_value(mica_json *j, const char *file, const mica_field *field, char *base,
                              mica_error *err) {
    void *out = base + field->offset;
    bool *has = (bool *)(void *)(base + field->has_offset);
    if (mica_json_peek(j) == MICA_JSON_NULL) return mica_json_read_null(j, err);
    mica_status st = MICA_STATUS_INTERNAL;
    switch (field->kind) {
    case MICA_FIELD_INTEGER:
        st = read_integer(j, file, field, *has, out, err);
        break;
    case MICA_FIELD_NUMBER:
        st = read_number(j, file, field, *has, out, err);
        break;
    case MICA_FIELD_BOOLEAN:
        st = read_boolean(j, file, field, *has, out, err);
        break;
    case MICA_FIELD_TEXT:
        st = read_text(j, file, field, *has, out, err);
        break;
    }
    if (st == MICA_STATUS_OK) *has = true;
    return st;
}

mica_status mica_fields_read(mica_json *j, const char *file, mica_slice key,
                             const mica_field *table, size_t n_fields, void *base, bool *is_known,
                             mica_error *err) {
    *is_known = false;
    for (size_t i = 0; i < n_fields; i++) {
        if (!mica_slice_is(key, table[i].key)) continue;
        *is_known = true;
        return read_value(j, file, &table[i], base, err);
    }
    return MICA_STATUS_OK;
}

/* ---- token ids ---- */

bool mica_token_ids_has(const mica_token_ids *set, int32_t id) {
    for (int32_t i = 0; i < set->count; i++)
        if (set->ids[i] == id) return true;
    return false;
}

bool mica_token_ids_add(mica_token_ids *set, int32_t id) {
    if (mica_token_ids_has(set, id)) return true;
    if (set->count == MICA_TOKEN_IDS_MAX) return false;
    set->ids[set->count++] = id;
    return true;
}

static mica_status read_id(mica_json *j, const char *file, const char *key, mica_token_ids *out,
                           mica_error *err) {
    int64_t id;
    mica_status st = mica_json_read_i64(j, &id, err);
    if (st != MICA_STATUS_OK) return fail_field(key, st, err);
    if (id < 0 || id > TOKEN_ID_MAX)
        return mica_fail(err, MICA_STATUS_FORMAT, "%s: %s is %lld, expected 0 to %d", file, key,
                         (long long)id, TOKEN_ID_MAX);
    if (mica_token_ids_add(out, (int32_t)id)) return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_LIMIT, "%s: %s: more than %d ids", file, key,
                     MICA_TOKEN_IDS_MAX);
}

mica_status mica_token_ids_read(mica_json *j, const char *file, const char *key,
                                mica_token_ids *out, mica_error *err) {
    mica_json_kind kind = mica_json_peek(j);
    if (kind == MICA_JSON_NULL) return mica_json_read_null(j, err);
    if (kind != MICA_JSON_ARRAY) return read_id(j, file, key, out, err);
    mica_status st = mica_json_begin_array(j, err);
    while (st == MICA_STATUS_OK && mica_json_next_item(j)) st = read_id(j, file, key, out, err);
    return st == MICA_STATUS_OK ? mica_json_check(j, err) : st;
}
