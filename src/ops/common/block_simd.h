/* Blocks of f16, bf16 and f32 elements as f32, for elementwise kernels. Include after
 * kernel/math_avx2.h or kernel/math_neon.h. */
#pragma once
#include "core/cpu.h"
#include "ops/common/element.h"

#define MICA_BLOCK 512 /* floats: three blocks stay in the first-level cache */

static inline void mica_block_read(float *out, int dtype, const uint8_t *p, int64_t count) {
    int64_t i = 0;
    const uint16_t *half = (const uint16_t *)(const void *)p; /* unaligned loads only */
    if (dtype == MICA_DTYPE_F32) {
        memcpy(out, p, (size_t)count * 4);
        return;
    }
    for (; i + MICA_LANES <= count; i += MICA_LANES) {
        const uint16_t *at = half + i;
        mica_lanes_store(out + i, dtype == MICA_DTYPE_BF16 ? mica_lanes_load_bf16(at)
                                                           : mica_lanes_load_f16(at));
    }
    for (; i < count; i++) out[i] = mica_element_f32(dtype, p, i);
}

/* Up to MICA_BLOCK elements from element `offset` on, `stride` apart: the tensor itself where that
 * is aligned f32 without gaps, else converted into buffer. */
static inline const float *mica_block_load(float *buffer, int dtype, uint64_t address,
                                           int64_t offset, int64_t stride, int64_t count) {
    const uint8_t *base = mica_cpu_at(address);
    if (stride == 1) {
        const uint8_t *p = base + offset * (dtype == MICA_DTYPE_F32 ? 4 : 2);
        if (dtype == MICA_DTYPE_F32 && (uintptr_t)p % 4 == 0) return (const float *)(const void *)p;
        mica_block_read(buffer, dtype, p, count);
    } else if (stride == 0) {
        float value = mica_element_f32(dtype, base, offset);
        for (int64_t i = 0; i < count; i++) buffer[i] = value;
    } else {
        for (int64_t i = 0; i < count; i++)
            buffer[i] = mica_element_f32(dtype, base, offset + i * stride);
    }
    return buffer;
}

/* Where to compute a block that goes to element `at` of out: there, or in buffer. */
static inline float *mica_block_target(float *buffer, int dtype, uint64_t out, int64_t at) {
    return dtype == MICA_DTYPE_F32 ? (float *)mica_cpu_at(out) + at : buffer;
}

/* Rounds a block from its target into out; f32 is there already. */
static inline void mica_block_store(const float *v, int dtype, uint64_t out, int64_t at,
                                    int64_t count) {
    uint16_t *to = (uint16_t *)mica_cpu_at(out) + at;
    int64_t i = 0;
    if (dtype == MICA_DTYPE_F32) return;
    for (; i + MICA_LANES <= count; i += MICA_LANES) {
        if (dtype == MICA_DTYPE_BF16)
            mica_lanes_store_bf16(to + i, mica_lanes_load(v + i));
        else
            mica_lanes_store_f16(to + i, mica_lanes_load(v + i));
    }
    for (; i < count; i++)
        to[i] = dtype == MICA_DTYPE_BF16 ? mica_bf16_from_f32(v[i]) : mica_f16_from_f32(v[i]);
}
