/* mica eval: how well a model predicts a text (--ppl), or how far another model or another setting
 * is from it (--kld). Chunks are cut in eval_chunks.c, run in eval_run.c, measured in eval_math.c.
 */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/thread_pool.h"
#include "commands.h"
#include "eval_input.h"
#include "eval_run.h"
#include "report.h"
#include "session.h"

#define CHUNK_DEFAULT 512 /* that of llama-perplexity */

typedef struct eval {
    cli_session session; /* of the first model */
    mica_model *other;   /* of --kld, when it is not the same one */
    mica_model_info info[2];
    mica_numeric_mode mode[2];
    cli_chunk_rule rule;
    cli_eval_input input;
    cli_eval_run run;
    int64_t n_chunks, n_tokens;
    double seconds;
} eval;

/* ---- opening ---- */

static bool is_valid(const cli_options *o, int *code) {
    const char *wrong = NULL;
    if (!o->ppl && !o->kld)
        wrong = "wanted --ppl FILE, or --kld MODEL --text FILE";
    else if (o->ppl && (o->kld || o->text))
        wrong = "--ppl with --kld or --text, wanted one of them";
    else if (o->kld && !o->text)
        wrong = "--kld needs --text FILE";
    else if (o->kld_mode && !o->kld)
        wrong = "--kld-mode without --kld MODEL";
    else if (o->stride.is_set && o->score && strcmp(o->score, "second-half") == 0)
        wrong = "--stride with --score second-half, wanted one of them";
    else if (o->ids && o->no_bos)
        wrong = "--no-bos with --ids: nothing is put in front of ids";
    if (wrong) *code = cli_fail_usage("%s (see mica help eval)", wrong);
    return !wrong;
}

static mica_status open_other(eval *e, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    char path[CLI_PATH_BYTES_MAX];
    const cli_options *o = e->session.options;
    mica_model_options options = {
        .struct_bytes = sizeof options,
        .progress = cli_progress_take,
        .progress_context = &e->session.progress,
    };
    MICA_TRY(cli_session_find_model(&e->session, o->kld, path, err));
    if (strcmp(path, e->session.path) != 0) {
        MICA_TRY(mica_model_open(e->session.runtime, path, &options, &e->other, err));
        cli_progress_clear(&e->session.progress);
    }
    mica_model_get_info(e->other ? e->other : e->session.model, &e->info[1]);
    MICA_REQUIRE(e->info[1].vocab_size == e->info[0].vocab_size, MICA_STATUS_INVALID,
                 "%s has a vocabulary of %lld, %s of %lld: wanted the same", o->arguments[0],
                 (long long)e->info[0].vocab_size, o->kld, (long long)e->info[1].vocab_size);
done:
    return st;
}

static mica_status open_models(eval *e, const cli_options *o, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    MICA_TRY(cli_session_open(&e->session, o, err));
    MICA_TRY(cli_session_open_model(&e->session, false, err));
    mica_model_get_info(e->session.model, &e->info[0]);
    e->mode[0] = e->mode[1] = cli_session_mode(o);
    e->run.n_sides = o->kld ? 2 : 1;
    if (o->kld) MICA_TRY(open_other(e, err));
    if (o->kld_mode) e->mode[1] = strcmp(o->kld_mode, "exact") == 0 ? MICA_EXACT : MICA_FAST;
    if (!o->ids) MICA_TRY(cli_session_open_tokenizer(&e->session, err));
done:
    return st;
}

/* ---- chunks ---- */

static mica_status make_rule(eval *e, const cli_options *o, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    cli_chunk_rule *r = &e->rule;
    int64_t most = e->info[0].context_max;
    if (e->run.n_sides > 1 && e->info[1].context_max < most) most = e->info[1].context_max;
    r->length = o->context.is_set ? o->context.value : CHUNK_DEFAULT;
    if (!o->context.is_set && r->length > most) r->length = most;
    MICA_REQUIRE(r->length <= most, MICA_STATUS_LIMIT,
                 "chunks of %lld tokens, the model goes to %lld", (long long)r->length,
                 (long long)most);
    r->stride = o->stride.value;
    r->scores_half = o->score && strcmp(o->score, "second-half") == 0;
    if (o->no_bos) r->n_prefix = 0;
    MICA_REQUIRE(r->length > r->n_prefix + 1, MICA_STATUS_INVALID,
                 "chunks of %lld tokens, wanted at least %lld", (long long)r->length,
                 (long long)r->n_prefix + 2);
    MICA_REQUIRE(r->stride <= r->length - r->n_prefix, MICA_STATUS_INVALID,
                 "a stride of %lld, a chunk holds %lld tokens of the text", (long long)r->stride,
                 (long long)(r->length - r->n_prefix));
done:
    return st;
}

