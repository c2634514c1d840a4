/* The strict reader of one .safetensors file: its list of tensors, never their bytes. Rules are
 * numbered as in docs/formats.md ("rule 12"), and every error cites the rule that was broken. A
 * file that has been opened keeps every promise below, so that later layers need no second check.
 * The several files of a model are the business of checkpoint.h; writing is in
 * safetensors_writer.h. */
#pragma once
#include "base/file.h"
#include "core/dtype.h"

/* Rule 1: bytes of JSON in a header. */
#define MICA_SAFETENSORS_HEADER_BYTES_MAX 100000000u
/* Rule 17. */
#define MICA_SAFETENSORS_TENSORS_MAX 100000u
/* Rule 16. */
#define MICA_SAFETENSORS_NAME_BYTES_MAX 512u
/* Rule 4. */
#define MICA_SAFETENSORS_DEPTH_MAX 8
/* Rule 6: decoded keys and values with a closing byte each. */
#define MICA_SAFETENSORS_METADATA_BYTES_MAX (1u << 20)
/* Rule 9. */
#define MICA_SAFETENSORS_DIM_MAX ((INT64_C(1) << 48) - 1)

/* The element types that the format knows (rule 8). Not all of them can be computed with. */
typedef enum mica_safetensors_dtype {
    MICA_SAFETENSORS_NONE = 0,
    MICA_SAFETENSORS_BOOL,
    MICA_SAFETENSORS_U8,
    MICA_SAFETENSORS_I8,
    MICA_SAFETENSORS_U16,
    MICA_SAFETENSORS_I16,
    MICA_SAFETENSORS_U32,
    MICA_SAFETENSORS_I32,
    MICA_SAFETENSORS_U64,
    MICA_SAFETENSORS_I64,
    MICA_SAFETENSORS_F16,
    MICA_SAFETENSORS_BF16,
    MICA_SAFETENSORS_F32,
    MICA_SAFETENSORS_F64,
    MICA_SAFETENSORS_C64,
    MICA_SAFETENSORS_F4,
    MICA_SAFETENSORS_F6_E2M3,
    MICA_SAFETENSORS_F6_E3M2,
    MICA_SAFETENSORS_F8_E5M2,
    MICA_SAFETENSORS_F8_E4M3,
    MICA_SAFETENSORS_F8_E8M0,
    MICA_SAFETENSORS_F8_E4M3FNUZ,
    MICA_SAFETENSORS_F8_E5M2FNUZ,
    MICA_SAFETENSORS_DTYPE_COUNT_,
} mica_safetensors_dtype;

/* "BF16", as the format spells it; "none" for NONE. */
const char *mica_safetensors_dtype_name(mica_safetensors_dtype dtype);
/* Bits of an element: 4, 6, 8, 16, 32 or 64; 0 for NONE. */
int mica_safetensors_dtype_bits(mica_safetensors_dtype dtype);
/* NONE for a name that is not one; upper and lower case differ. */
mica_safetensors_dtype mica_safetensors_dtype_from_name(mica_slice name);
/* The array type that holds such elements. F8_E4M3 and F8_E8M0 are bytes (U8) to be decoded by
 * whoever knows what they scale; NONE where mica cannot load the type. */
mica_dtype mica_safetensors_dtype_plain(mica_safetensors_dtype dtype);
/* The storage type of an array type. */
mica_safetensors_dtype mica_safetensors_dtype_of(mica_dtype dtype);
/* Bytes of a tensor. Returns 0, or the rule that dtype and shape break: 10 when the number of
 * elements overflows, 11 when that of bits does or they do not fill whole bytes. No dim may be
 * negative. */
int mica_safetensors_tensor_bytes(mica_safetensors_dtype dtype, const mica_shape *shape,
                                  uint64_t *out);
/* Rule 16: 1..512 bytes of UTF-8 without control bytes. */
bool mica_safetensors_name_is_valid(mica_slice name);

/* name   NUL-terminated and free of control bytes; borrowed until close
 * begin  absolute offset in the file; no alignment may be assumed (rule 15)
 * end    begin + exactly the bytes that dtype and shape need, at most the size of the file */
typedef struct mica_safetensors_tensor {
    const char *name;
    uint32_t name_bytes;
    mica_safetensors_dtype dtype;
    mica_shape shape;
    uint64_t begin;
    uint64_t end;
} mica_safetensors_tensor;

/* Threads: immutable after open, but for the file's map. */
typedef struct mica_safetensors mica_safetensors;

/* Opens the file, reads the header with pread and applies all rules. Symbolic links are followed:
 * who does not trust them resolves the path first (model_folder.h). Errors name the last part of
 * the path: FORMAT (with the rule), LIMIT (rules 1, 4, 6, 16, 17), and those of mica_file_open. */
mica_status mica_safetensors_open(const mica_host *host, const char *path, mica_safetensors **out,
                                  mica_error *err);
/* The same for a header in memory: prefix holds the first prefix_bytes bytes of a file of
 * file_bytes bytes, the whole header among them. There is no file then. name is for errors. */
mica_status mica_safetensors_parse(const mica_host *host, const char *name, const void *prefix,
                                   size_t prefix_bytes, uint64_t file_bytes, mica_safetensors **out,
                                   mica_error *err);
void mica_safetensors_close(mica_safetensors **s); /* the file too: its map goes */

size_t mica_safetensors_count(const mica_safetensors *s);
/* In order of offset. i < count. Borrowed until close. */
const mica_safetensors_tensor *mica_safetensors_at(const mica_safetensors *s, size_t i);
/* NULL when there is none of that name. */
const mica_safetensors_tensor *mica_safetensors_find(const mica_safetensors *s, mica_slice name);

/* __metadata__, in the order of the file. Texts are from outside: never paths, never commands. */
size_t mica_safetensors_metadata_count(const mica_safetensors *s);
void mica_safetensors_metadata_at(const mica_safetensors *s, size_t i, mica_slice *key,
                                  mica_slice *value);
/* false when there is no such key. */
bool mica_safetensors_metadata_find(const mica_safetensors *s, const char *key, mica_slice *value);

/* NULL after parse. Borrowed until close. */
mica_file *mica_safetensors_file(const mica_safetensors *s);
/* The last part of the path. Borrowed until close. */
const char *mica_safetensors_name(const mica_safetensors *s);
/* Offset of the first tensor byte: 8 + header. */
uint64_t mica_safetensors_data_begin(const mica_safetensors *s);
