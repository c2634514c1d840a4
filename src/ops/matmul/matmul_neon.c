/* matmul with NEON, vectors of two registers; the tiles are in matmul_tiles.h. */
#include "ops/matmul/matmul.h"
#include <arm_neon.h>

#define LANES 8
typedef struct vec {
    float32x4_t low;
    float32x4_t high;
} vec;
static inline vec vec_set(float f) { return (vec){vdupq_n_f32(f), vdupq_n_f32(f)}; }
static inline vec vec_zero(void) { return vec_set(0.0f); }
static inline vec vec_load(const float *p) { return (vec){vld1q_f32(p), vld1q_f32(p + 4)}; }
static inline void vec_store(float *p, vec v) {
    vst1q_f32(p, v.low);
    vst1q_f32(p + 4, v.high);
}
static inline vec vec_fma(vec a, vec b, vec c) {
    return (vec){vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)};
}

#include "ops/matmul/matmul_tiles.h"

void mica_matmul_neon(const void *args, const mica_cpu_worker *worker) {
    matmul_walk(args, worker);
}
