/* mica show: what a model is, and the memory that it needs. Reads configuration and headers only.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/file.h"
#include "commands.h"
#include "report.h"
#include "session.h"

#define MIB 1048576.0

/* The tensors of a model or of a single file, behind one face. */
typedef struct tensor_source {
    const mica_model *model;
    const mica_tensor_list *list;
} tensor_source;

static bool get_tensor(tensor_source source, size_t index, mica_tensor_info *out) {
    if (source.model) return mica_model_get_tensor(source.model, index, out);
    return mica_tensor_list_get(source.list, index, out);
}

static uint64_t sum_bytes(tensor_source source, size_t *count) {
    uint64_t bytes = 0;
    mica_tensor_info t;
    for (*count = 0; get_tensor(source, *count, &t); ++*count) bytes += t.bytes;
    return bytes;
}

/* ---- text ---- */

static void print_count(const char *name, uint64_t value) {
    cli_output_format("%-22s%llu\n", name, (unsigned long long)value);
}

static void print_info(const mica_model_info *m, const char *path) {
    cli_output_format("%-22s%s\n", "path", path);
    cli_output_format("%-22s%s\n", "architecture", m->architecture);
    cli_output_format("%-22s%s\n", "family", m->family);
    print_count("parameters", m->n_parameters);
    print_count("active parameters", m->n_parameters_active);
    print_count("weight bytes", m->weight_bytes);
    print_count("active weight bytes", m->weight_bytes_active);
    print_count("layers", (uint64_t)m->n_layers);
    print_count("hidden size", (uint64_t)m->hidden_size);
    cli_output_format("%-22s%lld, %lld for keys and values, %lld wide\n", "attention heads",
                      (long long)m->n_heads, (long long)m->n_kv_heads, (long long)m->head_dim);
    if (m->sliding_window) print_count("sliding window", (uint64_t)m->sliding_window);
    if (m->n_experts)
        cli_output_format("%-22s%lld, %lld for a token\n", "experts", (long long)m->n_experts,
                          (long long)m->n_experts_per_token);
    print_count("vocabulary", (uint64_t)m->vocab_size);
    print_count("context", (uint64_t)m->context_max);
    print_count("tensors", m->n_tensors);
    print_count("files", m->n_shards);
}

static void print_tensors(tensor_source source) {
    mica_tensor_info t;
    for (size_t i = 0; get_tensor(source, i, &t); i++) {
        cli_output_format("%s  %s  [", t.name, t.dtype);
        for (int d = 0; d < t.rank; d++)
            cli_output_format("%s%lld", d ? ", " : "", (long long)t.dims[d]);
        cli_output_format("]  %s\n", t.shard);
    }
}

/* ---- memory ---- */

/* The contexts to state: --ctx, or powers of four up to the model's limit. */
static size_t list_contexts(const cli_options *o, int64_t context_max, int64_t out[16]) {
    size_t n = 0;
    if (o->context.is_set) {
        out[0] = o->context.value;
        return 1;
    }
    for (int64_t c = 2048; c < context_max && n < 15; c *= 4) out[n++] = c;
    out[n++] = context_max;
    return n;
}

static mica_status print_memory(const cli_session *s, const mica_model_info *m, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    int64_t contexts[16];
    size_t n = list_contexts(s->options, m->context_max, contexts);
    cli_output_format("\nmemory in MiB, %s mode\n%10s%12s%12s%12s%12s\n",
                      s->options->exact ? "exact" : "fast", "context", "weights", "KV cache",
                      "scratch", "total");
    for (size_t i = 0; i < n; i++) {
        mica_memory_estimate e = {0};
        MICA_TRY(mica_model_estimate(s->model, contexts[i], cli_session_mode(s->options), &e, err));
        cli_output_format("%10lld%12.1f%12.1f%12.1f%12.1f\n", (long long)contexts[i],
                          (double)e.weight_bytes / MIB, (double)e.kv_bytes / MIB,
                          (double)e.scratch_bytes / MIB, (double)e.total_bytes / MIB);
    }
done:
    return st;
}

/* ---- JSON ---- */

static json_t *tensors_json(tensor_source source) {
    json_t *list = json_array();
    mica_tensor_info t;
    for (size_t i = 0; get_tensor(source, i, &t); i++) {
        json_t *shape = json_array();
        for (int d = 0; d < t.rank; d++) json_array_append_new(shape, json_integer(t.dims[d]));
        json_array_append_new(list, json_pack("{s:s,s:s,s:o,s:s,s:I}", "name", t.name, "dtype",
                                              t.dtype, "shape", shape, "shard", t.shard, "bytes",
                                              (json_int_t)t.bytes));
    }
    return list;
}

