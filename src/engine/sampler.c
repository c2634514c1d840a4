/* The sampler: penalties, filters and the draw. Nothing is allocated: the caller lends scratch. */
#include "engine/sampler.h"
#include <math.h>
#include <string.h>
#include "kernel/math.h"

#define PHILOX_ROUNDS 10
#define FIRST_PREFIX 64 /* sorted at first for top_p; grows fourfold while it does not reach p */

void mica_philox(uint64_t key, uint64_t counter_low, uint64_t counter_high, uint32_t out[4]) {
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    uint32_t c[4] = {(uint32_t)counter_low, (uint32_t)(counter_low >> 32), (uint32_t)counter_high,
                     (uint32_t)(counter_high >> 32)};
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
        uint32_t n0 = (uint32_t)(b >> 32) ^ c[1] ^ k0, n2 = (uint32_t)(a >> 32) ^ c[3] ^ k1;
        c[1] = (uint32_t)b;
        c[3] = (uint32_t)a;
        c[0] = n0;
        c[2] = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    memcpy(out, c, sizeof c);
}

static double draw_uniform(uint64_t seed, uint64_t position) {
    uint32_t word[4];
    mica_philox(seed, position, 0, word);
    uint64_t bits = ((uint64_t)word[0] << 32 | word[1]) >> 11;
    return (double)bits * 0x1p-53;
}

/* ---- penalties and the greedy choice ---- */

static bool has_penalties(const mica_sampling *s) {
    return (s->repeat_penalty > 0 && s->repeat_penalty != 1.0f) || s->presence_penalty != 0 ||
           s->frequency_penalty != 0;
}

/* counts is scratch for n ints. */
static void apply_penalties(float *l, int32_t n, const mica_sampling *s, const int32_t *history,
                            size_t n_history, int32_t *counts) {
    memset(counts, 0, (size_t)n * sizeof *counts);
    for (size_t i = 0; i < n_history; i++)
        if (history[i] >= 0 && history[i] < n) counts[history[i]]++;
    bool repeats = s->repeat_penalty > 0 && s->repeat_penalty != 1.0f;
    for (int32_t i = 0; i < n; i++) {
        if (!counts[i]) continue;
        if (repeats) l[i] = l[i] > 0 ? l[i] / s->repeat_penalty : l[i] * s->repeat_penalty;
        l[i] = l[i] - s->presence_penalty - s->frequency_penalty * (float)counts[i];
        if (isnan(l[i])) l[i] = -INFINITY;
    }
}

/* The first largest; -1 when all are -inf. */
static int32_t find_largest(const float *l, int32_t n) {
    int32_t best = -1;
    float value = -INFINITY;
    for (int32_t i = 0; i < n; i++) {
        if (l[i] > value) {
            value = l[i];
            best = i;
        }
    }
    return best;
}

/* ---- order: descending logit, ascending id ---- */

static bool comes_before(const float *l, int32_t a, int32_t b) {
    return l[a] > l[b] || (l[a] == l[b] && a < b);
}

static void swap_ids(int32_t *ids, int32_t i, int32_t j) {
    int32_t t = ids[i];
    ids[i] = ids[j];
    ids[j] = t;
}

/* Restores the heap (root comes last in order) below `at`. */
static void sift_down(const float *l, int32_t *ids, int32_t at, int32_t n) {
    for (;;) {
        int32_t child = 2 * at + 1;
        if (child >= n) return;
        if (child + 1 < n && comes_before(l, ids[child], ids[child + 1])) child++;
        if (!comes_before(l, ids[at], ids[child])) return;
        swap_ids(ids, at, child);
        at = child;
    }
}

/* Puts the k first of the order, sorted, at the head of ids[0..n); the rest stays behind them.
 * A heap of the k best so far: O(n log k) worst, O(n) for the usual rows. */
static void sort_first(const float *l, int32_t *ids, int32_t n, int32_t k) {
    for (int32_t i = k / 2 - 1; i >= 0; i--) sift_down(l, ids, i, k);
    for (int32_t i = k; i < n; i++) {
        if (!comes_before(l, ids[i], ids[0])) continue;
        swap_ids(ids, i, 0);
        sift_down(l, ids, 0, k);
    }
    for (int32_t end = k - 1; end > 0; end--) {
        swap_ids(ids, 0, end);
        sift_down(l, ids, 0, end);
    }
}

