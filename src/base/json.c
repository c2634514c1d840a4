/* The strict JSON pull reader: white space, structure, scalars and errors. Strings are in
 * json_string.c; the sets that find duplicate keys are in json_keys.c. There is no recursion: open
 * objects and arrays are counted on a stack of levels in the reader itself, and skipping is the
 * same walk that a caller makes. */
#include "base/json.h"
#include <stdarg.h>
#include <string.h>
#include "base/error.h"
#include "base/json_parts.h"

static bool are_eight_spaces(const char *c) {
    uint64_t word;
    memcpy(&word, c, 8);
    return word == 0x2020202020202020u;
}

/* Files for people are indented: half of their bytes are spaces. */
static void skip_space(mica_json *j) {
    const char *c = j->at, *end = j->end;
    while (c < end && (unsigned char)*c <= ' ') {
        if (end - c >= 8 && are_eight_spaces(c)) {
            c += 8;
            continue;
        }
        if (*c != ' ' && *c != '\n' && *c != '\t' && *c != '\r') break;
        c++;
    }
    j->at = c;
}

/* Lines and columns are counted only for errors; columns count code points. */
static void find_place(const mica_json *j, const char *at, size_t *line, size_t *column) {
    *line = 1;
    *column = 1;
    for (const char *c = j->text; c < at; c++) {
        if (*c == '\n') {
            ++*line;
            *column = 1;
        } else if (((unsigned char)*c & 0xC0) != 0x80) {
            ++*column;
        }
    }
}

/* Keeps the first error; every later call of the reader reports it again. */
static mica_status fail_list(mica_json *j, mica_status status, const char *at, const char *format,
                             va_list arguments) {
    if (j->error.status != MICA_STATUS_OK) return j->error.status;
    char text[sizeof j->error.message];
    mica_format_list(text, sizeof text, format, arguments);
    size_t line, column;
    find_place(j, at, &line, &column);
    return mica_fail(&j->error, status, "%s: line %zu column %zu (byte %zu): %s", j->name, line,
                     column, (size_t)(at - j->text), text);
}

mica_status json_fail_at(mica_json *j, const char *at, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    mica_status status = fail_list(j, MICA_STATUS_FORMAT, at, format, arguments);
    va_end(arguments);
    return status;
}

mica_status json_fail_status(mica_json *j, mica_status status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    status = fail_list(j, status, j->at, format, arguments);
    va_end(arguments);
    return status;
}

static mica_status report(const mica_json *j, mica_error *err) {
    if (err && j->error.status != MICA_STATUS_OK) *err = j->error;
    return j->error.status;
}

mica_status mica_json_fail(mica_json *j, mica_error *err, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fail_list(j, MICA_STATUS_FORMAT, j->at, format, arguments);
    va_end(arguments);
    return report(j, err);
}

mica_status mica_json_check(mica_json *j, mica_error *err) { return report(j, err); }

mica_status mica_json_open(const mica_host *host, const char *name, const char *text, size_t bytes,
                           int depth_max, mica_json **out, mica_error *err) {
    *out = NULL;
    if (depth_max < 1 || depth_max > MICA_JSON_DEPTH_MAX)
        return mica_fail(err, MICA_STATUS_INVALID, "%s: nesting limit %d, expected 1 to %d", name,
                         depth_max, MICA_JSON_DEPTH_MAX);
    if (bytes > JSON_TEXT_BYTES_MAX)
        return mica_fail(err, MICA_STATUS_LIMIT, "%s: %zu bytes of JSON, the limit is %zu", name,
                         bytes, (size_t)JSON_TEXT_BYTES_MAX);
    mica_json *j = MICA_NEW(host->allocator, mica_json);
    if (!j) return mica_fail_memory(err, sizeof(mica_json), "a JSON reader");
    j->allocator = host->allocator;
    j->name = name;
    j->text = text ? text : "";
    j->at = j->text;
    j->end = j->text + bytes;
    j->depth_max = depth_max;
    mica_str_init(&j->scratch, host->allocator);
    json_keys_init(j);
    *out = j;
    return MICA_STATUS_OK;
}

