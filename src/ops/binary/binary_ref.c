/* binary in plain C. */
#include "ops/binary/binary.h"
#include "mica/ops.h"
#include "ops/common/element.h"
#include "ops/common/strided.h"

float mica_binary_apply(int kind, float a, float b) {
    switch ((mica_binary_kind)kind) {
    case MICA_BINARY_ADD:
        return a + b;
    case MICA_BINARY_SUB:
        return a - b;
    case MICA_BINARY_MUL:
        return a * b;
    case MICA_BINARY_DIV:
        return a / b;
    case MICA_BINARY_MIN:
        return isnan(a) || isnan(b) ? a + b : a < b ? a : b;
    case MICA_BINARY_MAX:
        return isnan(a) || isnan(b) ? a + b : a > b ? a : b;
    case MICA_BINARY_POW:
        return powf(a, b);
    case MICA_BINARY_EQUAL:
        return a == b;
    case MICA_BINARY_NOT_EQUAL:
        return a != b;
    case MICA_BINARY_LESS:
        return a < b;
    case MICA_BINARY_LESS_EQUAL:
        return a <= b;
    case MICA_BINARY_GREATER:
        return a > b;
    case MICA_BINARY_GREATER_EQUAL:
        return a >= b;
    default:
        return NAN; /* refused by the shape rule */
    }
}

static double apply_double(int kind, double a, double b) {
    switch ((mica_binary_kind)kind) {
    case MICA_BINARY_ADD:
        return a + b;
    case MICA_BINARY_SUB:
        return a - b;
    case MICA_BINARY_MUL:
        return a * b;
    case MICA_BINARY_DIV:
        return a / b;
    case MICA_BINARY_MIN:
        return isnan(a) || isnan(b) ? a + b : a < b ? a : b;
    case MICA_BINARY_MAX:
        return isnan(a) || isnan(b) ? a + b : a > b ? a : b;
    case MICA_BINARY_POW:
        return pow(a, b);
    case MICA_BINARY_EQUAL:
        return a == b;
    case MICA_BINARY_NOT_EQUAL:
        return a != b;
    case MICA_BINARY_LESS:
        return a < b;
    case MICA_BINARY_LESS_EQUAL:
        return a <= b;
    case MICA_BINARY_GREATER:
        return a > b;
    case MICA_BINARY_GREATER_EQUAL:
        return a >= b;
    default:
        return (double)NAN; /* refused by the shape rule */
    }
}

/* Truncated towards zero; 0 for a divisor of 0; the one overflow wraps. */
static uint64_t divide(uint64_t a, uint64_t b, bool is_signed) {
    if (b == 0) return 0;
    if (!is_signed) return a / b;
    if (b == UINT64_MAX) return 0 - a; /* -1 */
    return (uint64_t)((int64_t)a / (int64_t)b);
}

static uint64_t power(uint64_t a, uint64_t b, bool is_signed) {
    uint64_t result = 1;
    if (is_signed && (int64_t)b < 0) { /* 1 / a^-b, truncated */
        if (a == 1) return 1;
        if (a == UINT64_MAX) return b & 1 ? a : 1;
        return 0;
    }
    for (; b; b >>= 1) {
        if (b & 1) result *= a;
        a *= a;
    }
    return result;
}

static uint64_t apply_integer(int kind, uint64_t a, uint64_t b, bool is_signed) {
    bool is_less = is_signed ? (int64_t)a < (int64_t)b : a < b;
    switch ((mica_binary_kind)kind) {
    case MICA_BINARY_ADD:
        return a + b;
    case MICA_BINARY_SUB:
        return a - b;
    case MICA_BINARY_MUL:
        return a * b;
    case MICA_BINARY_DIV:
        return divide(a, b, is_signed);
    case MICA_BINARY_MIN:
        return is_less ? a : b;
    case MICA_BINARY_MAX:
        return is_less ? b : a;
    case MICA_BINARY_POW:
        return power(a, b, is_signed);
    case MICA_BINARY_EQUAL:
        return a == b;
    case MICA_BINARY_NOT_EQUAL:
        return a != b;
    case MICA_BINARY_LESS:
        return is_less;
    case MICA_BINARY_LESS_EQUAL:
        return is_less || a == b;
    case MICA_BINARY_GREATER:
        return !is_less && a != b;
    case MICA_BINARY_GREATER_EQUAL:
        return !is_less;
    case MICA_BINARY_AND:
        return a & b;
    case MICA_BINARY_OR:
        return a | b;
    default:
        return 0; /* refused by the shape rule */
    }
}

static void apply_element(const mica_binary_args *args, int64_t ia, int64_t ib, int64_t to) {
    const mica_elementwise_args *e = &args->e;
    const void *a = mica_cpu_at(e->in[0]), *b = mica_cpu_at(e->in[1]);
    void *out = mica_cpu_at(e->out);
    int dtype = e->dtype_in[0];
    if (mica_dtype_is_small_float(dtype)) {
        float x = mica_element_f32(dtype, a, ia), y = mica_element_f32(dtype, b, ib);
        mica_element_put_f32(e->dtype_out, out, to, mica_binary_apply(args->kind, x, y));
    } else if (dtype == MICA_DTYPE_F64) {
        double x = mica_element_f64(dtype, a, ia), y = mica_element_f64(dtype, b, ib);
        mica_element_put_f64(e->dtype_out, out, to, apply_double(args->kind, x, y));
    } else {
        uint64_t x = (uint64_t)mica_element_i64(dtype, a, ia);
        uint64_t y = (uint64_t)mica_element_i64(dtype, b, ib);
        uint64_t v = apply_integer(args->kind, x, y, mica_dtype_is_signed(dtype));
        mica_element_put_i64(e->dtype_out, out, to, (int64_t)v);
    }
}

void mica_binary_ref(const void *args, const mica_cpu_worker *worker) {
    const mica_binary_args *a = args;
    mica_walk w;
    mica_walk_share(&w, &a->e, worker);
    for (; w.count; mica_walk_next(&w)) {
        int64_t sa = mica_walk_stride(&w, 0), sb = mica_walk_stride(&w, 1);
        for (int64_t i = 0; i < w.count; i++)
            apply_element(a, w.offset[0] + i * sa, w.offset[1] + i * sb, w.at + i);
    }
}
