/* The importers of quantised checkpoints: the table of methods, and the walk over the tensors that
 * gives each packed module to its importer, keeps what is plain and drops scales of activations
 * (mica does not quantise those). */
#include "format/import.h"
#include <string.h>
#include "base/error.h"
#include "base/fuzz.h"
#include "format/checkpoint_parts.h"
#include "format/config_parts.h"
#include "format/import_parts.h"

/* By quantization_config.quant_method. A new one: a line here and a file. NULL: the loader takes it
 * as it is. */
static const struct {
    const char *method;
    import_choose choose;
} importers[] = {
    {"awq", import_choose_awq},
    {"gptq", import_choose_gptq},
    {"compressed-tensors", import_choose_compressed},
    {"modelopt", import_choose_modelopt},
    {"fp8", import_choose_fp8},
    {"mxfp4", NULL},
};

/* Scales and zero points of activations and of the KV cache. */
static const char *const dropped[] = {
    "input_scale",  "input_zero_point",  "input_global_scale",
    "output_scale", "output_zero_point", "q_scale",
    "k_scale",      "v_scale",           "k_zero_point",
    "v_zero_point",
};

/* Names of the new tensors: an old one that is kept would be taken for one. */
static const char *const reserved[] = {"scales", "biases", "scale_factor"};

const mica_safetensors_dtype import_types_i32[] = {MICA_SAFETENSORS_I32, MICA_SAFETENSORS_NONE};
const mica_safetensors_dtype import_types_f32[] = {MICA_SAFETENSORS_F32, MICA_SAFETENSORS_NONE};
const mica_safetensors_dtype import_types_float[] = {MICA_SAFETENSORS_F16, MICA_SAFETENSORS_BF16,
                                                     MICA_SAFETENSORS_F32, MICA_SAFETENSORS_NONE};
const mica_safetensors_dtype import_types_u8[] = {MICA_SAFETENSORS_U8, MICA_SAFETENSORS_NONE};
const mica_safetensors_dtype import_types_e4m3[] = {MICA_SAFETENSORS_F8_E4M3,
                                                    MICA_SAFETENSORS_NONE};

enum { NAME_BYTES = MICA_SAFETENSORS_NAME_BYTES_MAX + 32 };

/* ---- errors ---- */

mica_status import_fail_field(const char *field, const char *seen, const char *wanted,
                              mica_error *err) {
    if (!seen[0])
        return mica_fail(err, MICA_STATUS_FORMAT,
                         "config.json: quantization_config.%s is missing, expected %s", field,
                         wanted);
    return mica_fail(err, MICA_STATUS_UNSUPPORTED,
                     "config.json: quantization_config.%s is %s, expected %s", field, seen, wanted);
}

mica_status import_fail_number(const char *field, int64_t seen, const char *wanted,
                               mica_error *err) {
    char text[32] = "";
    if (seen != 0) mica_format(text, sizeof text, "%lld", (long long)seen);
    return import_fail_field(field, text, wanted, err);
}

/* ---- old tensors ---- */

const mica_checkpoint_tensor *import_find(const import_job *job, const char *path,
                                          const char *suffix) {
    char name[NAME_BYTES];
    mica_format(name, sizeof name, "%s.%s", path, suffix);
    return mica_checkpoint_find(job->checkpoint, name);
}

mica_status import_take(const import_job *job, const char *path, const char *suffix,
                        const mica_safetensors_dtype *types, const mica_checkpoint_tensor **out,
                        mica_error *err) {
    *out = import_find(job, path, suffix);
    if (!*out)
        return mica_fail(err, MICA_STATUS_NOT_FOUND,
                         "%s.%s: the tensor is missing, but there is %s.%s", path, suffix, path,
                         job->format->marker);
    for (const mica_safetensors_dtype *t = types; *t; t++)
        if ((*out)->dtype == *t) return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_FORMAT, "%s: dtype %s, expected %s%s", (*out)->name,
                     mica_safetensors_dtype_name((*out)->dtype),
                     mica_safetensors_dtype_name(types[0]), types[1] ? " or another float" : "");
}

mica_status import_check_matrix(const mica_checkpoint_tensor *tensor, mica_error *err) {
    char seen[176];
    const mica_shape *s = &tensor->shape;
    if (s->rank == 2 && s->dims[0] > 0 && s->dims[1] > 0) return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_FORMAT, "%s: shape %s, expected a matrix", tensor->name,
                     mica_shape_format(s, seen));
}

