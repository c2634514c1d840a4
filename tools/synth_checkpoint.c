/* synth_checkpoint CONFIG_DIR OUT_DIR [--seed N] [--threads N]
 *
 * Writes a checkpoint of any supported configuration at its true shapes with random, sane weights:
 * norms near one, matrices scaled by 1 / sqrt(columns), scales of quantised ones to match (MXFP4,
 * and all of MLX's formats where config.json has `quantization`). For load and speed tests where
 * real weights cannot be had. Follows the folder's shard index if there is one and copies the
 * configuration, tokenizer and template files. The same seed gives the same bytes on any number of
 * threads. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/alloc.h"
#include "base/arena.h"
#include "base/error.h"
#include "base/file.h"
#include "base/thread_pool.h"
#include "base/vec.h"
#include "format/checkpoint_index.h"
#include "format/safetensors_writer.h"
#include "kernel/float_format.h"
#include "kernel/quant_block.h"
#include "model/model.h"

#define BLOCK_BYTES (1u << 20) /* filled and written at once; a multiple of every element size */

typedef struct tensor_spec {
    const char *name;
    mica_safetensors_dtype dtype;
    mica_shape shape;
    uint64_t bytes;
    uint32_t shard;
    uint8_t quant_mode; /* mica_quant_mode of the matrix that it is a part of, in MLX's layout */
    uint8_t quant_bits;
    int64_t quant_columns; /* elements of one of its rows */
} tensor_spec;

typedef struct synth {
    const mica_host *host;
    mica_arena arena;
    mica_vec tensors; /* tensor_spec */
    mica_checkpoint_index index;
    bool has_index;
    uint64_t seed;
    mica_safetensors_writer *writer; /* of the shard being written */
    uint32_t shard;
    _Atomic int64_t next_block;
    _Atomic bool failed;
    mica_error error;
} synth;

/* ---- random weights ---- */

static uint64_t mix(uint64_t *state) {
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* Near-normal: the sum of the eight bytes of a random word; mean 0, deviation 1. */
static float near_normal(uint64_t *state) {
    uint64_t w = mix(state);
    w = (w & 0x00FF00FF00FF00FFu) + (w >> 8 & 0x00FF00FF00FF00FFu);
    int sum = (int)((w * 0x0001000100010001u) >> 48);
    return ((float)sum - 1020.0f) / 209.0f; /* 8 bytes: 8 * 127.5, sqrt(8 * (256^2 - 1) / 12) */
}

static bool ends_with(const char *name, const char *tail) {
    return mica_slice_ends_with(mica_slice_from(name), tail);
}

/* What a tensor's values look like: value = mean + deviation * normal. */
static void choose_scale(const tensor_spec *t, float *mean, float *deviation) {
    *mean = 0;
    if (ends_with(t->name, "norm.weight")) {
        *mean = 1;
        *deviation = 0.1f;
    } else if (ends_with(t->name, "sinks") || ends_with(t->name, "embed_tokens.weight")) {
        *deviation = 1;
    } else if (t->shape.rank < 2 || ends_with(t->name, "bias")) {
        *deviation = 0.02f;
    } else {
        *deviation = 1.0f / sqrtf((float)t->shape.dims[t->shape.rank - 1]);
    }
}

/* E8M0 bytes: random E2M1 codes have a deviation of about 2.9, rows want 1 / sqrt(K). */
static void fill_scales(const tensor_spec *t, uint8_t *out, size_t bytes, uint64_t *state) {
    float columns = (float)t->shape.dims[t->shape.rank - 1] * 32;
    int middle = 127 + (int)lroundf(log2f(1.0f / (2.9f * sqrtf(columns))));
    for (size_t i = 0; i < bytes; i++) out[i] = (uint8_t)(middle - 1 + (int)(mix(state) % 3));
}

/* Scales and biases of MLX's formats. Codes are random in all of their range, whose deviation is
 * 1/12 of its width squared (affine), about 2.9 (E2M1) or 130 (E4M3). */
static void fill_parameters(const tensor_spec *t, uint8_t *out, size_t bytes, uint64_t *state) {
    float deviation = 1.0f / sqrtf((float)t->quant_columns), range = (float)(1 << t->quant_bits);
    if (t->dtype == MICA_SAFETENSORS_BF16) {
        float scale = deviation * sqrtf(12.0f) / range;
        float mean = ends_with(t->name, ".biases") ? -scale * (range - 1) / 2 : scale;
        for (size_t i = 0; i < bytes / 2; i++) {
            uint16_t h = mica_bf16_from_f32(mean * (1 + 0.02f * near_normal(state)));
            memcpy(out + 2 * i, &h, sizeof h);
        }
        return;
    }
    float scale = deviation / (t->quant_mode == MICA_QUANT_MXFP8 ? 130.0f : 2.9f);
    int byte = t->quant_mode == MICA_QUANT_NVFP4 ? mica_e4m3_from_f32(scale)
                                                 : 127 + (int)lroundf(log2f(scale));
    for (size_t i = 0; i < bytes; i++) out[i] = (uint8_t)(byte + (int)(mix(state) % 3));
}

static void fill_bytes(uint8_t *out, size_t bytes, uint64_t *state) {
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t w = mix(state);
        memcpy(out + i, &w, bytes - i < 8 ? bytes - i : 8);
    }
}

