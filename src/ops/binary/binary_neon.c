/* binary with NEON: the body is in binary_simd.h. */
#include "ops/binary/binary.h"
#include "kernel/math_neon.h"
#include "ops/binary/binary_simd.h"

void mica_binary_block_neon(int kind, const float *a, const float *b, float *out, int64_t count) {
    binary_block(kind, a, b, out, count);
}

void mica_binary_neon(const void *args, const mica_cpu_worker *worker) {
    binary_walk(args, worker);
}
