/* Opening things in the order in which they depend on each other. */
#include "session.h"
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include "base/error.h"
#include "base/file.h"
#include "base/thread_pool.h"
#include "environment.h"
#include "interrupt.h"
#include "report.h"
#include "sigbus.h"

#define TEMPERATURE_DEFAULT 0.8f /* for models that state nothing */

static void print_log(void *context, mica_log_level level, const char *text) {
    static const char *const names[] = {"debug", "info", "warning", "error"};
    (void)context;
    cli_note("mica: %s: %s", names[level], text);
}

static void print_dump(void *context, const char *pass, const char *text) {
    (void)context;
    fprintf(stderr, "# pass %s\n%s\n", pass, text);
}

/* Where to remember measured kernels, in a folder that is there; NULL = nowhere. */
static const char *find_kernels(char out[MICA_PATH_BYTES_MAX]) {
    char folder[MICA_PATH_BYTES_MAX];
    mica_error err = {0};
    const char *path = cli_environment_kernels(out, MICA_PATH_BYTES_MAX);
    if (!path) {
        cli_note("mica: --autotune: no cache folder, HOME is not set");
        return NULL;
    }
    mica_format(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    if (mica_path_make_folder(folder, &err) == MICA_STATUS_OK) return path;
    cli_note("mica: --autotune: %s", err.message);
    return NULL;
}

static mica_status open_runtime(cli_session *s, mica_error *err) {
    const cli_options *o = s->options;
    char kernels[MICA_PATH_BYTES_MAX];
    mica_runtime_options options = {
        .struct_bytes = sizeof options,
        .log = print_log,
        .log_level = o->verbose ? MICA_LOG_DEBUG : MICA_LOG_WARNING,
        .n_threads = (int)o->threads.value,
        .cpu_level = o->cpu_level,
        .memory_budget_bytes = (uint64_t)o->memory_bytes.value,
        .no_pass = o->no_pass,
        .dump = o->dump,
        .dump_callback = print_dump,
        .autotune_path = o->autotune ? find_kernels(kernels) : NULL,
    };
    return mica_runtime_open(&options, &s->runtime, err);
}

mica_status cli_session_find_model(const cli_session *s, const char *name,
                                   char out[CLI_PATH_BYTES_MAX], mica_error *err) {
    char cache[MICA_PATH_BYTES_MAX], demo[MICA_PATH_BYTES_MAX];
    mica_hub_options options = {
        .struct_bytes = sizeof options,
        .cache_folder = cli_environment_cache(s->options->cache_folder, cache, sizeof cache),
        .demo_folder = cli_environment_demo(demo, sizeof demo),
    };
    return mica_hub_resolve(s->runtime, name, &options, out, CLI_PATH_BYTES_MAX, err);
}

mica_status cli_session_open(cli_session *s, const cli_options *o, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    *s = (cli_session){.options = o};
    cli_progress_init(&s->progress, !o->verbose && !o->dump);
    MICA_TRY(open_runtime(s, err));
    MICA_TRY(cli_session_find_model(s, o->arguments[0], s->path, err));
    if (o->verbose) cli_note("model at %s", s->path);
done:
    return st;
}

void cli_session_close(cli_session *s) {
    cli_progress_clear(&s->progress);
    mica_engine_destroy(&s->engine);
    mica_chat_template_close(&s->chat_template);
    mica_tokenizer_close(&s->tokenizer);
    mica_model_close(&s->model);
    if (s->runtime) mica_runtime_close(&s->runtime);
}

mica_status cli_session_open_model(cli_session *s, bool check_only, mica_error *err) {
    double start = mica_clock_seconds();
    mica_model_options options = {
        .struct_bytes = sizeof options,
        .check_only = check_only,
        .progress = cli_progress_take,
        .progress_context = &s->progress,
    };
    mica_status st = mica_model_open(s->runtime, s->path, &options, &s->model, err);
    cli_progress_clear(&s->progress);
    if (st == MICA_STATUS_OK) st = cli_sigbus_check(err);
    s->load_seconds += mica_clock_seconds() - start;
    return st;
}

mica_status cli_session_open_tokenizer(cli_session *s, mica_error *err) {
    double start = mica_clock_seconds();
    mica_status st = mica_tokenizer_open(s->runtime, s->path, &s->tokenizer, err);
    s->load_seconds += mica_clock_seconds() - start;
    return st;
}

mica_status cli_session_open_template(cli_session *s, bool for_tools, mica_error *err) {
    const char *path = s->options->chat_template ? s->options->chat_template : s->path;
    double start = mica_clock_seconds();
    mica_status st = mica_chat_template_open(s->runtime, path, for_tools, &s->chat_template, err);
    s->load_seconds += mica_clock_seconds() - start;
    return st;
}

mica_numeric_mode cli_session_mode(const cli_options *o) {
    return o->exact ? MICA_EXACT : MICA_FAST;
}

mica_status cli_session_open_engine(cli_session *s, int64_t context, mica_error *err) {
    mica_engine_options options = {
        .struct_bytes = sizeof options,
        .mode = cli_session_mode(s->options),
        .context = context ? context : s->options->context.value,
        .progress = cli_progress_take,
        .progress_context = &s->progress,
    };
    return mica_engine_create(s->model, &options, &s->engine, err);
}

/* ---- sampling ---- */

static float pick(cli_number option, bool has, float stated, float otherwise) {
    if (option.is_set) return (float)option.value;
    return has ? stated : otherwise;
}

/* What the model's files say about the temperature, or imply. */
static float model_temperature(const mica_model_sampling *m) {
    if (m->has_do_sample && !m->do_sample) return 0;
    if (m->has_temperature) return m->temperature;
    return m->has_do_sample ? 1.0f : TEMPERATURE_DEFAULT;
}

static uint64_t pick_seed(const cli_options *o) {
    uint64_t seed = 0;
    if (o->seed.is_set) return (uint64_t)o->seed.value;
    if (getentropy(&seed, sizeof seed) != 0) seed = (uint64_t)time(NULL);
    return seed & ((UINT64_C(1) << 53) - 1); /* can be given back by --seed */
}

mica_sampling cli_session_sampling(const cli_session *s) {
    const cli_options *o = s->options;
    mica_model_sampling m = {0};
    mica_model_get_sampling(s->model, &m);
    mica_sampling sampling = {
        .temperature = pick(o->temperature, false, 0, model_temperature(&m)),
        .top_k = o->top_k.is_set ? (int32_t)o->top_k.value
                 : m.has_top_k   ? m.top_k
                                 : 0,
        .top_p = pick(o->top_p, m.has_top_p, m.top_p, 0),
        .min_p = pick(o->min_p, m.has_min_p, m.min_p, 0),
        .repeat_penalty =
            pick(o->repeat_penalty, m.has_repetition_penalty, m.repetition_penalty, 0),
        .presence_penalty = pick(o->presence_penalty, false, 0, 0),
        .frequency_penalty = pick(o->frequency_penalty, false, 0, 0),
        .seed = pick_seed(o),
    };
    if (o->verbose)
        cli_note("temperature %g, top-k %d, top-p %g, min-p %g, seed %llu",
                 (double)sampling.temperature, (int)sampling.top_k, (double)sampling.top_p,
                 (double)sampling.min_p, (unsigned long long)sampling.seed);
    return sampling;
}

mica_status cli_session_run_engine(cli_session *s, mica_ticket ticket, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    bool is_cancelled = false;
    while (st == MICA_STATUS_OK && mica_engine_is_busy(s->engine)) {
        if (!is_cancelled && cli_interrupt_is_requested()) {
            mica_engine_cancel(s->engine, ticket);
            is_cancelled = true;
        }
        st = mica_engine_step(s->engine, err);
        if (st == MICA_STATUS_OK) st = cli_sigbus_check(err);
    }
    cli_progress_clear(&s->progress);
    return st;
}
