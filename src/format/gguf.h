/* The strict reader of one GGUF file: its keys and its list of tensors, never their bytes. Rules
 * are numbered as in docs/formats.md ("rule G9"), and every error cites the rule that was broken. A
 * file that has been opened keeps every promise below, so that later layers need no second check.
 * What the keys mean: gguf_config.h and gguf_tokenizer.h; what becomes of the tensors:
 * gguf_tensors.h. */
#pragma once
#include "base/file.h"
#include "core/dtype.h"

/* Rule G1: all that stands before the tensor bytes. A vocabulary of 256k tokens takes 7 MB. */
#define MICA_GGUF_HEADER_BYTES_MAX ((size_t)256 << 20)
/* Rule G2. */
#define MICA_GGUF_KEYS_MAX 65536u
#define MICA_GGUF_TENSORS_MAX 100000u
/* Rule G4. */
#define MICA_GGUF_STRING_BYTES_MAX (16u << 20)
/* Rule G5: items of an array, and how deep arrays nest. */
#define MICA_GGUF_ITEMS_MAX (1u << 24)
#define MICA_GGUF_NESTING_MAX 4
/* Rule G7. */
#define MICA_GGUF_ALIGNMENT_DEFAULT 32u
#define MICA_GGUF_ALIGNMENT_MAX 65536u
/* Rule G8. */
#define MICA_GGUF_RANK_MAX 4u

/* Numbers of the file. */
typedef enum mica_gguf_value_type {
    MICA_GGUF_U8 = 0,
    MICA_GGUF_I8 = 1,
    MICA_GGUF_U16 = 2,
    MICA_GGUF_I16 = 3,
    MICA_GGUF_U32 = 4,
    MICA_GGUF_I32 = 5,
    MICA_GGUF_F32 = 6,
    MICA_GGUF_BOOL = 7,
    MICA_GGUF_STRING = 8,
    MICA_GGUF_ARRAY = 9,
    MICA_GGUF_U64 = 10,
    MICA_GGUF_I64 = 11,
    MICA_GGUF_F64 = 12,
    MICA_GGUF_VALUE_TYPE_COUNT_
} mica_gguf_value_type;

/* Types of tensors that mica can take; the file's numbers. Others are known by size only. */
typedef enum mica_gguf_type {
    MICA_GGUF_TENSOR_F32 = 0,
    MICA_GGUF_TENSOR_F16 = 1,
    MICA_GGUF_TENSOR_Q4_0 = 2,
    MICA_GGUF_TENSOR_Q4_1 = 3,
    MICA_GGUF_TENSOR_Q5_0 = 6,
    MICA_GGUF_TENSOR_Q5_1 = 7,
    MICA_GGUF_TENSOR_Q8_0 = 8,
    MICA_GGUF_TENSOR_Q4_K = 12,
    MICA_GGUF_TENSOR_Q5_K = 13,
    MICA_GGUF_TENSOR_Q6_K = 14,
    MICA_GGUF_TENSOR_BF16 = 30,
    MICA_GGUF_TENSOR_MXFP4 = 39,
    MICA_GGUF_TENSOR_NVFP4 = 40,
    MICA_GGUF_TYPE_MAX_ = 63
} mica_gguf_type;

/* name NULL: no such type. A row is made of blocks of `elements` in `bytes`. */
typedef struct mica_gguf_type_info {
    const char *name;
    uint32_t elements;
    uint32_t bytes;
} mica_gguf_type_info;
const mica_gguf_type_info *mica_gguf_type_find(uint32_t type);

/* key   free of control bytes, not NUL-terminated
 * data  the value as the file has it, little endian and not aligned; for a string its bytes, for an
 *       array its items one after another (strings: u64 length, bytes)
 * All is borrowed until close. */
typedef struct mica_gguf_value {
    mica_slice key;
    mica_gguf_value_type type;
    mica_gguf_value_type item_type; /* of an array */
    uint64_t count;                 /* of an array's items */
    const uint8_t *data;
    size_t bytes;
} mica_gguf_value;

