/* linear in fast mode for mxfp4 weights with the dot product of NEON: four s8 times s8 products are
 * added to 32 bits by one instruction. The rest is in linear_int8_tiles.h. */
#include "ops/linear/linear.h"
#include "ops/linear/linear_int8_neon.h"

INLINE float32x4_t dot_block(int8x16_t low, int8x16_t high, const uint8_t *even,
                             const uint8_t *odd) {
    int32x4_t sum = vdotq_s32(vdupq_n_s32(0), low, vreinterpretq_s8_u8(vld1q_u8(even)));
    return vcvtq_f32_s32(vdotq_s32(sum, high, vreinterpretq_s8_u8(vld1q_u8(odd))));
}
INLINE fvec dot_unit(ivec low, ivec high, const x_unit *x) {
    return (fvec){dot_block(low.low, high.low, x->even, x->odd),
                  dot_block(low.high, high.high, x->even + 16, x->odd + 16)};
}

#include "ops/linear/linear_int8_tiles.h"

void mica_linear_rows_int8_neon_dot(const mica_linear_rows *job, void *scratch) {
    linear_rows(job, scratch);
}

void mica_linear_int8_neon_dot(const void *args, const mica_cpu_worker *worker) {
    mica_linear_walk(args, worker, mica_linear_rows_int8_neon_dot);
}
