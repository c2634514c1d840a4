/* Reading flat JSON objects by a table: one row per field, with its type, place and range. Used by
 * config.c and generation_config.c, where most fields are alike and a new one should be one line.
 */
#pragma once
#include "base/json.h"

/* Bytes of a text field, its closing NUL included. */
#define MICA_FIELD_TEXT_BYTES 64

typedef enum mica_field_kind {
    MICA_FIELD_INTEGER, /* int64_t; "24", 24.0 and 1e3 are errors */
    MICA_FIELD_NUMBER,  /* double; finite */
    MICA_FIELD_BOOLEAN, /* bool */
    MICA_FIELD_TEXT,    /* char[MICA_FIELD_TEXT_BYTES] */
} mica_field_kind;

/* The C types of the kinds, for structs that are made from a list of fields. */
typedef char mica_field_text[MICA_FIELD_TEXT_BYTES];
#define MICA_FIELD_TYPE_INTEGER int64_t
#define MICA_FIELD_TYPE_NUMBER double
#define MICA_FIELD_TYPE_BOOLEAN bool
#define MICA_FIELD_TYPE_TEXT mica_field_text

/* Two rows may have one place (two spellings): then both must say the same.
 * offset, has_offset   in the struct that is filled: the value, and a bool that it was there
 * min, max             inclusive; not used for booleans and texts */
typedef struct mica_field {
    const char *key;
    mica_field_kind kind;
    size_t offset;
    size_t has_offset;
    double min;
    double max;
} mica_field;

/* Reads the value of key into base when the table has a row for it; else *is_known is false and the
 * value is still to be taken. null is taken and leaves the field absent. file is for errors, which
 * name the field: FORMAT for another type, a value out of range, or two spellings that differ. */
mica_status mica_fields_read(mica_json *j, const char *file, mica_slice key,
                             const mica_field *table, size_t n_fields, void *base, bool *is_known,
                             mica_error *err);

#define MICA_TOKEN_IDS_MAX 32
/* A small set of token ids (ends of generation). */
typedef struct mica_token_ids {
    int32_t ids[MICA_TOKEN_IDS_MAX];
    int32_t count;
} mica_token_ids;

/* Adds an id that is not there yet; false when the set is full. */
bool mica_token_ids_add(mica_token_ids *set, int32_t id);
bool mica_token_ids_has(const mica_token_ids *set, int32_t id);
/* Reads an id, a list of ids, or null (nothing). Ids are 0..2^21 - 1. */
mica_status mica_token_ids_read(mica_json *j, const char *file, const char *key,
                                mica_token_ids *out, mica_error *err);
