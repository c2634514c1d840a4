/* A conversion from end to end: opening, planning, one shard after another, the small files, and
 * the name at the very end. */
#include "format/convert.h"
#include <math.h>
#include <string.h>
#include "base/error.h"
#include "base/folder_writer.h"
#include "format/convert_config.h"
#include "format/checkpoint_rewrite.h"
#include "format/convert_stream.h"
#include "format/convert_texts.h"
#include "format/import.h"
#include "format/mlx_layout.h"

#define SHARD_BYTES_DEFAULT ((uint64_t)5 << 30)

enum { SHARD_NAME_BYTES = 64 };

typedef struct conversion {
    const mica_host *host;
    const mica_convert_options *options;
    const char *in;
    mica_config *config;
    mica_checkpoint *checkpoint;
    convert_rules rules;
    mica_vec units; /* convert_unit */
    size_t n_shards;
    mica_thread_pool *pool;
    mica_folder_writer *folder;
    mica_safetensors_writer *writer; /* of the shard under way */
    convert_errors errors;           /* of all units that are done */
    uint64_t tensor_bytes;           /* to write */
    uint64_t done_bytes;
    mica_convert_report report;
} conversion;

static convert_unit *unit_at(const conversion *c, size_t i) { return mica_vec_at(&c->units, i); }

mica_status mica_convert_check(const mica_convert_options *options, mica_error *err) {
    convert_rules rules;
    if (options->n_threads < 0 || options->n_threads > MICA_THREADS_MAX)
        return mica_fail(err, MICA_STATUS_INVALID, "%d threads, expected 0 to %d",
                         options->n_threads, MICA_THREADS_MAX);
    return convert_rules_read(options, NULL, &rules, err);
}

/* ---- planning ---- */

/* Units in their order; a unit is never divided. */
static void assign_shards(conversion *c) {
    uint64_t limit = c->options->shard_bytes_max;
    uint64_t used = 0;
    if (limit == 0) limit = SHARD_BYTES_DEFAULT;
    c->n_shards = 1;
    for (size_t i = 0; i < c->units.count; i++) {
        convert_unit *u = unit_at(c, i);
        if (used > 0 && (used > limit || u->bytes_out > limit - used)) {
            c->n_shards++;
            used = 0;
        }
        u->shard = c->n_shards - 1;
        used += u->bytes_out;
    }
}

static void sum_up(conversion *c) {
    mica_convert_report *r = &c->report;
    *r = (mica_convert_report){.n_shards = c->n_shards};
    for (size_t i = 0; i < c->units.count; i++) {
        const convert_unit *u = unit_at(c, i);
        const struct mica_checkpoint_recipe *recipe = u->sources[0]->recipe;
        r->n_rounded += recipe && recipe->note && strstr(recipe->note, "rounded");
        c->tensor_bytes += u->bytes_out;
        r->n_parameters += (uint64_t)u->rows * (uint64_t)u->k;
        r->n_tensors += (size_t)u->n_outputs;
    }
    for (size_t i = 0; i < mica_checkpoint_shard_count(c->checkpoint); i++)
        r->bytes_in += mica_file_bytes(mica_checkpoint_shard_file(c->checkpoint, i));
    if (r->n_parameters > 0)
        r->bits_per_weight = (double)c->tensor_bytes * 8 / (double)r->n_parameters;
}

static mica_status plan(conversion *c, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    MICA_TRY(mica_config_load(c->host, c->in, &c->config, err));
    MICA_TRY(convert_rules_read(c->options, c->config, &c->rules, err));
    MICA_TRY(mica_checkpoint_open(c->host, c->in, NULL, &c->checkpoint, err));
    MICA_TRY(mica_checkpoint_import(c->checkpoint, c->config, err));
    MICA_TRY(mica_mlx_layout_apply(c->checkpoint, c->config, err));
    MICA_TRY(convert_units_make(c->checkpoint, &c->rules, &c->units, err));
    assign_shards(c);
    sum_up(c);
done:
    return st;
}

/* ---- weights ---- */

static void name_shard(const conversion *c, size_t shard, char out[SHARD_NAME_BYTES]) {
    if (c->n_shards == 1)
        mica_format(out, SHARD_NAME_BYTES, "%s", MICA_CHECKPOINT_FILE_NAME);
    else
        mica_format(out, SHARD_NAME_BYTES, "model-%05zu-of-%05zu.safetensors", shard + 1,
                    c->n_shards);
}

static bool take_bytes(void *context, uint64_t bytes) {
    conversion *c = context;
    const mica_convert_options *o = c->options;
    c->done_bytes += bytes;
    return !o->progress ||
           o->progress(o->progress_context, "convert", c->done_bytes, c->tensor_bytes);
}

