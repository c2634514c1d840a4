/* reduce in plain C, f64 accumulation. */
#include "ops/reduce/reduce.h"
#include "mica/ops.h"
#include "ops/common/element.h"
#include "ops/common/strided.h"

/* The axis to reduce: `count` elements from element `first` on, `stride` apart. */
typedef struct line {
    const void *base;
    int64_t first;
    int64_t stride;
    int64_t count;
    int dtype;
} line;

static double reduce_float(int kind, const line *x) {
    bool is_product = kind == MICA_REDUCE_PROD;
    double total = is_product ? 1 : 0;
    for (int64_t i = 0; i < x->count; i++) {
        double v = mica_element_f64(x->dtype, x->base, x->first + i * x->stride);
        total = is_product ? total * v : total + v;
    }
    return kind == MICA_REDUCE_MEAN ? total / (double)x->count : total;
}

static uint64_t reduce_integer(int kind, const line *x) {
    uint64_t total = kind == MICA_REDUCE_PROD ? 1 : 0;
    for (int64_t i = 0; i < x->count; i++) {
        uint64_t v = (uint64_t)mica_element_i64(x->dtype, x->base, x->first + i * x->stride);
        total = kind == MICA_REDUCE_PROD ? total * v : total + v;
    }
    return total;
}

/* Where the first of the largest (smallest) elements stands; of NaN, the first NaN, where NaN is to
 * win, else the lowest. */
static int64_t find_extreme_float(const line *x, bool is_min, bool nan_wins) {
    int64_t best = -1;
    float best_value = 0;
    for (int64_t i = 0; i < x->count; i++) {
        float v = mica_element_f32(x->dtype, x->base, x->first + i * x->stride);
        if (best >= 0 && !(is_min ? v < best_value : v > best_value) && !isnan(v)) continue;
        if (isnan(v) && nan_wins) return i;
        if (isnan(v)) continue;
        best = i;
        best_value = v;
    }
    return best < 0 ? 0 : best;
}

/* The same for the other dtypes. */
static int64_t find_extreme(const line *x, bool is_min, bool nan_wins) {
    if (mica_dtype_is_small_float(x->dtype)) return find_extreme_float(x, is_min, nan_wins);
    int64_t best = 0;
    uint64_t best_order = 0;
    for (int64_t i = 0; i < x->count; i++) {
        uint64_t order = mica_element_order(x->dtype, x->base, x->first + i * x->stride);
        /* Only NaN of a float has order 0. */
        bool is_nan = order == 0 && mica_dtype_is_float((mica_dtype)x->dtype);
        if (is_nan && nan_wins) return i;
        if (is_min) order = ~order;
        if (i == 0 || order > best_order) {
            best = i;
            best_order = order;
        }
    }
    return best;
}

static void reduce_one(int kind, const line *x, void *out, int64_t to) {
    if (kind == MICA_REDUCE_ARGMAX) {
        ((int32_t *)out)[to] = (int32_t)find_extreme(x, false, false);
    } else if (kind == MICA_REDUCE_MAX || kind == MICA_REDUCE_MIN) {
        int64_t bytes = (int64_t)mica_dtype_bytes((mica_dtype)x->dtype);
        int64_t from = x->first + find_extreme(x, kind == MICA_REDUCE_MIN, true) * x->stride;
        memcpy((uint8_t *)out + to * bytes, (const uint8_t *)x->base + from * bytes, (size_t)bytes);
    } else if (mica_dtype_is_float((mica_dtype)x->dtype)) {
        mica_element_put_f64(x->dtype, out, to, reduce_float(kind, x));
    } else {
        mica_element_put_i64(x->dtype, out, to, (int64_t)reduce_integer(kind, x));
    }
}

void mica_reduce_ref(const void *args, const mica_cpu_worker *worker) {
    const mica_reduce_args *a = args;
    int last = a->x.rank - 1;
    line x = {mica_cpu_at(a->x.address), 0, a->x.strides[last], a->x.dims[last], a->x.dtype};
    int64_t begin, end;
    mica_cpu_share(worker, mica_cpu_live(a->live, a->rows) * a->row, 1, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        x.first = mica_tensor_row(&a->x, i);
        reduce_one(a->kind, &x, mica_cpu_at(a->out), i);
    }
}