/* name   NUL-terminated, free of control bytes
 * shape  slowest first: the file's numbers turned round
 * begin  absolute offset, a multiple of the file's alignment
 * end    begin + exactly the bytes that type and shape need, at most the size of the file */
typedef struct mica_gguf_tensor {
    const char *name;
    uint32_t name_bytes;
    uint32_t type;
    mica_shape shape;
    uint64_t begin;
    uint64_t end;
} mica_gguf_tensor;

/* Threads: immutable after open, but for the file's map. */
typedef struct mica_gguf mica_gguf;

/* Whether a regular file is there that begins as GGUF files do; a folder, or nothing, is none.
 * Errors: those of opening and reading the file. */
mica_status mica_gguf_is_file(const mica_host *host, const char *path, bool *out, mica_error *err);
/* Opens the file, reads what stands before the tensor bytes with pread and applies all rules.
 * Errors name the last part of the path: FORMAT (with the rule), LIMIT (rules G1, G2, G4, G5, G8),
 * UNSUPPORTED (version 1, big endian), and those of mica_file_open. */
mica_status mica_gguf_open(const mica_host *host, const char *path, mica_gguf **out,
                           mica_error *err);
/* The same for a header in memory: prefix holds the first prefix_bytes bytes of a file of
 * file_bytes bytes, the whole header among them. There is no file then. name is for errors. */
mica_status mica_gguf_parse(const mica_host *host, const char *name, const void *prefix,
                            size_t prefix_bytes, uint64_t file_bytes, mica_gguf **out,
                            mica_error *err);
void mica_gguf_close(mica_gguf **g);

const char *mica_gguf_name(const mica_gguf *g);
mica_file *mica_gguf_file(const mica_gguf *g); /* NULL after parse */
size_t mica_gguf_count(const mica_gguf *g);
/* In order of offset. */
const mica_gguf_tensor *mica_gguf_at(const mica_gguf *g, size_t i);
/* NULL when there is none of that name. */
const mica_gguf_tensor *mica_gguf_find_tensor(const mica_gguf *g, const char *name);
/* A whole small tensor, read from the file; UNAVAILABLE after parse. out: end - begin bytes. */
mica_status mica_gguf_read_tensor(const mica_gguf *g, const mica_gguf_tensor *t, void *out,
                                  mica_error *err);

/* NULL when there is no such key. */
const mica_gguf_value *mica_gguf_find(const mica_gguf *g, const char *key);

/* Typed reads. A missing key leaves *out as it is and sets *is_there to false; a value of another
 * kind is a FORMAT error that names the key. is_there may be NULL. Numbers may have any width. An
 * array of equal integers is read as one of them (per-layer values that do not differ); other
 * arrays are UNSUPPORTED. */
mica_status mica_gguf_read_integer(const mica_gguf *g, const char *key, int64_t *out,
                                   bool *is_there, mica_error *err);
mica_status mica_gguf_read_number(const mica_gguf *g, const char *key, double *out, bool *is_there,
                                  mica_error *err);
mica_status mica_gguf_read_bool(const mica_gguf *g, const char *key, bool *out, bool *is_there,
                                mica_error *err);
mica_status mica_gguf_read_string(const mica_gguf *g, const char *key, mica_slice *out,
                                  bool *is_there, mica_error *err);

/* Items of an array of numbers, i < value->count. */
int64_t mica_gguf_integer_at(const mica_gguf_value *value, uint64_t i);
double mica_gguf_number_at(const mica_gguf_value *value, uint64_t i);
bool mica_gguf_value_is_integer(mica_gguf_value_type type); /* bool among them */
/* Walks over an array of strings: start with *place = 0; false at the end. */
bool mica_gguf_next_string(const mica_gguf_value *value, size_t *place, mica_slice *out);
