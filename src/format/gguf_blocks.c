/* Decoding of GGUF blocks. Every block type has one function that gives the codes of a block as
 * bytes in natural order, and one that gives its scales; packing is common to all. */
#include "format/gguf_blocks.h"
#include <string.h>
#include "kernel/float_format.h"

enum {
    BLOCK = 32,     /* elements of the small blocks, and of the groups that come out */
    SUPER = 256,    /* elements of the K types */
    SUB_BLOCKS = 8, /* of a Q4_K or Q5_K block */
    UNSIGNED_NAN = 0x7F,
};

const mica_gguf_target *mica_gguf_target_of(uint32_t type) {
    static const mica_gguf_target q4_0 = {MICA_QUANT_AFFINE, 4, 32, MICA_DTYPE_F16,
                                          "Q4_0 to affine 4 bit, group 32: lossless"};
    static const mica_gguf_target q4_1 = {MICA_QUANT_AFFINE, 4, 32, MICA_DTYPE_F16,
                                          "Q4_1 to affine 4 bit, group 32: lossless"};
    static const mica_gguf_target q5_0 = {MICA_QUANT_AFFINE, 5, 32, MICA_DTYPE_F16,
                                          "Q5_0 to affine 5 bit, group 32: lossless"};
    static const mica_gguf_target q5_1 = {MICA_QUANT_AFFINE, 5, 32, MICA_DTYPE_F16,
                                          "Q5_1 to affine 5 bit, group 32: lossless"};
    static const mica_gguf_target q8_0 = {MICA_QUANT_AFFINE, 8, 32, MICA_DTYPE_F16,
                                          "Q8_0 to affine 8 bit, group 32: lossless"};
    static const mica_gguf_target q4_k = {MICA_QUANT_AFFINE, 4, 32, MICA_DTYPE_F32,
                                          "Q4_K to affine 4 bit, group 32, f32 scales: lossless"};
    static const mica_gguf_target q5_k = {MICA_QUANT_AFFINE, 5, 32, MICA_DTYPE_F32,
                                          "Q5_K to affine 5 bit, group 32, f32 scales: lossless"};
    static const mica_gguf_target q6_k = {
        MICA_QUANT_NONE, 0, 0, MICA_DTYPE_F16,
        "Q6_K to f16: rounded to 11 bits (groups of 16 have no affine form)"};
    static const mica_gguf_target mxfp4 = {MICA_QUANT_MXFP4, 4, 32, MICA_DTYPE_U8,
                                           "MXFP4 to mxfp4: lossless"};
    static const mica_gguf_target nvfp4 = {MICA_QUANT_NVFP4, 4, 16, MICA_DTYPE_U8,
                                           "NVFP4 to nvfp4: lossless"};
    switch (type) {
    case MICA_GGUF_TENSOR_Q4_0:
        return &q4_0;
    case MICA_GGUF_TENSOR_Q4_1:
        return &q4_1;
    case MICA_GGUF_TENSOR_Q5_0:
        return &q5_0;
    case MICA_GGUF_TENSOR_Q5_1:
        return &q5_1;
    case MICA_GGUF_TENSOR_Q8_0:
        return &q8_0;
    case MICA_GGUF_TENSOR_Q4_K:
        return &q4_k;
    case MICA_GGUF_TENSOR_Q5_K:
        return &q5_k;
    case MICA_GGUF_TENSOR_Q6_K:
        return &q6_k;
    case MICA_GGUF_TENSOR_MXFP4:
        return &mxfp4;
    case MICA_GGUF_TENSOR_NVFP4:
        return &nvfp4;
    default:
        return NULL;
    }
}

/* ---- codes ---- */

/* Element j in the low nibble of byte j, element j + n in its high one. */
static void unpack_nibbles(const uint8_t *q, int n, uint8_t *out) {
    for (int j = 0; j < n; j++) {
        out[j] = q[j] & 15;
        out[j + n] = q[j] >> 4;
    }
}

static void unpack_fifth_bits(uint32_t high, uint8_t *codes) {
    for (int j = 0; j < BLOCK; j++) codes[j] = (uint8_t)(codes[j] | (high >> j & 1) << 4);
}

static void unpack_q5_k(const uint8_t *block, uint8_t *codes) {
    const uint8_t *high = block + 16, *low = block + 48;
    for (int c = 0; c < SUB_BLOCKS / 2; c++, low += BLOCK)
        for (int l = 0; l < BLOCK; l++) {
            codes[64 * c + l] = (uint8_t)((low[l] & 15) | (high[l] >> 2 * c & 1) << 4);
            codes[64 * c + BLOCK + l] = (uint8_t)(low[l] >> 4 | (high[l] >> (2 * c + 1) & 1) << 4);
        }
}

