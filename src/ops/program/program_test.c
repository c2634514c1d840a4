/* program: random programs against their composed meaning, bit for bit, at every level; what the
 * shape rule refuses. */
#include "core/program.h"
#include "core/op.h"
#include "core/runtime.h"
#include "mica/ops.h"
#include "ops/common/layer_test_case.h"

#define ROWS 3
#define COLUMNS 171 /* no multiple of a vector or a block */
#define ELEMENTS (ROWS * COLUMNS)

typedef struct program_case {
    mica_program_params params;
    int n_inputs;
    mica_dtype dtypes[MICA_PROGRAM_INPUTS_MAX];
    op_layout layouts[MICA_PROGRAM_INPUTS_MAX];
    int64_t dims[MICA_PROGRAM_INPUTS_MAX][2];
    double values[MICA_PROGRAM_INPUTS_MAX][ELEMENTS];
} program_case;

static mica_array build(mica_graph *g, void *context) {
    const program_case *c = context;
    mica_ref refs[MICA_PROGRAM_INPUTS_MAX];
    for (int i = 0; i < c->n_inputs; i++)
        refs[i] = mica_array_ref(
            g, op_case_input(g, c->layouts[i], c->dtypes[i], 2, c->dims[i], c->values[i]), false);
    return mica_array_of(
        g, mica_graph_add(g, MICA_OP_program, refs, c->n_inputs, &c->params, sizeof c->params));
}

static uint8_t random_code(uint64_t *seed) {
    static const uint8_t roundings[] = {MICA_PROGRAM_ROUND_F16, MICA_PROGRAM_ROUND_BF16};
    uint64_t pick = test_random(seed) % 8;
    uint8_t unary = (uint8_t)(test_random(seed) % MICA_UNARY_NOT);
    if (pick < 3) return unary;
    if (pick < 7) return (uint8_t)(MICA_PROGRAM_BINARY + test_random(seed) % MICA_BINARY_EQUAL);
    return roundings[test_random(seed) % 2];
}

static uint8_t random_register(uint64_t *seed, const program_case *c, int i) {
    uint8_t r;
    do r = (uint8_t)(test_random(seed) % (uint64_t)(MICA_PROGRAM_RESULT_0 + i));
    while (r < MICA_PROGRAM_INPUTS_MAX && r >= c->n_inputs);
    return r;
}

static void make_program(uint64_t *seed, program_case *c) {
    static const mica_dtype dtypes[] = {MICA_DTYPE_F32, MICA_DTYPE_F16, MICA_DTYPE_BF16};
    int n_code = 1 + (int)(test_random(seed) % MICA_PROGRAM_CODE_MAX);
    memset(c, 0, sizeof *c);
    c->n_inputs = 1 + (int)(test_random(seed) % MICA_PROGRAM_INPUTS_MAX);
    for (int i = 0; i < MICA_PROGRAM_CONSTANTS_MAX; i++)
        c->params.constants[i] = test_random_float(seed) * 3;
    for (int i = 0; i < n_code; i++) {
        mica_program_instruction *out = &c->params.code[i];
        out->code = random_code(seed);
        out->a = random_register(seed, c, i);
        if (!mica_program_is_unary(out->code)) out->b = random_register(seed, c, i);
    }
    c->params.code_bytes = (uint8_t)(n_code * (int)sizeof *c->params.code);
    for (int i = 0; i < c->n_inputs; i++) {
        c->dtypes[i] = dtypes[test_random(seed) % 3];
        c->layouts[i] = (op_layout)(test_random(seed) % OP_LAYOUT_COUNT);
        c->dims[i][0] = i > 0 && test_random(seed) % 3 == 0 ? 1 : ROWS; /* broadcast */
        c->dims[i][1] = i > 0 && test_random(seed) % 4 == 0 ? 1 : COLUMNS;
        op_case_fill(seed, c->dtypes[i], c->values[i], ELEMENTS, test_random(seed) % 2);
    }
}

static void programs_are_their_chains(void **state) {
    /* Proves: at each level a program gives the bits of the ops that it stands for, for all dtypes,
     * layouts, broadcasts and special values. */
    (void)state;
    uint64_t seed = test_seed();
    program_case *c = malloc(sizeof *c);
    for (int round = 0; round < 300; round++) {
        make_program(&seed, c);
        layer_composed composed = {build, c};
        for (size_t l = 0; l < OP_TEST_LEVELS; l++) {
            size_t n = 0, n_composed = 0;
            double *got = op_test_eval(op_test_levels[l], build, c, &n);
            double *want =
                op_test_eval(op_test_levels[l], layer_case_compose, &composed, &n_composed);
            assert_int_equal(n, n_composed);
            if (got) op_test_expect(op_test_levels[l], got, want, n, 0, 0);
            free(got);
            free(want);
        }
    }
    free(c);
}

static void threads_do_not_matter(void **state) {
    /* Proves: the same bits for one, two and three threads. */
    (void)state;
    uint64_t seed = 5;
    program_case *c = malloc(sizeof *c);
    for (int round = 0; round < 10; round++) {
        make_program(&seed, c);
        layer_case_threads(build, c);
    }
    free(c);
}

static void wrong_programs_are_refused(void **state) {
    /* Proves: unknown codes, registers that do not exist yet, lengths and dtypes that do not fit
     * are errors, not reads past the registers. */
    (void)state;
    uint64_t seed = 9;
    program_case *c = malloc(sizeof *c);
    make_program(&seed, c);
    c->n_inputs = 1;
    c->dtypes[0] = MICA_DTYPE_F32;
    mica_program_params good = {.code_bytes = 3, .code = {{MICA_UNARY_SILU, 0, 0}}};
    c->params = good;
    c->params.code[0].code = MICA_UNARY_NOT;
    op_case_expect_invalid(build, c, "instruction 0 is (19, 0, 0)");
    c->params.code[0].code = MICA_PROGRAM_BINARY + MICA_BINARY_LESS;
    op_case_expect_invalid(build, c, "instruction 0");
    c->params.code[0].code = MICA_PROGRAM_ROUND_BF16 + 1;
    op_case_expect_invalid(build, c, "instruction 0");
    c->params = good;
    c->params.code[0].a = 1; /* there is one input */
    op_case_expect_invalid(build, c, "instruction 0 is (11, 1, 0)");
    c->params.code[0].a = MICA_PROGRAM_RESULT_0;
    op_case_expect_invalid(build, c, "instruction 0 is (11, 7, 0)");
    c->params = good;
    c->params.code[0].b = 3;
    op_case_expect_invalid(build, c, "instruction 0 is (11, 0, 3)");
    c->params = good;
    c->params.code_bytes = 4;
    op_case_expect_invalid(build, c, "a program of 4 bytes");
    c->params.code_bytes = 0;
    op_case_expect_invalid(build, c, "a program of 0 bytes");
    c->params.code_bytes = 39;
    op_case_expect_invalid(build, c, "a program of 39 bytes");
    c->params = good;
    c->dtypes[0] = MICA_DTYPE_F64;
    op_case_expect_invalid(build, c, "input 0 is f64");
    free(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(programs_are_their_chains),
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(wrong_programs_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
