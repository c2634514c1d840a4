/* Host side that linear and linear_experts share: rules and launch of a weight operand. */
#pragma once
#include "core/op.h"
#include "ops/linear/linear_rows.h"

/* The MICA_KIND_ of a dtype; U8 for those that matrix kernels do not take. */
int mica_linear_kind(int dtype);

/* The kernel's description of a quantised type. */
mica_quant_desc mica_linear_quant(mica_quant q);

/* x must be f32, f16 or bf16; the last axes of x and weight k; weight and bias of a type that the
 * kernels take, without live rows; bias the shape of weight less its last axis. Refs are n's inputs
 * 0, 1 and 2. Errors: INVALID. */
mica_status mica_linear_check(const mica_graph *g, const mica_node *n, mica_error *err);

/* Fills in `out` from n's inputs 0, 1 and 2. */
void mica_linear_describe(const mica_graph *g, const mica_node *n, mica_linear_weight *out);

/* Bytes of rows [n_rows, k] of n's weight, with one bias element for each. */
uint64_t mica_linear_weight_bytes(const mica_graph *g, const mica_node *n, uint64_t n_rows);

/* Whether kernels that round x to int8 may serve n: fast mode and an mxfp4 weight. */
bool mica_linear_accepts_int8(const mica_graph *g, const mica_node *n);

/* Whether AMX may serve n: fast mode, and a bf16 or mxfp4 weight. */
bool mica_linear_accepts_amx(const mica_graph *g, const mica_node *n);

/* Whether kernels that round x to 16 bits may serve n: fast mode and an affine weight. */
bool mica_linear_accepts_int16(const mica_graph *g, const mica_node *n);

/* Operands of the weight: codes, scales, biases. The fields lie inside the argument struct. */
void mica_linear_launch(mica_launch *l, const mica_node *n, mica_address *codes,
                        mica_address *scales, mica_address *biases);

/* The weight (input 1) or bias as f32 in simpler ops of g. */
mica_array mica_linear_compose_f32(mica_graph *g, mica_ref ref);

/* Rows that linear_direct.c may take in several parts, and whether one row of the variant table is
 * the other one called so. */
bool mica_linear_accepts_direct(const mica_graph *g, const mica_node *n);
bool mica_linear_accepts_direct_int16(const mica_graph *g, const mica_node *n);
bool mica_linear_is_same_arithmetic(const mica_graph *g, const mica_node *n, const mica_kernel *a,
                                    const mica_kernel *b);