mica_status import_check_shape(const mica_checkpoint_tensor *tensor, int rank, const int64_t *dims,
                               const mica_checkpoint_tensor *cause, int64_t group,
                               mica_error *err) {
    char seen[176], wanted[176] = "another", by[176], size[48] = "";
    mica_shape shape = {0};
    bool is_possible = mica_shape_make(rank, dims, &shape);
    if (is_possible && mica_shape_equal(&tensor->shape, &shape)) return MICA_STATUS_OK;
    if (is_possible) mica_shape_format(&shape, wanted);
    mica_shape_format(&tensor->shape, seen);
    if (group > 0) mica_format(size, sizeof size, " and group size %lld", (long long)group);
    if (!cause)
        return mica_fail(err, MICA_STATUS_FORMAT, "%s: shape %s, expected %s", tensor->name, seen,
                         wanted);
    return mica_fail(err, MICA_STATUS_FORMAT, "%s: shape %s, expected %s by %s %s%s", tensor->name,
                     seen, wanted, cause->name, mica_shape_format(&cause->shape, by), size);
}

mica_status import_check_scalar(const mica_checkpoint_tensor *tensor, mica_error *err) {
    char seen[176];
    const mica_shape *s = &tensor->shape;
    if (s->rank <= 1 && mica_shape_count(s) == 1) return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_FORMAT, "%s: shape %s, expected one number", tensor->name,
                     mica_shape_format(s, seen));
}

/* ---- new tensors ---- */

mica_status import_view(import_job *job, const mica_checkpoint_tensor *tensor, const char *path,
                        const char *suffix, mica_safetensors_dtype dtype, int rank,
                        const int64_t *dims, mica_error *err) {
    char name[NAME_BYTES];
    mica_checkpoint_tensor view = *tensor;
    uint64_t bytes;
    view.dtype = dtype;
    mica_format(name, sizeof name, "%s.%s", path, suffix);
    if (!mica_shape_make(rank, dims, &view.shape) ||
        mica_safetensors_tensor_bytes(dtype, &view.shape, &bytes) != 0 || bytes != tensor->bytes)
        return mica_fail(err, MICA_STATUS_INTERNAL, "%s: not a view of %s", name, tensor->name);
    return mica_checkpoint_rewrite_rename(&job->rewrite, &view, name, err);
}

mica_status import_add(import_job *job, const char *path, const char *suffix,
                       mica_safetensors_dtype dtype, int rank, const int64_t *dims,
                       const mica_checkpoint_recipe *recipe, mica_error *err) {
    char name[NAME_BYTES];
    mica_shape shape;
    mica_format(name, sizeof name, "%s.%s", path, suffix);
    if (!mica_shape_make(rank, dims, &shape))
        return mica_fail(err, MICA_STATUS_LIMIT, "%s: its shape is too large", name);
    return mica_checkpoint_rewrite_add(&job->rewrite, name, dtype, &shape, recipe, err);
}

/* ---- quant_mlx ---- */

mica_status import_note_quantized(import_job *job, const char *path, mica_quant_mode mode, int bits,
                                  int64_t group, mica_error *err) {
    if (job->n_quantized++ == 0) {
        job->mode = mode;
        job->bits = bits;
        job->group = (int32_t)group;
    }
    if (job->mode == mode && job->bits == bits && job->group == group) return MICA_STATUS_OK;
    if (job->rules.count == MICA_CONFIG_QUANT_RULES_MAX)
        return mica_fail(err, MICA_STATUS_LIMIT, "%s: more than %d modules differ", path,
                         MICA_CONFIG_QUANT_RULES_MAX);
    mica_arena *arena = &job->config->texts->arena;
    mica_config_quant_rule rule = {.path = mica_arena_string(arena, path, strlen(path)),
                                   .is_quantized = true,
                                   .mode = mode,
                                   .bits = bits,
                                   .group_size = (int32_t)group};
    if (!rule.path || !mica_vec_append(&job->rules, &rule, 1))
        return mica_fail_memory(err, sizeof rule, "a quantisation rule");
    return MICA_STATUS_OK;
}

