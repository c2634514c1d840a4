/* Chat templates: finding the source and the special tokens in a model folder, compiling once,
 * rendering with a budget. The language itself is in the jinja_* files. */
#include "text/template.h"
#include <string.h>
#include <time.h>
#include "base/checked.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "text/chat_messages.h"
#include "text/jinja_eval.h"

#define CONFIG_BYTES_MAX (16u << 20) /* of tokenizer_config.json */

struct mica_chat_template {
    const mica_host *host;
    mica_arena arena; /* holds all that follows */
    mica_slice source;
    jinja_program program;
    jinja_value defaults; /* a frozen dictionary: names to values of the template's origin */
};

/* --- compiling --- */
/* Jinja's own preparation: every line end becomes "\n", and one at the end of the source goes. */
static bool copy_source(jinja_run *run, const char *source, size_t bytes, mica_slice *out) {
    char *copy = mica_jinja_alloc(run, bytes + 1, 1);
    if (!copy) return false;
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (source[i] == '\r' && i + 1 < bytes && source[i + 1] == '\n') continue;
        copy[n++] = source[i] == '\r' ? '\n' : source[i];
    }
    if (n > 0 && copy[n - 1] == '\n') n--;
    copy[n] = 0;
    *out = mica_slice_of(copy, n);
    return true;
}

static bool compile(mica_chat_template *t, jinja_run *run, const char *source, size_t bytes,
                    const char *defaults_json) {
    if (bytes > MICA_TEMPLATE_SOURCE_BYTES_MAX)
        return mica_jinja_fail(run, MICA_STATUS_LIMIT,
                               "a template of %zu bytes, at most %u are taken", bytes,
                               MICA_TEMPLATE_SOURCE_BYTES_MAX);
    size_t valid = mica_utf8_valid_prefix(source, bytes, &(bool){false});
    if (valid < bytes)
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "invalid UTF-8 at byte %zu", valid);
    if (!copy_source(run, source, bytes, &t->source) ||
        !mica_jinja_parse(run, t->source, &t->program))
        return false;
    if (!defaults_json) return mica_jinja_dict(run, 0, &t->defaults);
    if (!mica_jinja_read_json(run, "template defaults", defaults_json, strlen(defaults_json), false,
                              &t->defaults))
        return false;
    if (t->defaults.kind != JINJA_DICT)
        return mica_jinja_fail(run, MICA_STATUS_FORMAT, "template defaults: not an object");
    mica_jinja_freeze(&t->defaults);
    return true;
}

mica_status mica_chat_template_create(const mica_host *host, const char *source, size_t bytes,
                                      const char *defaults_json, mica_chat_template **out,
                                      mica_error *err) {
    *out = NULL;
    mica_chat_template *t = MICA_NEW(host->allocator, mica_chat_template);
    if (!t) return mica_fail_memory(err, sizeof *t, "a chat template");
    t->host = host;
    jinja_run run = {.host = host, .err = err, .steps_left = MICA_TEMPLATE_STEPS_MAX};
    mica_arena_init(&run.arena, host->allocator, MICA_TEMPLATE_HEAP_BYTES_MAX);
    bool ok = compile(t, &run, source, bytes, defaults_json);
    t->arena = run.arena;
    if (ok)
        *out = t;
    else {
        mica_fail_prefix(err, run.status, "chat template");
        mica_chat_template_close(&t);
    }
    return run.status;
}

void mica_chat_template_close(mica_chat_template **t) {
    if (!t || !*t) return;
    const mica_host *host = (*t)->host;
    mica_arena_deinit(&(*t)->arena);
    mica_free(host->allocator, *t);
    *t = NULL;
}

mica_slice mica_chat_template_source(const mica_chat_template *t) { return t->source; }

/* --- loading --- */
/* What tokenizer_config.json says that concerns templates. */
typedef struct config_parts {
    mica_str source;   /* the chosen template; empty = none */
    mica_str defaults; /* members of a JSON object: "bos_token":"...", ... */
    bool has_source;
} config_parts;

