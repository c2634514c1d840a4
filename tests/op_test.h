/* Op tests: build the same small graph on a runtime of each CPU level that this machine has and
 * compare the results, with each other (scalar = the reference kernels) and with what the test
 * computes itself. */
#pragma once
#include "test.h"
#include "mica/ops.h"

enum { OP_TEST_LEVELS = 5 };
static const char *const op_test_levels[OP_TEST_LEVELS] = {"scalar", "avx2", "avx512", "amx",
                                                           "neon"};

/* Builds the wanted array; context is the test's own. */
typedef mica_array (*op_test_build)(mica_graph *g, void *context);

/* Evaluates on one level (NULL = best) and returns the elements as doubles (free() them), or NULL
 * when this machine lacks the level. Fails the test on an error. */
static inline double *op_test_eval(const char *level, op_test_build build, void *context,
                                   size_t *count) {
    mica_error err = {0};
    mica_runtime *rt = NULL;
    mica_runtime_options options = {.struct_bytes = sizeof options, .cpu_level = level};
    options.n_threads = 2;
    mica_status st = mica_runtime_open(&options, &rt, &err);
    if (st == MICA_STATUS_UNAVAILABLE) return NULL;
    assert_ok(st);
    mica_graph *g = NULL;
    assert_ok(mica_graph_create(rt, &g, &err));
    mica_array a = build(g, context);
    assert_ok(mica_eval(g, &a, 1, &err));
    mica_dtype dtype = mica_array_dtype(g, a);
    size_t n = (size_t)mica_array_count(g, a);
    size_t bytes = n * mica_dtype_bytes(dtype);
    void *raw = malloc(bytes + 1);
    double *out = malloc((n + 1) * sizeof *out);
    assert_ok(mica_array_read(g, a, raw, bytes, &err));
    for (size_t i = 0; i < n; i++) {
        uint32_t u = 0;
        float f;
        switch (dtype) {
        case MICA_DTYPE_BOOL:
        case MICA_DTYPE_U8:
            out[i] = ((uint8_t *)raw)[i];
            break;
        case MICA_DTYPE_I8:
            out[i] = ((int8_t *)raw)[i];
            break;
        case MICA_DTYPE_U16:
            out[i] = ((uint16_t *)raw)[i];
            break;
        case MICA_DTYPE_I16:
            out[i] = ((int16_t *)raw)[i];
            break;
        case MICA_DTYPE_U32:
            out[i] = ((uint32_t *)raw)[i];
            break;
        case MICA_DTYPE_I32:
            out[i] = ((int32_t *)raw)[i];
            break;
        case MICA_DTYPE_U64:
            out[i] = (double)((uint64_t *)raw)[i];
            break;
        case MICA_DTYPE_I64:
            out[i] = (double)((int64_t *)raw)[i];
            break;
        case MICA_DTYPE_F32:
            out[i] = ((float *)raw)[i];
            break;
        case MICA_DTYPE_F64:
            out[i] = ((double *)raw)[i];
            break;
        case MICA_DTYPE_BF16:
            u = (uint32_t)((uint16_t *)raw)[i] << 16;
            memcpy(&f, &u, 4);
            out[i] = f;
            break;
        case MICA_DTYPE_F16: {
            uint16_t h = ((uint16_t *)raw)[i];
            int e = (h >> 10) & 31, m = h & 1023;
            double v = e == 31 ? (m ? NAN : INFINITY) : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
            out[i] = (h & 0x8000) ? -v : v;
            break;
        }
        default:
            fail_msg("dtype without a reader");
        }
    }
    free(raw);
    mica_graph_destroy(&g);
    mica_runtime_close(&rt);
    *count = n;
    return out;
}

/* |a - b| <= absolute + relative * |b|; NaN equals NaN, an infinity itself. */
static inline bool op_test_close(double a, double b, double relative, double absolute) {
    if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
    if (isinf(a) || isinf(b)) return a == b;
    return fabs(a - b) <= absolute + relative * fabs(b);
}

static inline void op_test_expect(const char *what, const double *got, const double *want,
                                  size_t count, double relative, double absolute) {
    for (size_t i = 0; i < count; i++)
        if (!op_test_close(got[i], want[i], relative, absolute))
            fail_msg("%s: element %zu of %zu: got %.9g, want %.9g", what, i, count, got[i],
                     want[i]);
}

/* All levels against `want` (count elements), or against the scalar level when want is NULL. */
static inline void op_test_all_levels(op_test_build build, void *context, const double *want,
                                      size_t count, double relative, double absolute) {
    double *reference = NULL;
    for (size_t l = 0; l < OP_TEST_LEVELS; l++) {
        size_t n = 0;
        double *got = op_test_eval(op_test_levels[l], build, context, &n);
        if (!got) continue;
        if (want) {
            assert_int_equal(n, count);
            op_test_expect(op_test_levels[l], got, want, n, relative, absolute);
        } else if (reference) {
            op_test_expect(op_test_levels[l], got, reference, n, relative, absolute);
        }
        if (!reference)
            reference = got;
        else
            free(got);
    }
    free(reference);
}
