/* The arithmetic of mica eval against NumPy in float64 (tools/eval_answers.py). */
#include "eval_math.h"
#include "test.h"

#define ROW_MAX 200000

static float p_logits[ROW_MAX], q_logits[ROW_MAX];

/* Fractions that float32 holds exactly. */
static double element(size_t i, size_t a, size_t b) {
    return (double)((i * a + b) % 1000) / 64 - 5;
}

static void fill(float *row, size_t n, size_t a, size_t b) {
    for (size_t i = 0; i < n; i++) row[i] = (float)element(i, a, b);
}

static void assert_near(double seen, double wanted, double relative) {
    if (!(fabs(seen - wanted) <= relative * fmax(1, fabs(wanted))))
        fail_msg("%.17g, wanted %.17g", seen, wanted);
}

static void test_nll(void **state) {
    /* -log p of the first and the last id of rows up to a real vocabulary's size. */
    (void)state;
    static const struct {
        size_t n, a, b;
        double first, last;
    } rows[] = {
        {1, 1, 0, 0, 0},
        {7, 131, 5, 12.419520958438991, 0.13827095843898993},
        {1000, 7919, 17, 19.5104352471166, 18.2448102471166},
        {200000, 7919, 17, 24.808752613664637, 23.543127613664637},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cli_row row;
        fill(p_logits, rows[i].n, rows[i].a, rows[i].b);
        assert_true(cli_row_measure(p_logits, rows[i].n, &row));
        assert_near(cli_row_nll(&row, p_logits, 0), rows[i].first, 1e-13);
        assert_near(cli_row_nll(&row, p_logits, rows[i].n - 1), rows[i].last, 1e-13);
    }
}

static void test_extreme_rows(void **state) {
    /* Logits of any size neither overflow nor vanish; an impossible id costs infinity. */
    (void)state;
    cli_row row;
    float far[] = {3e38f, -3e38f, 3e38f, -INFINITY};
    assert_true(cli_row_measure(far, 4, &row));
    assert_int_equal(row.top, 0); /* the first of equals */
    assert_near(cli_row_nll(&row, far, 2), log(2), 1e-15);
    assert_true(cli_row_nll(&row, far, 3) == INFINITY);
    assert_true(cli_row_nll(&row, far, 1) > 5e38);
    float low[] = {-3e38f, -3e38f};
    assert_true(cli_row_measure(low, 2, &row));
    assert_near(cli_row_nll(&row, low, 1), log(2), 1e-15);
}

static void test_no_distribution(void **state) {
    /* A NaN anywhere, +infinity, only -infinity and no logits at all are refused. */
    (void)state;
    cli_row row;
    for (size_t i = 0; i < 3; i++) {
        float bad[] = {1, 2, 3};
        bad[i] = NAN;
        assert_false(cli_row_measure(bad, 3, &row));
        bad[i] = INFINITY;
        assert_false(cli_row_measure(bad, 3, &row));
    }
    float none[] = {-INFINITY, -INFINITY};
    assert_false(cli_row_measure(none, 2, &row));
    assert_false(cli_row_measure(none, 0, &row));
}

static double divergence(size_t n) {
    cli_row p, q;
    assert_true(cli_row_measure(p_logits, n, &p));
    assert_true(cli_row_measure(q_logits, n, &q));
    return cli_row_divergence(&p, p_logits, &q, q_logits, n);
}

static void test_divergence(void **state) {
    /* KL(P || Q), with P as the reference: the values, 0 for the same row, infinity for a token
     * that only P has, nothing for one that only Q has. */
    (void)state;
    static const struct {
        size_t n, b;
        double wanted;
    } rows[] = {
        {7, 600, 1.2659797298191211},
        {1000, 18, 0.22661821145484318},
        {1000, 400, 9.6012871325293787},
        {200000, 30, 2.6691221418211208},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fill(p_logits, rows[i].n, 7919, 17);
        fill(q_logits, rows[i].n, 7919, rows[i].b);
        assert_near(divergence(rows[i].n), rows[i].wanted, 1e-12);
    }
    fill(q_logits, ROW_MAX, 7919, 17);
    assert_true(divergence(ROW_MAX) == 0);
    for (size_t i = 0; i < ROW_MAX; i++) q_logits[i] += 1; /* the same distribution */
    assert_true(divergence(ROW_MAX) < 1e-12);
    fill(q_logits, 7, 7919, 17);
    fill(p_logits, 7, 7919, 17);
    q_logits[3] = -INFINITY;
    assert_true(divergence(7) == INFINITY);
    q_logits[3] = p_logits[3];
    p_logits[3] = -INFINITY;
    assert_true(isfinite(divergence(7)));
}

static void test_mean(void **state) {
    /* Mean and standard error, also far from zero, of one value and of none. */
    (void)state;
    cli_mean m = {0}, far = {0};
    assert_true(cli_mean_value(&m) == 0 && cli_mean_error(&m) == 0);
    cli_mean_add(&m, 2.5);
    assert_true(cli_mean_value(&m) == 2.5 && cli_mean_error(&m) == 0);
    m = (cli_mean){0};
    for (size_t i = 0; i < 1001; i++) {
        double value = element(i, 7919, 17) / 3;
        cli_mean_add(&m, value);
        cli_mean_add(&far, value + 1e9);
    }
    assert_near(cli_mean_value(&m), 0.93238532301032306, 1e-14);
    assert_near(cli_mean_error(&m), 0.047587849744781925, 1e-14);
    assert_near(cli_mean_error(&far), 0.047587849744781925, 1e-8);
    cli_mean_add(&m, INFINITY);
    assert_true(cli_mean_value(&m) == INFINITY);
}

static void test_percentiles(void **state) {
    /* Percentiles of sorted values are NumPy's, linear between neighbours; infinities are kept. */
    (void)state;
    static const double shares[] = {0, 0.5, 0.9, 0.999, 1};
    static const struct {
        size_t n;
        double wanted[5];
    } rows[] = {
        {1, {-4.734375, -4.734375, -4.734375, -4.734375, -4.734375}},
        {2, {-4.734375, 2.4453125, 8.1890625, 9.610640625, 9.625}},
        {10, {-4.734375, 3.9296875, 8.4859375, 9.613609375, 9.625}},
        {1001, {-5, 2.796875, 9.046875, 10.59375, 10.609375}},
    };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        double values[1001];
        for (size_t i = 0; i < rows[r].n; i++) values[i] = element(i, 7919, 17);
        cli_sort(values, rows[r].n);
        for (size_t i = 0; i < 5; i++)
            assert_near(cli_percentile(values, rows[r].n, shares[i]), rows[r].wanted[i], 1e-12);
    }
    double ends[] = {INFINITY, 1, 2};
    cli_sort(ends, 3);
    assert_true(cli_percentile(ends, 3, 0.5) == 2);
    assert_true(cli_percentile(ends, 3, 1) == INFINITY);
    cli_sort(NULL, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nll),
        cmocka_unit_test(test_extreme_rows),
        cmocka_unit_test(test_no_distribution),
        cmocka_unit_test(test_divergence),
        cmocka_unit_test(test_mean),
        cmocka_unit_test(test_percentiles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