static mica_status read_template_entry(mica_json *j, bool for_tools, config_parts *parts,
                                       bool *is_chosen, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_slice key, text;
    mica_str name, source;
    mica_str_init(&name, parts->source.allocator);
    mica_str_init(&source, parts->source.allocator);
    MICA_TRY(mica_json_begin_object(j, err));
    while (mica_json_next_key(j, &key)) {
        bool is_name = mica_slice_is(key, "name"), is_source = mica_slice_is(key, "template");
        if (!is_name && !is_source) {
            MICA_TRY(mica_json_skip(j, err));
            continue;
        }
        MICA_TRY(mica_json_read_string(j, &text, err));
        mica_str_append_slice(is_name ? &name : &source, text);
    }
    MICA_TRY(mica_json_check(j, err));
    bool is_tools = mica_slice_is(mica_slice_of(name.data, name.bytes), "tool_use");
    bool is_default = mica_slice_is(mica_slice_of(name.data, name.bytes), "default");
    if ((is_tools && for_tools) || (is_default && !*is_chosen)) {
        *is_chosen = is_tools;
        mica_str_clear(&parts->source);
        mica_str_append(&parts->source, source.data ? source.data : "", source.bytes);
        parts->has_source = true;
    }
    if (name.failed || source.failed) st = mica_fail_memory(err, source.bytes, "a chat template");
done:
    mica_str_deinit(&name);
    mica_str_deinit(&source);
    return st;
}

static mica_status read_template(mica_json *j, bool for_tools, config_parts *parts,
                                 mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_slice text;
    bool is_chosen = false;
    mica_json_kind kind = mica_json_peek(j);
    if (kind == MICA_JSON_NULL) return mica_json_read_null(j, err);
    if (kind == MICA_JSON_ARRAY) {
        MICA_TRY(mica_json_begin_array(j, err));
        while (mica_json_next_item(j))
            MICA_TRY(read_template_entry(j, for_tools, parts, &is_chosen, err));
        return mica_json_check(j, err);
    }
    MICA_TRY(mica_json_read_string(j, &text, err));
    mica_str_append_slice(&parts->source, text);
    parts->has_source = true;
done:
    return st;
}

static void append_default(config_parts *parts, mica_slice name, mica_slice value) {
    if (value.bytes == 0) return; /* an empty special token is none */
    if (parts->defaults.bytes > 1) mica_str_append_char(&parts->defaults, ',');
    mica_json_append_string(&parts->defaults, name);
    mica_str_append_char(&parts->defaults, ':');
    mica_json_append_string(&parts->defaults, value);
}

/* A special token: text, or an object with its text in `content`; anything else is none. */
static mica_status read_token(mica_json *j, mica_slice name, config_parts *parts, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_slice key, text;
    if (mica_json_peek(j) == MICA_JSON_STRING) {
        MICA_TRY(mica_json_read_string(j, &text, err));
        append_default(parts, name, text);
        return st;
    }
    if (mica_json_peek(j) != MICA_JSON_OBJECT) return mica_json_skip(j, err);
    MICA_TRY(mica_json_begin_object(j, err));
    while (mica_json_next_key(j, &key)) {
        if (mica_slice_is(key, "content") && mica_json_peek(j) == MICA_JSON_STRING) {
            MICA_TRY(mica_json_read_string(j, &text, err));
            append_default(parts, name, text);
        } else
            MICA_TRY(mica_json_skip(j, err));
    }
    MICA_TRY(mica_json_check(j, err));
done:
    return st;
}

static mica_status read_config(const mica_host *host, const char *path, bool for_tools,
                               config_parts *parts, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    char *text = NULL;
    size_t bytes = 0;
    mica_json *j = NULL;
    mica_slice key;
    MICA_TRY(mica_file_read_all(host, path, CONFIG_BYTES_MAX, &text, &bytes, err));
    MICA_TRY(mica_json_open(host, path, text, bytes, MICA_JSON_DEPTH_MAX, &j, err));
    MICA_TRY(mica_json_begin_object(j, err));
    while (mica_json_next_key(j, &key)) {
        if (mica_slice_is(key, "chat_template"))
            MICA_TRY(read_template(j, for_tools, parts, err));
        else if (mica_slice_ends_with(key, "_token"))
            MICA_TRY(read_token(j, key, parts, err));
        else
            MICA_TRY(mica_json_skip(j, err));
    }
    MICA_TRY(mica_json_check(j, err));
    MICA_TRY(mica_json_end(j, err));
    if (parts->source.failed || parts->defaults.failed)
        st = mica_fail_memory(err, bytes, "tokenizer_config.json");
done:
    mica_json_close(&j);
    mica_free(host->allocator, text);
    return st;
}