/* What was imported is MLX's, or plain, from now on. */
static mica_status set_config(import_job *job, mica_error *err) {
    mica_config *config = job->config;
    size_t n = job->rules.count;
    mica_config_quant_rule *rules = NULL;
    if (n > 0) {
        rules = mica_arena_alloc_array(&config->texts->arena, n, sizeof *rules);
        if (!rules) return mica_fail_memory(err, n * sizeof *rules, "quantisation rules");
        memcpy(rules, job->rules.data, n * sizeof *rules);
    }
    memset(&config->quant_mlx, 0, sizeof config->quant_mlx);
    if (job->n_quantized > 0) {
        config->quant_mlx.is_present = true;
        config->quant_mlx.mode = job->mode;
        config->quant_mlx.bits = job->bits;
        config->quant_mlx.group_size = job->group;
        config->quant_mlx.rules = rules;
        config->quant_mlx.n_rules = n;
    }
    memset(&config->quant, 0, sizeof config->quant);
    return MICA_STATUS_OK;
}

/* ---- the walk ---- */

static bool is_one_of(const char *text, const char *const *list, size_t n) {
    for (size_t i = 0; i < n && list[i]; i++)
        if (strcmp(text, list[i]) == 0) return true;
    return false;
}

/* A part belongs to a module; without one it would be weights that nobody asked for. */
static mica_status import_part(import_job *job, const mica_checkpoint_tensor *t, const char *path,
                               const char *suffix, mica_error *err) {
    if (import_find(job, path, job->format->marker)) return MICA_STATUS_OK;
    if (strcmp(suffix, "weight") == 0 || strcmp(suffix, "bias") == 0)
        return mica_checkpoint_rewrite_keep(&job->rewrite, t, err);
    return mica_fail(err, MICA_STATUS_FORMAT, "%s: there is no %s.%s that it belongs to", t->name,
                     path, job->format->marker);
}

static mica_status drop(import_job *job, const mica_checkpoint_tensor *t) {
    if (job->n_dropped++ == 0)
        mica_host_log(job->host, MICA_LOG_INFO,
                      "%s: scales of activations are not used, here and in other modules", t->name);
    return MICA_STATUS_OK;
}

static mica_status import_tensor(import_job *job, const mica_checkpoint_tensor *t,
                                 mica_error *err) {
    char path[NAME_BYTES];
    const char *dot = strrchr(t->name, '.');
    if (!dot) return mica_checkpoint_rewrite_keep(&job->rewrite, t, err);
    mica_format(path, sizeof path, "%.*s", (int)(dot - t->name), t->name);
    if (strcmp(dot + 1, job->format->marker) == 0) return job->format->import(job, path, err);
    if (is_one_of(dot + 1, job->format->parts, SIZE_MAX))
        return import_part(job, t, path, dot + 1, err);
    if (is_one_of(dot + 1, dropped, sizeof dropped / sizeof *dropped)) return drop(job, t);
    if (is_one_of(dot + 1, reserved, sizeof reserved / sizeof *reserved))
        return mica_fail(err, MICA_STATUS_FORMAT, "%s: %s has no tensor of that name", t->name,
                         job->format->label);
    return mica_checkpoint_rewrite_keep(&job->rewrite, t, err);
}

/* A module that the config calls plain has no packed tensors. Only full names are held against the
 * tensors: patterns ("re:.*", "mlp.gate") are left to the programs that wrote them. */
static mica_status check_not_converted(const import_job *job, mica_error *err) {
    for (size_t i = 0; i < job->quant->n_not_converted; i++) {
        const char *path = job->quant->not_converted[i];
        if (strlen(path) > MICA_SAFETENSORS_NAME_BYTES_MAX) continue;
        const mica_checkpoint_tensor *t = import_find(job, path, job->format->marker);
        if (t)
            return mica_fail(err, MICA_STATUS_FORMAT,
                             "%s: the tensor is packed, but config.json lists %s as not quantised",
                             t->name, path);
    }
    return MICA_STATUS_OK;
}

static mica_status import_all(import_job *job, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_checkpoint *c = job->checkpoint;
    MICA_TRY(check_not_converted(job, err));
    for (size_t i = 0; i < c->n_tensors; i++) MICA_TRY(import_tensor(job, &c->tensors[i], err));
    MICA_REQUIRE(
        job->n_quantized + job->n_dense > 0, MICA_STATUS_FORMAT,
        "config.json: quantization_config.quant_method is %s, but no tensor is called *.%s",
        job->quant->method, job->format->marker);
    MICA_TRY(mica_checkpoint_rewrite_commit(&job->rewrite, err));
done:
    return st;
}

