/* program with NEON: the body is in program_simd.h. */
#include "ops/program/program.h"
#include "kernel/math_neon.h"

#define UNARY_BLOCK mica_unary_block_neon
#define BINARY_BLOCK mica_binary_block_neon
#include "ops/program/program_simd.h"

void mica_program_neon(const void *args, const mica_cpu_worker *worker) {
    program_walk(args, worker);
}
