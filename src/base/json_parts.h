/* Inside of the JSON reader: what json.c, json_string.c and json_keys.c share. */
#pragma once
#include "base/arena.h"
#include "base/json.h"
#include "base/vec.h"

/* Key lengths and indices are kept in 32 bits; no model file comes near. */
#define JSON_TEXT_BYTES_MAX ((size_t)1 << 31)

typedef enum json_expect {
    JSON_EXPECT_VALUE = 0, /* a value stands here */
    JSON_EXPECT_NEXT,      /* inside a container: ',' or the closing bracket */
    JSON_EXPECT_END,       /* the top value is taken */
} json_expect;

/* A key of an open object. */
typedef struct json_key {
    const char *data; /* decoded: in the text, or in the arena */
    uint32_t bytes;
    uint32_t hash;
} json_key;

/* A place of a hash table: 1 + index of the key among those of the object, 0 = empty. */
typedef struct json_slot {
    uint32_t hash;
    uint32_t key;
} json_slot;

/* An open container. The table outlives the object: the next one of this depth uses its memory,
 * beginning small again, so that clearing costs no more than the keys that were put in. */
typedef struct json_level {
    bool is_object;
    bool is_first;
    bool has_own_keys;   /* the caller looks for duplicates */
    uint32_t keys_begin; /* first key of this object in mica_json.keys */
    uint32_t table_size; /* slots in use, a power of two; 0 = few keys, compared one by one */
    uint32_t slots_capacity;
    json_slot *slots;
} json_level;

struct mica_json {
    const mica_allocator *allocator;
    const char *name;
    const char *text;
    const char *at;
    const char *end;
    int depth;
    int depth_max;
    json_expect expect;
    mica_error error;     /* the first one */
    mica_str scratch;     /* the last string with escapes, decoded */
    mica_str key_scratch; /* the same for a key, on its way to the arena */
    mica_vec keys;        /* json_key; those of all open objects, outermost first */
    mica_arena decoded_keys;
    uint64_t seed; /* of the key hash, so that a file cannot be made to collide */
    json_level levels[MICA_JSON_DEPTH_MAX];
};

/* A FORMAT error at a place of the text, or another status at the current one. */
mica_status json_fail_at(mica_json *j, const char *at, const char *format, ...) MICA_PRINTF(3, 4);
mica_status json_fail_status(mica_json *j, mica_status status, const char *format, ...)
    MICA_PRINTF(3, 4);

/* Stands at '"': checks the whole string and takes it. raw: what is between the quotes. */
bool json_scan_string(mica_json *j, mica_slice *raw, bool *has_escapes);
/* Resolves the escapes of a string that json_scan_string has passed. */
void json_decode_string(mica_slice raw, mica_str *out);

void json_keys_init(mica_json *j);
void json_keys_deinit(mica_json *j);
void json_keys_begin(mica_json *j, json_level *level);
void json_keys_end(mica_json *j, json_level *level);
/* Adds a key (begin: its place for errors); fails when the object has it already. */
bool json_keys_add(mica_json *j, const char *begin, mica_slice raw, bool has_escapes,
                   mica_slice *key);
