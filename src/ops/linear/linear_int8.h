/* Rows of x as int8 blocks: what the dot products of linear_int8_tiles.h read. */
#pragma once
#include "ops/linear/linear_rows.h"

#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif
#define INLINE static inline __attribute__((always_inline))

/* Two blocks of one row of x. */
typedef struct x_unit {
    uint8_t even[32];      /* s8: elements 0 2 .. 30 of the first block, then of the second */
    uint8_t odd[32];       /* s8: elements 1 3 .. 31 */
    int32_t correction[8]; /* x86: 12 times the sums that fall on each lane */
    float scale[8];        /* half of a step of the first block four times, then of the second */
} x_unit;