static void report(const import_job *job) {
    char kind[32] = "";
    mica_quant quant = {
        .mode = (uint8_t)job->mode, .bits = (uint8_t)job->bits, .group = (uint16_t)job->group};
    if (job->n_quantized > 0)
        mica_host_log(job->host, MICA_LOG_INFO, "%s: %zu modules taken over as %s%s",
                      job->format->label, job->n_quantized, mica_quant_format(quant, kind),
                      job->rules.count ? ", some with other groups" : "");
    if (job->n_dense > 0)
        mica_host_log(job->host, MICA_LOG_INFO, "%s: %zu modules are dequantised when loaded",
                      job->format->label, job->n_dense);
}

static mica_status run(import_job *job, import_choose choose, mica_error *err) {
    mica_checkpoint_rewrite_begin(&job->rewrite, job->checkpoint);
    mica_vec_init(&job->rules, job->host->allocator, sizeof(mica_config_quant_rule));
    mica_status st = choose(job, &job->format, err);
    if (st == MICA_STATUS_OK) st = import_all(job, err);
    if (st == MICA_STATUS_OK) report(job);
    if (st == MICA_STATUS_OK) st = set_config(job, err);
    mica_vec_deinit(&job->rules);
    mica_checkpoint_rewrite_end(&job->rewrite);
    return st;
}

mica_status mica_checkpoint_import(mica_checkpoint *c, mica_config *config, mica_error *err) {
    char names[128];
    size_t used = 0;
    const char *method = config->quant.method;
    import_job job = {.host = c->host, .checkpoint = c, .config = config, .quant = &config->quant};
    if (config->quant_mlx.is_present || !config->quant.is_present) return MICA_STATUS_OK;
    for (size_t i = 0; i < sizeof importers / sizeof *importers; i++) {
        if (strcmp(method, importers[i].method) == 0)
            return importers[i].choose ? run(&job, importers[i].choose, err) : MICA_STATUS_OK;
        used += mica_format(names + used, sizeof names - used, "%s%s", i ? ", " : "",
                            importers[i].method);
    }
    return mica_fail(err, MICA_STATUS_UNSUPPORTED,
                     "config.json: quantization_config.quant_method is \"%s\", expected one of %s",
                     method, names);
}

#ifdef MICA_FUZZ_IMPORT
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FUZZ_TENSORS_MAX = 16, FUZZ_TENSOR_BYTES = 8, FUZZ_DATA_MAX = 1 << 16 };

/* Eight bytes a tensor: module, suffix, type, rank, three dims, fill. Fill 0xF0 + n: the I32
 * numbers i >> n; 0xE0: {dims of the tensor before, the second times 8} as I64. */
static bool fuzz_tensor(const uint8_t *b, const uint8_t *before, mica_str *header, mica_str *body) {
    static const char *const suffixes[] = {"qweight",        "qzeros",
                                           "scales",         "g_idx",
                                           "weight",         "weight_packed",
                                           "weight_scale",   "weight_zero_point",
                                           "weight_shape",   "weight_global_scale",
                                           "weight_scale_2", "weight_scale_inv",
                                           "weight_g_idx",   "input_scale",
                                           "bias",           "norm"};
    static const mica_safetensors_dtype types[] = {MICA_SAFETENSORS_I32,  MICA_SAFETENSORS_F16,
                                                   MICA_SAFETENSORS_BF16, MICA_SAFETENSORS_F32,
                                                   MICA_SAFETENSORS_U8,   MICA_SAFETENSORS_F8_E4M3,
                                                   MICA_SAFETENSORS_I64,  MICA_SAFETENSORS_F8_E8M0};
    mica_shape shape = {.rank = b[3] % 4};
    uint64_t bytes;
    mica_safetensors_dtype type = types[b[2] % 8];
    for (int i = 0; i < shape.rank; i++) shape.dims[i] = b[4 + i];
    if (b[3] & 4 && shape.rank) shape.dims[shape.rank - 1] *= 16;
    if (mica_safetensors_tensor_bytes(type, &shape, &bytes) != 0 ||
        bytes + body->bytes > FUZZ_DATA_MAX)
        return false;
    mica_str_append_format(header, "%s\"%s.%s\":{\"dtype\":\"%s\",\"shape\":[",
                           header->bytes > 1 ? "," : "", b[0] % 2 ? "m.p" : "m.q",
                           suffixes[b[1] % 16], mica_safetensors_dtype_name(type));
    for (int i = 0; i < shape.rank; i++)
        mica_str_append_format(header, "%s%lld", i ? "," : "", (long long)shape.dims[i]);
    mica_str_append_format(header, "],\"data_offsets\":[%zu,%zu]}", body->bytes,
                           body->bytes + (size_t)bytes);
    for (uint64_t i = 0; i < bytes; i++) {
        uint8_t fill = b[7];
        if (b[7] >= 0xF0) fill = (uint8_t)(i / 4 >> (b[7] & 15) >> (8 * (i % 4)));
        if (b[7] == 0xE0) fill = i == 0 ? before[4] : i == 8 ? (uint8_t)(before[5] * 8) : 0;
        mica_str_append_char(body, (char)fill);
    }
    return true;
}

