/* unary in plain C. f32 uses the exp, sigmoid and tanh of kernel/math.h, f64 those of libm. */
#include "ops/unary/unary.h"
#include "kernel/math.h"
#include "mica/ops.h"
#include "ops/common/element.h"
#include "ops/common/strided.h"

#define SQRT_HALF 0.70710678118654752440
#define SQRT_2_OVER_PI 0.79788456080286535588
#define GELU_CUBIC 0.044715

float mica_unary_apply(int kind, float x) {
    switch ((mica_unary_kind)kind) {
    case MICA_UNARY_NEGATE:
        return -x;
    case MICA_UNARY_ABS:
        return fabsf(x);
    case MICA_UNARY_SQUARE:
        return x * x;
    case MICA_UNARY_SQRT:
        return sqrtf(x);
    case MICA_UNARY_RSQRT:
        return 1.0f / sqrtf(x);
    case MICA_UNARY_EXP:
        return mica_exp(x);
    case MICA_UNARY_LOG:
        return logf(x);
    case MICA_UNARY_SIN:
        return sinf(x);
    case MICA_UNARY_COS:
        return cosf(x);
    case MICA_UNARY_TANH:
        return mica_tanh(x);
    case MICA_UNARY_SIGMOID:
        return mica_sigmoid(x);
    case MICA_UNARY_SILU:
        return x * mica_sigmoid(x);
    /* erfc and the sigmoid do not cancel for negative x, as 1 + erf and 1 + tanh would. */
    case MICA_UNARY_GELU:
        return 0.5f * x * erfcf(-x * (float)SQRT_HALF);
    case MICA_UNARY_GELU_TANH:
        return x * mica_sigmoid((float)(2 * SQRT_2_OVER_PI) * (x + (float)GELU_CUBIC * x * x * x));
    case MICA_UNARY_RELU:
        return x < 0 ? 0 : x;
    case MICA_UNARY_RECIPROCAL:
        return 1.0f / x;
    case MICA_UNARY_FLOOR:
        return floorf(x);
    case MICA_UNARY_CEIL:
        return ceilf(x);
    case MICA_UNARY_ROUND:
        return rintf(x);
    default:
        return NAN; /* refused by the shape rule */
    }
}

static double apply_double(int kind, double x) {
    switch ((mica_unary_kind)kind) {
    case MICA_UNARY_NEGATE:
        return -x;
    case MICA_UNARY_ABS:
        return fabs(x);
    case MICA_UNARY_SQUARE:
        return x * x;
    case MICA_UNARY_SQRT:
        return sqrt(x);
    case MICA_UNARY_RSQRT:
        return 1 / sqrt(x);
    case MICA_UNARY_EXP:
        return exp(x);
    case MICA_UNARY_LOG:
        return log(x);
    case MICA_UNARY_SIN:
        return sin(x);
    case MICA_UNARY_COS:
        return cos(x);
    case MICA_UNARY_TANH:
        return tanh(x);
    case MICA_UNARY_SIGMOID:
        return 1 / (1 + exp(-x));
    case MICA_UNARY_SILU:
        return x / (1 + exp(-x));
    case MICA_UNARY_GELU:
        return 0.5 * x * erfc(-x * SQRT_HALF);
    case MICA_UNARY_GELU_TANH:
        return x / (1 + exp(-2 * SQRT_2_OVER_PI * (x + GELU_CUBIC * x * x * x)));
    case MICA_UNARY_RELU:
        return x < 0 ? 0 : x;
    case MICA_UNARY_RECIPROCAL:
        return 1 / x;
    case MICA_UNARY_FLOOR:
        return floor(x);
    case MICA_UNARY_CEIL:
        return ceil(x);
    case MICA_UNARY_ROUND:
        return rint(x);
    default:
        return (double)NAN; /* refused by the shape rule */
    }
}

/* Wrapping arithmetic on the 64 bits; is_negative tells how they are to be read. */
static uint64_t apply_integer(int kind, uint64_t v, bool is_negative) {
    switch ((mica_unary_kind)kind) {
    case MICA_UNARY_NEGATE:
        return 0 - v;
    case MICA_UNARY_ABS:
        return is_negative ? 0 - v : v;
    case MICA_UNARY_SQUARE:
        return v * v;
    case MICA_UNARY_RELU:
        return is_negative ? 0 : v;
    case MICA_UNARY_NOT:
        return v == 0;
    default:
        return v;
    }
}

static void apply_element(const mica_unary_args *a, const void *in, int64_t from, void *out,
                          int64_t to) {
    int dtype = a->e.dtype_out;
    if (mica_dtype_is_small_float(dtype)) {
        float v = mica_unary_apply(a->kind, mica_element_f32(dtype, in, from));
        mica_element_put_f32(dtype, out, to, v);
    } else if (dtype == MICA_DTYPE_F64) {
        ((double *)out)[to] = apply_double(a->kind, mica_element_f64(dtype, in, from));
    } else {
        int64_t v = mica_element_i64(dtype, in, from);
        bool is_negative = mica_dtype_is_signed(dtype) && v < 0;
        uint64_t result = apply_integer(a->kind, (uint64_t)v, is_negative);
        mica_element_put_i64(dtype, out, to, (int64_t)result);
    }
}

void mica_unary_ref(const void *args, const mica_cpu_worker *worker) {
    const mica_unary_args *a = args;
    const void *in = mica_cpu_at(a->e.in[0]);
    void *out = mica_cpu_at(a->e.out);
    mica_walk w;
    mica_walk_share(&w, &a->e, worker);
    for (; w.count; mica_walk_next(&w)) {
        int64_t stride = mica_walk_stride(&w, 0);
        for (int64_t i = 0; i < w.count; i++)
            apply_element(a, in, w.offset[0] + i * stride, out, w.at + i);
    }
}
