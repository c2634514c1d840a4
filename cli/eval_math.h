/* The arithmetic of mica eval: log-probabilities of rows of logits, means, percentiles. Everything
 * is summed in float64; the logits are float32, as the engine gives them. No I/O, no memory of its
 * own. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A row as a distribution: p(i) = exp(logits[i] - max - log_sum). */
typedef struct cli_row {
    double max;
    double log_sum; /* log of the sum of exp(logits[i] - max), at least 0 */
    size_t top;     /* the first largest logit */
} cli_row;

/* False when the row is no distribution: a NaN, +infinity, or nothing above -infinity. */
bool cli_row_measure(const float *logits, size_t n, cli_row *out);
/* -log p(id) in nats, id < n; infinite for a logit of -infinity. */
double cli_row_nll(const cli_row *row, const float *logits, size_t id);
/* Kullback-Leibler divergence KL(P || Q) = sum of p(i) (log p(i) - log q(i)) in nats, not below 0;
 * infinite where q is 0 and p is not. P is the reference. */
double cli_row_divergence(const cli_row *p, const float *p_logits, const cli_row *q,
                          const float *q_logits, size_t n);

/* Mean and its standard error. Zero is empty. */
typedef struct cli_mean {
    int64_t n;
    double sum;
    double centre;  /* running mean, for squares */
    double squares; /* sum of squared distances from the mean (Welford) */
} cli_mean;
void cli_mean_add(cli_mean *m, double value);
double cli_mean_value(const cli_mean *m);
/* sqrt(variance / n) with the variance over n - 1, as if the values were independent; 0 for n < 2.
 */
double cli_mean_error(const cli_mean *m);

/* Sorts in place. The values hold no NaN. */
void cli_sort(double *values, size_t n);
/* share 0..1 of sorted values, n > 0: linear between neighbours, (n - 1) * share from the first. */
double cli_percentile(const double *sorted, size_t n, double share);
