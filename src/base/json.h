/* Strict pull reader for JSON of model files (RFC 8259; rules of the file formats on top).
 * It rejects: invalid UTF-8, lone surrogate escapes, a BOM, raw control bytes in strings, trailing
 * bytes, nesting past the limit, and duplicate keys in any object (decoded keys are compared).
 * It makes no tree: the caller asks for what it expects and skips the rest.
 *
 *     MICA_TRY(mica_json_begin_object(&j, err));
 *     while (mica_json_next_key(&j, &key)) {
 *         if (mica_slice_is(key, "eps")) MICA_TRY(mica_json_read_double(&j, &eps, err));
 *         else MICA_TRY(mica_json_skip(&j, err));
 *     }
 *     MICA_TRY(mica_json_check(&j, err));     // next_key returns false on errors too
 *     MICA_TRY(mica_json_end(&j, err));       // only white space may follow
 * Errors name the file, the byte offset, line and column. */
#pragma once
#include "base/host.h"
#include "base/str.h"

#define MICA_JSON_DEPTH_MAX 64

typedef enum mica_json_kind {
    MICA_JSON_NULL,
    MICA_JSON_BOOL,
    MICA_JSON_NUMBER,
    MICA_JSON_STRING,
    MICA_JSON_ARRAY,
    MICA_JSON_OBJECT,
    MICA_JSON_NOTHING, /* end of the text, or the reader has failed */
} mica_json_kind;

typedef struct mica_json mica_json;

/* text is borrowed until close and must stay unchanged. name is used in errors (borrowed too).
 * depth_max: 1..MICA_JSON_DEPTH_MAX. Threads: one at a time. */
mica_status mica_json_open(const mica_host *host, const char *name, const char *text, size_t bytes,
                           int depth_max, mica_json **out, mica_error *err);
void mica_json_close(mica_json **j);

/* The kind of the next value, without taking it. */
mica_json_kind mica_json_peek(mica_json *j);
/* Takes "{" or "["; any other value is a FORMAT error that names what was seen. */
mica_status mica_json_begin_object(mica_json *j, mica_error *err);
mica_status mica_json_begin_array(mica_json *j, mica_error *err);
/* Right after begin_object: the reader keeps no set of this object's keys, because the caller
 * enters each in a table of its own and refuses what stands there already. For objects of 100,000
 * keys. */
void mica_json_own_keys(mica_json *j);
/* The next key of the current object; false at "}" (which is taken) and on errors: call
 * mica_json_check afterwards. The key is decoded and valid until the object ends. */
bool mica_json_next_key(mica_json *j, mica_slice *key);
/* Whether the current array has another item; false at "]" (taken) and on errors. */
bool mica_json_next_item(mica_json *j);
/* The sticky error, if any. */
mica_status mica_json_check(mica_json *j, mica_error *err);

/* Scalars. A value of another kind is a FORMAT error. The string is decoded (escapes resolved) and
 * may hold NUL; it points into the text or into the reader's scratch memory and is valid until the
 * next read_string call or close, unless it had no escapes (then until the text goes). */
mica_status mica_json_read_string(mica_json *j, mica_slice *out, mica_error *err);
/* Integer syntax only: no '.', no 'e'; -0 is an error; out of range is an error. */
mica_status mica_json_read_i64(mica_json *j, int64_t *out, mica_error *err);
mica_status mica_json_read_u64(mica_json *j, uint64_t *out, mica_error *err);  /* no sign at all */
mica_status mica_json_read_double(mica_json *j, double *out, mica_error *err); /* any number */
mica_status mica_json_read_bool(mica_json *j, bool *out, mica_error *err);
mica_status mica_json_read_null(mica_json *j, mica_error *err);
/* The raw text of the next number ("1e3"), for readers that care about its spelling. */
mica_status mica_json_read_number_text(mica_json *j, mica_slice *out, mica_error *err);
/* Takes any value and forgets it; it is checked as strictly as the rest. */
mica_status mica_json_skip(mica_json *j, mica_error *err);
/* After the top value: nothing but white space may follow. */
mica_status mica_json_end(mica_json *j, mica_error *err);

/* A FORMAT error at the reader's current place: "<name>: line L column C: <text>". Makes the
 * reader fail. */
mica_status mica_json_fail(mica_json *j, mica_error *err, const char *format, ...)
    MICA_PRINTF(3, 4);

/* Writing: appends text as a JSON string with quotes; invalid UTF-8 becomes U+FFFD. */
void mica_json_append_string(mica_str *out, mica_slice text);
