/* The sampler against its definitions, written a second time in the plainest way. */
#include "test.h"
#include "engine/sampler.h"
#include "kernel/math.h"

#define N 1100 /* several blocks of the sampler and a rest */

static int compare_desc_l(const float *l, int a, int b) {
    if (l[a] != l[b]) return l[a] > l[b] ? -1 : 1;
    return a < b ? -1 : 1;
}

/* Straight from the comment in sampler.h: full insertion sort, no tricks. */
static int32_t plain_sample(const float *logits, int n, const mica_sampling *s, const int32_t *hist,
                            size_t n_hist, uint64_t position) {
    float l[N];
    int order[N], m = n;
    for (int i = 0; i < n; i++) {
        int c = 0;
        l[i] = isnan(logits[i]) ? -INFINITY : logits[i];
        for (size_t h = 0; h < n_hist; h++) c += hist[h] == i;
        if (!c) continue;
        if (s->repeat_penalty > 0)
            l[i] = l[i] > 0 ? l[i] / s->repeat_penalty : l[i] * s->repeat_penalty;
        l[i] = l[i] - s->presence_penalty - s->frequency_penalty * (float)c;
    }
    int best = 0;
    for (int i = 1; i < n; i++)
        if (l[i] > l[best]) best = i;
    if (!(s->temperature > 0)) return best;
    for (int i = 0; i < n; i++) l[i] = l[i] / s->temperature;
    bool filters = (s->top_k > 0 && s->top_k < n) || (s->top_p > 0 && s->top_p < 1) || s->min_p > 0;
    for (int i = 0; i < n; i++) {
        int j = i;
        for (; filters && j > 0 && compare_desc_l(l, i, order[j - 1]) < 0; j--)
            order[j] = order[j - 1];
        order[j] = i;
    }
    if (s->top_k > 0 && s->top_k < n) m = s->top_k;
    if (s->top_p > 0 && s->top_p < 1) {
        double total = 0, sum = 0;
        for (int i = 0; i < m; i++) total += (double)mica_exp(l[order[i]] - l[best]);
        for (int i = 0; i < m; i++) {
            sum += (double)mica_exp(l[order[i]] - l[best]);
            if (sum >= (double)s->top_p * total) {
                m = i + 1;
                break;
            }
        }
    }
    double total = 0, sum = 0;
    for (int i = 0; i < m; i++)
        if (mica_exp(l[order[i]] - l[best]) >= s->min_p)
            total += (double)mica_exp(l[order[i]] - l[best]);
    uint32_t w[4];
    mica_philox(s->seed, position, 0, w);
    double u = (double)(((uint64_t)w[0] << 32 | w[1]) >> 11) * 0x1p-53;
    for (int i = 0; i < m; i++) {
        float p = mica_exp(l[order[i]] - l[best]);
        if (p < s->min_p) continue;
        sum += (double)p;
        if (sum > u * total) return order[i];
    }
    return order[m - 1];
}

/* Proves: every combination of filters and penalties gives the token of the written definitions. */
static void follows_the_definitions(void **state) {
    (void)state;
    uint64_t seed = test_seed();
    float logits[N], scratch[N];
    int32_t ids[N], history[40];
    for (int trial = 0; trial < 4000; trial++) {
        int n = 1 + (int)(test_random(&seed) % (trial % 16 ? 300 : N));
        for (int i = 0; i < n; i++) logits[i] = test_random_float(&seed) * 8;
        if (trial % 3 == 0) /* ties */
            for (int i = 0; i < n; i++) logits[i] = roundf(logits[i]);
        if (trial % 7 == 0) logits[test_random(&seed) % (uint64_t)n] = NAN;
        if (n == 1) logits[0] = 1;
        size_t n_history = test_random(&seed) % 40;
        for (size_t i = 0; i < n_history; i++) history[i] = (int32_t)(test_random(&seed) % N);
        mica_sampling s = {.seed = test_random(&seed)};
        if (trial % 5) s.temperature = 0.2f + (float)(test_random(&seed) % 100) / 50;
        if (trial & 1) s.top_k = 1 + (int32_t)(test_random(&seed) % 60);
        if (trial & 2) s.top_p = (float)(1 + test_random(&seed) % 99) / 100;
        if (trial & 4) s.min_p = (float)(1 + test_random(&seed) % 50) / 100;
        if (trial & 8) s.repeat_penalty = 1.3f;
        if (trial & 16) s.presence_penalty = 0.7f;
        if (trial & 32) s.frequency_penalty = 0.2f;
        int32_t got = mica_sample(logits, n, &s, history, n_history, (uint64_t)trial, scratch, ids);
        int32_t want = plain_sample(logits, n, &s, history, n_history, (uint64_t)trial);
        if (got != want) fail_msg("trial %d, n %d: token %d, wanted %d", trial, n, got, want);
    }
}

