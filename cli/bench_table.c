/* Speeds as bytes and operations a second, and what part of the ceilings that is. */
#include "bench_table.h"
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/thread_pool.h"
#include "report.h"

#define MIB 1048576.0

/* ---- what is derived ---- */

/* Bytes a second: only for generation, where each token reads weights and KV pages once. */
static double byte_rate(const cli_bench_test *t) { return t->bytes * t->median; }

static double flop_rate(const cli_bench_test *t) {
    return t->flops * t->median / (t->is_prompt ? (double)t->n : 1);
}

/* How near the test came to what the machine could do: 1 = at the ceiling; 0 = not known. */
static double share(const cli_bench *b, const cli_bench_test *t) {
    double flops = t->is_prompt ? t->flops / (double)t->n : t->flops;
    return cli_ceilings_seconds(&b->ceilings, t->bytes, flops) * t->median;
}

static double file_share(const cli_bench *b, const cli_bench_test *t) {
    return b->ceilings.file > 0 ? byte_rate(t) / b->ceilings.file : 0;
}

/* Seconds of a token that its bytes predict, at the rate of the test without a depth. */
static double predicted_seconds(const cli_bench_test *t) {
    return t->depth > 0 && t->shallow_rate > 0 ? t->bytes / t->shallow_rate : 0;
}

static const char *mode_name(const cli_bench *b) {
    return b->session.options->exact ? "exact" : "fast";
}

/* ---- md and csv ---- */

static void print_markdown_head(const cli_bench *b) {
    const mica_runtime_info *m = &b->machine;
    const cli_ceilings *c = &b->ceilings;
    cli_output_format("%s: %.2f GB weights, %.3f GB for a token, ready after %.2f s\n",
                      b->info.architecture, (double)b->info.weight_bytes / 1e9,
                      (double)b->info.weight_bytes_active / 1e9, b->start_seconds);
    cli_output_format("%s, %s, %d threads, %s mode, graph %s\n", m->device, m->level, m->n_threads,
                      mode_name(b), b->is_graph_off ? "off" : "on");
    if (c->read > 0) cli_output_format("ceilings: reads %.1f GB/s", c->read / 1e9);
    if (c->file > 0) cli_output_format(" (mapped weights %.1f)", c->file / 1e9);
    if (c->read > 0) cli_output_format(", multiply-adds %.1f GFLOP/s", c->fma / 1e9);
    if (c->tiles > 0) cli_output_format(", tiles %.1f GFLOP/s", c->tiles / 1e9);
    cli_output_format("%s\n| test | tok/s | slowest | fastest | GB/s | GFLOP/s | share | of mapped "
                      "| ms | by bytes |\n"
                      "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
                      c->read > 0 ? "\n" : "");
}

void cli_bench_print_head(const cli_bench *b, const char *format) {
    if (strcmp(format, "csv") == 0)
        cli_output_format("model,parameters,weight_bytes,mode,level,threads,graph,test,depth,"
                          "median_tok_s,min_tok_s,max_tok_s,gb_s,gflop_s,share,file_share,"
                          "predicted_ms\n");
    else
        print_markdown_head(b);
    cli_output_flush();
}

/* A number, or nothing where it is not known. */
static void print_cell(double value, int decimals, const char *end) {
    if (value > 0)
        cli_output_format("%.*f%s", decimals, value, end);
    else
        cli_output_format("%s", end);
}

static void print_csv_row(const cli_bench *b, const cli_bench_test *t) {
    cli_output_format("%s,%llu,%llu,%s,%s,%d,%s,%s %lld,%lld,%.2f,%.2f,%.2f,", b->info.architecture,
                      (unsigned long long)b->info.n_parameters,
                      (unsigned long long)b->info.weight_bytes, mode_name(b), b->machine.level,
                      b->machine.n_threads, b->is_graph_off ? "off" : "on",
                      t->is_prompt ? "pp" : "tg", (long long)t->n, (long long)t->depth, t->median,
                      t->rates[0], t->rates[t->n_rates - 1]);
    print_cell(byte_rate(t) / 1e9, 2, ",");
    print_cell(flop_rate(t) / 1e9, 2, ",");
    print_cell(share(b, t), 3, ",");
    print_cell(file_share(b, t), 3, ",");
    print_cell(predicted_seconds(t) * 1e3, 3, "\n");
}

