/* Softmax over the last axis. Computed in f32 (the reference in f64) and rounded once. */
#pragma once
#include "ops/common/row_args.h"

/* The head is all there is. In place is fine. */
typedef mica_row_args mica_softmax_args;

void mica_softmax_ref(const void *args, const mica_cpu_worker *worker);
void mica_softmax_avx2(const void *args, const mica_cpu_worker *worker);
void mica_softmax_neon(const void *args, const mica_cpu_worker *worker);
void mica_softmax_avx512(const void *args, const mica_cpu_worker *worker);
