/* The sampler: penalties, filters and the draw. Nothing is allocated: the caller lends scratch. */
#include "engine/sampler.h"
#include <math.h>
#include <string.h>
#include "kernel/math.h"

#define PHILOX_ROUNDS 10

enum {
    FIRST_PREFIX = 64, /* sorted at first for top_p; grows fourfold while it does not reach p */
    BLOCK = 256,       /* logits that are looked at together; loops of a fixed length become wide */
    LANES = 16,
};

/* exp has an error of 1 ulp, which is 2^-23 of any value down here. */
#define MIN_P_CUT_LEAST 1e-30f
#define MIN_P_CUT_MARGIN 1e-3f

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

/* ---- rows ---- */

/* NaN counts as -inf. */
static float largest_of_block(const float *l) {
    float most[LANES], all = -INFINITY;
    for (int j = 0; j < LANES; j++) most[j] = -INFINITY;
    for (int i = 0; i < BLOCK; i += LANES)
        for (int j = 0; j < LANES; j++) most[j] = l[i + j] > most[j] ? l[i + j] : most[j];
    for (int j = 0; j < LANES; j++) all = most[j] > all ? most[j] : all;
    return all;
}

/* The first largest; -1 when all are -inf or NaN. */
static int32_t find_largest(const float *l, int32_t n) {
    float value = -INFINITY;
    int32_t i = 0, begin = -1;
    for (; i <= n - BLOCK; i += BLOCK) {
        float most = largest_of_block(l + i);
        if (!(most > value)) continue;
        value = most;
        begin = i;
    }
    int32_t best = -1;
    for (; i < n; i++) {
        if (!(l[i] > value)) continue;
        value = l[i];
        best = i;
    }
    if (best >= 0 || begin < 0) return best;
    while (l[begin] != value) begin++;
    return begin;
}

static void copy_row(const float *logits, int32_t n, float *l) {
    int32_t i = 0;
    for (; i <= n - BLOCK; i += BLOCK)
        for (int j = 0; j < BLOCK; j++)
            l[i + j] = logits[i + j] == logits[i + j] ? logits[i + j] : -INFINITY;
    for (; i < n; i++) l[i] = isnan(logits[i]) ? -INFINITY : logits[i];
}

static void scale_row(float *l, int32_t n, float temperature) {
    int32_t i = 0;
    for (; !isinf(temperature) && i <= n - BLOCK; i += BLOCK)
        for (int j = 0; j < BLOCK; j++) l[i + j] = l[i + j] / temperature;
    for (; i < n; i++)
        if (!isinf(l[i])) l[i] = l[i] / temperature;
}

/* mica_exp(l - max) to the bit, for l that are no NaN and not above max. Without branches and in
 * three loops, so that the compiler makes them wide. out may be l. */
static void exp_block(const float *l, float max, float *out) {
    float clamped[BLOCK];
    uint32_t masks[BLOCK]; /* 0: the result is 0 */
    for (int i = 0; i < BLOCK; i++) masks[i] = (uint32_t)(l[i] - max < MICA_EXP_MIN) - 1u;
    for (int i = 0; i < BLOCK; i++)
        clamped[i] = l[i] - max > MICA_EXP_MIN ? l[i] - max : MICA_EXP_MIN;
    for (int i = 0; i < BLOCK; i++) {
        float x = clamped[i];
        float n = (x * MICA_EXP_LOG2E + 12582912.0f) - 12582912.0f;
        float r = (x - n * MICA_EXP_LN2_HIGH) - n * MICA_EXP_LN2_LOW;
        float p = MICA_EXP_P3 + r * MICA_EXP_P4;
        p = MICA_EXP_P2 + r * p;
        p = MICA_EXP_P1 + r * p;
        p = MICA_EXP_P0 + r * p;
        float y = 1.0f + (r + r * r * p);
        int32_t whole = (int32_t)n, half = whole / 2;
        y = y * mica_exp2_integer(half) * mica_exp2_integer(whole - half);
        out[i] = mica_f32_from_bits(mica_bits_from_f32(y) & masks[i]);
    }
}

/* sum plus exp(l - max) of all, in the order of the ids. */
static double add_exps(const float *l, int32_t n, float max, double sum) {
    float p[BLOCK];
    int32_t i = 0;
    for (; i <= n - BLOCK; i += BLOCK) {
        exp_block(l + i, max, p);
        for (int j = 0; j < BLOCK; j++) sum += (double)p[j];
    }
    for (; i < n; i++) sum += (double)mica_exp(l[i] - max);
    return sum;
}

/* ---- penalties ---- */

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
 * A heap of the k best so far: O(n log k) worst, O(n) for the usual rows. is_whole: ids[i] is i, so
 * that logits can be passed over by the block. */