static void fill_floats(const tensor_spec *t, uint8_t *out, size_t bytes, uint64_t *state) {
    float mean, deviation;
    choose_scale(t, &mean, &deviation);
    for (size_t i = 0; i < bytes / 2; i++) {
        uint16_t h = mica_bf16_from_f32(mean + deviation * near_normal(state));
        memcpy(out + 2 * i, &h, sizeof h);
    }
}

/* Block `index` of a tensor; its state depends on seed, name and index alone. */
static void fill_block(const synth *s, const tensor_spec *t, uint64_t index, uint8_t *out,
                       size_t bytes) {
    uint64_t state = s->seed ^ mica_slice_hash(mica_slice_from(t->name)) ^ (index << 40);
    mix(&state);
    bool is_mlx = t->quant_mode != MICA_QUANT_NONE;
    if (is_mlx && t->dtype != MICA_SAFETENSORS_U32)
        fill_parameters(t, out, bytes, &state);
    else if (t->dtype == MICA_SAFETENSORS_BF16)
        fill_floats(t, out, bytes, &state);
    else if (ends_with(t->name, "_scales"))
        fill_scales(t, out, bytes, &state);
    else
        fill_bytes(out, bytes, &state);
    if (t->quant_mode != MICA_QUANT_MXFP8 || t->dtype != MICA_SAFETENSORS_U32) return;
    for (size_t i = 0; i < bytes; i++)
        if ((out[i] & 0x7F) == 0x7F) out[i] ^= 1; /* not NaN */
}

/* ---- what to write ---- */

static mica_status collect(void *context, const char *name, mica_safetensors_dtype dtype,
                           const mica_shape *shape, mica_error *err) {
    synth *s = context;
    tensor_spec *t = mica_vec_push(&s->tensors);
    if (!t) return mica_fail_memory(err, sizeof *t, "the list of tensors");
    t->name = mica_arena_string(&s->arena, name, strlen(name));
    t->dtype = dtype;
    t->shape = *shape;
    if (!t->name || mica_safetensors_tensor_bytes(dtype, shape, &t->bytes))
        return mica_fail(err, MICA_STATUS_LIMIT, "%s: too large", name);
    return MICA_STATUS_OK;
}

/* As the loader reads MLX's rules; formats and shapes have been checked by the prediction. */
static void find_format(const mica_config_quant *q, const char *path, tensor_spec *t) {
    static const uint8_t bits[] = {0, 4, 4, 8, 4};
    mica_quant_mode mode = q->mode;
    int32_t said = q->bits;
    for (size_t i = 0; i < q->n_rules; i++) {
        if (strcmp(q->rules[i].path, path) != 0) continue;
        mode = q->rules[i].mode;
        said = q->rules[i].bits;
    }
    t->quant_mode = (uint8_t)mode;
    t->quant_bits = said ? (uint8_t)said : bits[mode];
}

/* Parts of a matrix follow each other: <path>.weight of U32, <path>.scales, <path>.biases. */
static void mark_parts(synth *s, const mica_config *config) {
    char path[256];
    tensor_spec last = {0};
    for (size_t i = 0; i < s->tensors.count; i++) {
        tensor_spec *t = mica_vec_at(&s->tensors, i);
        if (t->dtype == MICA_SAFETENSORS_U32) {
            snprintf(path, sizeof path, "%.*s", (int)(strlen(t->name) - strlen(".weight")),
                     t->name);
            find_format(&config->quant_mlx, path, t);
            t->quant_columns = t->shape.dims[t->shape.rank - 1] * 32 / t->quant_bits;
            last = *t;
        } else if (ends_with(t->name, ".scales") || ends_with(t->name, ".biases")) {
            t->quant_mode = last.quant_mode;
            t->quant_bits = last.quant_bits;
            t->quant_columns = last.quant_columns;
        }
    }
}