/* ---- filters ---- */

/* How many of the ids, sorted as far as needed, make up top_p of the mass of all n. */
static int32_t keep_top_p(const float *l, int32_t *ids, int32_t n, int32_t n_sorted, float max,
                          float top_p) {
    double total = 0;
    int32_t sorted = n_sorted;
    if (!sorted) {
        sorted = n < FIRST_PREFIX ? n : FIRST_PREFIX;
        sort_first(l, ids, n, sorted);
        /* Ids behind the prefix stand in no fixed order: sum over the ids themselves. */
        for (int32_t i = 0; i < n; i++) total += (double)mica_exp(l[i] - max);
    } else {
        for (int32_t i = 0; i < n; i++) total += (double)mica_exp(l[ids[i]] - max);
    }
    double want = (double)top_p * total, sum = 0;
    for (int32_t i = 0; i < n; i++) {
        if (i == sorted) {
            int32_t more = sorted > n / 4 ? n : sorted * 4;
            sort_first(l, ids + sorted, n - sorted, more - sorted);
            sorted = more;
        }
        sum += (double)mica_exp(l[ids[i]] - max);
        if (sum >= want) return i + 1;
    }
    return n;
}

static int32_t draw_from(const float *l, const int32_t *ids, int32_t n, float max, double u) {
    double total = 0, sum = 0;
    for (int32_t i = 0; i < n; i++) total += (double)mica_exp(l[ids ? ids[i] : i] - max);
    int32_t last = -1;
    for (int32_t i = 0; i < n; i++) {
        int32_t id = ids ? ids[i] : i;
        double p = (double)mica_exp(l[id] - max);
        if (p > 0) last = id;
        sum += p;
        if (p > 0 && sum > u * total) return id;
    }
    return last;
}

static int32_t filter_and_draw(const float *l, int32_t *ids, int32_t n, const mica_sampling *s,
                               float max, double u) {
    bool has_top_p = s->top_p > 0 && s->top_p < 1;
    bool has_top_k = s->top_k > 0 && s->top_k < n;
    bool has_min_p = s->min_p > 0;
    float min_p = s->min_p < 1 ? s->min_p : 1; /* the largest always stays */
    if (!has_top_p && !has_top_k && !has_min_p) return draw_from(l, NULL, n, max, u);
    for (int32_t i = 0; i < n; i++) ids[i] = i;
    int32_t kept = n, sorted = 0;
    if (has_top_k) {
        sort_first(l, ids, n, s->top_k);
        kept = sorted = s->top_k;
    }
    if (has_top_p) {
        kept = keep_top_p(l, ids, kept, sorted, max, s->top_p);
        sorted = kept;
    }
    if (has_min_p) {
        int32_t n_min = 0;
        for (int32_t i = 0; i < kept; i++)
            if (mica_exp(l[ids[i]] - max) >= min_p) swap_ids(ids, n_min++, i);
        kept = n_min;
        if (!sorted) sort_first(l, ids, kept, kept);
    }
    return draw_from(l, ids, kept, max, u);
}

int32_t mica_sample(const float *logits, int32_t n, const mica_sampling *sampling,
                    const int32_t *history, size_t n_history, uint64_t position,
                    float *scratch_floats, int32_t *scratch_ids) {
    float *l = scratch_floats;
    if (!logits || !sampling || !scratch_floats || !scratch_ids || (n_history && !history))
        return -1;
    for (int32_t i = 0; i < n; i++) l[i] = isnan(logits[i]) ? -INFINITY : logits[i];
    if (has_penalties(sampling)) apply_penalties(l, n, sampling, history, n_history, scratch_ids);
    int32_t best = find_largest(l, n);
    if (best < 0 || !(sampling->temperature > 0)) return best;
    /* +inf leaves no distribution: the first largest is the answer. */
    if (isinf(l[best])) return best;
    for (int32_t i = 0; i < n; i++)
        if (!isinf(l[i])) l[i] = l[i] / sampling->temperature;
    if (isinf(l[best])) return best; /* a temperature that is all but 0 */
    return filter_and_draw(l, scratch_ids, n, sampling, l[best],
                           draw_uniform(sampling->seed, position));
}