static mica_status read_input(eval *e, const cli_options *o, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const char *path = o->ppl ? o->ppl : o->text;
    if (o->ids)
        MICA_TRY(cli_eval_input_read_ids(&e->input, path, err));
    else
        MICA_TRY(cli_eval_input_read_text(&e->input, &e->session, path, &e->rule, err));
    MICA_TRY(make_rule(e, o, err));
    MICA_TRY(cli_eval_input_check(&e->input, e->info[0].vocab_size, err));
    for (size_t i = 0; i < e->input.n_documents; i++) {
        int64_t n = 0;
        cli_eval_input_document(&e->input, i, &n);
        e->n_chunks += cli_chunk_count(&e->rule, n);
        e->n_tokens += n;
    }
    MICA_REQUIRE(e->n_chunks > 0, MICA_STATUS_INVALID,
                 "%s: %lld tokens, nothing to score (the first one has nothing in front of it)",
                 e->input.name, (long long)e->n_tokens);
done:
    return st;
}

/* No progress callback: the chunks are the progress. */
static mica_status open_engines(eval *e, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    for (size_t i = 0; i < e->run.n_sides; i++) {
        mica_engine_options options = {
            .struct_bytes = sizeof options,
            .mode = e->mode[i],
            .context = e->rule.length,
            .chunk_tokens = CLI_EVAL_BLOCK,
        };
        const mica_model *model = i == 1 && e->other ? e->other : e->session.model;
        MICA_TRY(mica_engine_create(model, &options, &e->run.sides[i].engine, err));
    }
    MICA_TRY(cli_eval_run_init(&e->run, e->info[0].vocab_size, err));
done:
    return st;
}

/* ---- running ---- */

static mica_status run_document(eval *e, size_t document, cli_chunk *chunk, int64_t *done_chunks,
                                mica_error *err) {
    int64_t n = 0;
    const int32_t *ids = cli_eval_input_document(&e->input, document, &n);
    int64_t count = cli_chunk_count(&e->rule, n);
    for (int64_t i = 0; i < count; i++, ++*done_chunks) {
        cli_progress_take(&e->session.progress, "eval", (uint64_t)*done_chunks,
                          (uint64_t)e->n_chunks);
        cli_chunk_cut(&e->rule, ids, n, i, chunk);
        mica_status st = cli_eval_run_chunk(&e->run, chunk, err);
        if (st == MICA_STATUS_CANCELLED) return st;
        if (st != MICA_STATUS_OK)
            return mica_fail_prefix(err, st, "chunk %lld", (long long)*done_chunks);
        if (e->session.options->verbose)
            cli_note("chunk %lld of %lld: mean NLL so far %.6f", (long long)*done_chunks + 1,
                     (long long)e->n_chunks, cli_mean_value(&e->run.result.nll[0]));
    }
    return MICA_STATUS_OK;
}

static mica_status run_documents(eval *e, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    double start = mica_clock_seconds();
    int64_t done_chunks = 0;
    cli_chunk chunk = {.ids = calloc((size_t)e->rule.length, sizeof *chunk.ids)};
    MICA_REQUIRE(chunk.ids, MICA_STATUS_OUT_OF_MEMORY, "out of memory: a chunk");
    for (size_t i = 0; i < e->input.n_documents; i++)
        MICA_TRY(run_document(e, i, &chunk, &done_chunks, err));
    e->seconds = mica_clock_seconds() - start;
    cli_sort(e->run.result.divergences, (size_t)e->run.result.divergence.n);
done:
    cli_progress_clear(&e->session.progress);
    free(chunk.ids);
    return st;
}

/* ---- results ---- */

static const struct {
    const char *text, *key;
    double share;
} percentiles[] = {
    {"median", "median", 0.5},  {"90 %", "p90", 0.9},  {"99 %", "p99", 0.99},
    {"99.9 %", "p99_9", 0.999}, {"largest", "max", 1},
};
#define N_PERCENTILES (sizeof percentiles / sizeof *percentiles)

static double share_same(const cli_eval_result *r) {
    return (double)r->n_same_top / (double)r->divergence.n;
}

/* Standard error of a share of n positions. */
static double share_error(double share, int64_t n) {
    return n > 1 ? sqrt(share * (1 - share) / (double)(n - 1)) : 0;
}

static const char *mode_name(mica_numeric_mode mode) {
    return mode == MICA_EXACT ? "exact" : "fast";
}

static void print_rule(const eval *e) {
    const cli_chunk_rule *r = &e->rule;
    cli_output_format("%lld of %lld tokens scored, in %lld chunk%s of up to %lld",
                      (long long)e->run.result.nll[0].n, (long long)e->n_tokens,
                      (long long)e->n_chunks, e->n_chunks == 1 ? "" : "s", (long long)r->length);
    if (r->stride && r->stride < r->length - r->n_prefix)
        cli_output_format(", one every %lld", (long long)r->stride);
    cli_output_format("%s%s\n", r->n_prefix ? ", each begins with BOS" : "",
                      r->scores_half ? ", second halves" : "");
}

static void print_likelihood(const char *label, const cli_mean *nll) {
    double mean = cli_mean_value(nll), error = cli_mean_error(nll);
    cli_output_format("%smean NLL     %.6f +/- %.6f nats\n", label, mean, error);
    cli_output_format("%sperplexity   %.4f +/- %.4f\n", label, exp(mean), exp(mean) * error);
}

