/* Quantised rows: the exact decoder and MLX's encoder of every format (affine, mxfp4, mxfp8,
 * nvfp4). A row is a stream of codes, least significant bit first, with one scale (affine: and one
 * bias) per group of consecutive elements; nvfp4_scaled has one f32 factor for all rows of a
 * matrix. Scalar code; vector kernels decode to the same bits. */
#pragma once
#include <stdint.h>
#include "kernel/float_format.h"

/* The numbers equal those of mica_quant_mode. */
enum {
    MICA_QUANT_DESC_NONE = 0,
    MICA_QUANT_DESC_AFFINE,
    MICA_QUANT_DESC_MXFP4,
    MICA_QUANT_DESC_MXFP8,
    MICA_QUANT_DESC_NVFP4,
    MICA_QUANT_DESC_NVFP4_SCALED,
};

/* Element types of scales, and of dense operands of the matrix kernels. */
enum {
    MICA_KIND_U8 = 0, /* E8M0 or E4M3 scales */
    MICA_KIND_F32,
    MICA_KIND_F16,
    MICA_KIND_BF16,
};

typedef struct mica_quant_desc {
    uint8_t mode;       /* MICA_QUANT_DESC_ */
    uint8_t bits;       /* per code */
    uint16_t group;     /* elements per scale */
    uint8_t scale_kind; /* MICA_KIND_; of scales and biases */
} mica_quant_desc;

/* Element i of an f32, f16 or bf16 array, which may be unaligned. */
static inline float mica_kind_load(int kind, const void *base, int64_t i) {
    const uint8_t *p = (const uint8_t *)base;
    if (kind == MICA_KIND_F32) return mica_load_f32(p + 4 * i);
    if (kind == MICA_KIND_BF16) return mica_f32_from_bf16(mica_load_u16(p + 2 * i));
    return mica_f32_from_f16(mica_load_u16(p + 2 * i));
}
static inline int64_t mica_kind_bytes(int kind) {
    return kind == MICA_KIND_U8 ? 1 : kind == MICA_KIND_F32 ? 4 : 2;
}

/* Bytes of the codes, and of the scales, of k elements; k is a multiple of the group. */
static inline int64_t mica_quant_code_bytes(mica_quant_desc q, int64_t k) { return k * q.bits / 8; }
static inline int64_t mica_quant_scale_bytes(mica_quant_desc q, int64_t k) {
    return k / q.group * mica_kind_bytes(q.scale_kind);
}

/* Where the third part lies of elements in matrix `matrix` whose scales begin at byte `at`: biases
 * go along with the scales, the factor of nvfp4_scaled is the same for a matrix. NULL stays. */
static inline const void *mica_quant_biases_at(mica_quant_desc q, const void *biases,
                                               int64_t matrix, int64_t at) {
    if (!biases) return biases;
    return (const uint8_t *)biases + (q.mode == MICA_QUANT_DESC_NVFP4_SCALED ? 4 * matrix : at);
}

/* Decodes k elements that begin at a group border; k is a multiple of the group. biases is read
 * for affine, and for nvfp4_scaled, where it is the factor. Exact but for affine, whose product and
 * sum are each rounded to f32, and nvfp4_scaled: so are the product of scale and factor, and that
 * with the code. */
void mica_quant_decode_row(mica_quant_desc q, const void *codes, const void *scales,
                           const void *biases, int64_t k, float *out);

/* Encodes k elements (a multiple of the group) by the rules of MLX's CPU encoder. biases is written
 * for affine; for nvfp4_scaled it is the factor and is read (MLX's own choice is the largest
 * magnitude of the matrix / 2688). */
void mica_quant_encode_row(mica_quant_desc q, const float *in, int64_t k, void *codes, void *scales,
                           void *biases);

/* Nearest codes, ties to even, saturating. NaN gives 7 and 0x7F; zeros keep their sign. */
uint8_t mica_e2m1_from_f32(float f);
uint8_t mica_e4m3_from_f32(float f);
