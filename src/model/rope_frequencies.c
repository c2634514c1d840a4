/* Rotary frequencies. All sums in f64, rounded to f32 once, as the published tables are. */
#include "model/rope_frequencies.h"
#include <math.h>
#include "base/error.h"

#define TWO_PI 6.283185307179586476925

/* Pair i without any extension. */
static double find_plain(const mica_config_rope *y, int64_t dim, int64_t i) {
    return pow(y->rope_theta, -2.0 * (double)i / (double)dim);
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
        double plain = find_plain(y, dim, i);
        double ramp = ((double)i - low) / (high - low);
        ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
        inverse[i] = (float)(plain * (1 - ramp) + plain / y->factor * ramp);
    }
    *scale = find_yarn_scale(y);
}

/* Llama 3: wavelengths within original / high_freq_factor stay, those past original / low_freq_factor
 * are divided by the factor, a ramp in turns over the original context joins them. */
static void fill_llama3(const mica_config_rope *y, int64_t dim, float *inverse) {
    double original = (double)y->original_max_position_embeddings;
    double low = y->low_freq_factor, high = y->high_freq_factor;
    for (int64_t i = 0; i < dim / 2; i++) {
        double plain = find_plain(y, dim, i);
        double n_turns = original * plain / TWO_PI;
        double ramp = (n_turns - low) / (high - low);
        ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
        inverse[i] = (float)((1 - ramp) * plain / y->factor + ramp * plain);
    }
}

/* LongRoPE below its original length: the short list divides pair by pair. */
static mica_status fill_longrope(const mica_config_rope *y, int64_t dim, int64_t context_max,
                                 float *inverse, float *scale, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    int64_t original = y->original_max_position_embeddings;
    MICA_REQUIRE(y->n_short_factors == dim / 2, MICA_STATUS_FORMAT,
                 "config.json: short_factor has %d numbers, expected %lld", (int)y->n_short_factors,
                 (long long)dim / 2);
    MICA_REQUIRE(context_max <= original, MICA_STATUS_UNSUPPORTED,
                 "config.json: longrope past its original length (%lld tokens, original %lld): the "
                 "table would change with the length",
                 (long long)context_max, (long long)original);
    for (int64_t i = 0; i < dim / 2; i++)
        inverse[i] = (float)(find_plain(y, dim, i) / (double)y->short_factor[i]);
    if (y->attention_factor > 0) *scale = (float)y->attention_factor;
    else if (y->factor > 1) *scale = (float)sqrt(1 + log(y->factor) / log((double)original));
done:
    return st;
}

static mica_status check_kind(const mica_config_rope *y, int64_t context_max, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    MICA_REQUIRE(y->type != MICA_ROPE_LLAMA3 || y->high_freq_factor > y->low_freq_factor,
                 MICA_STATUS_FORMAT,
                 "config.json: high_freq_factor %g is not above low_freq_factor %g",
                 y->high_freq_factor, y->low_freq_factor);
    MICA_REQUIRE(y->type != MICA_ROPE_DYNAMIC || context_max <= y->original_max_position_embeddings,
                 MICA_STATUS_UNSUPPORTED,
                 "config.json: dynamic rope past its original length (%lld tokens, original %lld): "
                 "the table would change with the length",
                 (long long)context_max, (long long)y->original_max_position_embeddings);
done:
    return st;
}

mica_status mica_rope_frequencies(const mica_config_rope *y, int64_t dim, int64_t context_max,
                                  float *inverse, float *scale, mica_error *err) {
    *scale = 1.0f;
    mica_status st = check_kind(y, context_max, err);
    if (st != MICA_STATUS_OK) return st;
    switch (y->type) {
    case MICA_ROPE_DEFAULT:
    case MICA_ROPE_DYNAMIC: /* the base grows only past the original length */
        for (int64_t i = 0; i < dim / 2; i++) inverse[i] = (float)find_plain(y, dim, i);
        return MICA_STATUS_OK;
    case MICA_ROPE_LINEAR:
        for (int64_t i = 0; i < dim / 2; i++)
            inverse[i] = (float)(find_plain(y, dim, i) / y->factor);
        return MICA_STATUS_OK;
    case MICA_ROPE_YARN: fill_yarn(y, dim, inverse, scale); return MICA_STATUS_OK;
    case MICA_ROPE_LLAMA3: fill_llama3(y, dim, inverse); return MICA_STATUS_OK;
    case MICA_ROPE_LONGROPE: return fill_longrope(y, dim, context_max, inverse, scale, err);
    }
    return mica_fail(err, MICA_STATUS_UNSUPPORTED, "config.json: rope type %d has no formula",
                     (int)y->type);
}
