/* Writing of K and V for AVX2: the body is in kv_write_simd.h. */
#include "ops/kv_write/kv_write.h"
#include "kernel/math_avx2.h"
#include "ops/kv_write/kv_write_simd.h"

void mica_kv_write_avx2(const void *args, const mica_cpu_worker *worker) {
    write_tokens(args, worker);
}
