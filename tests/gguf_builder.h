/* Writes small GGUF files for tests, in the plainest way: keys and tensors go into growing buffers,
 * and the file is put together at the end. Nothing is shared with the reader. Wrong files are made
 * by changing bytes of right ones, or by the _raw functions. */
#pragma once
#include "test.h"

typedef struct gguf_bytes {
    uint8_t *data;
    size_t bytes;
} gguf_bytes;

typedef struct gguf_builder {
    gguf_bytes keys;
    gguf_bytes tensors;
    gguf_bytes data;
    uint64_t n_keys;
    uint64_t n_tensors;
    uint32_t alignment; /* 0 = 32 */
    uint32_t version;   /* 0 = 3 */
} gguf_builder;

static inline void gguf_append(gguf_bytes *b, const void *data, size_t bytes) {
    b->data = realloc(b->data, b->bytes + bytes + 1);
    assert_non_null(b->data);
    if (bytes > 0) memcpy(b->data + b->bytes, data, bytes);
    b->bytes += bytes;
}

static inline void gguf_append_u32(gguf_bytes *b, uint32_t v) { gguf_append(b, &v, sizeof v); }

static inline void gguf_append_u64(gguf_bytes *b, uint64_t v) { gguf_append(b, &v, sizeof v); }

static inline void gguf_append_text(gguf_bytes *b, const char *text) {
    gguf_append_u64(b, strlen(text));
    gguf_append(b, text, strlen(text));
}

/* The key and its type; the value follows by gguf_append. */
static inline void gguf_key_raw(gguf_builder *b, const char *key, uint32_t type) {
    gguf_append_text(&b->keys, key);
    gguf_append_u32(&b->keys, type);
    b->n_keys++;
}

static inline void gguf_put_u32(gguf_builder *b, const char *key, uint32_t v) {
    gguf_key_raw(b, key, 4);
    gguf_append_u32(&b->keys, v);
}

static inline void gguf_put_f32(gguf_builder *b, const char *key, float v) {
    gguf_key_raw(b, key, 6);
    gguf_append(&b->keys, &v, sizeof v);
}

static inline void gguf_put_bool(gguf_builder *b, const char *key, bool v) {
    uint8_t byte = v;
    gguf_key_raw(b, key, 7);
    gguf_append(&b->keys, &byte, 1);
}

static inline void gguf_put_text(gguf_builder *b, const char *key, const char *text) {
    gguf_key_raw(b, key, 8);
    gguf_append_text(&b->keys, text);
}

/* The head of an array; the items follow by gguf_append. */
static inline void gguf_array_raw(gguf_builder *b, const char *key, uint32_t type, uint64_t count) {
    gguf_key_raw(b, key, 9);
    gguf_append_u32(&b->keys, type);
    gguf_append_u64(&b->keys, count);
}

static inline void gguf_put_texts(gguf_builder *b, const char *key, const char *const *texts,
                                  size_t n) {
    gguf_array_raw(b, key, 8, n);
    for (size_t i = 0; i < n; i++) gguf_append_text(&b->keys, texts[i]);
}

static inline void gguf_put_i32s(gguf_builder *b, const char *key, const int32_t *v, size_t n) {
    gguf_array_raw(b, key, 5, n);
    gguf_append(&b->keys, v, n * sizeof *v);
}

static inline void gguf_put_f32s(gguf_builder *b, const char *key, const float *v, size_t n) {
    gguf_array_raw(b, key, 6, n);
    gguf_append(&b->keys, v, n * sizeof *v);
}

/* Entry of a tensor at an offset of its own. dims: slowest first. */
static inline void gguf_tensor_raw(gguf_builder *b, const char *name, uint32_t type, int rank,
                                   const int64_t *dims, uint64_t offset) {
    gguf_append_text(&b->tensors, name);
    gguf_append_u32(&b->tensors, (uint32_t)rank);
    for (int i = 0; i < rank; i++) gguf_append_u64(&b->tensors, (uint64_t)dims[rank - 1 - i]);
    gguf_append_u32(&b->tensors, type);
    gguf_append_u64(&b->tensors, offset);
    b->n_tensors++;
}

static inline void gguf_fill(gguf_bytes *b, uint32_t alignment) {
    static const uint8_t zero[1] = {0};
    while (b->bytes % (alignment ? alignment : 32) != 0) gguf_append(b, zero, 1);
}

static inline void gguf_put_tensor(gguf_builder *b, const char *name, uint32_t type, int rank,
                                   const int64_t *dims, const void *data, size_t bytes) {
    gguf_fill(&b->data, b->alignment);
    gguf_tensor_raw(b, name, type, rank, dims, b->data.bytes);
    gguf_append(&b->data, data, bytes);
}

/* The whole file; the builder is empty afterwards. Free out->data. */
static inline void gguf_build(gguf_builder *b, gguf_bytes *out) {
    *out = (gguf_bytes){0};
    gguf_append(out, "GGUF", 4);
    gguf_append_u32(out, b->version ? b->version : 3);
    gguf_append_u64(out, b->n_tensors);
    gguf_append_u64(out, b->n_keys);
    gguf_append(out, b->keys.data, b->keys.bytes);
    gguf_append(out, b->tensors.data, b->tensors.bytes);
    if (b->n_tensors > 0) gguf_fill(out, b->alignment);
    gguf_append(out, b->data.data, b->data.bytes);
    free(b->keys.data), free(b->tensors.data), free(b->data.data);
    *b = (gguf_builder){0};
}
