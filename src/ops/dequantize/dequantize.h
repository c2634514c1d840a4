/* dequantize: arguments and CPU kernel. */
#pragma once
#include <assert.h>
#include "core/cpu.h"
#include "kernel/quant_block.h"

/* Rows of k elements, decoded and rounded once to the kind of out. */
typedef struct mica_dequantize_args {
    uint64_t codes;
    uint64_t scales;
    uint64_t biases; /* affine; nvfp4_scaled: factors */
    uint64_t out;
    uint64_t live;     /* address of the count of live rows, 0 = all */
    int64_t rows;      /* length of axis 0 */
    int64_t rows_each; /* rows of k elements in one of them */
    int64_t k;
    int64_t matrix_rows; /* rows of the last two axes */
    mica_quant_desc quant;
    uint8_t out_kind; /* MICA_KIND_ */
} mica_dequantize_args;
static_assert(sizeof(mica_dequantize_args) == 80, "host and device kernels share this layout");

void mica_dequantize_ref(const void *args, const mica_cpu_worker *worker);