static void sort_first(const float *l, int32_t *ids, int32_t n, int32_t k, bool is_whole) {
    for (int32_t i = k / 2 - 1; i >= 0; i--) sift_down(l, ids, i, k);
    for (int32_t i = k; i < n; i++) {
        if (is_whole && (i - k) % BLOCK == 0)
            while (i <= n - BLOCK && largest_of_block(l + i) < l[ids[0]]) i += BLOCK;
        if (i == n) break;
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
        sort_first(l, ids, n, sorted, true);
        /* Ids behind the prefix stand in no fixed order: sum over the ids themselves. */
        total = add_exps(l, n, max, 0);
    } else {
        for (int32_t i = 0; i < n; i++) total += (double)mica_exp(l[ids[i]] - max);
    }
    double want = (double)top_p * total, sum = 0;
    for (int32_t i = 0; i < n; i++) {
        if (i == sorted) {
            int32_t more = sorted > n / 4 ? n : sorted * 4;
            sort_first(l, ids + sorted, n - sorted, more - sorted, false);
            sorted = more;
        }
        sum += (double)mica_exp(l[ids[i]] - max);
        if (sum >= want) return i + 1;
    }
    return n;
}

/* Of the ids of a row in their own order. l becomes the probabilities; partial is scratch for n
 * ints: the running sums at the ends of the whole blocks. */
static int32_t draw_from_all(float *l, int32_t n, float max, double u, int32_t *partial) {
    int32_t n_blocks = n / BLOCK, block = 0, i = n_blocks * BLOCK;
    double total = 0, sum = 0, before = 0;
    for (int32_t b = 0; b < n_blocks; b++) {
        float *p = l + (int64_t)b * BLOCK;
        exp_block(p, max, p);
        for (int j = 0; j < BLOCK; j++) total += (double)p[j];
        memcpy(partial + 2 * b, &total, sizeof total);
    }
    for (; i < n; i++) total += (double)(l[i] = mica_exp(l[i] - max));
    for (; block < n_blocks; block++, before = sum) {
        memcpy(&sum, partial + 2 * block, sizeof sum);
        if (sum > u * total) break;
    }
    for (i = block * BLOCK; i < n; i++) {
        before += (double)l[i];
        if (l[i] > 0 && before > u * total) return i;
    }
    while (--i > 0 && !(l[i] > 0)) continue; /* u * total was rounded up to total */
    return i;
}

static int32_t draw_from(const float *l, const int32_t *ids, int32_t n, float max, double u) {
    double total = 0, sum = 0;
    for (int32_t i = 0; i < n; i++) total += (double)mica_exp(l[ids[i]] - max);
    int32_t last = -1;
    for (int32_t i = 0; i < n; i++) {
        double p = (double)mica_exp(l[ids[i]] - max);
        if (p > 0) last = ids[i];
        sum += p;
        if (p > 0 && sum > u * total) return ids[i];
    }
    return last;
}

/* Below it a logit less the largest has no chance; the rest is for exp to decide. */
static float find_min_p_cut(float min_p) {
    return min_p > MIN_P_CUT_LEAST ? logf(min_p) - MIN_P_CUT_MARGIN : -INFINITY;
}

static int32_t keep_min_p(const float *l, int32_t *ids, int32_t n, float max, float min_p) {
    float cut = find_min_p_cut(min_p);
    int32_t n_kept = 0;
    for (int32_t i = 0; i < n; i++) {
        float x = l[ids[i]] - max;
        if (x >= cut && mica_exp(x) >= min_p) swap_ids(ids, n_kept++, i);
    }
    return n_kept;
}

static int32_t filter_and_draw(float *l, int32_t *ids, int32_t n, const mica_sampling *s, float max,
                               double u) {
    bool has_top_p = s->top_p > 0 && s->top_p < 1;
    bool has_top_k = s->top_k > 0 && s->top_k < n;
    bool has_min_p = s->min_p > 0;
    float min_p = s->min_p < 1 ? s->min_p : 1; /* the largest always stays */
    if (!has_top_p && !has_top_k && !has_min_p) return draw_from_all(l, n, max, u, ids);
    for (int32_t i = 0; i < n; i++) ids[i] = i;
    int32_t kept = n, sorted = 0;
    if (has_top_k) {
        sort_first(l, ids, n, s->top_k, true);
        kept = sorted = s->top_k;
    }
    if (has_top_p) {
        kept = keep_top_p(l, ids, kept, sorted, max, s->top_p);
        sorted = kept;
    }
    if (has_min_p) {
        kept = keep_min_p(l, ids, kept, max, min_p);
        if (!sorted) sort_first(l, ids, kept, kept, false);
    }
    return draw_from(l, ids, kept, max, u);
}

int32_t mica_sample(const float *logits, int32_t n, const mica_sampling *sampling,
                    const int32_t *history, size_t n_history, uint64_t position,
                    float *scratch_floats, int32_t *scratch_ids) {
    float *l = scratch_floats;
    if (n < 1 || !logits || !sampling || !scratch_floats || !scratch_ids || (n_history && !history))
        return -1;
    bool is_greedy = !(sampling->temperature > 0);
    if (is_greedy && !has_penalties(sampling)) return find_largest(logits, n);
    copy_row(logits, n, l);
    if (has_penalties(sampling)) apply_penalties(l, n, sampling, history, n_history, scratch_ids);
    int32_t best = find_largest(l, n);
    if (best < 0 || is_greedy) return best;
    /* +inf leaves no distribution: the first largest is the answer. */
    if (isinf(l[best])) return best;
    scale_row(l, n, sampling->temperature);
    if (isinf(l[best])) return best; /* a temperature that is all but 0 */
    return filter_and_draw(l, scratch_ids, n, sampling, l[best],
                           draw_uniform(sampling->seed, position));
}
