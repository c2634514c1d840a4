/* Rows of a profile beside the ceilings of the machine. */
#include "profile_table.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "report.h"

static double rate(double amount, double seconds) { return seconds > 0 ? amount / seconds : 0; }

/* How near the row came to the shortest time that its bytes and operations allow: 1 = at it; above
 * where a cache held what the ceiling reads from memory. */
static double share(const cli_profile_report *r, const cli_profile_row *row) {
    return rate(cli_ceilings_seconds(r->ceilings, (double)row->bytes, (double)row->flops),
                row->seconds);
}

static cli_profile_row total(const cli_profile_samples *s) {
    cli_profile_row sum = {.n_steps = s->n_steps, .seconds = s->pass_seconds};
    for (size_t i = 0; i < s->n_steps; i++) {
        sum.bytes += s->rows[i].bytes;
        sum.flops += s->rows[i].flops;
        sum.wait += s->rows[i].wait;
    }
    return sum;
}

static size_t count_barriers(const cli_profile_samples *s) {
    size_t n = 0;
    for (size_t i = 1; i < s->n_steps; i++) n += s->rows[i].has_barrier;
    return n;
}

/* ---- markdown ---- */

static void print_heading(const cli_profile_report *r) {
    const cli_profile_samples *s = r->samples;
    const cli_ceilings *c = r->ceilings;
    cli_output_format("%s: %s, median of %zu passes: %.3f ms (%.1f tok/s)\n",
                      r->model->architecture, r->is_prefill ? "prefill" : "decode", s->n_passes,
                      s->pass_seconds * 1e3, rate(s->n_tokens, s->pass_seconds));
    cli_output_format("%d tokens behind %lld in the cache; bytes and FLOP are those of a plan for "
                      "%d tokens\n",
                      s->n_tokens, (long long)r->depth, s->n_capacity);
    cli_output_format("%s, %s, %d threads, %s mode: reads %.1f GB/s", r->machine->device,
                      r->machine->level, r->machine->n_threads, r->is_exact ? "exact" : "fast",
                      c->read / 1e9);
    if (c->file > 0) cli_output_format(" (mapped weights %.1f)", c->file / 1e9);
    cli_output_format(", %.1f GFLOP/s", c->fma / 1e9);
    if (c->tiles > 0) cli_output_format(", tiles %.1f GFLOP/s", c->tiles / 1e9);
    cli_output_format("\n%zu steps, %zu barriers, start %.1f us\n\n", s->n_steps, count_barriers(s),
                      s->start_seconds * 1e6);
}

static void print_numbers(const cli_profile_report *r, const cli_profile_row *row) {
    cli_output_format(" | %.1f | %.1f | %.1f | %.3f | %.3f | %.2f | %.2f | %.1f |\n",
                      row->seconds * 1e6, 100 * rate(row->seconds, r->samples->pass_seconds),
                      row->wait * 1e6, (double)row->bytes / 1e6, (double)row->flops / 1e6,
                      rate((double)row->bytes, row->seconds) / 1e9,
                      rate((double)row->flops, row->seconds) / 1e9, 100 * share(r, row));
}

static void print_markdown(const cli_profile_report *r) {
    const cli_profile_samples *s = r->samples;
    print_heading(r);
    cli_output_format(
        "%s | us | %% of pass | wait us | MB | MFLOP | GB/s | GFLOP/s | %% of ceiling |\n"
        "%s | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        r->all_steps ? "| node | barrier | kernel | result | weight" : "| kernel | steps",
        r->all_steps ? "| --- | --- | --- | --- | ---" : "| --- | ---");
    for (size_t i = 0; r->all_steps && i < s->n_steps; i++) {
        const cli_profile_row *row = &s->rows[i];
        const char *barrier = row->is_private ? "private" : row->has_barrier && i ? "yes" : "";
        cli_output_format("| %%%u | %s | %s | %s | %s", row->node, barrier, row->kernel,
                          row->result, row->weight ? row->weight : "");
        print_numbers(r, row);
    }
    for (size_t g = 0; !r->all_steps && g < s->n_groups; g++) {
        cli_output_format("| %s | %zu", s->groups[g].kernel, s->groups[g].n_steps);
        print_numbers(r, &s->groups[g]);
    }
    cli_profile_row sum = total(s);
    cli_output_format(r->all_steps ? "| | | all | |" : "| all | %zu", sum.n_steps);
    print_numbers(r, &sum);
}

/* ---- csv ---- */

