/* Log-sum-exp with the largest logit taken out first, so that nothing overflows. */
#include "eval_math.h"
#include <math.h>
#include <stdlib.h>

bool cli_row_measure(const float *logits, size_t n, cli_row *out) {
    size_t top = 0;
    double sum = 0;
    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[top]) top = i;
    double max = n > 0 ? (double)logits[top] : -INFINITY;
    for (size_t i = 0; i < n; i++) sum += exp((double)logits[i] - max);
    *out = (cli_row){.max = max, .log_sum = log(sum), .top = top};
    return isfinite(max) && isfinite(out->log_sum); /* a NaN anywhere makes the sum one */
}

double cli_row_nll(const cli_row *row, const float *logits, size_t id) {
    return row->log_sum - ((double)logits[id] - row->max);
}

double cli_row_divergence(const cli_row *p, const float *p_logits, const cli_row *q,
                          const float *q_logits, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double log_p = (double)p_logits[i] - p->max - p->log_sum;
        double log_q = (double)q_logits[i] - q->max - q->log_sum;
        double weight = exp(log_p);
        if (weight > 0) sum += weight * (log_p - log_q);
    }
    return sum > 0 ? sum : 0; /* rounding may leave -1e-17 */
}

void cli_mean_add(cli_mean *m, double value) {
    double before = value - m->centre;
    m->n++;
    m->sum += value;
    m->centre += before / (double)m->n;
    m->squares += before * (value - m->centre);
}

double cli_mean_value(const cli_mean *m) { return m->n > 0 ? m->sum / (double)m->n : 0; }

double cli_mean_error(const cli_mean *m) {
    if (m->n < 2) return 0;
    return sqrt(m->squares / (double)(m->n - 1) / (double)m->n);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void cli_sort(double *values, size_t n) {
    if (n > 1) qsort(values, n, sizeof *values, compare);
}

double cli_percentile(const double *sorted, size_t n, double share) {
    double at = share * (double)(n - 1);
    size_t low = (size_t)at;
    double part = at - (double)low;
    if (low + 1 >= n) return sorted[n - 1];
    if (part == 0) return sorted[low]; /* infinity times 0 would be NaN */
    return sorted[low] + part * (sorted[low + 1] - sorted[low]);
}