/* Proves: Philox4x32-10 gives the published known answers (Random123 kat_vectors). */
static void philox_known_answers(void **state) {
    (void)state;
    uint32_t w[4];
    mica_philox(0, 0, 0, w);
    assert_int_equal(w[0], 0x6627e8d5u);
    assert_int_equal(w[1], 0xe169c58du);
    assert_int_equal(w[2], 0xbc57ac4cu);
    assert_int_equal(w[3], 0x9b00dbd8u);
    mica_philox(UINT64_MAX, UINT64_MAX, UINT64_MAX, w);
    assert_int_equal(w[0], 0x408f276du);
    assert_int_equal(w[1], 0x41c83b0eu);
    assert_int_equal(w[2], 0xa20bc7c6u);
    assert_int_equal(w[3], 0x6d5451fdu);
}

/* Proves: rows without a usable logit are reported, infinities do not break the draw. */
static void hostile_rows(void **state) {
    (void)state;
    float scratch[4], none[3] = {NAN, -INFINITY, NAN}, inf[3] = {0, INFINITY, 1};
    int32_t ids[4];
    mica_sampling s = {.temperature = 1, .top_p = 0.9f, .seed = 1};
    assert_int_equal(mica_sample(none, 3, &s, NULL, 0, 0, scratch, ids), -1);
    assert_int_equal(mica_sample(none, 0, &s, NULL, 0, 0, scratch, ids), -1);
    assert_int_equal(mica_sample(inf, 3, &s, NULL, 0, 0, scratch, ids), 1);
}

/* Proves: parameters without a sense never break the draw: the result is an id with a finite logit.
 */
static void hostile_parameters(void **state) {
    (void)state;
    static const float odd[] = {0, -1, 1, 1e-45f, 1e-38f, 3e38f, INFINITY, -INFINITY, NAN, 0.5f, 2};
    float l[6] = {-3e38f, -1, 3, NAN, -INFINITY, 2}, scratch[6];
    int32_t ids[6], history[] = {2, 5, -1, 77, 2, INT32_MAX, INT32_MIN};
    uint64_t seed = test_seed();
    for (int i = 0; i < 200000; i++) {
        mica_sampling s = {.seed = test_random(&seed),
                           .top_k = (int32_t)(test_random(&seed) % 9) - 1};
        float *values[] = {
            &s.temperature,      &s.top_p, &s.min_p, &s.repeat_penalty, &s.presence_penalty,
            &s.frequency_penalty};
        for (int v = 0; v < 6; v++) *values[v] = odd[test_random(&seed) % 11];
        if (i % 5 == 0) s.top_k = INT32_MAX;
        size_t n_history = test_random(&seed) % 8;
        int32_t id = mica_sample(l, 6, &s, history, n_history, (uint64_t)i, scratch, ids);
        if (id < 0 || id > 5 || id == 3 || id == 4) fail_msg("draw %d: id %d", i, id);
    }
    mica_sampling s = {.temperature = 1e-45f};
    assert_int_equal(mica_sample(l, 6, &s, NULL, 0, 0, scratch, ids), 2);
    s = (mica_sampling){.temperature = 1, .min_p = 7};
    for (uint64_t t = 0; t < 50; t++)
        assert_int_equal(mica_sample(l, 6, &s, NULL, 0, t, scratch, ids), 2);
    assert_int_equal(mica_sample(NULL, 6, &s, NULL, 0, 0, scratch, ids), -1);
    assert_int_equal(mica_sample(l, 6, NULL, NULL, 0, 0, scratch, ids), -1);
    assert_int_equal(mica_sample(l, 6, &s, NULL, 1, 0, scratch, ids), -1);
    assert_int_equal(mica_sample(l, 6, &s, NULL, 0, 0, NULL, ids), -1);
    assert_int_equal(mica_sample(l, 6, &s, NULL, 0, 0, scratch, NULL), -1);
    assert_int_equal(mica_sample(l, INT32_MIN, &s, NULL, 0, 0, scratch, ids), -1);
}

/* Proves: frequencies of 20,000 draws follow the softmax (chi-squared, 4 degrees, p = 0.001). */
static void draws_follow_the_softmax(void **state) {
    (void)state;
    float l[5] = {0, 1, 2, 0.5f, -1}, scratch[5];
    int32_t ids[5], count[5] = {0};
    mica_sampling s = {.temperature = 1, .seed = 42};
    double p[5], total = 0, chi = 0;
    for (int i = 0; i < 5; i++) total += exp((double)l[i]);
    for (uint64_t t = 0; t < 20000; t++) count[mica_sample(l, 5, &s, NULL, 0, t, scratch, ids)]++;
    for (int i = 0; i < 5; i++) {
        p[i] = exp((double)l[i]) / total * 20000;
        chi += (count[i] - p[i]) * (count[i] - p[i]) / p[i];
    }
    assert_true(chi < 18.47);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_known_answers),
        cmocka_unit_test(follows_the_definitions),
        cmocka_unit_test(hostile_rows),
        cmocka_unit_test(hostile_parameters),
        cmocka_unit_test(draws_follow_the_softmax),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