static double root_mean_square(const convert_errors *e) {
    return e->n > 0 ? sqrt(e->error_squares / (double)e->n) : 0;
}

static void tell(const conversion *c, const convert_unit *u, const convert_errors *errors) {
    char from[32], to[32];
    if (!c->options->on_tensor) return;
    const struct mica_checkpoint_recipe *recipe = u->sources[0]->recipe;
    mica_convert_tensor tensor = {
        .name = u->path,
        .rank = u->shape.rank,
        .from = convert_unit_from(u, from),
        .to = convert_unit_to(u, to),
        .note = u->note  ? u->note
                : recipe ? recipe->note
                         : NULL,
        .is_copied = u->kind == CONVERT_COPY,
        .bytes_in = u->bytes_in,
        .bytes_out = u->bytes_out,
        .error_max = errors->error_max,
        .error_rms = root_mean_square(errors),
        .value_max = errors->value_max,
    };
    memcpy(tensor.dims, u->shape.dims, sizeof tensor.dims);
    c->options->on_tensor(c->options->tensor_context, &tensor);
}

static mica_status declare(conversion *c, const convert_unit *u, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    for (int i = 0; i < u->n_outputs && st == MICA_STATUS_OK; i++)
        st = mica_safetensors_writer_add(c->writer, u->outputs[i].name, u->outputs[i].dtype,
                                         &u->outputs[i].shape, err);
    return st;
}

static mica_status write_unit(conversion *c, const convert_unit *u, mica_error *err) {
    convert_errors errors;
    convert_progress progress = {take_bytes, c};
    mica_status st =
        convert_unit_run(c->host, c->checkpoint, u, c->pool, c->writer, &progress, &errors, err);
    if (st != MICA_STATUS_OK) return st;
    convert_errors_add(&c->errors, &errors);
    if (errors.error_max > 0) c->report.n_changed += errors.n;
    tell(c, u, &errors);
    return st;
}

/* Units of the shard stand together. */
static mica_status write_shard(conversion *c, size_t shard, size_t *next, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    char name[SHARD_NAME_BYTES], path[MICA_PATH_BYTES_MAX];
    size_t begin = *next, end = begin;
    name_shard(c, shard, name);
    MICA_TRY(mica_path_join(mica_folder_writer_path(c->folder), name, path, err));
    MICA_TRY(mica_safetensors_writer_create(c->host, &c->writer, err));
    MICA_TRY(mica_safetensors_writer_add_metadata(c->writer, "format", "mlx", err));
    for (; end < c->units.count && unit_at(c, end)->shard == shard; end++)
        MICA_TRY(declare(c, unit_at(c, end), err));
    MICA_TRY(mica_safetensors_writer_open(c->writer, path, err));
    for (size_t i = begin; i < end; i++) MICA_TRY(write_unit(c, unit_at(c, i), err));
    MICA_TRY(mica_safetensors_writer_commit(c->writer, err));
    c->report.bytes_out += mica_safetensors_writer_file_bytes(c->writer);
    *next = end;
done:
    mica_safetensors_writer_close(&c->writer);
    return st;
}

static mica_status write_index(conversion *c, mica_error *err) {
    const mica_allocator *a = c->host->allocator;
    mica_status st = MICA_STATUS_OK;
    size_t n = 0;
    mica_safetensors_place *places =
        MICA_NEW_ARRAY(a, mica_safetensors_place, c->report.n_tensors + 1);
    char(*names)[SHARD_NAME_BYTES] = mica_alloc_array(a, c->n_shards, SHARD_NAME_BYTES);
    MICA_REQUIRE(places && names, MICA_STATUS_OUT_OF_MEMORY, "out of memory: an index");
    for (size_t i = 0; i < c->n_shards; i++) name_shard(c, i, names[i]);
    for (size_t i = 0; i < c->units.count; i++)
        for (int j = 0; j < unit_at(c, i)->n_outputs; j++)
            places[n++] = (mica_safetensors_place){unit_at(c, i)->outputs[j].name,
                                                   names[unit_at(c, i)->shard]};
    MICA_TRY(mica_safetensors_write_index(c->host, mica_folder_writer_path(c->folder), places, n,
                                          c->tensor_bytes, err));
done:
    mica_free(a, places);
    mica_free(a, names);
    return st;
}

static mica_status write_weights(conversion *c, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    size_t next = 0;
    for (size_t i = 0; i < c->n_shards; i++) MICA_TRY(write_shard(c, i, &next, err));
    if (c->n_shards > 1) MICA_TRY(write_index(c, err));
    MICA_TRY(mica_checkpoint_check_unchanged(c->checkpoint, err));
    c->report.error_max = c->errors.error_max;
    c->report.error_rms = root_mean_square(&c->errors);
done:
    return st;
}

