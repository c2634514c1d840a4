/* quantize: arguments and CPU kernel. */
#pragma once
#include <assert.h>
#include "core/cpu.h"
#include "kernel/quant_block.h"

/* Rows of k elements, encoded group by group. */
typedef struct mica_quantize_args {
    uint64_t x;
    uint64_t codes;
    uint64_t scales;
    uint64_t biases; /* affine only */
    uint64_t live;   /* address of the count of live rows, 0 = all */
    int64_t rows;    /* length of axis 0 */
    int64_t row;     /* elements in one of them; a multiple of the group */
    mica_quant_desc quant;
    uint8_t x_kind; /* MICA_KIND_ */
} mica_quantize_args;
static_assert(sizeof(mica_quantize_args) == 64, "host and device kernels share this layout");

void mica_quantize_ref(const void *args, const mica_cpu_worker *worker);
