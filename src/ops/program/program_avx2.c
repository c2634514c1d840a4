/* program with AVX2: the body is in program_simd.h. */
#include "ops/program/program.h"
#include "kernel/math_avx2.h"

#define UNARY_BLOCK mica_unary_block_avx2
#define BINARY_BLOCK mica_binary_block_avx2
#include "ops/program/program_simd.h"

void mica_program_avx2(const void *args, const mica_cpu_worker *worker) {
    program_walk(args, worker);
}