void mica_json_close(mica_json **json) {
    mica_json *j = *json;
    if (!j) return;
    *json = NULL;
    json_keys_deinit(j);
    mica_str_deinit(&j->scratch);
    mica_free(j->allocator, j);
}

static const char *kind_name(mica_json_kind kind) {
    switch (kind) {
    case MICA_JSON_NULL:
        return "null";
    case MICA_JSON_BOOL:
        return "a bool";
    case MICA_JSON_NUMBER:
        return "a number";
    case MICA_JSON_STRING:
        return "a string";
    case MICA_JSON_ARRAY:
        return "an array";
    case MICA_JSON_OBJECT:
        return "an object";
    case MICA_JSON_NOTHING:
        break;
    }
    return "the end of the text";
}

static mica_status fail_unexpected(mica_json *j, const char *expected) {
    if (j->at == j->end) return json_fail_at(j, j->at, "the text ends, expected %s", expected);
    unsigned char c = (unsigned char)*j->at;
    if (c > 0x20 && c < 0x7F) return json_fail_at(j, j->at, "'%c', expected %s", c, expected);
    if (c == 0xEF && j->at == j->text && j->end - j->at >= 3 && !memcmp(j->at, "\xEF\xBB\xBF", 3))
        return json_fail_at(j, j->at, "a byte order mark, expected %s", expected);
    return json_fail_at(j, j->at, "byte 0x%02X, expected %s", c, expected);
}

static mica_json_kind kind_of(char c) {
    switch (c) {
    case '{':
        return MICA_JSON_OBJECT;
    case '[':
        return MICA_JSON_ARRAY;
    case '"':
        return MICA_JSON_STRING;
    case 't':
    case 'f':
        return MICA_JSON_BOOL;
    case 'n':
        return MICA_JSON_NULL;
    default:
        break;
    }
    if (c == '-' || (c >= '0' && c <= '9')) return MICA_JSON_NUMBER;
    return MICA_JSON_NOTHING;
}

mica_json_kind mica_json_peek(mica_json *j) {
    if (j->error.status != MICA_STATUS_OK || j->expect != JSON_EXPECT_VALUE)
        return MICA_JSON_NOTHING;
    skip_space(j);
    mica_json_kind kind = j->at < j->end ? kind_of(*j->at) : MICA_JSON_NOTHING;
    if (kind == MICA_JSON_NOTHING) fail_unexpected(j, "a value");
    return kind;
}

/* Stands at a value of the given kind, or fails. */
static bool want(mica_json *j, mica_json_kind kind) {
    if (j->error.status != MICA_STATUS_OK) return false;
    if (j->expect != JSON_EXPECT_VALUE) {
        json_fail_status(j, MICA_STATUS_INVALID, "no value stands here (wrong use of the reader)");
        return false;
    }
    mica_json_kind seen = mica_json_peek(j);
    if (seen == kind) return true;
    json_fail_at(j, j->at, "%s, expected %s", kind_name(seen), kind_name(kind));
    return false;
}

static void value_taken(mica_json *j) {
    j->expect = j->depth > 0 ? JSON_EXPECT_NEXT : JSON_EXPECT_END;
}

static void begin_level(mica_json *j, mica_json_kind kind) {
    if (!want(j, kind)) return;
    if (j->depth == j->depth_max) {
        json_fail_at(j, j->at, "nested deeper than %d levels", j->depth_max);
        return;
    }
    j->at++;
    json_level *level = &j->levels[j->depth++];
    level->is_object = kind == MICA_JSON_OBJECT;
    level->is_first = true;
    level->has_own_keys = false;
    if (level->is_object) json_keys_begin(j, level);
    j->expect = JSON_EXPECT_NEXT;
}

mica_status mica_json_begin_object(mica_json *j, mica_error *err) {
    begin_level(j, MICA_JSON_OBJECT);
    return report(j, err);
}