static void print_markdown_row(const cli_bench *b, const cli_bench_test *t) {
    cli_output_format("| %s %lld", t->is_prompt ? "pp" : "tg", (long long)t->n);
    if (t->depth > 0) cli_output_format(" @ %lld", (long long)t->depth);
    cli_output_format(" | %.2f | %.2f | %.2f | ", t->median, t->rates[0], t->rates[t->n_rates - 1]);
    print_cell(byte_rate(t) / 1e9, 2, " | ");
    print_cell(flop_rate(t) / 1e9, 1, " | ");
    print_cell(share(b, t), 3, " | ");
    print_cell(file_share(b, t), 3, " | ");
    print_cell((t->is_prompt ? (double)t->n : 1) / t->median * 1e3, 3, " | ");
    print_cell(predicted_seconds(t) * 1e3, 3, " |\n");
}

void cli_bench_print_row(const cli_bench *b, const cli_bench_test *t, const char *format) {
    if (strcmp(format, "csv") == 0)
        print_csv_row(b, t);
    else
        print_markdown_row(b, t);
    cli_output_flush();
}

static mica_runtime_stats get_stats(const cli_bench *b) {
    mica_runtime_stats stats = {0};
    mica_runtime_get_stats(b->session.runtime, &stats);
    return stats;
}

void cli_bench_print_foot(const cli_bench *b, const char *format) {
    double peak = (double)mica_memory_resident_peak();
    double weights = (double)b->info.weight_bytes;
    double kv = (double)mica_engine_kv_bytes(b->session.engine);
    if (strcmp(format, "md") != 0) return;
    cli_output_format("\npeak memory %.1f MiB: weights %.1f, KV cache %.1f, all else %.1f; "
                      "activations %.2f\n",
                      peak / MIB, weights / MIB, kv / MIB, (peak - weights - kv) / MIB,
                      (double)get_stats(b).arena_peak_bytes / MIB);
}

/* ---- json ---- */

json_t *cli_bench_row_json(const cli_bench *b, const cli_bench_test *t) {
    json_t *row = json_pack("{s:s,s:I,s:I,s:f,s:f,s:f,s:f}", "test", t->is_prompt ? "pp" : "tg",
                            "n", (json_int_t)t->n, "depth", (json_int_t)t->depth, "median_tok_s",
                            t->median, "min_tok_s", t->rates[0], "max_tok_s",
                            t->rates[t->n_rates - 1], "flops_per_second", flop_rate(t));
    const struct {
        const char *key;
        double value;
    } more[] = {
        {"bytes_per_second", byte_rate(t)},
        {"share", share(b, t)},
        {"file_share", file_share(b, t)},
        {"seconds", (t->is_prompt ? (double)t->n : 1) / t->median},
        {"predicted_seconds", predicted_seconds(t)},
    };
    for (size_t i = 0; row && i < sizeof more / sizeof *more; i++)
        if (more[i].value > 0 &&
            json_object_set_new(row, more[i].key, json_real(more[i].value)) != 0) {
            json_decref(row);
            row = NULL;
        }
    return row;
}

mica_status cli_bench_print_json(const cli_bench *b, json_t *rows, mica_error *err) {
    const cli_ceilings *c = &b->ceilings;
    json_t *object = json_pack(
        "{s:s,s:I,s:I,s:I,s:s,s:s,s:s,s:s,s:i,s:s,s:f,s:f,s:f,s:f,s:f,s:I,s:I,s:I,s:O}", "model",
        b->info.architecture, "parameters", (json_int_t)b->info.n_parameters, "weight_bytes",
        (json_int_t)b->info.weight_bytes, "weight_bytes_active",
        (json_int_t)b->info.weight_bytes_active, "mode", mode_name(b), "device", b->machine.device,
        "level", b->machine.level, "features", b->machine.features, "threads", b->machine.n_threads,
        "graph", b->is_graph_off ? "off" : "on", "start_seconds", b->start_seconds,
        "read_bytes_per_second", c->read, "file_bytes_per_second", c->file, "fma_flops", c->fma,
        "tile_flops", c->tiles, "kv_bytes", (json_int_t)mica_engine_kv_bytes(b->session.engine),
        "peak_memory_bytes", (json_int_t)mica_memory_resident_peak(), "activation_bytes",
        (json_int_t)get_stats(b).arena_peak_bytes, "results", rows);
    char *text = object ? json_dumps(object, 0) : NULL;
    if (text) cli_output_format("%s\n", text);
    json_decref(object);
    mica_status st =
        text ? MICA_STATUS_OK : mica_fail(err, MICA_STATUS_OUT_OF_MEMORY, "out of memory: JSON");
    free(text);
    return st;
}