/* ---- small files ---- */

static mica_status write_text(conversion *c, const char *name, const char *text, size_t bytes,
                              mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_file_writer *w = NULL;
    char path[MICA_PATH_BYTES_MAX];
    MICA_TRY(mica_path_join(mica_folder_writer_path(c->folder), name, path, err));
    MICA_TRY(mica_file_writer_open(c->host, path, &w, err));
    MICA_TRY(mica_file_writer_append(w, text, bytes, err));
    MICA_TRY(mica_file_writer_commit(w, err));
done:
    mica_file_writer_close(&w);
    return st;
}

/* The float type that holds most of the plain bytes; NONE when there are none. */
static mica_dtype common_dtype(const conversion *c) {
    static const mica_safetensors_dtype types[] = {MICA_SAFETENSORS_BF16, MICA_SAFETENSORS_F16,
                                                   MICA_SAFETENSORS_F32};
    uint64_t bytes[3] = {0};
    size_t best = 0;
    for (size_t i = 0; i < c->units.count; i++) {
        const convert_unit *u = unit_at(c, i);
        for (int j = 0; j < u->n_outputs; j++)
            for (size_t t = 0; t < 3; t++)
                if (u->outputs[j].dtype == types[t]) bytes[t] += u->outputs[j].bytes;
    }
    for (size_t t = 1; t < 3; t++)
        if (bytes[t] > bytes[best]) best = t;
    return bytes[best] > 0 ? mica_safetensors_dtype_plain(types[best]) : MICA_DTYPE_NONE;
}

/* What was asked for, else what the config said of most modules, else what the first one is. */
static mica_quant_spec top_spec(const conversion *c) {
    const mica_config_quant *quant = &c->config->quant_mlx;
    if (c->rules.has_base) return c->rules.base;
    if (quant->is_present && !c->options->dtype && quant->bits > 0 && quant->group_size > 0)
        return (mica_quant_spec){(uint8_t)quant->mode, (uint8_t)quant->bits,
                                 (uint16_t)quant->group_size};
    for (size_t i = 0; i < c->units.count; i++) {
        mica_quant to = unit_at(c, i)->to;
        if (to.mode != MICA_QUANT_NONE) return (mica_quant_spec){to.mode, to.bits, to.group};
    }
    return (mica_quant_spec){0};
}

static mica_status write_config(conversion *c, const char *text, size_t bytes, mica_error *err) {
    mica_str out;
    convert_config changes = {&c->units, top_spec(c), common_dtype(c)};
    mica_str_init(&out, c->host->allocator);
    mica_status st =
        convert_config_write(c->host, MICA_CONFIG_NAME, text, bytes, &changes, &out, err);
    if (st == MICA_STATUS_OK) st = write_text(c, MICA_CONFIG_NAME, out.data, out.bytes, err);
    mica_str_deinit(&out);
    return st;
}

static mica_status take_text(void *context, const char *name, const char *text, size_t bytes,
                             mica_error *err) {
    conversion *c = context;
    bool is_config = strcmp(name, MICA_CONFIG_NAME) == 0;
    return is_config ? write_config(c, text, bytes, err) : write_text(c, name, text, bytes, err);
}

/* ---- all of it ---- */

static mica_status run(conversion *c, const char *out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    MICA_TRY(plan(c, err));
    MICA_TRY(mica_thread_pool_create(c->host, c->options->n_threads, &c->pool, err));
    MICA_TRY(mica_folder_writer_open(c->host, out, &c->folder, err));
    MICA_TRY(write_weights(c, err));
    MICA_TRY(convert_texts_each(c->host, c->in, take_text, c, err));
    MICA_TRY(mica_folder_writer_commit(c->folder, err));
done:
    return st;
}

mica_status mica_convert_folder(const mica_host *host, const char *in, const char *out,
                                const mica_convert_options *options, mica_convert_report *report,
                                mica_error *err) {
    conversion c = {.host = host, .options = options, .in = in};
    mica_vec_init(&c.units, host->allocator, sizeof(convert_unit));
    mica_status st = run(&c, out, err);
    mica_folder_writer_close(&c.folder);
    mica_thread_pool_destroy(&c.pool);
    mica_vec_deinit(&c.units);
    mica_checkpoint_close(&c.checkpoint);
    mica_config_destroy(&c.config);
    if (report) *report = st == MICA_STATUS_OK ? c.report : (mica_convert_report){0};
    return st;
}
