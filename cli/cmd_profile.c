/* mica profile: where the time of a pass goes, step by step. Like bench it feeds random ids; the
 * passes of the wanted kind are gathered, the others (the prompt before a decode, the first ones)
 * are not. */
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "commands.h"
#include "profile_samples.h"
#include "profile_table.h"
#include "random_ids.h"
#include "report.h"
#include "session.h"

#define REPETITIONS_DEFAULT 20
#define WARM_UP_PASSES 3

typedef struct profile {
    cli_session session;
    mica_model_info info;
    mica_runtime_info machine;
    cli_ceilings ceilings;
    cli_profile_samples samples;
    bool is_prefill;
    int64_t n_prompt; /* tokens of the pass; 1 for decoding */
    int64_t depth;    /* tokens before it */
    size_t n_passes;  /* to gather */
    size_t n_skipped; /* warm-up so far */
    bool failed;      /* no memory for a pass */
    mica_finish finish;
    mica_error error; /* of the request */
} profile;

/* Of a prompt only the last chunk has logits; it is whole, as depth is a multiple of it. */
static bool is_wanted(const profile *p, const mica_profile_pass *pass) {
    return pass->n_tokens == p->n_prompt && pass->n_rows == 1;
}

static void take_pass(void *context, const mica_profile_pass *pass) {
    profile *p = context;
    if (!is_wanted(p, pass) || p->samples.n_passes == p->n_passes) return;
    if (p->n_skipped < WARM_UP_PASSES)
        p->n_skipped++;
    else if (!cli_profile_samples_add(&p->samples, pass))
        p->failed = true;
}

static bool take_event(void *context, const mica_event *event) {
    profile *p = context;
    if (event->finish != MICA_FINISH_NONE) p->finish = event->finish;
    if (event->error) p->error = *event->error;
    return true;
}

/* n_ids random ids, then so many more tokens. */
static mica_status run_once(profile *p, int64_t n_ids, int64_t n_tokens, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_ticket ticket = 0;
    int32_t *ids = cli_random_ids((size_t)n_ids, p->info.vocab_size);
    MICA_REQUIRE(ids, MICA_STATUS_OUT_OF_MEMORY, "out of memory: token ids");
    mica_request request = {
        .struct_bytes = sizeof request,
        .ids = ids,
        .n_ids = (size_t)n_ids,
        .max_tokens = n_tokens,
        .on_event = take_event,
        .context = p,
    };
    p->finish = MICA_FINISH_NONE;
    MICA_TRY(mica_engine_submit(p->session.engine, &request, &ticket, err));
    MICA_TRY(cli_session_run_engine(&p->session, ticket, err));
    MICA_REQUIRE(p->finish != MICA_FINISH_CANCELLED, MICA_STATUS_CANCELLED, "interrupted");
    MICA_REQUIRE(p->finish == MICA_FINISH_LENGTH, MICA_STATUS_INTERNAL, "a run ended early: %s",
                 p->error.message);
    MICA_REQUIRE(!p->failed, MICA_STATUS_OUT_OF_MEMORY, "out of memory: times of a pass");
done:
    free(ids);
    return st;
}

static mica_status run_all(profile *p, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    MICA_TRY(mica_engine_set_profile(p->session.engine, take_pass, p, err));
    if (!p->is_prefill) {
        /* The last pass of the prompt may look like a decoding one: it is a part of the warm-up. */
        int64_t n_ids = p->depth > 0 ? p->depth : 1;
        MICA_TRY(run_once(p, n_ids, (int64_t)p->n_passes + WARM_UP_PASSES + 1, err));
    }
    for (size_t i = 0; p->is_prefill && i < p->n_passes + WARM_UP_PASSES; i++)
        MICA_TRY(run_once(p, p->depth + p->n_prompt, 1, err));
    MICA_REQUIRE(p->samples.n_passes > 0, MICA_STATUS_INTERNAL, "no pass was timed");
    MICA_REQUIRE(cli_profile_samples_finish(&p->samples), MICA_STATUS_OUT_OF_MEMORY,
                 "out of memory: medians");
done:
    return st;
}

static mica_status open_profile(profile *p, const cli_options *o, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    int32_t chunk = 1;
    MICA_TRY(cli_session_open(&p->session, o, err));
    mica_runtime_get_info(p->session.runtime, &p->machine);
    MICA_TRY(cli_session_open_model(&p->session, false, err));
    mica_model_get_info(p->session.model, &p->info);
    MICA_TRY(
        cli_ceilings_measure(p->session.model, p->session.path, &p->machine, &p->ceilings, err));
    while (chunk < p->n_prompt) chunk *= 2;
    mica_engine_options options = {
        .struct_bytes = sizeof options,
        .mode = cli_session_mode(o),
        .context = p->depth + p->n_prompt + (int64_t)p->n_passes + WARM_UP_PASSES + 2,
        .chunk_tokens = p->is_prefill ? chunk : 0,
    };
    MICA_TRY(mica_engine_create(p->session.model, &options, &p->session.engine, err));
done:
    return st;
}

static bool read_profile_options(profile *p, const cli_options *o) {
    p->is_prefill = o->prompt.is_set;
    p->n_prompt = p->is_prefill ? o->prompt.value : 1;
    p->depth = o->depth.value;
    p->n_passes = o->repetitions.is_set ? (size_t)o->repetitions.value : REPETITIONS_DEFAULT;
    if (!p->is_prefill || p->depth == 0) return true;
    /* Chunks are a power of two: only then is the last of them the pass that is wanted. */
    bool is_power = (p->n_prompt & (p->n_prompt - 1)) == 0;
    if (is_power && p->depth % p->n_prompt == 0) return true;
    cli_fail_usage(
        "--depth %lld: with --prompt %lld, wanted a prompt of a power of two that divides "
        "the depth",
        (long long)p->depth, (long long)p->n_prompt);
    return false;
}

int cmd_profile(const cli_options *o) {
    mica_status st = MICA_STATUS_OK;
    mica_error err = {0};
    profile p = {0};
    if (!read_profile_options(&p, o)) return CLI_USAGE;
    MICA_TRY(open_profile(&p, o, &err));
    MICA_TRY(run_all(&p, &err));
    cli_profile_report report = {
        .samples = &p.samples,
        .ceilings = &p.ceilings,
        .machine = &p.machine,
        .model = &p.info,
        .is_exact = o->exact,
        .is_prefill = p.is_prefill,
        .depth = p.depth,
        .all_steps = o->steps,
    };
    if (o->trace) MICA_TRY(cli_profile_trace_write(&p.samples, o->trace, &err));
    MICA_TRY(cli_profile_print(&report, o->format ? o->format : "md", &err));
done:
    cli_profile_samples_deinit(&p.samples);
    cli_session_close(&p.session);
    int written = cli_output_close();
    return st == MICA_STATUS_OK ? written : cli_fail_error(&err);
}
