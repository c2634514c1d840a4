/* The sets of kernels for the fused ops over experts. */
#include "ops/linear_experts/expert_level.h"
#include "ops/combine/combine.h"
#include "ops/glu/glu.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/softmax/softmax.h"

#define AROUND_REF                                                                                 \
    .glu = mica_glu_ref, .combine = mica_combine_ref, .softmax = mica_softmax_ref,                 \
    .rms_norm = mica_rms_norm_ref
#define AROUND_AVX2                                                                                \
    .glu = mica_glu_avx2, .combine = mica_combine_avx2, .softmax = mica_softmax_avx2,              \
    .rms_norm = mica_rms_norm_avx2
#define AROUND_AVX512                                                                              \
    .glu = mica_glu_avx512, .combine = mica_combine_avx2, .softmax = mica_softmax_avx512,          \
    .rms_norm = mica_rms_norm_avx512

#define AROUND_NEON                                                                                \
    .glu = mica_glu_neon, .combine = mica_combine_neon, .softmax = mica_softmax_neon,              \
    .rms_norm = mica_rms_norm_neon

#define EXPERT_LEVEL(name, rows_, around, needs, accepts)                                          \
    const mica_expert_level mica_expert_level_##name = {.rows = mica_linear_rows_##rows_,          \
                                                        AROUND_##around};
#include "ops/linear_experts/expert_levels.def"
#undef EXPERT_LEVEL
