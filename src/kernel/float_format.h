/* Small float formats, bit by bit, for host and devices: bf16, f16, E8M0, E4M3, E2M1.
 * Unaligned loads of file data go through the load functions here. */
#pragma once
#include <stdint.h>
#include <string.h>

static inline float mica_f32_from_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}
static inline uint32_t mica_bits_from_f32(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}
static inline uint16_t mica_load_u16(const void *p) {
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline uint32_t mica_load_u32(const void *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline float mica_load_f32(const void *p) {
    float v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline float mica_f32_from_bf16(uint16_t h) { return mica_f32_from_bits((uint32_t)h << 16); }

/* Round to nearest, ties to even; NaN stays NaN. */
static inline uint16_t mica_bf16_from_f32(float f) {
    uint32_t u = mica_bits_from_f32(f);
    if ((u & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)((u >> 16) | 0x40u);
    return (uint16_t)((u + 0x7FFFu + ((u >> 16) & 1u)) >> 16);
}

static inline float mica_f32_from_f16(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t exponent = (h >> 10) & 31u;
    uint32_t mantissa = h & 0x3FFu;
    if (exponent == 31u) return mica_f32_from_bits(sign | 0x7F800000u | (mantissa << 13));
    if (exponent) return mica_f32_from_bits(sign | ((exponent + 112u) << 23) | (mantissa << 13));
    /* Subnormal: mantissa * 2^-24, exact in f32. */
    float value = (float)mantissa * 0x1p-24f;
    return sign ? -value : value;
}

/* Round to nearest, ties to even; overflow gives infinity; NaN stays NaN. */
static inline uint16_t mica_f16_from_f32(float f) {
    uint32_t u = mica_bits_from_f32(f);
    uint16_t sign = (uint16_t)((u >> 16) & 0x8000u);
    u &= 0x7FFFFFFFu;
    if (u > 0x7F800000u) return (uint16_t)(sign | 0x7E00u | ((u >> 13) & 0x3FFu));
    if (u >= 0x477FF000u) return (uint16_t)(sign | 0x7C00u); /* 65520 and above */
    if (u < 0x38800000u) {                                   /* below 2^-14: subnormal */
        /* Adding 0.5 puts the wanted bits at the end of the mantissa, rounded to even. */
        float shifted = mica_f32_from_bits(u) + 0.5f;
        return (uint16_t)(sign | (mica_bits_from_f32(shifted) - 0x3F000000u));
    }
    u += 0xFFFu + ((u >> 13) & 1u);
    return (uint16_t)(sign | ((u - 0x38000000u) >> 13));
}

/* 2^(s - 127); s = 0 is the subnormal 2^-127, s = 255 is NaN (OCP MX 1.0). */
static inline float mica_f32_from_e8m0(uint8_t s) {
    if (s == 255) return mica_f32_from_bits(0x7FC00000u);
    return mica_f32_from_bits(s ? (uint32_t)s << 23 : 0x00400000u);
}

/* E4M3 fn: bias 7, no infinity, 0x7F / 0xFF = NaN. */
static inline float mica_f32_from_e4m3(uint8_t v) {
    uint32_t sign = (uint32_t)(v & 0x80u) << 24;
    uint32_t exponent = (v >> 3) & 15u;
    uint32_t mantissa = v & 7u;
    if (exponent == 15u && mantissa == 7u) return mica_f32_from_bits(sign | 0x7FC00000u);
    if (exponent) return mica_f32_from_bits(sign | ((exponent + 120u) << 23) | (mantissa << 20));
    float value = (float)mantissa * 0x1p-9f;
    return sign ? -value : value;
}

/* E2M1: 0 .5 1 1.5 2 3 4 6; bit 3 is the sign. */
static inline float mica_f32_from_e2m1(uint8_t code) {
    static const float magnitude[8] = {0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f};
    float value = magnitude[code & 7u];
    return (code & 8u) ? -value : value;
}