static void print_csv(const cli_profile_report *r) {
    const cli_profile_samples *s = r->samples;
    size_t n = r->all_steps ? s->n_steps : s->n_groups;
    cli_output_format(
        "node,op,kernel,result,weight,steps,barrier,private,seconds,wait_seconds,bytes,"
        "flops,share\n");
    for (size_t i = 0; i < n; i++) {
        const cli_profile_row *row = r->all_steps ? &s->rows[i] : &s->groups[i];
        if (r->all_steps)
            cli_output_format("%u,%s,%s,\"%s\",%s,1,%d,%d,", row->node, row->op, row->kernel,
                              row->result, row->weight ? row->weight : "", row->has_barrier && i,
                              row->is_private);
        else
            cli_output_format(",%s,%s,,,%zu,,,", row->op, row->kernel, row->n_steps);
        cli_output_format("%.9f,%.9f,%llu,%llu,%.4f\n", row->seconds, row->wait,
                          (unsigned long long)row->bytes, (unsigned long long)row->flops,
                          share(r, row));
    }
}

/* ---- json ---- */

static json_t *row_json(const cli_profile_report *r, const cli_profile_row *row) {
    return json_pack("{s:s,s:I,s:f,s:f,s:I,s:I,s:f}", "kernel", row->kernel, "steps",
                     (json_int_t)row->n_steps, "seconds", row->seconds, "wait_seconds", row->wait,
                     "bytes", (json_int_t)row->bytes, "flops", (json_int_t)row->flops, "share",
                     share(r, row));
}

static json_t *step_json(const cli_profile_report *r, size_t i) {
    const cli_profile_row *row = &r->samples->rows[i];
    json_t *object = row_json(r, row);
    json_t *more = json_pack("{s:I,s:s,s:s,s:s*,s:b,s:b}", "node", (json_int_t)row->node, "op",
                             row->op, "result", row->result, "weight", row->weight, "barrier",
                             row->has_barrier && i, "private", row->is_private);
    if (object && more) json_object_update(object, more);
    json_decref(more);
    return object;
}

static json_t *head_json(const cli_profile_report *r) {
    const cli_profile_samples *s = r->samples;
    const cli_ceilings *c = r->ceilings;
    return json_pack(
        "{s:s,s:s,s:s,s:i,s:s,s:s,s:i,s:i,s:I,s:I,s:f,s:f,s:I,s:I,s:f,s:f,s:f,s:f}", "model",
        r->model->architecture, "device", r->machine->device, "level", r->machine->level, "threads",
        r->machine->n_threads, "mode", r->is_exact ? "exact" : "fast", "work",
        r->is_prefill ? "prefill" : "decode", "tokens", s->n_tokens, "plan_tokens", s->n_capacity,
        "depth", (json_int_t)r->depth, "passes", (json_int_t)s->n_passes, "seconds",
        s->pass_seconds, "start_seconds", s->start_seconds, "n_steps", (json_int_t)s->n_steps,
        "n_barriers", (json_int_t)count_barriers(s), "read_bytes_per_second", c->read,
        "file_bytes_per_second", c->file, "fma_flops", c->fma, "tile_flops", c->tiles);
}

static mica_status print_json(const cli_profile_report *r, mica_error *err) {
    const cli_profile_samples *s = r->samples;
    json_t *object = head_json(r), *kernels = json_array(), *steps = json_array();
    char *text = NULL;
    for (size_t g = 0; g < s->n_groups; g++)
        json_array_append_new(kernels, row_json(r, &s->groups[g]));
    for (size_t i = 0; i < s->n_steps; i++) json_array_append_new(steps, step_json(r, i));
    /* An append that found no memory leaves the list short. */
    if (object && json_array_size(kernels) == s->n_groups && json_array_size(steps) == s->n_steps &&
        json_object_set(object, "kernels", kernels) == 0 &&
        json_object_set(object, "steps", steps) == 0)
        text = json_dumps(object, 0);
    if (text) cli_output_format("%s\n", text);
    free(text);
    json_decref(kernels);
    json_decref(steps);
    json_decref(object);
    return text ? MICA_STATUS_OK : mica_fail(err, MICA_STATUS_OUT_OF_MEMORY, "out of memory: JSON");
}

mica_status cli_profile_print(const cli_profile_report *r, const char *format, mica_error *err) {
    if (strcmp(format, "json") == 0) return print_json(r, err);
    if (strcmp(format, "csv") == 0)
        print_csv(r);
    else
        print_markdown(r);
    return MICA_STATUS_OK;
}
