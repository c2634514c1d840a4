/* Checked arithmetic: the only way in which sizes that come from a file or a request are combined.
 * Each function returns false and leaves *out untouched when the exact result does not fit. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MICA_CHECKED_OP(name, type, builtin)                                                       \
    static inline bool name(type a, type b, type *out) {                                           \
        type r;                                                                                    \
        if (builtin(a, b, &r)) return false;                                                       \
        *out = r;                                                                                  \
        return true;                                                                               \
    }

MICA_CHECKED_OP(mica_add_size, size_t, __builtin_add_overflow)
MICA_CHECKED_OP(mica_mul_size, size_t, __builtin_mul_overflow)
MICA_CHECKED_OP(mica_sub_size, size_t, __builtin_sub_overflow)
MICA_CHECKED_OP(mica_add_u64, uint64_t, __builtin_add_overflow)
MICA_CHECKED_OP(mica_mul_u64, uint64_t, __builtin_mul_overflow)
MICA_CHECKED_OP(mica_sub_u64, uint64_t, __builtin_sub_overflow)
MICA_CHECKED_OP(mica_add_i64, int64_t, __builtin_add_overflow)
MICA_CHECKED_OP(mica_mul_i64, int64_t, __builtin_mul_overflow)
MICA_CHECKED_OP(mica_sub_i64, int64_t, __builtin_sub_overflow)

/* Rounds n up to a multiple of a power of two. */
static inline bool mica_align_size(size_t n, size_t alignment, size_t *out) {
    size_t r;
    if (!mica_add_size(n, alignment - 1, &r)) return false;
    *out = r & ~(alignment - 1);
    return true;
}

/* Narrowing that fails instead of wrapping. */
static inline bool mica_u64_to_size(uint64_t v, size_t *out) {
    if (v > SIZE_MAX) return false;
    *out = (size_t)v;
    return true;
}
static inline bool mica_u64_to_i64(uint64_t v, int64_t *out) {
    if (v > INT64_MAX) return false;
    *out = (int64_t)v;
    return true;
}
