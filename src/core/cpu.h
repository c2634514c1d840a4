/* What a CPU kernel sees: its arguments and its worker. Kernels are plain functions in the op
 * folders; the CPU backend calls them on every worker of its pool. */
#pragma once
#include <stdatomic.h>
#include <stdint.h>
#include <stddef.h>
#include <stdbool.h>

/* Instruction sets, as bits of mica_kernel.needs and of a device's features. */
enum {
    MICA_CPU_AVX2 = 1 << 0,   /* AVX2, FMA, F16C, BMI2 */
    MICA_CPU_AVX512 = 1 << 1, /* AVX-512 F, BW, VL, DQ on top of AVX2 */
    MICA_CPU_AVX512_VNNI = 1 << 2,
    MICA_CPU_AVX512_BF16 = 1 << 3,
    MICA_CPU_AMX = 1 << 4,      /* AMX tile, bf16, int8 */
    MICA_CPU_NEON = 1 << 5,     /* 64-bit ARM has it always */
    MICA_CPU_NEON_DOT = 1 << 6, /* products of four bytes added to 32 bits */
};

/* One call of a kernel on one worker. next is a counter shared by the workers of the step, 0 at
 * its start. scratch is private, 64-byte aligned, scratch_bytes of the step. */
typedef struct mica_cpu_worker {
    int index;
    int count;
    void *scratch;
    _Atomic int64_t *next;
} mica_cpu_worker;

typedef void (*mica_cpu_function)(const void *args, const mica_cpu_worker *worker);

/* Static share: items [*begin, *end) of n in equal parts that are multiples of `unit`. Results must
 * not depend on who takes what. */
static inline void mica_cpu_share(const mica_cpu_worker *w, int64_t n, int64_t unit, int64_t *begin,
                                  int64_t *end) {
    int64_t units = (n + unit - 1) / unit;
    int64_t first = units * w->index / w->count * unit;
    int64_t last = units * (w->index + 1) / w->count * unit;
    *begin = first < n ? first : n;
    *end = last < n ? last : n;
}

/* Dynamic share: the next `unit` items; false when none are left. A kernel uses one or the other.
 */
static inline bool mica_cpu_take(const mica_cpu_worker *w, int64_t n, int64_t unit, int64_t *begin,
                                 int64_t *end) {
    int64_t first = atomic_fetch_add_explicit(w->next, unit, memory_order_relaxed);
    if (first >= n) return false;
    *begin = first;
    *end = first + unit < n ? first + unit : n;
    return true;
}

/* An address in an argument struct as a pointer. */
static inline void *mica_cpu_at(uint64_t address) { return (void *)(uintptr_t)address; }

/* Rows to handle: all of them, or the live count when the address is set. */
static inline int64_t mica_cpu_live(uint64_t live_address, int64_t rows) {
    if (!live_address) return rows;
    int64_t live = *(const int32_t *)mica_cpu_at(live_address);
    return live < rows ? live : rows;
}
