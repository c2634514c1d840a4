/* Reading, writing and converting single elements of any dtype in CPU kernels. Sources may be
 * unaligned (file data). Conversions never trap: float to integer saturates and maps NaN to 0,
 * integer to integer wraps, anything to bool is "not zero", everything to a float rounds once. */
#pragma once
#include <math.h>
#include "core/dtype.h"
#include "kernel/float_format.h"

static inline uint64_t mica_load_u64(const void *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline double mica_load_f64(const void *p) {
    double v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* f16, bf16 and f32 are computed in f32; f64 in f64; the rest as 64-bit integers. */
static inline bool mica_dtype_is_small_float(int dtype) {
    return dtype == MICA_DTYPE_F16 || dtype == MICA_DTYPE_BF16 || dtype == MICA_DTYPE_F32;
}
static inline bool mica_dtype_is_signed(int dtype) {
    return dtype == MICA_DTYPE_I8 || dtype == MICA_DTYPE_I16 || dtype == MICA_DTYPE_I32 ||
           dtype == MICA_DTYPE_I64;
}

/* Element i of an f16, bf16 or f32 array. */
static inline float mica_element_f32(int dtype, const void *base, int64_t i) {
    const uint8_t *p = base;
    if (dtype == MICA_DTYPE_F32) return mica_load_f32(p + 4 * i);
    if (dtype == MICA_DTYPE_BF16) return mica_f32_from_bf16(mica_load_u16(p + 2 * i));
    return mica_f32_from_f16(mica_load_u16(p + 2 * i));
}

/* Element i of an array of integers or bools; u64 as the same 64 bits. */
static inline int64_t mica_element_i64(int dtype, const void *base, int64_t i) {
    const uint8_t *p = base;
    switch (dtype) {
    case MICA_DTYPE_BOOL:
        return p[i] != 0;
    case MICA_DTYPE_U8:
        return p[i];
    case MICA_DTYPE_I8:
        return (int8_t)p[i];
    case MICA_DTYPE_U16:
        return mica_load_u16(p + 2 * i);
    case MICA_DTYPE_I16:
        return (int16_t)mica_load_u16(p + 2 * i);
    case MICA_DTYPE_U32:
        return mica_load_u32(p + 4 * i);
    case MICA_DTYPE_I32:
        return (int32_t)mica_load_u32(p + 4 * i);
    default:
        return (int64_t)mica_load_u64(p + 8 * i);
    }
}

/* Of any dtype; i64 and u64 are rounded. */
static inline double mica_element_f64(int dtype, const void *base, int64_t i) {
    if (dtype == MICA_DTYPE_F64) return mica_load_f64((const uint8_t *)base + 8 * i);
    if (mica_dtype_is_small_float(dtype)) return (double)mica_element_f32(dtype, base, i);
    int64_t v = mica_element_i64(dtype, base, i);
    return dtype == MICA_DTYPE_U64 ? (double)(uint64_t)v : (double)v;
}

/* A double as a float that keeps the information for one more rounding: inexact results get an odd
 * last bit, so that rounding them to f16 or bf16 equals rounding the double itself. */
static inline float mica_f32_odd_from_f64(double d) {
    float f = (float)d;
    if (isnan(d) || isinf(f) || (double)f == d) return f;
    uint32_t bits = mica_bits_from_f32(f);
    if (bits & 1u) return f;
    bits = fabs((double)f) < fabs(d) ? bits + 1 : bits - 1;
    return mica_f32_from_bits(bits);
}

static inline int64_t mica_i64_from_f64(double v) {
    if (isnan(v)) return 0;
    if (v >= 0x1p63) return INT64_MAX;
    if (v < -0x1p63) return INT64_MIN;
    return (int64_t)v;
}
static inline uint64_t mica_u64_from_f64(double v) {
    if (!(v > 0)) return 0;
    if (v >= 0x1p64) return UINT64_MAX;
    return (uint64_t)v;
}
static inline int64_t mica_i64_clamp(int64_t v, int64_t low, int64_t high) {
    return v < low ? low : v > high ? high : v;
}

/* Writes an integer into an array of integers or bools. */
static inline void mica_element_put_i64(int dtype, void *base, int64_t i, int64_t v) {
    switch (dtype) {
    case MICA_DTYPE_BOOL:
        ((uint8_t *)base)[i] = v != 0;
        break;
    case MICA_DTYPE_U8:
    case MICA_DTYPE_I8:
        ((uint8_t *)base)[i] = (uint8_t)v;
        break;
    case MICA_DTYPE_U16:
    case MICA_DTYPE_I16:
        ((uint16_t *)base)[i] = (uint16_t)v;
        break;
    case MICA_DTYPE_U32:
    case MICA_DTYPE_I32:
        ((uint32_t *)base)[i] = (uint32_t)v;
        break;
    default:
        ((uint64_t *)base)[i] = (uint64_t)v;
        break;
    }
}

static inline void mica_element_put_saturated(int dtype, void *base, int64_t i, double v) {
    int64_t whole = mica_i64_from_f64(v);
    switch (dtype) {
    case MICA_DTYPE_BOOL:
        whole = v != 0;
        break;
    case MICA_DTYPE_U8:
        whole = mica_i64_clamp(whole, 0, UINT8_MAX);
        break;
    case MICA_DTYPE_I8:
        whole = mica_i64_clamp(whole, INT8_MIN, INT8_MAX);
        break;
    case MICA_DTYPE_U16:
        whole = mica_i64_clamp(whole, 0, UINT16_MAX);
        break;
    case MICA_DTYPE_I16:
        whole = mica_i64_clamp(whole, INT16_MIN, INT16_MAX);
        break;
    case MICA_DTYPE_U32:
        whole = mica_i64_clamp(whole, 0, UINT32_MAX);
        break;
    case MICA_DTYPE_I32:
        whole = mica_i64_clamp(whole, INT32_MIN, INT32_MAX);
        break;
    case MICA_DTYPE_U64:
        whole = (int64_t)mica_u64_from_f64(v);
        break;
    default:
        break;
    }
    mica_element_put_i64(dtype, base, i, whole);
}

/* Writes a float into an array of any dtype. */
static inline void mica_element_put_f32(int dtype, void *base, int64_t i, float v) {
    switch (dtype) {
    case MICA_DTYPE_F32:
        ((float *)base)[i] = v;
        break;
    case MICA_DTYPE_BF16:
        ((uint16_t *)base)[i] = mica_bf16_from_f32(v);
        break;
    case MICA_DTYPE_F16:
        ((uint16_t *)base)[i] = mica_f16_from_f32(v);
        break;
    case MICA_DTYPE_F64:
        ((double *)base)[i] = (double)v;
        break;
    default:
        mica_element_put_saturated(dtype, base, i, (double)v);
    }
}

/* Writes a double into an array of any dtype. */
static inline void mica_element_put_f64(int dtype, void *base, int64_t i, double v) {
    switch (dtype) {
    case MICA_DTYPE_F64:
        ((double *)base)[i] = v;
        break;
    case MICA_DTYPE_F32:
        ((float *)base)[i] = (float)v;
        break;
    case MICA_DTYPE_BF16:
    case MICA_DTYPE_F16:
        mica_element_put_f32(dtype, base, i, mica_f32_odd_from_f64(v));
        break;
    default:
        mica_element_put_saturated(dtype, base, i, v);
    }
}

/* Element i of `in` as element `at` of `out`. */
static inline void mica_element_cast(int to, void *out, int64_t at, int from, const void *in,
                                     int64_t i) {
    if (mica_dtype_is_small_float(from)) {
        mica_element_put_f32(to, out, at, mica_element_f32(from, in, i));
    } else if (from == MICA_DTYPE_F64) {
        mica_element_put_f64(to, out, at, mica_element_f64(from, in, i));
    } else if (!mica_dtype_is_float((mica_dtype)to)) {
        mica_element_put_i64(to, out, at, mica_element_i64(from, in, i));
    } else if (to == MICA_DTYPE_F32) { /* not by way of f64: that would round 64 bits twice */
        int64_t v = mica_element_i64(from, in, i);
        ((float *)out)[at] = from == MICA_DTYPE_U64 ? (float)(uint64_t)v : (float)v;
    } else {
        mica_element_put_f64(to, out, at, mica_element_f64(from, in, i));
    }
}

/* A number that orders the values of one dtype as unsigned integers: NaN lowest, both zeros
 * alike. */
static inline uint64_t mica_element_order(int dtype, const void *base, int64_t i) {
    const uint64_t top = UINT64_C(1) << 63;
    if (dtype == MICA_DTYPE_F64 || mica_dtype_is_small_float(dtype)) {
        double v = mica_element_f64(dtype, base, i);
        if (isnan(v)) return 0;
        v += 0.0; /* -0 becomes +0 */
        uint64_t bits;
        memcpy(&bits, &v, sizeof bits);
        return bits & top ? ~bits : bits | top;
    }
    uint64_t v = (uint64_t)mica_element_i64(dtype, base, i);
    return mica_dtype_is_signed(dtype) ? v ^ top : v;
}

/* Copies elements of `bytes` (1, 2, 4 or 8) that lie `stride` apart into a row. */
static inline void mica_copy_strided(void *to, const void *from, size_t bytes, int64_t stride,
                                     int64_t count) {
    uint8_t *t = to;
    const uint8_t *f = from;
    int64_t step = stride * (int64_t)bytes;
    if (stride == 1) {
        if (count) memcpy(t, f, (size_t)count * bytes);
        return;
    }
    switch (bytes) {
    case 1:
        for (int64_t i = 0; i < count; i++) t[i] = f[i * step];
        break;
    case 2:
        for (int64_t i = 0; i < count; i++) memcpy(t + 2 * i, f + i * step, 2);
        break;
    case 4:
        for (int64_t i = 0; i < count; i++) memcpy(t + 4 * i, f + i * step, 4);
        break;
    default:
        for (int64_t i = 0; i < count; i++) memcpy(t + 8 * i, f + i * step, 8);
    }
}
