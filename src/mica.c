/* The composition root: the only file that knows every op, pass list, backend and family. It opens
 * the runtime and gives the text modules, which know no runtime, their public entry points. */
#include "mica/mica.h"
#include <stdio.h>
#include <string.h>
#include "backend/cpu/cpu.h"
#include "backend/null/null.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "core/runtime.h"
#include "format/gguf_tokenizer.h"
#include "hub/resolve.h"
#include "plan/plan.h"
#include "plan/tuning.h"
#include "text/template.h"
#include "text/tokenizer.h"

/* ---- what is built in ---- */

#define MICA_OP(name) extern const mica_op mica_op_##name;
#include "core/ops.def"
#undef MICA_OP

static const mica_op *const op_table[MICA_OP_COUNT_] = {
#define MICA_OP(name) [MICA_OP_##name] = &mica_op_##name,
#include "core/ops.def"
#undef MICA_OP
};

static const mica_backend *const backends[] = {
    &mica_backend_cpu,
    &mica_backend_null,
};

/* ---- runtime ---- */

static const mica_backend *find_backend(const char *name) {
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++)
        if (strcmp(backends[i]->name, name) == 0) return backends[i];
    return NULL;
}

/* Options of an older caller are shorter: what is missing is zero. */
static mica_runtime_options read_options(const mica_runtime_options *options) {
    mica_runtime_options o = {0};
    if (!options) return o;
    size_t bytes = options->struct_bytes;
    memcpy(&o, options, bytes && bytes < sizeof o ? bytes : sizeof o);
    return o;
}

static mica_status copy_names(char out[MICA_PASS_NAMES_MAX], const char *names, mica_error *err) {
    if (!names) return MICA_STATUS_OK;
    if (strlen(names) >= MICA_PASS_NAMES_MAX)
        return mica_fail(err, MICA_STATUS_LIMIT, "a list of pass names of more than %d bytes",
                         MICA_PASS_NAMES_MAX - 1);
    snprintf(out, MICA_PASS_NAMES_MAX, "%s", names);
    return MICA_STATUS_OK;
}

static mica_status open_default_device(mica_runtime *rt, const mica_runtime_options *o,
                                       mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const char *name = o->backend ? o->backend : "cpu";
    const mica_backend *backend = find_backend(name);
    mica_device_options options = {.n_threads = o->n_threads, .level_max = o->cpu_level};
    MICA_REQUIRE(backend, MICA_STATUS_UNAVAILABLE, "backend \"%s\": this build has cpu and null",
                 name);
    MICA_TRY(backend->probe(&rt->host, err));
    MICA_TRY(backend->open(&rt->host, &options, &rt->device, err));
    backend->limits(rt->device, &rt->limits);
done:
    return st;
}

mica_status mica_runtime_open(const mica_runtime_options *options, mica_runtime **out,
                              mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_runtime_options o = read_options(options);
    const mica_allocator *allocator = o.allocator ? o.allocator : mica_allocator_default();
    mica_runtime *rt = NULL;
    MICA_REQUIRE(out, MICA_STATUS_INVALID, "mica_runtime_open: no place for the result");
    MICA_REQUIRE(allocator->allocate && allocator->reallocate && allocator->release,
                 MICA_STATUS_INVALID, "mica_runtime_open: an allocator lacks a function");
    MICA_REQUIRE(o.n_threads >= 0 && o.n_threads <= MICA_THREADS_MAX, MICA_STATUS_INVALID,
                 "%d threads, wanted 0 to %d", o.n_threads, MICA_THREADS_MAX);
    rt = MICA_NEW(allocator, mica_runtime);
    MICA_REQUIRE(rt, MICA_STATUS_OUT_OF_MEMORY, "out of memory: runtime");
    rt->host = (mica_host){.allocator = allocator,
                           .log = o.log,
                           .log_context = o.log_context,
                           .log_level = o.log_level};
    rt->ops = op_table;
    rt->backends = backends;
    rt->n_backends = sizeof backends / sizeof *backends;
    rt->plan_build = mica_plan_build;
    rt->dump_callback = o.dump_callback;
    rt->dump_context = o.dump_context;
    rt->mode = MICA_EXACT; /* graphs of users; a model chooses its own */
    MICA_TRY(copy_names(rt->no_pass, o.no_pass, err));
    MICA_TRY(copy_names(rt->dump, o.dump, err));
    MICA_TRY(mica_plan_check_names(rt->no_pass, rt->dump, err));
    MICA_TRY(open_default_device(rt, &o, err));
    if (o.autotune_path) MICA_TRY(mica_tuning_open(&rt->host, o.autotune_path, &rt->tuning, err));
    rt->memory_budget_bytes =
        o.memory_budget_bytes ? o.memory_budget_bytes : rt->limits.memory_bytes;
    *out = rt;
    rt = NULL;
done:
    mica_runtime_close(&rt);
    return st;
}

