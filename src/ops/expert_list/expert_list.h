/* expert_list: arguments and CPU kernel. */
#pragma once
#include <assert.h>
#include "core/cpu.h"

#define MICA_EXPERTS_MAX 65536

/* ids i32 [tokens, slots] -> i32 [n_experts + 1 + tokens * slots]: offsets of each expert's part in
 * the entries that follow; an entry is token * slots + slot. Ascending within an expert; ids out of
 * range are dropped; what is left over is -1. */
typedef struct mica_expert_list_args {
    uint64_t ids;
    uint64_t out;
    uint64_t live; /* address of the count of live tokens, 0 = all */
    int64_t tokens;
    int32_t slots;
    int32_t n_experts;
} mica_expert_list_args;
static_assert(sizeof(mica_expert_list_args) == 40, "host and device kernels share this layout");

void mica_expert_list_ref(const void *args, const mica_cpu_worker *worker);
