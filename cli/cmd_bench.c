/* mica bench: speed of prompts and of generation, beside the bandwidth of the memory. Tokens are
 * random ids and stop ids are ignored, so no tokenizer is needed and the lengths are exact. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "bandwidth.h"
#include "base/error.h"
#include "base/str.h"
#include "base/thread_pool.h"
#include "commands.h"
#include "report.h"
#include "session.h"

#define REPETITIONS_MAX 1000
#define WARM_UP_TOKENS 8

/* One test: pp reads n tokens, tg generates n. */
typedef struct test {
    bool is_prompt;
    int64_t n;
    double rates[REPETITIONS_MAX]; /* tok/s, sorted at the end */
    size_t n_rates;
} test;

typedef struct bench {
    cli_session session;
    mica_model_info info;
    mica_runtime_info machine;
    double bandwidth; /* bytes a second */
    uint64_t random;
    int32_t *ids; /* [ids_max] */
    size_t n_ids_max;
    double first_seconds, last_seconds; /* clock at the first and the last id */
    int64_t n_generated;
    mica_finish finish;
    mica_error error;
} bench;

/* ---- one run ---- */

/* SplitMix64: the same ids on every machine. */
static int32_t random_id(bench *b) {
    uint64_t z = (b->random += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (int32_t)((z ^ (z >> 31)) % (uint64_t)b->info.vocab_size);
}

static bool take_event(void *context, const mica_event *event) {
    bench *b = context;
    if (event->finish != MICA_FINISH_NONE) b->finish = event->finish;
    if (event->error) b->error = *event->error;
    if (event->id < 0) return true;
    b->last_seconds = mica_clock_seconds();
    if (event->n_generated == 1) b->first_seconds = b->last_seconds;
    b->n_generated = event->n_generated;
    return true;
}

/* Seconds of the prefill of n_prompt ids, and of the decoding of all ids but the first. */
static mica_status run_once(bench *b, int64_t n_prompt, int64_t n_tokens, double *prefill,
                            double *decode, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_ticket ticket = 0;
    for (int64_t i = 0; i < n_prompt; i++) b->ids[i] = random_id(b);
    mica_request request = {
        .struct_bytes = sizeof request,
        .ids = b->ids,
        .n_ids = (size_t)n_prompt,
        .max_tokens = n_tokens,
        .on_event = take_event,
        .context = b,
    };
    b->finish = MICA_FINISH_NONE;
    double start = mica_clock_seconds();
    MICA_TRY(mica_engine_submit(b->session.engine, &request, &ticket, err));
    MICA_TRY(cli_session_run_engine(&b->session, ticket, err));
    MICA_REQUIRE(b->finish != MICA_FINISH_CANCELLED, MICA_STATUS_CANCELLED, "interrupted");
    MICA_REQUIRE(b->finish == MICA_FINISH_LENGTH, MICA_STATUS_INTERNAL, "a run ended early: %s",
                 b->error.message);
    *prefill = b->first_seconds - start;
    *decode = b->last_seconds - b->first_seconds;
done:
    return st;
}

static mica_status repeat(bench *b, test *t, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    double prefill = 0, decode = 0;
    double rate = 0;
    if (t->is_prompt) {
        MICA_TRY(run_once(b, t->n, 1, &prefill, &decode, err));
        rate = (double)t->n / prefill;
    } else {
        MICA_TRY(run_once(b, 1, t->n + 1, &prefill, &decode, err));
        rate = (double)t->n / decode;
    }
    t->rates[t->n_rates++] = rate;
done:
    return st;
}

static int compare_rates(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static mica_status run_test(bench *b, test *t, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const cli_options *o = b->session.options;
    size_t n = o->repetitions.is_set ? (size_t)o->repetitions.value : 3;
    double prefill = 0, decode = 0;
    /* Plans are built and pages are touched before the clock counts. */
    MICA_TRY(run_once(b, t->is_prompt ? t->n : 1, t->is_prompt ? 1 : WARM_UP_TOKENS, &prefill,
                      &decode, err));
    for (size_t i = 0; i < n; i++) {
        cli_progress_take(&b->session.progress, t->is_prompt ? "prompt" : "generate", i, n);
        MICA_TRY(repeat(b, t, err));
    }
    qsort(t->rates, t->n_rates, sizeof *t->rates, compare_rates);
done:
    cli_progress_clear(&b->session.progress);
    return st;
}

/* ---- results ---- */

static double median(const test *t) {
    size_t half = t->n_rates / 2;
    return t->n_rates % 2 ? t->rates[half] : (t->rates[half - 1] + t->rates[half]) / 2;
}

/* Bytes of weights a second: only for generation, where each token reads them once. */
static double weight_rate(const bench *b, const test *t) {
    return t->is_prompt ? 0 : median(t) * (double)b->info.weight_bytes_active;
}

static void print_header(const bench *b, const char *format) {
    const mica_runtime_info *m = &b->machine;
    if (strcmp(format, "csv") == 0) {
        cli_output_format("model,parameters,weight_bytes,mode,level,threads,test,median_tok_s,"
                          "min_tok_s,max_tok_s,gb_s,share\n");
        return;
    }
    cli_output_format("%s: %.2f GB weights, %.3f GB for a token\n", b->info.architecture,
                      (double)b->info.weight_bytes / 1e9,
                      (double)b->info.weight_bytes_active / 1e9);
    cli_output_format("%s, %s, %d threads, %s mode, reads %.1f GB/s\n\n", m->device, m->level,
                      m->n_threads, b->session.options->exact ? "exact" : "fast",
                      b->bandwidth / 1e9);
    cli_output_format("| test | tok/s | slowest | fastest | GB/s | share |\n"
                      "| --- | --- | --- | --- | --- | --- |\n");
}

static void print_row(const bench *b, const test *t, const char *format) {
    const char *kind = t->is_prompt ? "pp" : "tg";
    double low = t->rates[0], high = t->rates[t->n_rates - 1], rate = weight_rate(b, t);
    bool is_csv = strcmp(format, "csv") == 0;
    if (is_csv)
        cli_output_format(
            "%s,%llu,%llu,%s,%s,%d,", b->info.architecture,
            (unsigned long long)b->info.n_parameters, (unsigned long long)b->info.weight_bytes,
            b->session.options->exact ? "exact" : "fast", b->machine.level, b->machine.n_threads);
    cli_output_format(is_csv ? "%s %lld,%.2f,%.2f,%.2f," : "| %s %lld | %.2f | %.2f | %.2f | ",
                      kind, (long long)t->n, median(t), low, high);
    if (t->is_prompt)
        cli_output_format(is_csv ? ",\n" : "| |\n");
    else
        cli_output_format(is_csv ? "%.2f,%.3f\n" : "%.2f | %.3f |\n", rate / 1e9,
                          rate / b->bandwidth);
    cli_output_flush();
}

static json_t *row_json(const bench *b, const test *t) {
    json_t *row = json_pack("{s:s,s:I,s:f,s:f,s:f}", "test", t->is_prompt ? "pp" : "tg", "n",
                            (json_int_t)t->n, "median_tok_s", median(t), "min_tok_s", t->rates[0],
                            "max_tok_s", t->rates[t->n_rates - 1]);
    if (!t->is_prompt) {
        json_object_set_new(row, "bytes_per_second", json_real(weight_rate(b, t)));
        json_object_set_new(row, "share", json_real(weight_rate(b, t) / b->bandwidth));
    }
    return row;
}

static mica_status print_json(const bench *b, json_t *rows, mica_error *err) {
    json_t *object = json_pack(
        "{s:s,s:I,s:I,s:I,s:s,s:s,s:s,s:i,s:f,s:I,s:I,s:O}", "model", b->info.architecture,
        "parameters", (json_int_t)b->info.n_parameters, "weight_bytes",
        (json_int_t)b->info.weight_bytes, "weight_bytes_active",
        (json_int_t)b->info.weight_bytes_active, "mode",
        b->session.options->exact ? "exact" : "fast", "device", b->machine.device, "level",
        b->machine.level, "threads", b->machine.n_threads, "read_bytes_per_second", b->bandwidth,
        "kv_bytes", (json_int_t)mica_engine_kv_bytes(b->session.engine), "peak_memory_bytes",
        (json_int_t)mica_memory_resident_peak(), "results", rows);
    char *text = object ? json_dumps(object, 0) : NULL;
    if (text) cli_output_format("%s\n", text);
    json_decref(object);
    mica_status st =
        text ? MICA_STATUS_OK : mica_fail(err, MICA_STATUS_OUT_OF_MEMORY, "out of memory: JSON");
    free(text);
    return st;
}

/* ---- the job ---- */

static cli_counts or_default(const cli_counts *given, const cli_counts *other, int64_t value) {
    if (given->n > 0 || other->n > 0) return *given;
    return (cli_counts){.n = 1, .values = {value}};
}

static int64_t largest(const cli_counts *list) {
    int64_t most = 0;
    for (size_t i = 0; i < list->n; i++)
        if (list->values[i] > most) most = list->values[i];
    return most;
}

static mica_status open_bench(bench *b, const cli_options *o, int64_t context, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    MICA_TRY(cli_bandwidth_measure((int)o->threads.value, &b->bandwidth, err));
    MICA_TRY(cli_session_open(&b->session, o, err));
    mica_runtime_get_info(b->session.runtime, &b->machine);
    MICA_TRY(cli_session_open_model(&b->session, false, err));
    mica_model_get_info(b->session.model, &b->info);
    MICA_TRY(cli_session_open_engine(&b->session, o->context.is_set ? 0 : context, err));
    b->ids = calloc(b->n_ids_max, sizeof *b->ids);
    MICA_REQUIRE(b->ids, MICA_STATUS_OUT_OF_MEMORY, "out of memory: token ids");
done:
    return st;
}

static mica_status run_list(bench *b, const cli_counts *list, bool is_prompt, json_t *rows,
                            mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const char *format = b->session.options->format ? b->session.options->format : "md";
    test *t = calloc(1, sizeof *t);
    MICA_REQUIRE(t, MICA_STATUS_OUT_OF_MEMORY, "out of memory: results");
    for (size_t i = 0; i < list->n; i++) {
        t->is_prompt = is_prompt;
        t->n = list->values[i];
        t->n_rates = 0;
        MICA_TRY(run_test(b, t, err));
        if (rows)
            json_array_append_new(rows, row_json(b, t));
        else
            print_row(b, t, format);
    }
done:
    free(t);
    return st;
}

int cmd_bench(const cli_options *o) {
    mica_status st = MICA_STATUS_OK;
    mica_error err = {0};
    bench b = {0};
    const char *format = o->format ? o->format : "md";
    bool is_json = strcmp(format, "json") == 0;
    cli_counts prompts = or_default(&o->prompt_tokens, &o->generated_tokens, 512);
    cli_counts answers = or_default(&o->generated_tokens, &o->prompt_tokens, 128);
    int64_t most_prompt = largest(&prompts), most_answer = largest(&answers);
    int64_t context = most_prompt > most_answer ? most_prompt : most_answer;
    if (context < WARM_UP_TOKENS) context = WARM_UP_TOKENS;
    json_t *rows = is_json ? json_array() : NULL;
    b.n_ids_max = (size_t)context;
    MICA_TRY(open_bench(&b, o, context + 2, &err));
    if (!is_json) print_header(&b, format);
    MICA_TRY(run_list(&b, &prompts, true, rows, &err));
    MICA_TRY(run_list(&b, &answers, false, rows, &err));
    if (is_json) MICA_TRY(print_json(&b, rows, &err));
    if (strcmp(format, "md") == 0)
        cli_output_format("\npeak memory %.1f MiB, KV cache %.1f MiB\n",
                          (double)mica_memory_resident_peak() / 1048576.0,
                          (double)mica_engine_kv_bytes(b.session.engine) / 1048576.0);
done:
    json_decref(rows);
    free(b.ids);
    cli_session_close(&b.session);
    int written = cli_output_close();
    return st == MICA_STATUS_OK ? written : cli_fail_error(&err);
}