static mica_status assign_shards(synth *s, mica_error *err) {
    for (size_t i = 0; i < s->tensors.count && s->has_index; i++) {
        tensor_spec *t = mica_vec_at(&s->tensors, i);
        bool is_found = false;
        for (size_t e = 0; e < s->index.n_entries && !is_found; e++) {
            is_found = strcmp(s->index.entries[e].tensor, t->name) == 0;
            if (is_found) t->shard = s->index.entries[e].shard;
        }
        if (!is_found)
            return mica_fail(err, MICA_STATUS_FORMAT, "%s: the index does not name it", t->name);
    }
    if (s->has_index && s->index.n_entries != s->tensors.count)
        return mica_fail(err, MICA_STATUS_FORMAT, "the index names %zu tensors, the config %zu",
                         s->index.n_entries, s->tensors.count);
    return MICA_STATUS_OK;
}

static mica_status read_inputs(synth *s, const char *folder, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_config *config = NULL;
    char path[MICA_PATH_BYTES_MAX];
    char *text = NULL;
    size_t bytes = 0;
    MICA_TRY(mica_config_load(s->host, folder, &config, err));
    MICA_TRY(mica_model_predict(config, collect, s, err));
    mark_parts(s, config);
    MICA_TRY(mica_path_join(folder, MICA_CHECKPOINT_INDEX_NAME, path, err));
    if (mica_path_kind_of(path) == MICA_PATH_FILE) {
        MICA_TRY(
            mica_file_read_all(s->host, path, MICA_CHECKPOINT_INDEX_BYTES_MAX, &text, &bytes, err));
        MICA_TRY(mica_checkpoint_index_parse(s->host, MICA_CHECKPOINT_INDEX_NAME, text, bytes,
                                             &s->index, err));
        s->has_index = true;
    }
    MICA_TRY(assign_shards(s, err));
done:
    mica_free(s->host->allocator, text);
    mica_config_destroy(&config);
    return st;
}

/* ---- writing ---- */

/* Finds the tensor and block of a running number; false past the end. */
static bool find_block(const synth *s, int64_t number, const tensor_spec **tensor,
                       uint64_t *index) {
    for (size_t i = 0; i < s->tensors.count; i++) {
        const tensor_spec *t = mica_vec_at(&s->tensors, i);
        if (t->shard != s->shard) continue;
        int64_t blocks = (int64_t)((t->bytes + BLOCK_BYTES - 1) / BLOCK_BYTES);
        if (number < blocks) {
            *tensor = t;
            *index = (uint64_t)number;
            return true;
        }
        number -= blocks;
    }
    return false;
}

static void write_blocks(void *context, int worker, int n_workers) {
    synth *s = context;
    const tensor_spec *t;
    uint64_t index;
    (void)n_workers;
    uint8_t *block = mica_alloc(s->host->allocator, BLOCK_BYTES);
    mica_error err = {.status = block ? MICA_STATUS_OK : MICA_STATUS_OUT_OF_MEMORY};
    while (block && !atomic_load(&s->failed) &&
           find_block(s, atomic_fetch_add(&s->next_block, 1), &t, &index)) {
        uint64_t offset = index * BLOCK_BYTES;
        size_t bytes = t->bytes - offset < BLOCK_BYTES ? (size_t)(t->bytes - offset) : BLOCK_BYTES;
        fill_block(s, t, index, block, bytes);
        if (mica_safetensors_writer_write(s->writer, t->name, offset, block, bytes, &err)) break;
    }
    if (err.status != MICA_STATUS_OK && !atomic_exchange(&s->failed, true)) s->error = err;
    mica_free(s->host->allocator, block);
    (void)worker;
}

static mica_status write_shard(synth *s, mica_thread_pool *pool, const char *folder,
                               const char *name, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    char path[MICA_PATH_BYTES_MAX];
    MICA_TRY(mica_path_join(folder, name, path, err));
    MICA_TRY(mica_safetensors_writer_create(s->host, &s->writer, err));
    MICA_TRY(mica_safetensors_writer_add_metadata(s->writer, "format", "pt", err));
    for (size_t i = 0; i < s->tensors.count; i++) {
        const tensor_spec *t = mica_vec_at(&s->tensors, i);
        if (t->shard == s->shard)
            MICA_TRY(mica_safetensors_writer_add(s->writer, t->name, t->dtype, &t->shape, err));
    }
    MICA_TRY(mica_safetensors_writer_open(s->writer, path, err));
    atomic_store(&s->next_block, 0);
    mica_thread_pool_run(pool, write_blocks, s);
    if (atomic_load(&s->failed)) {
        *err = s->error;
        st = s->error.status;
        goto done;
    }
    MICA_TRY(mica_safetensors_writer_commit(s->writer, err));
    printf("%s: %llu bytes\n", name,
           (unsigned long long)mica_safetensors_writer_file_bytes(s->writer));
done:
    mica_safetensors_writer_close(&s->writer);
    return st;
}

