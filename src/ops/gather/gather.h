/* Rows of x by number: embedding lookup, and the rows whose logits are wanted. x is of any dtype
 * (converted as by cast) or quantised (decoded, rounded once). Ids outside of x give zeros. */
#pragma once
#include "core/cpu.h"
#include "ops/common/tensor_args.h"

typedef struct mica_gather_params {
    int32_t dtype; /* of the result; MICA_DTYPE_NONE = x's own */
} mica_gather_params;

/* Worker: a share of the ids. Quantised x needs scratch for k floats where the result is not f32.
 */
typedef struct mica_gather_args {
    mica_tensor_args x; /* quantised: address of the codes */
    mica_tensor_args ids;
    uint64_t out;
    uint64_t scales;      /* quantised only */
    uint64_t biases;      /* affine; nvfp4_scaled: factors */
    uint64_t live;        /* address of the count of live rows of the ids' axis 0, 0 = all */
    int64_t rows;         /* length of the ids' axis 0; 1 for rank 0 */
    int64_t row;          /* ids in such a row */
    int64_t row_elements; /* of x and of the result */
    int32_t dtype_out;
    uint8_t quant_mode; /* these four as in mica_quant_desc; mode 0 = dense */
    uint8_t quant_bits;
    uint16_t quant_group;
    uint8_t quant_scale_kind;
    uint8_t is_packed; /* dense: a row of x lies without gaps */
    uint8_t reserved[6];
} mica_gather_args;
static_assert(sizeof(mica_gather_args) == 360, "host and device kernels share this layout");

void mica_gather_ref(const void *args, const mica_cpu_worker *worker);