mica_status mica_json_begin_array(mica_json *j, mica_error *err) {
    begin_level(j, MICA_JSON_ARRAY);
    return report(j, err);
}

void mica_json_own_keys(mica_json *j) {
    if (j->depth > 0) j->levels[j->depth - 1].has_own_keys = true;
}

static void end_level(mica_json *j) {
    json_level *level = &j->levels[--j->depth];
    j->at++;
    if (level->is_object) json_keys_end(j, level);
    value_taken(j);
}

/* Takes the comma or the closing bracket. True when an item or key must follow. */
static bool next_in_level(mica_json *j, bool is_object) {
    if (j->error.status != MICA_STATUS_OK) return false;
    if (j->expect != JSON_EXPECT_NEXT || j->levels[j->depth - 1].is_object != is_object) {
        json_fail_status(j, MICA_STATUS_INVALID, "%s (wrong use of the reader)",
                         is_object ? "no key stands here" : "no item stands here");
        return false;
    }
    json_level *level = &j->levels[j->depth - 1];
    char close = is_object ? '}' : ']';
    skip_space(j);
    if (j->at < j->end && *j->at == close) {
        end_level(j);
        return false;
    }
    if (!level->is_first) {
        if (j->at == j->end || *j->at != ',') {
            fail_unexpected(j, is_object ? "',' or '}'" : "',' or ']'");
            return false;
        }
        j->at++;
        skip_space(j);
    }
    level->is_first = false;
    return true;
}

bool mica_json_next_item(mica_json *j) {
    if (!next_in_level(j, false)) return false;
    j->expect = JSON_EXPECT_VALUE;
    return true;
}

bool mica_json_next_key(mica_json *j, mica_slice *key) {
    if (!next_in_level(j, true)) return false;
    const char *begin = j->at;
    if (begin == j->end || *begin != '"') {
        fail_unexpected(j, "a key in quotes");
        return false;
    }
    mica_slice raw;
    bool has_escapes;
    if (!json_scan_string(j, &raw, &has_escapes)) return false;
    if (!json_keys_add(j, begin, raw, has_escapes, key)) return false;
    skip_space(j);
    if (j->at == j->end || *j->at != ':') {
        fail_unexpected(j, "':'");
        return false;
    }
    j->at++;
    j->expect = JSON_EXPECT_VALUE;
    return true;
}

mica_status mica_json_read_string(mica_json *j, mica_slice *out, mica_error *err) {
    mica_slice raw;
    bool has_escapes;
    if (!want(j, MICA_JSON_STRING) || !json_scan_string(j, &raw, &has_escapes))
        return report(j, err);
    if (has_escapes) {
        mica_str_clear(&j->scratch);
        mica_str_append(&j->scratch, NULL, 0); /* the text is empty, not NULL, from here on */
        json_decode_string(raw, &j->scratch);
        if (j->scratch.failed)
            json_fail_status(j, MICA_STATUS_OUT_OF_MEMORY, "out of memory for a string");
        raw = mica_slice_of(j->scratch.data, j->scratch.bytes);
    }
    if (j->error.status == MICA_STATUS_OK) {
        value_taken(j);
        *out = raw;
    }
    return report(j, err);
}

static bool take_digits(mica_json *j) {
    const char *begin = j->at;
    while (j->at < j->end && *j->at >= '0' && *j->at <= '9') j->at++;
    if (j->at > begin) return true;
    fail_unexpected(j, "a digit");
    return false;
}

/* Number syntax; *is_integer: neither '.' nor 'e'. */
static bool scan_number(mica_json *j, mica_slice *out, bool *is_integer) {
    const char *begin = j->at;
    *is_integer = true;
    if (*j->at == '-') j->at++;
    const char *digits = j->at;
    if (!take_digits(j)) return false;
    if (*digits == '0' && j->at - digits > 1) {
        json_fail_at(j, digits, "a number with a leading zero");
        return false;
    }
    if (j->at < j->end && *j->at == '.') {
        *is_integer = false;
        j->at++;
        if (!take_digits(j)) return false;
    }
    if (j->at < j->end && (*j->at == 'e' || *j->at == 'E')) {
        *is_integer = false;
        j->at++;
        if (j->at < j->end && (*j->at == '+' || *j->at == '-')) j->at++;
        if (!take_digits(j)) return false;
    }
    *out = mica_slice_of(begin, (size_t)(j->at - begin));
    value_taken(j);
    return true;
}

