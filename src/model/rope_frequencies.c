/* Rotary frequencies. All sums in f64, rounded to f32 once, as the published tables are. */
#include "model/rope_frequencies.h"
#include <math.h>
#include "base/error.h"

#define TWO_PI 6.283185307179586476925

/* The (fractional) pair index whose wavelength makes n turns over the original context. */
static double find_pair(double n_turns, double dim, double base, double original_context) {
    return dim * log(original_context / (n_turns * TWO_PI)) / (2 * log(base));
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
        double plain = pow(y->rope_theta, -2.0 * (double)i / (double)dim);
        double ramp = ((double)i - low) / (high - low);
        ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
        inverse[i] = (float)(plain * (1 - ramp) + plain / y->factor * ramp);
    }
    if (y->attention_factor > 0) *scale = (float)y->attention_factor;
    else *scale = y->factor > 1 ? (float)(0.1 * log(y->factor) + 1) : 1.0f;
}

mica_status mica_rope_frequencies(const mica_config_rope *y, int64_t dim, float *inverse, float *scale,
                                  mica_error *err) {
    *scale = 1.0f;
    switch (y->type) {
    case MICA_ROPE_DEFAULT:
        for (int64_t i = 0; i < dim / 2; i++)
            inverse[i] = (float)pow(y->rope_theta, -2.0 * (double)i / (double)dim);
        return MICA_STATUS_OK;
    case MICA_ROPE_LINEAR:
        for (int64_t i = 0; i < dim / 2; i++)
            inverse[i] =
                (float)(pow(y->rope_theta, -2.0 * (double)i / (double)dim) / y->factor);
        return MICA_STATUS_OK;
    case MICA_ROPE_YARN: fill_yarn(y, dim, inverse, scale); return MICA_STATUS_OK;
    default:
        return mica_fail(err, MICA_STATUS_UNSUPPORTED, "config.json: rope type %d has no formula",
                         (int)y->type);
    }
}
