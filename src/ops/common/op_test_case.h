/* Inputs for op tests: arrays of any dtype in several memory layouts, and the values that a dtype
 * can hold, worked out here without the library's own conversions. */
#pragma once
#include "op_test.h"

typedef enum op_layout {
    OP_PLAIN,
    OP_PERMUTED,  /* stored with its axes in reverse */
    OP_STEPPED,   /* every second element of a last axis that runs backwards */
    OP_OFFSET,    /* begins inside of a larger array */
    OP_UNALIGNED, /* at an odd address */
    OP_LAYOUT_COUNT,
} op_layout;

static const char *const op_layout_names[] = {"plain", "permuted", "stepped", "offset",
                                              "unaligned"};

/* d rounded to nearest even with p bits of mantissa, exponents from low to high. */
static inline double op_case_round(double d, int p, int low, int high) {
    if (isnan(d) || isinf(d) || d == 0) return d;
    int exponent = ilogb(d) < low ? low : ilogb(d);
    double rounded = ldexp(rint(ldexp(d, p - 1 - exponent)), exponent - p + 1);
    return fabs(rounded) >= ldexp(1, high + 1) ? copysign(INFINITY, d) : rounded;
}

/* What dtype makes of a double (integers: of one in range). */
static inline double op_case_value(mica_dtype dtype, double d) {
    switch (dtype) {
    case MICA_DTYPE_F16:
        return op_case_round(d, 11, -14, 15);
    case MICA_DTYPE_BF16:
        return op_case_round(d, 8, -126, 127);
    case MICA_DTYPE_F32:
        return op_case_round(d, 24, -126, 127);
    case MICA_DTYPE_F64:
        return d;
    case MICA_DTYPE_BOOL:
        return d != 0;
    default:
        return trunc(d);
    }
}

static inline void op_case_put(mica_dtype dtype, uint8_t *out, double d) {
    double v = op_case_value(dtype, d);
    float f = (float)v;
    uint32_t bits;
    memcpy(&bits, &f, 4);
    int64_t whole = mica_dtype_bytes(dtype) && dtype < MICA_DTYPE_F16 ? (int64_t)v : 0;
    if (dtype == MICA_DTYPE_U64 && v >= 0) whole = (int64_t)(uint64_t)v;
    uint16_t half = (uint16_t)(bits >> 16);
    if (dtype == MICA_DTYPE_F16) {
        double m = fabs(v);
        half = isnan(v)   ? 0x7E00
               : isinf(v) ? 0x7C00
               : m < 0x1p-14
                   ? (uint16_t)ldexp(m, 24)
                   : (uint16_t)((ilogb(m) + 15) * 1024 + (int)ldexp(m, 10 - ilogb(m)) - 1024);
        half = (uint16_t)(half | (signbit(v) ? 0x8000 : 0));
    }
    switch (dtype) {
    case MICA_DTYPE_F64:
        memcpy(out, &v, 8);
        break;
    case MICA_DTYPE_F32:
        memcpy(out, &f, 4);
        break;
    case MICA_DTYPE_BF16:
    case MICA_DTYPE_F16:
        memcpy(out, &half, 2);
        break;
    default:
        memcpy(out, &whole, mica_dtype_bytes(dtype)); /* little-endian */
    }
}

static inline int64_t op_case_count(int rank, const int64_t *dims) {
    int64_t count = 1;
    for (int i = 0; i < rank; i++) count *= dims[i];
    return count;
}

static inline void op_case_free(void *context, const void *data) {
    (void)data;
    free(context);
}

/* Element i (row-major in dims) lies at this place of the memory that layout uses. */
static inline int64_t op_case_place(op_layout layout, int rank, const int64_t *dims, int64_t i) {
    int64_t place = 0, stride = 1, rest = i;
    int64_t last = rank ? dims[rank - 1] : 1;
    switch (layout) {
    case OP_PERMUTED:
        for (int axis = rank - 1; axis >= 0; axis--) {
            int64_t index = rest % dims[axis];
            stride = op_case_count(axis, dims);
            place += index * stride;
            rest /= dims[axis];
        }
        return place;
    case OP_STEPPED:
        return i / last * (2 * last) + 2 * (last - 1 - i % last) + 1;
    case OP_OFFSET:
        return i + (rank ? op_case_count(rank - 1, dims + 1) : 0);
    default:
        return i;
    }
}

