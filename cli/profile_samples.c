/* Gathering. A step's time is counted from its begin to the begin of the next one, so that all
 * steps, with the start, add up to the pass and waiting is charged to the step that was uneven. */
#include "profile_samples.h"
#include <stdlib.h>
#include <string.h>

static char *copy_text(const char *text) {
    size_t bytes = strlen(text) + 1;
    char *copy = malloc(bytes);
    return copy ? memcpy(copy, text, bytes) : NULL;
}

static bool copy_rows(cli_profile_samples *s, const mica_profile_pass *pass) {
    s->rows = calloc(pass->n_steps + 1, sizeof *s->rows);
    if (!s->rows) return false;
    s->n_steps = pass->n_steps;
    for (size_t i = 0; i < pass->n_steps; i++) {
        const mica_profile_step *step = &pass->steps[i];
        cli_profile_row *row = &s->rows[i];
        *row = (cli_profile_row){
            .op = copy_text(step->op),
            .kernel = copy_text(step->kernel),
            .weight = step->weight ? copy_text(step->weight) : NULL,
            .result = copy_text(step->result),
            .node = step->node,
            .n_steps = 1,
            .bytes = step->bytes,
            .flops = step->flops,
            .has_barrier = step->has_barrier,
            .is_private = step->is_private,
        };
        if (!row->op || !row->kernel || !row->result || (step->weight && !row->weight))
            return false;
    }
    return true;
}

static bool reserve(cli_profile_samples *s, const mica_profile_pass *pass) {
    size_t n_times = pass->n_steps * (size_t)pass->n_workers;
    s->n_tokens = pass->n_tokens;
    s->n_capacity = pass->n_capacity;
    s->n_workers = pass->n_workers;
    s->seconds = calloc(CLI_PASSES_MAX, sizeof *s->seconds);
    s->times = calloc(CLI_PASSES_MAX * n_times + 1, sizeof *s->times);
    return s->seconds && s->times && copy_rows(s, pass);
}

bool cli_profile_samples_add(cli_profile_samples *s, const mica_profile_pass *pass) {
    if (!s->rows && !reserve(s, pass)) return false;
    if (s->n_passes == CLI_PASSES_MAX || pass->n_steps != s->n_steps ||
        pass->n_capacity != s->n_capacity || pass->n_workers != s->n_workers)
        return true;
    size_t n_times = s->n_steps * (size_t)s->n_workers;
    memcpy(s->times + s->n_passes * n_times, pass->times, n_times * sizeof *s->times);
    s->seconds[s->n_passes++] = pass->seconds;
    return true;
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t n) {
    qsort(values, n, sizeof *values, compare_doubles);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* The mean over the workers of what a step took in one pass, and of the waiting in that. */
static double step_seconds(const cli_profile_samples *s, size_t pass, size_t step, double *wait) {
    double all = 0;
    *wait = 0;
    for (int w = 0; w < s->n_workers; w++) {
        const mica_profile_time *t =
            s->times + (pass * (size_t)s->n_workers + (size_t)w) * s->n_steps + step;
        double next = step + 1 < s->n_steps ? t[1].begin : s->seconds[pass];
        all += next - t->begin;
        *wait += next - t->end;
    }
    *wait /= s->n_workers;
    return all / s->n_workers;
}

static void fill_row(cli_profile_samples *s, size_t step, double *seconds, double *waits) {
    for (size_t p = 0; p < s->n_passes; p++) seconds[p] = step_seconds(s, p, step, &waits[p]);
    s->rows[step].seconds = median(seconds, s->n_passes);
    s->rows[step].wait = median(waits, s->n_passes);
}

/* Until the first step began, the median over the passes. */
static double median_start(const cli_profile_samples *s, double *values) {
    for (size_t p = 0; p < s->n_passes; p++) {
        values[p] = 0;
        for (int w = 0; w < s->n_workers && s->n_steps; w++)
            values[p] += s->times[(p * (size_t)s->n_workers + (size_t)w) * s->n_steps].begin;
        values[p] /= s->n_workers;
    }
    return median(values, s->n_passes);
}

static void choose_median_pass(cli_profile_samples *s, double *values) {
    memcpy(values, s->seconds, s->n_passes * sizeof *values);
    s->pass_seconds = median(values, s->n_passes);
    double nearest = -1;
    for (size_t p = 0; p < s->n_passes; p++) {
        double distance = s->seconds[p] - s->pass_seconds;
        if (distance < 0) distance = -distance;
        if (nearest >= 0 && distance >= nearest) continue;
        nearest = distance;
        s->median_pass = p;
    }
}

static int compare_groups(const void *a, const void *b) {
    double x = ((const cli_profile_row *)a)->seconds, y = ((const cli_profile_row *)b)->seconds;
    return (x < y) - (x > y);
}

static void add_to_group(cli_profile_samples *s, const cli_profile_row *row) {
    size_t g = 0;
    while (g < s->n_groups && strcmp(s->groups[g].kernel, row->kernel) != 0) g++;
    cli_profile_row *group = &s->groups[g];
    if (g == s->n_groups) {
        s->n_groups++;
        *group = (cli_profile_row){.op = row->op, .kernel = row->kernel};
    }
    group->n_steps++;
    group->bytes += row->bytes;
    group->flops += row->flops;
    group->seconds += row->seconds;
    group->wait += row->wait;
}

bool cli_profile_samples_finish(cli_profile_samples *s) {
    double *seconds = calloc(s->n_passes + 1, sizeof *seconds);
    double *waits = calloc(s->n_passes + 1, sizeof *waits);
    s->groups = calloc(s->n_steps + 1, sizeof *s->groups);
    bool is_ok = seconds && waits && s->groups;
    for (size_t i = 0; is_ok && i < s->n_steps; i++) {
        fill_row(s, i, seconds, waits);
        add_to_group(s, &s->rows[i]);
    }
    if (is_ok) {
        s->start_seconds = median_start(s, seconds);
        choose_median_pass(s, seconds);
        qsort(s->groups, s->n_groups, sizeof *s->groups, compare_groups);
    }
    free(seconds);
    free(waits);
    return is_ok;
}

void cli_profile_samples_deinit(cli_profile_samples *s) {
    for (size_t i = 0; s->rows && i < s->n_steps; i++) {
        free(s->rows[i].op);
        free(s->rows[i].kernel);
        free(s->rows[i].weight);
        free(s->rows[i].result);
    }
    free(s->rows);
    free(s->times);
    free(s->seconds);
    free(s->groups);
    *s = (cli_profile_samples){0};
}
