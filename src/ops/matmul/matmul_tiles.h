/* The body of matmul for instruction sets with vectors; included by matmul_avx2.c and
 * matmul_avx512.c after they define vec, LANES, vec_zero, vec_load, vec_store, vec_set and vec_fma.
 *
 * Vectors lie along n. A strip of 2 vectors of columns of b is packed as f32 [k][2 LANES], four
 * rows of a as [k][4]; every sum then is one chain of multiply-adds in order of k, so it does not
 * depend on its neighbours. */
#pragma once
#include "ops/common/element.h"
#include "ops/matmul/matmul.h"

enum { ROWS = 4, STRIP = 2 * LANES };

typedef struct matrix_job {
    const mica_matmul_args *args;
    int64_t in_a; /* offsets of the matrices, in elements */
    int64_t in_b;
    int64_t in_out;
    int64_t m;
    int64_t n;
    float *rows;  /* [k][ROWS] */
    float *strip; /* [k][STRIP] */
} matrix_job;

static void pack_strip(const matrix_job *j, int64_t n, int64_t columns) {
    const mica_matmul_args *a = j->args;
    int64_t k_step = a->b.strides[a->rank - 2], n_step = a->b.strides[a->rank - 1];
    const void *b = mica_cpu_at(a->b.address);
    for (int64_t k = 0; k < a->k; k++) {
        float *to = j->strip + k * STRIP;
        for (int64_t i = 0; i < columns; i++)
            to[i] = mica_element_f32(a->dtype, b, j->in_b + k * k_step + (n + i) * n_step);
        for (int64_t i = columns; i < STRIP; i++) to[i] = 0.0f;
    }
}

static void pack_rows(const matrix_job *j, int64_t m, int64_t rows) {
    const mica_matmul_args *a = j->args;
    int64_t m_step = a->a.strides[a->rank - 2], k_step = a->a.strides[a->rank - 1];
    const void *x = mica_cpu_at(a->a.address);
    for (int64_t k = 0; k < a->k; k++)
        for (int64_t i = 0; i < ROWS; i++) {
            int64_t at = j->in_a + (m + i) * m_step + k * k_step;
            j->rows[k * ROWS + i] = i < rows ? mica_element_f32(a->dtype, x, at) : 0.0f;
        }
}

static void dot_tile(const matrix_job *j, float out[ROWS][STRIP]) {
    vec s00 = vec_zero(), s01 = s00, s10 = s00, s11 = s00;
    vec s20 = s00, s21 = s00, s30 = s00, s31 = s00;
    const float *x = j->rows, *w = j->strip;
    for (int64_t k = 0; k < j->args->k; k++, x += ROWS, w += STRIP) {
        vec w0 = vec_load(w), w1 = vec_load(w + LANES);
        vec x0 = vec_set(x[0]), x1 = vec_set(x[1]), x2 = vec_set(x[2]), x3 = vec_set(x[3]);
        s00 = vec_fma(x0, w0, s00), s01 = vec_fma(x0, w1, s01);
        s10 = vec_fma(x1, w0, s10), s11 = vec_fma(x1, w1, s11);
        s20 = vec_fma(x2, w0, s20), s21 = vec_fma(x2, w1, s21);
        s30 = vec_fma(x3, w0, s30), s31 = vec_fma(x3, w1, s31);
    }
    vec_store(out[0], s00), vec_store(out[0] + LANES, s01);
    vec_store(out[1], s10), vec_store(out[1] + LANES, s11);
    vec_store(out[2], s20), vec_store(out[2] + LANES, s21);
    vec_store(out[3], s30), vec_store(out[3] + LANES, s31);
}

static void matrix_strip(const matrix_job *j, int64_t n) {
    const mica_matmul_args *a = j->args;
    int64_t columns = j->n - n < STRIP ? j->n - n : STRIP;
    float out[ROWS][STRIP];
    pack_strip(j, n, columns);
    for (int64_t m = 0; m < j->m; m += ROWS) {
        int64_t rows = j->m - m < ROWS ? j->m - m : ROWS;
        pack_rows(j, m, rows);
        dot_tile(j, out);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < columns; c++)
                mica_element_put_f32(a->dtype, mica_cpu_at(a->out),
                                     j->in_out + (m + r) * j->n + n + c, out[r][c]);
    }
}

static void matmul_walk(const mica_matmul_args *a, const mica_cpu_worker *worker) {
    int64_t m = a->dims[a->rank - 2], n = a->dims[a->rank - 1], batches = 1, item, end;
    int64_t live = mica_cpu_live(a->live, a->dims[0]), strips = (n + STRIP - 1) / STRIP;
    for (int i = 1; i < a->rank - 2; i++) batches *= a->dims[i];
    if (a->rank > 2) batches *= live;
    matrix_job j = {.args = a, .m = a->rank > 2 ? m : live, .n = n, .rows = worker->scratch};
    j.strip = j.rows + a->k * ROWS;
    while (mica_cpu_take(worker, batches * strips, 1, &item, &end)) {
        int64_t batch = item / strips;
        j.in_out = batch * m * n;
        j.in_a = j.in_b = 0;
        for (int axis = a->rank - 3; axis >= 0; axis--) {
            j.in_a += batch % a->dims[axis] * a->a.strides[axis];
            j.in_b += batch % a->dims[axis] * a->b.strides[axis];
            batch /= a->dims[axis];
        }
        matrix_strip(&j, item % strips * STRIP);
    }
}
