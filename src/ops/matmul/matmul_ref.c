/* The reference of matmul: one element after the other, sums in f64. */
#include "ops/common/element.h"
#include "ops/matmul/matmul.h"

/* Offsets of the matrices of out's batch index (axes 0 .. rank - 3). */
static void find_batch(const mica_matmul_args *a, int64_t batch, int64_t *in_a, int64_t *in_b) {
    *in_a = *in_b = 0;
    for (int axis = a->rank - 3; axis >= 0; axis--) {
        *in_a += batch % a->dims[axis] * a->a.strides[axis];
        *in_b += batch % a->dims[axis] * a->b.strides[axis];
        batch /= a->dims[axis];
    }
}

void mica_matmul_ref(const void *args, const mica_cpu_worker *worker) {
    const mica_matmul_args *a = args;
    int64_t m = a->dims[a->rank - 2], n = a->dims[a->rank - 1], rows = 1, begin, end;
    int64_t a_step = a->a.strides[a->rank - 1], b_step = a->b.strides[a->rank - 2];
    for (int i = 1; i < a->rank - 1; i++) rows *= a->dims[i];
    rows *= mica_cpu_live(a->live, a->dims[0]);
    mica_cpu_share(worker, rows * n, 1, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        int64_t in_a, in_b;
        find_batch(a, i / n / m, &in_a, &in_b);
        in_a += i / n % m * a->a.strides[a->rank - 2];
        in_b += i % n * a->b.strides[a->rank - 1];
        double sum = 0.0;
        for (int64_t k = 0; k < a->k; k++)
            sum += mica_element_f64(a->dtype, mica_cpu_at(a->a.address), in_a + k * a_step) *
                   mica_element_f64(a->dtype, mica_cpu_at(a->b.address), in_b + k * b_step);
        mica_element_put_f64(a->dtype, mica_cpu_at(a->out), i, sum);
    }
}