static inline mica_array op_case_arrange(mica_graph *g, op_layout layout, mica_dtype dtype,
                                         int rank, const int64_t *dims, uint8_t *data) {
    int64_t stored[8];
    int order[8];
    memcpy(stored, dims, (size_t)rank * sizeof *dims);
    if (layout == OP_PERMUTED) {
        for (int i = 0; i < rank; i++) stored[i] = dims[order[i] = rank - 1 - i];
        mica_array a = mica_array_from_data(g, dtype, rank, stored, data);
        return mica_permute(g, a, order);
    }
    if (layout == OP_STEPPED) {
        stored[rank - 1] *= 2;
        mica_array a = mica_array_from_data(g, dtype, rank, stored, data);
        return mica_slice_axis(g, a, -1, INT64_MAX, INT64_MIN, -2);
    }
    if (layout == OP_OFFSET) {
        stored[0] += 2;
        mica_array a = mica_array_from_data(g, dtype, rank, stored, data);
        return mica_slice_axis(g, a, 0, 1, -1, 1);
    }
    return mica_array_from_data(g, dtype, rank, dims, data);
}

/* An array of this shape with these values, stored as layout says; what lies around the values is
 * not zero. Rank 0 is always plain. */
static inline mica_array op_case_input(mica_graph *g, op_layout layout, mica_dtype dtype, int rank,
                                       const int64_t *dims, const double *values) {
    int64_t count = op_case_count(rank, dims);
    size_t bytes = mica_dtype_bytes(dtype);
    if (rank == 0) layout = OP_PLAIN;
    int64_t around = rank ? 2 * op_case_count(rank - 1, dims + 1) : 0;
    size_t room = (size_t)(2 * count + around + 2) * bytes;
    uint8_t *memory = malloc(room);
    memset(memory, 0x47, room);
    uint8_t *data = memory + (layout == OP_UNALIGNED);
    if (dtype == MICA_DTYPE_BOOL) memset(memory, 1, room);
    for (int64_t i = 0; i < count; i++)
        op_case_put(dtype, data + (size_t)op_case_place(layout, rank, dims, i) * bytes, values[i]);
    if (layout == OP_UNALIGNED)
        return mica_array_view(g, dtype, rank, dims, data, op_case_free, memory);
    mica_array a = op_case_arrange(g, layout, dtype, rank, dims, data);
    free(memory);
    return a;
}

/* Values in [-4, 4), with some of every kind that breaks careless code. */
static inline void op_case_fill(uint64_t *state, mica_dtype dtype, double *values, int64_t count,
                                bool has_extremes) {
    static const double odd[] = {0, -0.0, INFINITY, -INFINITY, NAN, 1e4, -1e4, 1e-8, 65504, 0.5};
    for (int64_t i = 0; i < count; i++) {
        uint64_t pick = test_random(state) % 40;
        double v = 4 * (double)test_random_float(state);
        if (has_extremes && pick < 10) v = odd[pick];
        if (dtype < MICA_DTYPE_F16) {
            v = (double)(test_random(state) % 100);
            if (dtype == MICA_DTYPE_I8 || dtype == MICA_DTYPE_I16 || dtype == MICA_DTYPE_I32 ||
                dtype == MICA_DTYPE_I64)
                v -= 50;
        }
        values[i] = op_case_value(dtype, dtype == MICA_DTYPE_BOOL ? (double)(pick & 1) : v);
    }
}

/* Runs build on a graph of its own and expects it to fail with INVALID and a message that holds
 * `text`. */
static inline void op_case_expect_invalid(op_test_build build, void *context, const char *text) {
    mica_error err = {0};
    mica_runtime *rt = NULL;
    mica_graph *g = NULL;
    mica_runtime_options options = {.struct_bytes = sizeof options, .n_threads = 1};
    assert_ok(mica_runtime_open(&options, &rt, &err));
    assert_ok(mica_graph_create(rt, &g, &err));
    mica_array a = build(g, context);
    assert_int_equal(a.node, 0);
    assert_int_equal(mica_graph_check(g, &err), MICA_STATUS_INVALID);
    if (!strstr(err.message, text)) fail_msg("\"%s\" is not in \"%s\"", text, err.message);
    assert_int_equal(mica_eval(g, &a, 1, &err), MICA_STATUS_INVALID);
    mica_graph_destroy(&g);
    mica_runtime_close(&rt);
}