/* Codes of one block of a type of 5 or 8 bits, a byte each. */
static void unpack_block(uint32_t type, const uint8_t *block, uint8_t *codes) {
    switch (type) {
    case MICA_GGUF_TENSOR_Q5_0:
        unpack_nibbles(block + 6, 16, codes);
        unpack_fifth_bits(mica_load_u32(block + 2), codes);
        break;
    case MICA_GGUF_TENSOR_Q5_1:
        unpack_nibbles(block + 8, 16, codes);
        unpack_fifth_bits(mica_load_u32(block + 4), codes);
        break;
    case MICA_GGUF_TENSOR_Q8_0: /* signed to unsigned */
        for (int j = 0; j < BLOCK; j++) codes[j] = block[2 + j] ^ 0x80;
        break;
    case MICA_GGUF_TENSOR_Q5_K:
        unpack_q5_k(block, codes);
        break;
    default:
        break;
    }
}

/* n codes to n * bits / 8 bytes, least significant bit first. */
static void pack(const uint8_t *codes, int n, int bits, uint8_t *out) {
    if (bits == 8) {
        memcpy(out, codes, (size_t)n);
    } else {
        for (int i = 0; i < n; i += 8) {
            uint64_t word = 0;
            for (int j = 0; j < 8; j++) word |= (uint64_t)codes[i + j] << bits * j;
            for (int j = 0; j < bits; j++) *out++ = (uint8_t)(word >> 8 * j);
        }
    }
}

/* Where the nibbles of a type of 4 bits lie: parts of a block, in each the first half of the
 * elements in the low nibbles and the second half in the high ones. n_parts 0: not of this kind. */
typedef struct nibble_layout {
    int first_byte;
    int n_parts;
    int part_bytes; /* a multiple of 8 */
} nibble_layout;

static nibble_layout find_nibbles(uint32_t type) {
    switch (type) {
    case MICA_GGUF_TENSOR_Q4_0:
        return (nibble_layout){2, 1, 16};
    case MICA_GGUF_TENSOR_Q4_1:
        return (nibble_layout){4, 1, 16};
    case MICA_GGUF_TENSOR_MXFP4:
        return (nibble_layout){1, 1, 16};
    case MICA_GGUF_TENSOR_Q4_K:
        return (nibble_layout){16, SUB_BLOCKS / 2, 32};
    case MICA_GGUF_TENSOR_NVFP4:
        return (nibble_layout){4, 4, 8};
    default:
        return (nibble_layout){0};
    }
}

/* The low nibbles of eight bytes as four bytes. */
static uint32_t squeeze_nibbles(uint64_t x) {
    x &= UINT64_C(0x0F0F0F0F0F0F0F0F);
    x = (x | x >> 4) & UINT64_C(0x00FF00FF00FF00FF);
    x = (x | x >> 8) & UINT64_C(0x0000FFFF0000FFFF);
    return (uint32_t)(x | x >> 16);
}

/* Unpacked and packed again in one go: files of this kind are read at every start. */
static void repack_nibbles(const nibble_layout *l, const uint8_t *block, uint8_t *out) {
    const uint8_t *in = block + l->first_byte;
    int half = l->part_bytes / 2;
    for (int p = 0; p < l->n_parts; p++, in += l->part_bytes, out += l->part_bytes)
        for (int i = 0; i < half; i += 4) {
            uint64_t x;
            memcpy(&x, in + 2 * i, sizeof x);
            uint32_t low = squeeze_nibbles(x), high = squeeze_nibbles(x >> 4);
            memcpy(out + i, &low, sizeof low);
            memcpy(out + half + i, &high, sizeof high);
        }
}

void mica_gguf_row_codes(uint32_t type, const uint8_t *blocks, int64_t k, uint8_t *out) {
    uint8_t codes[SUPER];
    const mica_gguf_type_info *info = mica_gguf_type_find(type);
    const nibble_layout nibbles = find_nibbles(type);
    int bits = mica_gguf_target_of(type)->bits, n = (int)info->elements;
    for (int64_t i = 0; i < k; i += n, blocks += info->bytes, out += n * bits / 8) {
        if (nibbles.n_parts) {
            repack_nibbles(&nibbles, blocks, out);
            continue;
        }
        unpack_block(type, blocks, codes);
        pack(codes, n, bits, out);
    }
}

/* ---- scales ---- */