/* What an error may quote of a number: it can be megabytes long. */
static int quoted_bytes(mica_slice text) { return text.bytes < 40 ? (int)text.bytes : 40; }

/* The text of an integer without '-0'; the caller checks the range. */
static bool scan_integer(mica_json *j, mica_slice *out) {
    bool is_integer;
    if (!want(j, MICA_JSON_NUMBER) || !scan_number(j, out, &is_integer)) return false;
    if (is_integer && !mica_slice_is(*out, "-0")) return true;
    json_fail_at(j, out->data, "the number %.*s, expected an integer", quoted_bytes(*out),
                 out->data);
    return false;
}

mica_status mica_json_read_i64(mica_json *j, int64_t *out, mica_error *err) {
    mica_slice text;
    if (scan_integer(j, &text) && !mica_parse_i64(text, out))
        json_fail_at(j, text.data, "the integer %.*s is outside 64 bits", quoted_bytes(text),
                     text.data);
    return report(j, err);
}

mica_status mica_json_read_u64(mica_json *j, uint64_t *out, mica_error *err) {
    mica_slice text;
    if (scan_integer(j, &text) && !mica_parse_u64(text, out))
        json_fail_at(j, text.data, "the integer %.*s, expected 0 to 2^64 - 1", quoted_bytes(text),
                     text.data);
    return report(j, err);
}

mica_status mica_json_read_double(mica_json *j, double *out, mica_error *err) {
    mica_slice text;
    bool is_integer;
    if (want(j, MICA_JSON_NUMBER) && scan_number(j, &text, &is_integer) &&
        !mica_parse_double(text, out))
        json_fail_at(j, text.data, "the number %.*s is too large", quoted_bytes(text), text.data);
    return report(j, err);
}

mica_status mica_json_read_number_text(mica_json *j, mica_slice *out, mica_error *err) {
    bool is_integer;
    if (want(j, MICA_JSON_NUMBER)) scan_number(j, out, &is_integer);
    return report(j, err);
}

static bool take_word(mica_json *j, const char *word) {
    size_t bytes = strlen(word);
    if ((size_t)(j->end - j->at) < bytes || memcmp(j->at, word, bytes) != 0) {
        json_fail_at(j, j->at, "a word that is none of true, false, null");
        return false;
    }
    j->at += bytes;
    value_taken(j);
    return true;
}

mica_status mica_json_read_bool(mica_json *j, bool *out, mica_error *err) {
    if (want(j, MICA_JSON_BOOL)) {
        bool value = *j->at == 't';
        if (take_word(j, value ? "true" : "false")) *out = value;
    }
    return report(j, err);
}

mica_status mica_json_read_null(mica_json *j, mica_error *err) {
    if (want(j, MICA_JSON_NULL)) take_word(j, "null");
    return report(j, err);
}

/* Takes a scalar, or opens a level. */
static void skip_step(mica_json *j) {
    mica_slice text;
    bool flag;
    mica_json_kind kind = mica_json_peek(j);
    switch (kind) {
    case MICA_JSON_OBJECT:
    case MICA_JSON_ARRAY:
        begin_level(j, kind);
        break;
    case MICA_JSON_STRING:
        if (json_scan_string(j, &text, &flag)) value_taken(j);
        break;
    case MICA_JSON_NUMBER:
        scan_number(j, &text, &flag);
        break;
    case MICA_JSON_BOOL:
        take_word(j, *j->at == 't' ? "true" : "false");
        break;
    case MICA_JSON_NULL:
        take_word(j, "null");
        break;
    case MICA_JSON_NOTHING:
        break;
    }
}

