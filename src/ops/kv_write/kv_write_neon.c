/* Writing of K and V for NEON: the body is in kv_write_simd.h. */
#include "ops/kv_write/kv_write.h"
#include "kernel/math_neon.h"
#include "ops/kv_write/kv_write_simd.h"

void mica_kv_write_neon(const void *args, const mica_cpu_worker *worker) {
    write_tokens(args, worker);
}
