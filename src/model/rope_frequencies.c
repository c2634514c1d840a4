/* Rotary frequencies. All sums in f64, rounded to f32 once, as the published tables are. */
#include "model/rope_frequencies.h"
#include <math.h>
#include "base/error.h"

#define TWO_PI 6.283185307179586476925
#define POSITIONS_MAX (1 << 24) /* angles are exact to f32 below it */

/* Pair i without any extension. */
static double find_plain(double base, int64_t dim, int64_t i) {
    return pow(base, -2.0 * (double)i / (double)dim);
}

/* The (fractional) pair index whose wavelength makes n turns over the original context. */
static double find_pair(double n_turns, double dim, double base, double original_context) {
    return dim * log(original_context / (n_turns * TWO_PI)) / (2 * log(base));
}

static double find_mscale(double factor, double mscale) {
    return factor > 1 ? 0.1 * mscale * log(factor) + 1 : 1;
}

static float find_yarn_scale(const mica_config_rope *y) {
    if (y->attention_factor > 0) return (float)y->attention_factor;
    if (y->mscale > 0 && y->mscale_all_dim > 0)
        return (float)(find_mscale(y->factor, y->mscale) /
                       find_mscale(y->factor, y->mscale_all_dim));
    return (float)find_mscale(y->factor, 1);
}