/* The folder of a file. */
static mica_status folder_of(const char *path, char out[MICA_PATH_BYTES_MAX], mica_error *err) {
    const char *slash = strrchr(path, '/');
    size_t bytes = slash ? (size_t)(slash - path) : 1;
    if (bytes >= MICA_PATH_BYTES_MAX) return mica_fail(err, MICA_STATUS_LIMIT, "path too long");
    memcpy(out, slash ? path : ".", bytes);
    if (slash == path) out[bytes++] = '/';
    out[bytes] = 0;
    return MICA_STATUS_OK;
}

typedef struct template_paths {
    char folder[MICA_PATH_BYTES_MAX];
    char source[MICA_PATH_BYTES_MAX]; /* of the .jinja file */
    char config[MICA_PATH_BYTES_MAX];
    bool has_source, has_config;
} template_paths;

static mica_status find_paths(const char *path, template_paths *paths, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_path_kind kind = mica_path_kind_of(path);
    MICA_REQUIRE(kind != MICA_PATH_NONE, MICA_STATUS_NOT_FOUND, "chat template %s: not there",
                 path);
    if (kind == MICA_PATH_FOLDER) {
        MICA_REQUIRE(strlen(path) < MICA_PATH_BYTES_MAX, MICA_STATUS_LIMIT, "path too long");
        memcpy(paths->folder, path, strlen(path) + 1);
        MICA_TRY(mica_path_join(path, "chat_template.jinja", paths->source, err));
        paths->has_source = mica_path_kind_of(paths->source) != MICA_PATH_NONE;
    } else {
        MICA_REQUIRE(strlen(path) < MICA_PATH_BYTES_MAX, MICA_STATUS_LIMIT, "path too long");
        memcpy(paths->source, path, strlen(path) + 1);
        MICA_TRY(folder_of(path, paths->folder, err));
        paths->has_source = true;
    }
    MICA_TRY(mica_path_join(paths->folder, "tokenizer_config.json", paths->config, err));
    paths->has_config = mica_path_kind_of(paths->config) != MICA_PATH_NONE;
done:
    return st;
}

mica_status mica_chat_template_load(const mica_host *host, const char *path, bool for_tools,
                                    mica_chat_template **out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    char *text = NULL;
    size_t bytes = 0;
    template_paths *paths = NULL;
    config_parts parts = {0};
    *out = NULL;
    mica_str_init(&parts.source, host->allocator);
    mica_str_init(&parts.defaults, host->allocator);
    mica_str_append_char(&parts.defaults, '{');
    paths = MICA_NEW(host->allocator, template_paths);
    if (!paths) MICA_TRY(mica_fail_memory(err, sizeof *paths, "paths of a chat template"));
    MICA_TRY(find_paths(path, paths, err));
    if (paths->has_config) MICA_TRY(read_config(host, paths->config, for_tools, &parts, err));
    mica_str_append_char(&parts.defaults, '}');
    if (parts.defaults.failed) MICA_TRY(mica_fail_memory(err, 16, "the template's variables"));
    if (paths->has_source)
        MICA_TRY(mica_file_read_all(host, paths->source, MICA_TEMPLATE_SOURCE_BYTES_MAX, &text,
                                    &bytes, err));
    MICA_REQUIRE(text || parts.has_source, MICA_STATUS_NOT_FOUND,
                 "%s: no chat template (no chat_template.jinja, and no chat_template in "
                 "tokenizer_config.json)",
                 path);
    if (!text) bytes = parts.source.bytes;
    st = mica_chat_template_create(host,
                                   text                ? text
                                   : parts.source.data ? parts.source.data
                                                       : "",
                                   bytes, parts.defaults.data, out, err);
    if (st != MICA_STATUS_OK)
        mica_fail_prefix(err, st, "%s", paths->has_source ? paths->source : paths->config);
done:
    mica_free(host->allocator, text);
    mica_free(host->allocator, paths);
    mica_str_deinit(&parts.source);
    mica_str_deinit(&parts.defaults);
    return st;
}