/* The 6-bit scale and minimum of sub-block j. */
static void unpack_k_scale(const uint8_t *s, int j, int *scale, int *minimum) {
    if (j < 4) {
        *scale = s[j] & 63;
        *minimum = s[j + 4] & 63;
    } else {
        *scale = (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
        *minimum = s[j + 4] >> 4 | (s[j] >> 6) << 4;
    }
}

static bool put_f32(float value, uint8_t *out) {
    memcpy(out, &value, sizeof value);
    return (mica_bits_from_f32(value) & 0x7F800000u) != 0x7F800000u;
}

static bool put_half(uint16_t half, uint8_t *out) {
    memcpy(out, &half, sizeof half);
    return (half & 0x7C00u) != 0x7C00u;
}

static bool put_f16(float value, uint8_t *out) { return put_half(mica_f16_from_f32(value), out); }

static float half_at(const uint8_t *p) { return mica_f32_from_f16(mica_load_u16(p)); }

/* Scales or biases of the eight groups of a K block: exact, as 11 bits times 6 fit f32. */
static bool put_k_values(const uint8_t *block, bool is_bias, uint8_t *out) {
    bool is_finite = true;
    float factor = is_bias ? -half_at(block + 2) : half_at(block);
    for (int j = 0; j < SUB_BLOCKS; j++) {
        int scale, minimum;
        unpack_k_scale(block + 4, j, &scale, &minimum);
        is_finite &= put_f32(factor * (float)(is_bias ? minimum : scale), out + 4 * j);
    }
    return is_finite;
}

bool mica_gguf_row_scales(uint32_t type, const uint8_t *blocks, int64_t k, uint8_t *out) {
    const mica_gguf_type_info *info = mica_gguf_type_find(type);
    bool is_finite = true;
    for (int64_t i = 0; i < k; i += info->elements, blocks += info->bytes) {
        switch (type) {
        case MICA_GGUF_TENSOR_MXFP4:
            *out++ = blocks[0];
            break;
        case MICA_GGUF_TENSOR_NVFP4: /* NaN is zero there */
            for (int g = 0; g < 4; g++) *out++ = blocks[g] == UNSIGNED_NAN ? 0 : blocks[g];
            break;
        case MICA_GGUF_TENSOR_Q4_K:
        case MICA_GGUF_TENSOR_Q5_K:
            is_finite &= put_k_values(blocks, false, out);
            out += SUB_BLOCKS * 4;
            break;
        default:
            is_finite &= put_half(mica_load_u16(blocks), out);
            out += 2;
            break;
        }
    }
    return is_finite;
}

/* Offsets are powers of two: offset times d is exact in f16 as long as it does not overflow. */
static float bias_of(uint32_t type, const uint8_t *block) {
    switch (type) {
    case MICA_GGUF_TENSOR_Q4_0:
        return -8.0f * half_at(block);
    case MICA_GGUF_TENSOR_Q5_0:
        return -16.0f * half_at(block);
    case MICA_GGUF_TENSOR_Q8_0:
        return -128.0f * half_at(block);
    default:
        return half_at(block + 2);
    }
}

bool mica_gguf_row_biases(uint32_t type, const uint8_t *blocks, int64_t k, uint8_t *out) {
    const mica_gguf_type_info *info = mica_gguf_type_find(type);
    bool is_k = type == MICA_GGUF_TENSOR_Q4_K || type == MICA_GGUF_TENSOR_Q5_K;
    bool is_finite = true;
    for (int64_t i = 0; i < k; i += info->elements, blocks += info->bytes) {
        is_finite &= is_k ? put_k_values(blocks, true, out) : put_f16(bias_of(type, blocks), out);
        out += is_k ? SUB_BLOCKS * 4 : 2;
    }
    return is_finite;
}

/* ---- values ---- */

/* Two halves of 128; 11 bits times 8 times 6 fit f32, so nothing is rounded. */
static void dequantise_q6_k(const uint8_t *block, float *out) {
    const uint8_t *low = block, *high = block + 128, *scales = block + 192;
    float d = half_at(block + 208);
    for (int half = 0; half < 2; half++, low += 64, high += 32, scales += 8, out += 128)
        for (int l = 0; l < 32; l++) {
            int s = l / 16;
            int q[4] = {
                (low[l] & 15) | (high[l] & 3) << 4, (low[l + 32] & 15) | (high[l] >> 2 & 3) << 4,
                low[l] >> 4 | (high[l] >> 4 & 3) << 4, low[l + 32] >> 4 | (high[l] >> 6 & 3) << 4};
            for (int j = 0; j < 4; j++)
                out[l + 32 * j] = d * (float)(int8_t)scales[s + 2 * j] * (float)(q[j] - 32);
        }
}

void mica_gguf_row_values(uint32_t type, const uint8_t *blocks, int64_t k, float *out) {
    const mica_gguf_type_info *info = mica_gguf_type_find(type);
    for (int64_t i = 0; i < k; i += info->elements, blocks += info->bytes)
        if (type == MICA_GGUF_TENSOR_Q6_K) dequantise_q6_k(blocks, out + i);
}