static int fuzz_file(const uint8_t *data, size_t size) {
    static const uint8_t nothing[FUZZ_TENSOR_BYTES];
    mica_str header, body;
    mica_str_init(&header, mica_allocator_default());
    mica_str_init(&body, mica_allocator_default());
    mica_str_append_text(&header, "{");
    for (size_t i = 0; i < FUZZ_TENSORS_MAX && (i + 1) * FUZZ_TENSOR_BYTES <= size; i++) {
        const uint8_t *b = data + i * FUZZ_TENSOR_BYTES;
        fuzz_tensor(b, i ? b - FUZZ_TENSOR_BYTES : nothing, &header, &body);
    }
    mica_str_append_text(&header, "}");
    uint64_t n = header.bytes;
    int fd = memfd_create("fuzz", 0);
    if (fd < 0 || write(fd, &n, 8) != 8 || write(fd, header.data, n) != (ssize_t)n ||
        (body.bytes && write(fd, body.data, body.bytes) != (ssize_t)body.bytes))
        __builtin_trap();
    mica_str_deinit(&header);
    mica_str_deinit(&body);
    return fd;
}

/* What the loader relies on. */
static void fuzz_check(mica_checkpoint *c, const mica_config *config,
                       const mica_checkpoint_tensor *t) {
    char name[64];
    const mica_config_quant *q = &config->quant_mlx;
    const char *suffix = strrchr(t->name, '.');
    const uint8_t *data;
    mica_checkpoint_map_tensor(c, t, &data, NULL);
    if (!q->is_present || strcmp(suffix, ".scales") != 0) return;
    int64_t group = q->group_size;
    for (size_t i = 0; i < q->n_rules; i++)
        if (strncmp(q->rules[i].path, t->name, (size_t)(suffix - t->name)) == 0)
            group = q->rules[i].group_size;
    mica_format(name, sizeof name, "%.*s.weight", (int)(suffix - t->name), t->name);
    const mica_checkpoint_tensor *w = mica_checkpoint_find(c, name);
    if (!w || w->dtype != MICA_SAFETENSORS_U32 || w->shape.rank != 2 || t->shape.rank != 2 ||
        w->shape.dims[0] != t->shape.dims[0] ||
        w->shape.dims[1] * 32 != t->shape.dims[1] * group * q->bits)
        __builtin_trap();
}

/* A config text, a NUL, then tensors. */
MICA_FUZZ_ENTRY(import) {
    char path[32];
    mica_config *config = NULL;
    mica_checkpoint *c = NULL;
    const mica_host *host = mica_host_default();
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    if (!end) return 0;
    size_t text = (size_t)(end - data);
    if (mica_config_parse(host, "config.json", (const char *)data, text, &config, NULL) !=
        MICA_STATUS_OK)
        return 0;
    int fd = fuzz_file(end + 1, size - text - 1);
    mica_format(path, sizeof path, "/proc/self/fd/%d", fd);
    if (mica_checkpoint_open(host, path, NULL, &c, NULL) == MICA_STATUS_OK &&
        mica_checkpoint_import(c, config, NULL) == MICA_STATUS_OK)
        for (size_t i = 0; i < mica_checkpoint_count(c); i++)
            fuzz_check(c, config, mica_checkpoint_at(c, i));
    mica_checkpoint_close(&c);
    mica_config_destroy(&config);
    close(fd);
    return 0;
}
#endif