static void print_comparison(const eval *e) {
    const cli_eval_result *r = &e->run.result;
    const cli_options *o = e->session.options;
    cli_output_format("A, the reference: %s (%s); B: %s (%s)\n", o->arguments[0],
                      mode_name(e->mode[0]), o->kld, mode_name(e->mode[1]));
    print_likelihood("A ", &r->nll[0]);
    print_likelihood("B ", &r->nll[1]);
    cli_output_format("NLL of B - A   %.6f +/- %.6f nats\n", cli_mean_value(&r->change),
                      cli_mean_error(&r->change));
    cli_output_format("KL(A || B)     mean %.3e +/- %.1e nats\n", cli_mean_value(&r->divergence),
                      cli_mean_error(&r->divergence));
    for (size_t i = 0; i < N_PERCENTILES; i++)
        cli_output_format(
            "               %s %.3e\n", percentiles[i].text,
            cli_percentile(r->divergences, (size_t)r->divergence.n, percentiles[i].share));
    double same = share_same(r);
    cli_output_format("same top token %.3f %% +/- %.3f %%\n", same * 100,
                      share_error(same, r->divergence.n) * 100);
}

/* A number, or null where JSON has none. */
static json_t *number(double value) { return isfinite(value) ? json_real(value) : json_null(); }

static json_t *likelihood_json(const cli_mean *nll) {
    double mean = cli_mean_value(nll), error = cli_mean_error(nll);
    return json_pack("{s:o,s:o,s:o,s:o}", "nll", number(mean), "nll_error", number(error),
                     "perplexity", number(exp(mean)), "perplexity_error",
                     number(exp(mean) * error));
}

static json_t *divergence_json(const cli_eval_result *r) {
    double same = share_same(r);
    json_t *object = json_pack(
        "{s:o,s:o,s:o,s:o,s:o,s:o}", "mean", number(cli_mean_value(&r->divergence)), "mean_error",
        number(cli_mean_error(&r->divergence)), "same_top", number(same), "same_top_error",
        number(share_error(same, r->divergence.n)), "nll_change",
        number(cli_mean_value(&r->change)), "nll_change_error", number(cli_mean_error(&r->change)));
    for (size_t i = 0; object && i < N_PERCENTILES; i++)
        json_object_set_new(
            object, percentiles[i].key,
            number(cli_percentile(r->divergences, (size_t)r->divergence.n, percentiles[i].share)));
    return object;
}

static json_t *result_json(const eval *e) {
    const cli_eval_result *r = &e->run.result;
    const cli_options *o = e->session.options;
    json_t *object = json_pack(
        "{s:s,s:s,s:I,s:I,s:I,s:I,s:s,s:b,s:f,s:o}", "model", o->arguments[0], "mode",
        mode_name(e->mode[0]), "tokens", (json_int_t)e->n_tokens, "scored", (json_int_t)r->nll[0].n,
        "chunks", (json_int_t)e->n_chunks, "chunk_tokens", (json_int_t)e->rule.length, "score",
        e->rule.scores_half ? "second-half" : "all", "bos", (int)(e->rule.n_prefix > 0), "seconds",
        e->seconds, "likelihood", likelihood_json(&r->nll[0]));
    if (!object) return NULL;
    if (e->rule.stride)
        json_object_set_new(object, "stride", json_integer((json_int_t)e->rule.stride));
    if (e->run.n_sides < 2) return object;
    json_object_set_new(object, "other", json_string(o->kld));
    json_object_set_new(object, "other_mode", json_string(mode_name(e->mode[1])));
    json_object_set_new(object, "other_likelihood", likelihood_json(&r->nll[1]));
    json_object_set_new(object, "divergence", divergence_json(r));
    return object;
}

static mica_status print_results(const eval *e, mica_error *err) {
    if (!e->session.options->json) {
        print_rule(e);
        if (e->run.n_sides > 1)
            print_comparison(e);
        else
            print_likelihood("", &e->run.result.nll[0]);
        return MICA_STATUS_OK;
    }
    json_t *object = result_json(e);
    char *text = object ? json_dumps(object, 0) : NULL;
    if (text) cli_output_format("%s\n", text);
    json_decref(object);
    mica_status st =
        text ? MICA_STATUS_OK : mica_fail(err, MICA_STATUS_OUT_OF_MEMORY, "out of memory: JSON");
    free(text);
    return st;
}

int cmd_eval(const cli_options *o) {
    mica_status st = MICA_STATUS_OK;
    mica_error err = {0};
    eval e = {0};
    int code = CLI_OK;
    if (!is_valid(o, &code)) return code;
    MICA_TRY(open_models(&e, o, &err));
    MICA_TRY(read_input(&e, o, &err));
    MICA_TRY(open_engines(&e, &err));
    MICA_TRY(run_documents(&e, &err));
    MICA_TRY(print_results(&e, &err));
done:
    cli_eval_run_deinit(&e.run);
    mica_model_close(&e.other);
    cli_eval_input_deinit(&e.input);
    cli_session_close(&e.session);
    code = cli_output_close();
    return st == MICA_STATUS_OK ? code : cli_fail_error(&err);
}
