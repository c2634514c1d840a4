/* Random ids, stop ids ignored: no tokenizer is needed and the lengths are exact. */
#include "bench_tests.h"
#include <stdlib.h>
#include "base/error.h"
#include "base/thread_pool.h"

static bool take_event(void *context, const mica_event *event) {
    cli_bench *b = context;
    if (event->finish != MICA_FINISH_NONE) b->finish = event->finish;
    if (event->error) b->error = *event->error;
    if (event->id < 0) return true;
    b->last_seconds = mica_clock_seconds();
    if (event->n_generated == 1) b->first_seconds = b->last_seconds;
    return true;
}

/* What the ops state for a plan's shapes, taken for the tokens that are there. */
static void count_flops(void *context, const mica_profile_pass *pass) {
    cli_bench *b = context;
    double flops = 0;
    for (size_t i = 0; i < pass->n_steps; i++) flops += (double)pass->steps[i].flops;
    b->flops += flops * pass->n_tokens / pass->n_capacity;
}

/* Seconds of the prefill of n_prompt ids, and of the decoding of all ids but the first. *kept: the
 * request whose pages may be used again; it is kept in its place. */
static mica_status run_once(cli_bench *b, int64_t n_prompt, int64_t n_tokens, mica_ticket *kept,
                            double *prefill, double *decode, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_ticket ticket = 0;
    mica_request request = {
        .struct_bytes = sizeof request,
        .ids = b->ids,
        .n_ids = (size_t)n_prompt,
        .max_tokens = n_tokens,
        .continue_from = *kept,
        .keep = true,
        .on_event = take_event,
        .context = b,
    };
    b->finish = MICA_FINISH_NONE;
    double start = mica_clock_seconds();
    MICA_TRY(mica_engine_submit(b->session.engine, &request, &ticket, err));
    *kept = 0;
    MICA_TRY(cli_session_run_engine(&b->session, ticket, err));
    *kept = ticket;
    MICA_REQUIRE(b->finish != MICA_FINISH_CANCELLED, MICA_STATUS_CANCELLED, "interrupted");
    MICA_REQUIRE(b->finish == MICA_FINISH_LENGTH, MICA_STATUS_INTERNAL, "a run ended early: %s",
                 b->error.message);
    *prefill = b->first_seconds - start;
    *decode = b->last_seconds - b->first_seconds;
done:
    return st;
}

/* Plans are built and pages are touched before the clock counts; a deep cache is filled once. The
 * operations are counted: of the prompt, or of one generated token. */
static mica_status warm_up(cli_bench *b, cli_bench_test *t, int64_t n_prompt, mica_ticket *kept,
                           mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    double prefill = 0, decode = 0;
    mica_engine *e = b->session.engine;
    if (!t->is_prompt)
        MICA_TRY(run_once(b, n_prompt, CLI_WARM_UP_TOKENS, kept, &prefill, &decode, err));
    b->flops = 0;
    MICA_TRY(mica_engine_set_profile(e, count_flops, b, err));
    /* With its pages kept, a prompt's last id alone is computed: that is a generated token. */
    if (t->is_prompt) mica_engine_forget(e, *kept), *kept = 0;
    MICA_TRY(run_once(b, n_prompt, 1, kept, &prefill, &decode, err));
    t->flops = b->flops;
done:
    if (e) mica_engine_set_profile(e, NULL, NULL, NULL);
    return st;
}

static int compare_rates(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *sorted, size_t n) {
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

/* Weights that a token needs, and the KV pages at the middle of the test. */
static mica_status count_bytes(const cli_bench *b, cli_bench_test *t, mica_error *err) {
    mica_memory_estimate memory = {0};
    int64_t context = t->depth + t->n / 2 + 1;
    if (context > b->info.context_max) context = b->info.context_max;
    mica_status st = mica_model_estimate(b->session.model, context,
                                         cli_session_mode(b->session.options), &memory, err);
    t->bytes = (double)b->info.weight_bytes_active + (double)memory.kv_bytes;
    return st;
}

mica_status cli_bench_run(cli_bench *b, cli_bench_test *t, size_t repetitions, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_ticket kept = 0;
    double prefill = 0, decode = 0;
    int64_t n_prompt = t->is_prompt ? t->n : t->depth > 0 ? t->depth : 1;
    t->n_rates = 0;
    MICA_TRY(warm_up(b, t, n_prompt, &kept, err));
    for (size_t i = 0; i < repetitions; i++) {
        cli_progress_take(&b->session.progress, t->is_prompt ? "prompt" : "generate", i,
                          repetitions);
        if (t->is_prompt) mica_engine_forget(b->session.engine, kept), kept = 0;
        MICA_TRY(run_once(b, n_prompt, t->is_prompt ? 1 : t->n + 1, &kept, &prefill, &decode, err));
        t->rates[t->n_rates++] = (double)t->n / (t->is_prompt ? prefill : decode);
    }
    qsort(t->rates, t->n_rates, sizeof *t->rates, compare_rates);
    t->median = median(t->rates, t->n_rates);
    t->bytes = 0;
    if (!t->is_prompt) MICA_TRY(count_bytes(b, t, err));
done:
    cli_progress_clear(&b->session.progress);
    if (b->session.engine) mica_engine_forget(b->session.engine, kept);
    return st;
}