/* YaRN: high frequencies stay, low ones are divided by the factor, a ramp joins them. */
static void fill_yarn(const mica_config_rope *y, int64_t dim, float *inverse, float *scale) {
    double original = (double)y->original_max_position_embeddings;
    double low = find_pair(y->beta_fast, (double)dim, y->rope_theta, original);
    double high = find_pair(y->beta_slow, (double)dim, y->rope_theta, original);
    if (y->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = low < 0 ? 0 : low;
    high = high > (double)dim - 1 ? (double)dim - 1 : high;
    if (high == low) high += 0.001; /* as transformers: no division by zero */
    for (int64_t i = 0; i < dim / 2; i++) {
        double plain = find_plain(y->rope_theta, dim, i);
        double ramp = ((double)i - low) / (high - low);
        ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
        inverse[i] = (float)(plain * (1 - ramp) + plain / y->factor * ramp);
    }
    *scale = find_yarn_scale(y);
}

/* Llama 3: wavelengths within original / high_freq_factor stay, those past original /
 * low_freq_factor are divided by the factor, a ramp in turns over the original context joins them.
 */
static void fill_llama3(const mica_config_rope *y, int64_t dim, float *inverse) {
    double original = (double)y->original_max_position_embeddings;
    double low = y->low_freq_factor, high = y->high_freq_factor;
    for (int64_t i = 0; i < dim / 2; i++) {
        double plain = find_plain(y->rope_theta, dim, i);
        double n_turns = original * plain / TWO_PI;
        double ramp = (n_turns - low) / (high - low);
        ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
        inverse[i] = (float)((1 - ramp) * plain / y->factor + ramp * plain);
    }
}

/* LongRoPE: one of two lists divides pair by pair. */
static void fill_longrope(const mica_config_rope *y, int64_t dim, int64_t max_position,
                          int64_t length, float *inverse, float *scale) {
    int64_t original = y->original_max_position_embeddings;
    const float *list = length > original ? y->long_factor : y->short_factor;
    double factor = y->has.factor ? y->factor : (double)max_position / (double)original;
    for (int64_t i = 0; i < dim / 2; i++)
        inverse[i] = (float)(find_plain(y->rope_theta, dim, i) / (double)list[i]);
    if (y->attention_factor > 0)
        *scale = (float)y->attention_factor;
    else if (factor > 1)
        *scale = (float)sqrt(1 + log(factor) / log((double)original));
}

/* Dynamic NTK: past max_position the base grows, so that the slowest pair turns as far over the
 * whole length as it did over max_position. */
static void fill_dynamic(const mica_config_rope *y, int64_t dim, int64_t max_position,
                         int64_t length, float *inverse) {
    double n = (double)(length > max_position ? length : max_position);
    double stretch = y->factor * n / (double)max_position - (y->factor - 1);
    double base = y->rope_theta * pow(stretch, (double)dim / (double)(dim - 2));
    for (int64_t i = 0; i < dim / 2; i++) inverse[i] = (float)find_plain(base, dim, i);
}

/* ---- what the kinds need ---- */

static mica_status check_longrope(const mica_config_rope *y, int64_t dim, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    MICA_REQUIRE(y->n_short_factors == dim / 2, MICA_STATUS_FORMAT,
                 "config.json: short_factor has %d numbers, expected %lld", (int)y->n_short_factors,
                 (long long)dim / 2);
    MICA_REQUIRE(y->n_long_factors == dim / 2, MICA_STATUS_FORMAT,
                 "config.json: long_factor has %d numbers, expected %lld", (int)y->n_long_factors,
                 (long long)dim / 2);
    MICA_REQUIRE(y->original_max_position_embeddings > 1, MICA_STATUS_FORMAT,
                 "config.json: longrope with original_max_position_embeddings %lld, expected more",
                 (long long)y->original_max_position_embeddings);
done:
    return st;
}

static mica_status check_kind(const mica_config_rope *y, int64_t dim, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    MICA_REQUIRE(y->type != MICA_ROPE_LLAMA3 || y->high_freq_factor > y->low_freq_factor,
                 MICA_STATUS_FORMAT,
                 "config.json: high_freq_factor %g is not above low_freq_factor %g",
                 y->high_freq_factor, y->low_freq_factor);
    MICA_REQUIRE(y->type != MICA_ROPE_DYNAMIC || y->factor >= 1, MICA_STATUS_FORMAT,
                 "config.json: dynamic rope with factor %g, expected 1 or more", y->factor);
    MICA_REQUIRE(y->type != MICA_ROPE_DYNAMIC || dim > 2, MICA_STATUS_FORMAT,
                 "config.json: dynamic rope of %lld elements a head, expected at least 4",
                 (long long)dim);
    if (y->type == MICA_ROPE_LONGROPE) st = check_longrope(y, dim, err);
done:
    return st;
}

/* ---- public ---- */

mica_status mica_rope_dim(const mica_config_rope *y, int64_t head_dim, int64_t *out,
                          mica_error *err) {
    int64_t dim = (int64_t)((double)head_dim * y->partial_rotary_factor);
    if (dim < 2 || dim % 2 != 0)
        return mica_fail(err, MICA_STATUS_UNSUPPORTED,
                         "config.json: partial_rotary_factor %g of head_dim %lld turns %lld "
                         "elements, expected 2, 4, 6 ...",
                         y->partial_rotary_factor, (long long)head_dim, (long long)dim);
    *out = dim;
    return MICA_STATUS_OK;
}

int64_t mica_rope_context_max(const mica_config_rope *y, int64_t max_position) {
    if (y->type != MICA_ROPE_DYNAMIC || y->factor <= 1) return max_position;
    double stretched = (double)max_position * y->factor;
    return stretched < POSITIONS_MAX ? (int64_t)stretched : POSITIONS_MAX;
}

bool mica_rope_is_by_length(const mica_config_rope *y, int64_t max_position) {
    if (y->type == MICA_ROPE_LONGROPE) return max_position > y->original_max_position_embeddings;
    return mica_rope_context_max(y, max_position) > max_position;
}

int64_t mica_rope_limit(const mica_config_rope *y, int64_t length) {
    int64_t original = y->original_max_position_embeddings;
    if (y->type == MICA_ROPE_LONGROPE) return length <= original ? original : INT64_MAX;
    return y->type == MICA_ROPE_DYNAMIC ? length : INT64_MAX;
}

mica_status mica_rope_frequencies(const mica_config_rope *y, int64_t dim, int64_t max_position,
                                  int64_t length, float *inverse, float *scale, mica_error *err) {
    *scale = 1.0f;
    mica_status st = check_kind(y, dim, err);
    if (st != MICA_STATUS_OK) return st;
    switch (y->type) {
    case MICA_ROPE_DEFAULT:
        for (int64_t i = 0; i < dim / 2; i++) inverse[i] = (float)find_plain(y->rope_theta, dim, i);
        return MICA_STATUS_OK;
    case MICA_ROPE_LINEAR:
        for (int64_t i = 0; i < dim / 2; i++)
            inverse[i] = (float)(find_plain(y->rope_theta, dim, i) / y->factor);
        return MICA_STATUS_OK;
    case MICA_ROPE_DYNAMIC:
        fill_dynamic(y, dim, max_position, length, inverse);
        return st;
    case MICA_ROPE_YARN:
        fill_yarn(y, dim, inverse, scale);
        return MICA_STATUS_OK;
    case MICA_ROPE_LLAMA3:
        fill_llama3(y, dim, inverse);
        return MICA_STATUS_OK;
    case MICA_ROPE_LONGROPE:
        fill_longrope(y, dim, max_position, length, inverse, scale);
        return MICA_STATUS_OK;
    }
    return mica_fail(err, MICA_STATUS_UNSUPPORTED, "config.json: rope type %d has no formula",
                     (int)y->type);
}