/* --- rendering --- */
static void set_slot(jinja_state *state, const char *name, jinja_value value) {
    int32_t symbol = mica_jinja_program_symbol(state->program, name);
    if (symbol >= 0) state->scope->slots[symbol] = value;
}

/* Members of a dictionary become variables, as far as the template names them. */
static bool set_variables(jinja_state *state, const jinja_dict *d) {
    for (size_t s = 0; s < state->program->n_symbols; s++) {
        jinja_value key = mica_jinja_text(state->program->symbols[s].name), *found = NULL;
        if (!mica_jinja_dict_find(state->run, d, &key, &found)) return false;
        if (found) state->scope->slots[s] = *found;
    }
    return true;
}

/* Tools that the template never looks at would be dropped silently. */
static bool check_tools(const jinja_state *state, const jinja_dict *variables) {
    const jinja_value *tools = mica_jinja_dict_get(variables, "tools");
    if (!tools || !mica_jinja_truth(tools)) return true;
    int32_t symbol = mica_jinja_program_symbol(state->program, "tools");
    if (symbol >= 0 && state->program->symbols[symbol].is_read) return true;
    return mica_jinja_fail(state->run, MICA_STATUS_UNSUPPORTED,
                           "tools are given, but the chat template does not take tools");
}

static bool prepare_variables(jinja_state *state, const mica_chat_template *t, const char *json,
                              size_t bytes, const mica_render_options *options) {
    jinja_value variables;
    if (!mica_jinja_read_json(state->run, "template variables", json, bytes, true, &variables))
        return false;
    if (variables.kind != JINJA_DICT)
        return mica_jinja_fail(state->run, MICA_STATUS_FORMAT, "template variables: not an object");
    if (!check_tools(state, variables.as.dict)) return false;
    jinja_value *messages = mica_jinja_dict_get(variables.as.dict, "messages");
    if (messages && !mica_chat_messages_normalize(state->run, &t->program, messages)) return false;
    mica_jinja_freeze(&variables);
    /* transformers always passes these three. */
    set_slot(state, "tools", mica_jinja_none());
    set_slot(state, "documents", mica_jinja_none());
    set_slot(state, "add_generation_prompt",
             mica_jinja_bool(options && options->add_generation_prompt));
    return set_variables(state, t->defaults.as.dict) && set_variables(state, variables.as.dict);
}

static bool render(jinja_state *state, const mica_chat_template *t, const char *json, size_t bytes,
                   const mica_render_options *options) {
    jinja_scope scope = {0};
    size_t n = t->program.n_symbols;
    scope.slots = mica_jinja_alloc(state->run, n + 1, sizeof *scope.slots);
    if (!scope.slots) return false;
    memset(scope.slots, 0, (n + 1) * sizeof *scope.slots);
    state->scope = &scope;
    /* An empty text still wants its closing NUL. */
    if (!mica_jinja_append(&state->output, " ", 1, false)) return false;
    mica_jinja_builder_cut(&state->output, 0);
    return prepare_variables(state, t, json, bytes, options) && mica_jinja_render(state);
}

/* Origin marks as runs. */
static mica_status make_runs(const mica_host *host, const jinja_builder *b, mica_rendered *out,
                             mica_error *err) {
    size_t n = b->bytes > 0 ? b->n_marks + 1 : 0;
    mica_text_run *runs = mica_alloc_array(host->allocator, n, sizeof *runs);
    if (!runs) return mica_fail_memory(err, n * sizeof *runs, "the runs of a prompt");
    for (size_t i = 0; i < n; i++)
        runs[i] = (mica_text_run){.end = i + 1 < n ? b->marks[i] : b->bytes,
                                  .from_input = b->input_first != (i % 2 == 1)};
    *out = (mica_rendered){.text = b->data, .bytes = b->bytes, .runs = runs, .n_runs = n};
    return MICA_STATUS_OK;
}

