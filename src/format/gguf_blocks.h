/* Blocks of quantised GGUF types, row by row: repacked into MLX's layout where that loses nothing,
 * else turned into plain numbers. Layouts and proofs: docs/formats.md, section GGUF. */
#pragma once
#include "format/gguf.h"

/* What a type becomes.
 * mode     NONE: plain numbers of type scale_dtype
 * scale_dtype   of scales and biases (affine): f16 keeps what the block holds, f32 what it computes
 * note     for people: "Q4_1 to affine 4 bit, group 32: lossless" */
typedef struct mica_gguf_target {
    mica_quant_mode mode;
    int32_t bits;
    int32_t group;
    mica_dtype scale_dtype;
    const char *note;
} mica_gguf_target;

/* NULL for a type that is not quantised, or that mica does not take. */
const mica_gguf_target *mica_gguf_target_of(uint32_t type);

/* Functions of one row of k elements, a multiple of the type's block; bytes need no alignment. */
/* Codes in MLX's order: k * bits / 8 bytes. */
void mica_gguf_row_codes(uint32_t type, const uint8_t *blocks, int64_t k, uint8_t *out);
/* k / group scales of the target's type (U8 for mxfp4 and nvfp4), or its biases. false when a value
 * is not finite or leaves the range of f16. */
bool mica_gguf_row_scales(uint32_t type, const uint8_t *blocks, int64_t k, uint8_t *out);
bool mica_gguf_row_biases(uint32_t type, const uint8_t *blocks, int64_t k, uint8_t *out);
/* Values as numbers, for types whose target is plain: bit for bit what ggml computes. */
void mica_gguf_row_values(uint32_t type, const uint8_t *blocks, int64_t k, float *out);
