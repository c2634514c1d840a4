/* Filling the shared argument structs (tensor_args.h) from nodes. */
#pragma once
#include "core/op.h"
#include "ops/common/tensor_args.h"

/* Shape and strides of ref, whose elements the step reads. t lies inside the argument struct. */
void mica_launch_tensor(mica_launch *l, mica_tensor_args *t, mica_ref ref);

/* Operands of an elementwise node: its inputs broadcast to its shape. e lies inside the argument
 * struct. Sets the grid. */
void mica_launch_elementwise(mica_launch *l, mica_elementwise_args *e, const mica_node *n);

/* States how many workers the step can keep busy: one per 4096 elements moved. */
void mica_launch_elements(mica_launch *l, int64_t elements);

/* Length of axis 0 (1 for rank 0) and elements of a row of it. */
void mica_launch_rows(const mica_shape *s, int64_t *rows, int64_t *row);