static int64_t deadline_from_now(void) {
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0) return 0;
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec +
           (int64_t)(MICA_TEMPLATE_SECONDS_MAX * 1e9);
}

/* What one render may use. */
typedef struct render_budget {
    int64_t steps;
    size_t heap_bytes, output_bytes;
} render_budget;

static mica_status render_within(const mica_chat_template *t, const render_budget *budget,
                                 mica_slice json, const mica_render_options *options,
                                 mica_rendered *out, mica_error *err) {
    jinja_run run = {.host = t->host,
                     .err = err,
                     .steps_left = budget->steps,
                     .steps_check = budget->steps,
                     .deadline_ns = deadline_from_now(),
                     .now_seconds = options ? options->now_seconds : 0};
    mica_arena_init(&run.arena, t->host->allocator, budget->heap_bytes);
    jinja_state state = {.run = &run, .program = &t->program};
    mica_jinja_builder_init(&state.output, &run);
    state.output.allocator = t->host->allocator;
    state.output.limit_bytes = budget->output_bytes;
    mica_status st = MICA_STATUS_OK;
    if (render(&state, t, json.data, json.bytes, options))
        st = make_runs(t->host, &state.output, out, err);
    else
        st = run.status;
    mica_free(t->host->allocator, state.output.marks);
    if (st != MICA_STATUS_OK) mica_free(t->host->allocator, state.output.data);
    mica_arena_deinit(&run.arena);
    return st;
}

mica_status mica_chat_template_render(const mica_chat_template *t, const char *variables_json,
                                      size_t json_bytes, const mica_render_options *options,
                                      mica_rendered *out, mica_error *err) {
    static const render_budget budget = {MICA_TEMPLATE_STEPS_MAX, MICA_TEMPLATE_HEAP_BYTES_MAX,
                                         MICA_TEMPLATE_OUTPUT_BYTES_MAX};
    *out = (mica_rendered){0};
    if (options && options->struct_bytes != sizeof *options)
        return mica_fail(err, MICA_STATUS_INVALID,
                         "mica_render_options: struct_bytes is %zu, not %zu", options->struct_bytes,
                         sizeof *options);
    return render_within(t, &budget, mica_slice_of(variables_json, json_bytes), options, out, err);
}

void mica_rendered_free(const mica_chat_template *t, mica_rendered *rendered) {
    if (!rendered) return;
    mica_free(t->host->allocator, rendered->text);
    mica_free(t->host->allocator, rendered->runs);
    *rendered = (mica_rendered){0};
}

#ifdef MICA_FUZZ_TEMPLATE
#include "base/fuzz.h"

/* Template, NUL, variables. What renders must be valid UTF-8 and its runs must cover it. */
MICA_FUZZ_ENTRY(template) {
    static const render_budget budget = {50000, 4u << 20, 1u << 20};
    static const char fallback[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"h\\u00e9 "
                                   "<|end|>\"}],\"l\":[3,1,\"b\",null],"
                                   "\"d\":{\"a\":1,\"b\":[2.5]},\"s\":\"a b\\nc\"}";
    const char *text = (const char *)data;
    const char *cut = size > 0 ? memchr(text, 0, size) : NULL;
    mica_slice json = mica_slice_of(fallback, sizeof fallback - 1);
    if (cut) json = mica_slice_of(cut + 1, size - (size_t)(cut - text) - 1);
    mica_chat_template *t = NULL;
    mica_rendered r = {0};
    mica_error err = {0};
    size_t bytes = cut ? (size_t)(cut - text) : size;
    if (mica_chat_template_create(mica_host_default(), text, bytes, NULL, &t, &err) !=
        MICA_STATUS_OK)
        return 0;
    if (render_within(t, &budget, json, NULL, &r, &err) == MICA_STATUS_OK) {
        size_t end = 0;
        for (size_t i = 0; i < r.n_runs; i++) {
            if (r.runs[i].end <= end) __builtin_trap();
            end = r.runs[i].end;
        }
        if (end != r.bytes || !mica_utf8_is_valid(r.text, r.bytes)) __builtin_trap();
        mica_rendered_free(t, &r);
    }
    mica_chat_template_close(&t);
    return 0;
}
#endif