static mica_status write_index(const synth *s, const char *folder, mica_error *err) {
    const mica_allocator *a = s->host->allocator;
    uint64_t total = 0;
    mica_safetensors_place *places = MICA_NEW_ARRAY(a, mica_safetensors_place, s->tensors.count);
    if (!places) return mica_fail_memory(err, s->tensors.count, "the index");
    for (size_t i = 0; i < s->tensors.count; i++) {
        const tensor_spec *t = mica_vec_at(&s->tensors, i);
        places[i] = (mica_safetensors_place){t->name, s->index.shards[t->shard]};
        total += t->bytes;
    }
    mica_status st =
        mica_safetensors_write_index(s->host, folder, places, s->tensors.count, total, err);
    mica_free(a, places);
    return st;
}

static mica_status copy_file(const synth *s, const char *from, const char *to, const char *name,
                             mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    char path[MICA_PATH_BYTES_MAX];
    char *text = NULL;
    size_t bytes = 0;
    mica_file_writer *w = NULL;
    MICA_TRY(mica_path_join(from, name, path, err));
    MICA_TRY(mica_file_read_all(s->host, path, (size_t)256 << 20, &text, &bytes, err));
    MICA_TRY(mica_path_join(to, name, path, err));
    MICA_TRY(mica_file_writer_open(s->host, path, &w, err));
    MICA_TRY(mica_file_writer_append(w, text, bytes, err));
    MICA_TRY(mica_file_writer_commit(w, err));
done:
    mica_file_writer_close(&w);
    mica_free(s->host->allocator, text);
    return st;
}

/* Everything small that is not weights or their index: *.json, *.jinja, *.txt, *.model. */
static mica_status copy_files(const synth *s, const char *from, const char *to, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    char *names = NULL;
    size_t count = 0;
    MICA_TRY(mica_path_list(s->host, from, &names, &count, err));
    const char *name = names;
    for (size_t i = 0; i < count; i++, name += strlen(name) + 1) {
        bool is_wanted = ends_with(name, ".json") || ends_with(name, ".jinja") ||
                         ends_with(name, ".txt") || ends_with(name, ".model") ||
                         ends_with(name, ".json.xz");
        if (is_wanted && strcmp(name, MICA_CHECKPOINT_INDEX_NAME) != 0)
            MICA_TRY(copy_file(s, from, to, name, err));
    }
done:
    mica_free(s->host->allocator, names);
    return st;
}

static mica_status write_all(synth *s, const char *from, const char *to, int n_threads,
                             mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_thread_pool *pool = NULL;
    MICA_TRY(read_inputs(s, from, err));
    MICA_TRY(mica_path_make_folder(to, err));
    MICA_TRY(mica_thread_pool_create(s->host, n_threads, &pool, err));
    size_t n_shards = s->has_index ? s->index.n_shards : 1;
    for (s->shard = 0; s->shard < n_shards; s->shard++)
        MICA_TRY(write_shard(s, pool, to,
                             s->has_index ? s->index.shards[s->shard] : "model.safetensors", err));
    if (s->has_index) MICA_TRY(write_index(s, to, err));
    MICA_TRY(copy_files(s, from, to, err));
    printf("%zu tensors, seed %llu\n", s->tensors.count, (unsigned long long)s->seed);
done:
    mica_thread_pool_destroy(&pool);
    return st;
}

static bool read_number(int argc, char **argv, const char *flag, uint64_t *out) {
    for (int i = 3; i + 1 < argc; i += 2)
        if (strcmp(argv[i], flag) == 0) return mica_parse_u64(mica_slice_from(argv[i + 1]), out);
    return true;
}

int main(int argc, char **argv) {
    uint64_t seed = 1, n_threads = 0;
    bool is_valid = argc >= 3 && argc % 2 == 1 && read_number(argc, argv, "--seed", &seed) &&
                    read_number(argc, argv, "--threads", &n_threads) &&
                    n_threads <= MICA_THREADS_MAX;
    for (int i = 3; is_valid && i < argc; i += 2)
        is_valid = strcmp(argv[i], "--seed") == 0 || strcmp(argv[i], "--threads") == 0;
    if (!is_valid) {
        fprintf(stderr, "usage: synth_checkpoint CONFIG_DIR OUT_DIR [--seed N] [--threads N]\n");
        return 2;
    }
    mica_error err = {0};
    synth s = {.host = mica_host_default(), .seed = seed};
    mica_arena_init(&s.arena, s.host->allocator, 0);
    mica_vec_init(&s.tensors, s.host->allocator, sizeof(tensor_spec));
    mica_status st = write_all(&s, argv[1], argv[2], (int)n_threads, &err);
    if (st != MICA_STATUS_OK) fprintf(stderr, "synth_checkpoint: %s\n", err.message);
    if (s.has_index) mica_checkpoint_index_deinit(&s.index);
    mica_vec_deinit(&s.tensors);
    mica_arena_deinit(&s.arena);
    return st == MICA_STATUS_OK ? 0 : 1;
}
