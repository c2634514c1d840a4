/* Walking over strided tensors in CPU kernels: offsets of rows, and runs of an elementwise op. */
#pragma once
#include "core/cpu.h"
#include "ops/common/tensor_args.h"

/* Offset in elements of row r, where a row is the last axis and rows count row-major over all axes
 * before it. Rank 0 has the one row 0. */
static inline int64_t mica_tensor_row(const mica_tensor_args *t, int64_t r) {
    int64_t offset = 0;
    for (int axis = t->rank - 2; axis >= 0 && r; axis--) {
        offset += r % t->dims[axis] * t->strides[axis];
        r /= t->dims[axis];
    }
    return offset;
}

/* Offset in elements of element i, counted row-major over the axes first .. rank - 1. */
static inline int64_t mica_tensor_element(const mica_tensor_args *t, int first, int64_t i) {
    int64_t offset = 0;
    for (int axis = t->rank - 1; axis >= first && i; axis--) {
        offset += i % t->dims[axis] * t->strides[axis];
        i /= t->dims[axis];
    }
    return offset;
}

/* One run after the other through the part [begin, end) of an elementwise result; a run lies on
 * the innermost axis, where input i advances by strides[i][rank - 1]. */
typedef struct mica_walk {
    const mica_elementwise_args *e;
    int64_t at;    /* first element of the run in the result */
    int64_t end;   /* of the whole part */
    int64_t count; /* elements of the run; 0 = done */
    int64_t index[MICA_TENSOR_RANK_MAX];
    int64_t offset[MICA_ELEMENTWISE_INPUTS_MAX]; /* of the run's first element in each input */
} mica_walk;

static inline void mica_walk_measure(mica_walk *w) {
    const mica_elementwise_args *e = w->e;
    int64_t left = w->end - w->at;
    int64_t inner = e->dims[e->rank - 1] - w->index[e->rank - 1];
    w->count = left < inner ? left : inner;
    for (int i = 0; i < MICA_ELEMENTWISE_INPUTS_MAX; i++) {
        w->offset[i] = 0;
        for (int axis = 0; axis < e->rank; axis++)
            w->offset[i] += w->index[axis] * e->strides[i][axis];
    }
}

static inline void mica_walk_begin(mica_walk *w, const mica_elementwise_args *e, int64_t begin,
                                   int64_t end) {
    *w = (mica_walk){.e = e, .at = begin, .end = end};
    if (begin >= end) return;
    for (int axis = e->rank - 1; axis >= 0; axis--) {
        w->index[axis] = begin % e->dims[axis];
        begin /= e->dims[axis];
    }
    mica_walk_measure(w);
}

static inline void mica_walk_next(mica_walk *w) {
    const mica_elementwise_args *e = w->e;
    w->at += w->count;
    if (w->at >= w->end) {
        w->count = 0;
        return;
    }
    w->index[e->rank - 1] += w->count;
    for (int axis = e->rank - 1; axis > 0 && w->index[axis] == e->dims[axis]; axis--) {
        w->index[axis] = 0;
        w->index[axis - 1]++;
    }
    mica_walk_measure(w);
}

/* The stride of input i along a run. */
static inline int64_t mica_walk_stride(const mica_walk *w, int i) {
    return w->e->strides[i][w->e->rank - 1];
}

/* This worker's share of the live elements, already walking. */
static inline void mica_walk_share(mica_walk *w, const mica_elementwise_args *e,
                                   const mica_cpu_worker *worker) {
    int64_t begin, end;
    mica_cpu_share(worker, mica_cpu_live(e->live, e->rows) * e->row, 256, &begin, &end);
    mica_walk_begin(w, e, begin, end);
}