void mica_runtime_close(mica_runtime **runtime) {
    mica_runtime *rt = runtime ? *runtime : NULL;
    if (!rt) return;
    *runtime = NULL;
    mica_tuning_close(&rt->tuning);
    mica_buffer_release(&rt->arena);
    if (rt->device) rt->device->backend->close(rt->device);
    mica_free(rt->host.allocator, rt);
}

void mica_runtime_get_info(const mica_runtime *rt, mica_runtime_info *out) {
    if (!rt || !out) return;
    *out = (mica_runtime_info){
        .backend = rt->device->backend->name,
        .device = rt->limits.name,
        .level = rt->limits.level,
        .features = rt->limits.feature_names,
        .n_threads = rt->limits.n_workers,
        .memory_budget_bytes = rt->memory_budget_bytes,
    };
}

void mica_runtime_get_stats(const mica_runtime *rt, mica_runtime_stats *out) {
    mica_run_stats run = {0};
    if (!rt || !out) return;
    rt->device->backend->stats(rt->device, &run);
    *out = (mica_runtime_stats){
        .n_plans_built = rt->n_plans_built,
        .n_runs = run.n_runs,
        .n_steps = run.n_steps,
        .arena_bytes = rt->arena_bytes,
        .arena_peak_bytes = rt->arena_peak_bytes,
        .weight_bytes = atomic_load(&rt->weight_bytes),
        .kv_bytes = atomic_load(&rt->kv_bytes),
    };
}

/* ---- text ---- */

/* The text modules know no model formats: of a GGUF file they get texts. */
static mica_status open_gguf_tokenizer(const mica_host *host, const char *path,
                                       mica_tokenizer **out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_gguf *gguf = NULL;
    mica_str text;
    mica_str_init(&text, host->allocator);
    MICA_TRY(mica_gguf_open(host, path, &gguf, err));
    MICA_TRY(mica_gguf_tokenizer_text(gguf, &text, err));
    MICA_TRY(mica_tokenizer_create(host, mica_gguf_name(gguf), text.data, text.bytes, out, err));
done:
    mica_str_deinit(&text);
    mica_gguf_close(&gguf);
    return st;
}

static mica_status open_gguf_template(const mica_host *host, const char *path, bool for_tools,
                                      mica_chat_template **out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_gguf *gguf = NULL;
    mica_slice source = {0};
    mica_str tokens;
    mica_str_init(&tokens, host->allocator);
    MICA_TRY(mica_gguf_open(host, path, &gguf, err));
    MICA_TRY(mica_gguf_chat_template(gguf, for_tools, &source, err));
    MICA_TRY(mica_gguf_special_tokens_text(gguf, &tokens, err));
    MICA_TRY(mica_chat_template_create(host, source.data, source.bytes, tokens.data, out, err));
done:
    mica_str_deinit(&tokens);
    mica_gguf_close(&gguf);
    return st;
}

mica_status mica_tokenizer_open(mica_runtime *runtime, const char *path, mica_tokenizer **out,
                                mica_error *err) {
    if (!runtime || !path || !out)
        return mica_fail(err, MICA_STATUS_INVALID, "mica_tokenizer_open: an argument is NULL");
    bool is_gguf;
    mica_status st = mica_gguf_is_file(&runtime->host, path, &is_gguf, err);
    if (st != MICA_STATUS_OK) return st;
    return is_gguf ? open_gguf_tokenizer(&runtime->host, path, out, err)
                   : mica_tokenizer_load(&runtime->host, path, out, err);
}

mica_status mica_chat_template_open(mica_runtime *runtime, const char *path, bool for_tools,
                                    mica_chat_template **out, mica_error *err) {
    if (!runtime || !path || !out)
        return mica_fail(err, MICA_STATUS_INVALID, "mica_chat_template_open: an argument is NULL");
    bool is_gguf;
    mica_status st = mica_gguf_is_file(&runtime->host, path, &is_gguf, err);
    if (st != MICA_STATUS_OK) return st;
    return is_gguf ? open_gguf_template(&runtime->host, path, for_tools, out, err)
                   : mica_chat_template_load(&runtime->host, path, for_tools, out, err);
}

/* ---- hub ---- */

mica_status mica_hub_resolve(mica_runtime *runtime, const char *name,
                             const mica_hub_options *options, char *out, size_t capacity,
                             mica_error *err) {
    if (!runtime)
        return mica_fail(err, MICA_STATUS_INVALID, "mica_hub_resolve: an argument is NULL");
    return mica_hub_find(&runtime->host, name, options, out, capacity, err);
}
