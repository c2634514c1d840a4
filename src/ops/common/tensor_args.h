/* Argument structs that several ops share: a strided tensor, and the operands of an elementwise
 * op. Plain C without includes of ours, so that host and device kernels read the same bytes.
 * Filled by launch_args.h, walked by strided.h. */
#pragma once
#include <assert.h>
#include <stdint.h>

#define MICA_TENSOR_RANK_MAX 8

/* A tensor of any strides. Rank 0 is one element. */
typedef struct mica_tensor_args {
    uint64_t address; /* of the first element */
    int32_t dtype;    /* mica_dtype */
    int32_t rank;
    int64_t dims[MICA_TENSOR_RANK_MAX];
    int64_t strides[MICA_TENSOR_RANK_MAX]; /* elements; 0 repeats, negative runs backwards */
} mica_tensor_args;
static_assert(sizeof(mica_tensor_args) == 144, "host and device kernels share this layout");

#define MICA_ELEMENTWISE_INPUTS_MAX 3

/* Up to three inputs, broadcast to the result, which is row-major without gaps. Axes that all
 * operands run through in one stride are merged, so most calls have rank 1. */
typedef struct mica_elementwise_args {
    uint64_t out;
    uint64_t in[MICA_ELEMENTWISE_INPUTS_MAX];
    uint64_t live; /* address of the count of live rows, 0 = all */
    int64_t rows;  /* length of the result's axis 0, before merging; 1 for rank 0 */
    int64_t row;   /* elements of such a row */
    int32_t rank;  /* after merging, at least 1 */
    int32_t dtype_out;
    int32_t dtype_in[MICA_ELEMENTWISE_INPUTS_MAX];
    int32_t reserved;
    int64_t dims[MICA_TENSOR_RANK_MAX];
    int64_t strides[MICA_ELEMENTWISE_INPUTS_MAX][MICA_TENSOR_RANK_MAX]; /* 0 = broadcast */
} mica_elementwise_args;
static_assert(sizeof(mica_elementwise_args) == 336, "host and device kernels share this layout");