mica_status mica_json_skip(mica_json *j, mica_error *err) {
    int depth = j->depth;
    if (j->error.status == MICA_STATUS_OK && j->expect != JSON_EXPECT_VALUE)
        json_fail_status(j, MICA_STATUS_INVALID, "no value stands here (wrong use of the reader)");
    if (j->error.status == MICA_STATUS_OK) skip_step(j);
    while (j->error.status == MICA_STATUS_OK && j->depth > depth) {
        mica_slice key;
        bool is_object = j->levels[j->depth - 1].is_object;
        if (is_object ? mica_json_next_key(j, &key) : mica_json_next_item(j)) skip_step(j);
    }
    return report(j, err);
}

mica_status mica_json_end(mica_json *j, mica_error *err) {
    if (j->error.status != MICA_STATUS_OK) return report(j, err);
    if (j->expect != JSON_EXPECT_END) {
        json_fail_status(j, MICA_STATUS_INVALID, "the value is not read to its end");
        return report(j, err);
    }
    skip_space(j);
    if (j->at != j->end) fail_unexpected(j, "the end of the text");
    return report(j, err);
}

#ifdef MICA_FUZZ_JSON
#include <stdlib.h>
#include "base/fuzz.h"

/* Takes one scalar by the call that data asks for, which may be the wrong one. */
static void fuzz_read(mica_json *j, unsigned pick) {
    mica_slice text;
    int64_t i;
    uint64_t u;
    double d;
    bool b;
    switch (pick % 8) {
    case 0:
        mica_json_read_string(j, &text, NULL);
        break;
    case 1:
        mica_json_read_i64(j, &i, NULL);
        break;
    case 2:
        mica_json_read_u64(j, &u, NULL);
        break;
    case 3:
        mica_json_read_double(j, &d, NULL);
        break;
    case 4:
        mica_json_read_bool(j, &b, NULL);
        break;
    case 5:
        mica_json_read_null(j, NULL);
        break;
    case 6:
        mica_json_read_number_text(j, &text, NULL);
        break;
    default:
        mica_json_skip(j, NULL);
        break;
    }
}

/* Walks by peek and the call that fits; from_data: sometimes by one that does not. */
static void fuzz_walk(mica_json *j, bool from_data) {
    static const unsigned fitting[] = {5, 4, 3, 0};
    int depth = 0;
    bool is_object[MICA_JSON_DEPTH_MAX];
    do {
        mica_slice key;
        if (depth > 0 &&
            !(is_object[depth - 1] ? mica_json_next_key(j, &key) : mica_json_next_item(j))) {
            depth--;
            continue;
        }
        mica_json_kind kind = mica_json_peek(j);
        if (kind == MICA_JSON_OBJECT && mica_json_begin_object(j, NULL) == MICA_STATUS_OK)
            is_object[depth++] = true;
        else if (kind == MICA_JSON_ARRAY && mica_json_begin_array(j, NULL) == MICA_STATUS_OK)
            is_object[depth++] = false;
        else if (kind <= MICA_JSON_STRING)
            fuzz_read(j, from_data ? (unsigned)(j->end - j->at) : fitting[kind]);
    } while (depth > 0 && mica_json_check(j, NULL) == MICA_STATUS_OK);
}

MICA_FUZZ_ENTRY(json) {
    mica_status results[3];
    for (int way = 0; way < 3; way++) {
        mica_json *j = NULL;
        mica_error err = {0};
        if (mica_json_open(mica_host_default(), "fuzz", (const char *)data, size, 16, &j, &err))
            return 0;
        if (way == 0)
            mica_json_skip(j, &err);
        else
            fuzz_walk(j, way == 2);
        results[way] = mica_json_end(j, &err);
        mica_json_close(&j);
    }
    /* What the walk reads, skip accepts. (A skipped number may be too large for a double.) */
    if (results[1] == MICA_STATUS_OK && results[0] != MICA_STATUS_OK) abort();
    return 0;
}
#endif