static void set_count(json_t *object, const char *key, uint64_t value) {
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

static void set_info(json_t *object, const mica_model_info *m) {
    json_object_set_new(object, "architecture", json_string(m->architecture));
    json_object_set_new(object, "family", json_string(m->family));
    set_count(object, "parameters", m->n_parameters);
    set_count(object, "parameters_active", m->n_parameters_active);
    set_count(object, "weight_bytes", m->weight_bytes);
    set_count(object, "weight_bytes_active", m->weight_bytes_active);
    set_count(object, "layers", (uint64_t)m->n_layers);
    set_count(object, "hidden_size", (uint64_t)m->hidden_size);
    set_count(object, "heads", (uint64_t)m->n_heads);
    set_count(object, "kv_heads", (uint64_t)m->n_kv_heads);
    set_count(object, "head_dim", (uint64_t)m->head_dim);
    set_count(object, "sliding_window", (uint64_t)m->sliding_window);
    set_count(object, "experts", (uint64_t)m->n_experts);
    set_count(object, "experts_per_token", (uint64_t)m->n_experts_per_token);
    set_count(object, "vocab_size", (uint64_t)m->vocab_size);
    set_count(object, "context_max", (uint64_t)m->context_max);
    set_count(object, "n_tensors", m->n_tensors);
    set_count(object, "n_files", m->n_shards);
}

static mica_status memory_json(const cli_session *s, const mica_model_info *m, json_t *list,
                               mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    int64_t contexts[16];
    size_t n = list_contexts(s->options, m->context_max, contexts);
    for (size_t i = 0; i < n; i++) {
        mica_memory_estimate e = {0};
        json_t *row = json_object();
        json_array_append_new(list, row);
        MICA_TRY(mica_model_estimate(s->model, contexts[i], cli_session_mode(s->options), &e, err));
        set_count(row, "context", (uint64_t)contexts[i]);
        set_count(row, "weight_bytes", e.weight_bytes);
        set_count(row, "kv_bytes", e.kv_bytes);
        set_count(row, "scratch_bytes", e.scratch_bytes);
        set_count(row, "total_bytes", e.total_bytes);
    }
done:
    return st;
}

/* Takes the object over. */
static mica_status print_json(json_t *object, mica_error *err) {
    char *text = json_dumps(object, 0);
    if (text) cli_output_format("%s\n", text);
    json_decref(object);
    mica_status st =
        text ? MICA_STATUS_OK : mica_fail(err, MICA_STATUS_OUT_OF_MEMORY, "out of memory: JSON");
    free(text);
    return st;
}

/* ---- the job ---- */

static mica_status show_model_json(const cli_session *s, const mica_model_info *m,
                                   mica_error *err) {
    json_t *object = json_object(), *memory = json_array();
    set_info(object, m);
    mica_status st = memory_json(s, m, memory, err);
    json_object_set_new(object, "memory", memory);
    json_object_set_new(object, "tensors", tensors_json((tensor_source){.model = s->model}));
    if (st == MICA_STATUS_OK) return print_json(object, err);
    json_decref(object);
    return st;
}

static mica_status show_model(cli_session *s, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_model_info m = {0};
    MICA_TRY(cli_session_open_model(s, true, err));
    mica_model_get_info(s->model, &m);
    if (s->options->json) {
        st = show_model_json(s, &m, err);
    } else if (s->options->tensors) {
        print_tensors((tensor_source){.model = s->model});
    } else {
        print_info(&m, s->path);
        st = print_memory(s, &m, err);
    }
done:
    return st;
}

static mica_status show_file(cli_session *s, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_tensor_list *list = NULL;
    size_t count = 0;
    MICA_TRY(mica_tensor_list_open(s->runtime, s->path, &list, err));
    tensor_source source = {.list = list};
    uint64_t bytes = sum_bytes(source, &count);
    if (s->options->json) {
        json_t *object = json_object();
        set_count(object, "n_tensors", count);
        set_count(object, "tensor_bytes", bytes);
        json_object_set_new(object, "tensors", tensors_json(source));
        MICA_TRY(print_json(object, err));
    } else if (s->options->tensors) {
        print_tensors(source);
    } else {
        cli_output_format("%-22s%s\n", "path", s->path);
        print_count("tensors", count);
        print_count("tensor bytes", bytes);
    }
done:
    mica_tensor_list_close(&list);
    return st;
}

/* A folder, or a GGUF file, which is a whole model as well. */
static bool is_model(const char *path) {
    mica_file *file = NULL;
    char magic[4];
    mica_path_kind kind = mica_path_kind_of(path);
    if (kind != MICA_PATH_FILE) return kind == MICA_PATH_FOLDER;
    if (mica_file_open(mica_host_default(), path, &file, NULL) != MICA_STATUS_OK) return false;
    bool is_gguf = mica_file_bytes(file) >= sizeof magic &&
                   mica_file_read(file, 0, magic, sizeof magic, NULL) == MICA_STATUS_OK &&
                   memcmp(magic, "GGUF", sizeof magic) == 0;
    mica_file_close(&file);
    return is_gguf;
}

int cmd_show(const cli_options *o) {
    mica_status st = MICA_STATUS_OK;
    mica_error err = {0};
    cli_session session = {0};
    MICA_TRY(cli_session_open(&session, o, &err));
    MICA_TRY(is_model(session.path) ? show_model(&session, &err) : show_file(&session, &err));
done:
    cli_session_close(&session);
    int written = cli_output_close();
    return st == MICA_STATUS_OK ? written : cli_fail_error(&err);
}
