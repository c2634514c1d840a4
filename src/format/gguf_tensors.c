/* Recipes from GGUF blocks to MLX's tensors. All work row by row, so that the rows of q and k can
 * be put back into their original order on the way: the converter of llama.cpp interleaves the two
 * halves of a head for architectures that rotate neighbours. */
#include "format/gguf_tensors.h"
#include <string.h>
#include "base/error.h"
#include "format/checkpoint_rewrite.h"
#include "format/gguf_blocks.h"
#include "format/gguf_family.h"
#include "kernel/float_format.h"

enum {
    NOTES_MAX = 32,
    SUMMARY_BYTES_MAX = 900,
    CHUNK = 256, /* elements that are dequantised at a time; every block divides it */
    PARAM_HEAD_ROWS = 0,
};

mica_safetensors_dtype mica_gguf_plain_dtype(uint32_t type) {
    switch (type) {
    case MICA_GGUF_TENSOR_F32:
        return MICA_SAFETENSORS_F32;
    case MICA_GGUF_TENSOR_F16:
        return MICA_SAFETENSORS_F16;
    case MICA_GGUF_TENSOR_BF16:
        return MICA_SAFETENSORS_BF16;
    default:
        return MICA_SAFETENSORS_NONE;
    }
}

/* ---- rows ---- */

/* A tensor as rows of the fastest axis. */
typedef struct row_view {
    const mica_gguf_tensor *tensor;
    const uint8_t *data;
    int64_t rows;
    int64_t k;
    size_t row_bytes;
    int64_t head_rows; /* 0: rows stay where they are */
} row_view;

static row_view view_rows(const mica_checkpoint_recipe *recipe, const uint8_t *data) {
    const mica_gguf_tensor *t = recipe->context;
    const mica_gguf_type_info *info = mica_gguf_type_find(t->type);
    bool is_vector = t->shape.rank == 1;
    row_view v = {.tensor = t, .data = data, .head_rows = recipe->params[PARAM_HEAD_ROWS]};
    v.k = is_vector ? 1 : t->shape.dims[t->shape.rank - 1];
    v.rows = mica_shape_count(&t->shape) / v.k;
    v.row_bytes = is_vector ? info->bytes : (size_t)(v.k / info->elements) * info->bytes;
    return v;
}

/* Rows 2j and 2j + 1 of a head were j and j + half. */
static const uint8_t *find_row(const row_view *v, int64_t row) {
    if (v->head_rows > 0) {
        int64_t head = row / v->head_rows, i = row % v->head_rows, half = v->head_rows / 2;
        row = head * v->head_rows + 2 * (i % half) + i / half;
    }
    return v->data + (size_t)row * v->row_bytes;
}

static mica_status make_codes(const mica_checkpoint_recipe *recipe,
                              const mica_checkpoint_tensor *tensor, const uint8_t *const *data,
                              uint8_t *out, mica_error *err) {
    (void)err;
    row_view v = view_rows(recipe, data[0]);
    size_t bytes = (size_t)tensor->bytes / (size_t)v.rows;
    for (int64_t r = 0; r < v.rows; r++, out += bytes)
        mica_gguf_row_codes(v.tensor->type, find_row(&v, r), v.k, out);
    return MICA_STATUS_OK;
}

static mica_status fail_row(const row_view *v, int64_t row, const char *what, mica_error *err) {
    return mica_fail(err, MICA_STATUS_FORMAT,
                     "%s: row %lld of %s: %s that is not finite or too large for its type",
                     v->tensor->name, (long long)row, mica_gguf_type_find(v->tensor->type)->name,
                     what);
}

static mica_status make_scales(const mica_checkpoint_recipe *recipe,
                               const mica_checkpoint_tensor *tensor, const uint8_t *const *data,
                               uint8_t *out, mica_error *err) {
    row_view v = view_rows(recipe, data[0]);
    size_t bytes = (size_t)tensor->bytes / (size_t)v.rows;
    for (int64_t r = 0; r < v.rows; r++, out += bytes)
        if (!mica_gguf_row_scales(v.tensor->type, find_row(&v, r), v.k, out))
            return fail_row(&v, r, "a scale", err);
    return MICA_STATUS_OK;
}

static mica_status make_biases(const mica_checkpoint_recipe *recipe,
                               const mica_checkpoint_tensor *tensor, const uint8_t *const *data,
                               uint8_t *out, mica_error *err) {
    row_view v = view_rows(recipe, data[0]);
    size_t bytes = (size_t)tensor->bytes / (size_t)v.rows;
    for (int64_t r = 0; r < v.rows; r++, out += bytes)
        if (!mica_gguf_row_biases(v.tensor->type, find_row(&v, r), v.k, out))
            return fail_row(&v, r, "an offset", err);
    return MICA_STATUS_OK;
}

/* Blocks to f16. */
static mica_status make_halves(const mica_checkpoint_recipe *recipe,
                               const mica_checkpoint_tensor *tensor, const uint8_t *const *data,
                               uint8_t *out, mica_error *err) {
    (void)tensor;
    float values[CHUNK];
    row_view v = view_rows(recipe, data[0]);
    const mica_gguf_type_info *info = mica_gguf_type_find(v.tensor->type);
    size_t chunk_bytes = CHUNK / info->elements * info->bytes;
    for (int64_t r = 0; r < v.rows; r++) {
        const uint8_t *row = find_row(&v, r);
        for (int64_t i = 0; i < v.k; i += CHUNK, row += chunk_bytes) {
            mica_gguf_row_values(v.tensor->type, row, CHUNK, values);
            for (int j = 0; j < CHUNK; j++, out += 2) {
                uint16_t half = mica_f16_from_f32(values[j]);
                if ((half & 0x7C00u) == 0x7C00u) return fail_row(&v, r, "a value", err);
                memcpy(out, &half, sizeof half);
            }
        }
    }
    return MICA_STATUS_OK;
}

/* Plain rows in another order. */
static mica_status make_rows(const mica_checkpoint_recipe *recipe,
                             const mica_checkpoint_tensor *tensor, const uint8_t *const *data,
                             uint8_t *out, mica_error *err) {
    (void)tensor, (void)err;
    row_view v = view_rows(recipe, data[0]);
    for (int64_t r = 0; r < v.rows; r++, out += v.row_bytes)
        memcpy(out, find_row(&v, r), v.row_bytes);
    return MICA_STATUS_OK;
}

/* 1 + w to w, in f32: exact for weights of one half and more, else within 2^-25. */
static mica_status make_norm(const mica_checkpoint_recipe *recipe,
                             const mica_checkpoint_tensor *tensor, const uint8_t *const *data,
                             uint8_t *out, mica_error *err) {
    (void)err;
    const mica_gguf_tensor *t = recipe->context;
    const uint8_t *in = data[0];
    size_t item = mica_gguf_type_find(t->type)->bytes;
    for (uint64_t i = 0; i < tensor->bytes / 4; i++, in += item, out += 4) {
        float f = t->type == MICA_GGUF_TENSOR_F32   ? mica_load_f32(in)
                  : t->type == MICA_GGUF_TENSOR_F16 ? mica_f32_from_f16(mica_load_u16(in))
                                                    : mica_f32_from_bf16(mica_load_u16(in));
        f -= 1.0f;
        memcpy(out, &f, sizeof f);
    }
    return MICA_STATUS_OK;
}

/* ---- the list ---- */

typedef struct rewriter {
    mica_checkpoint *checkpoint;
    const mica_host *host;
    const mica_gguf *gguf;
    const mica_gguf_family *family;
    mica_checkpoint_rewrite list;
    int64_t query_head_rows; /* 0: nothing is permuted */
    int64_t key_head_rows;
    struct {
        const char *note;
        size_t count;
    } notes[NOTES_MAX];
    size_t n_notes;
} rewriter;

/* One tensor on its way. */
typedef struct moved_tensor {
    const mica_gguf_tensor *from;
    const mica_checkpoint_tensor *source;
    char name[MICA_SAFETENSORS_NAME_BYTES_MAX + 1];
    mica_gguf_role role;
    int64_t head_rows;
} moved_tensor;

static void count_note(rewriter *w, const moved_tensor *m, const char *note) {
    mica_host_log(w->host, MICA_LOG_DEBUG, "%s: %s%s%s", m->from->name, note,
                  m->head_rows ? ", rows back in order; " : "; ", m->name);
    size_t i = 0;
    while (i < w->n_notes && strcmp(w->notes[i].note, note) != 0) i++;
    if (i == NOTES_MAX) return;
    w->notes[i].note = note;
    w->notes[i].count++;
    if (i == w->n_notes) w->n_notes++;
}

static mica_status add(rewriter *w, const moved_tensor *m, const char *name,
                       mica_safetensors_dtype dtype, const mica_shape *shape,
                       mica_recipe_function make, const char *note, mica_error *err) {
    mica_checkpoint_recipe recipe = {.make = make,
                                     .sources = &m->source,
                                     .n_sources = 1,
                                     .params = {[PARAM_HEAD_ROWS] = m->head_rows},
                                     .context = m->from,
                                     .note = note};
    return mica_checkpoint_rewrite_add(&w->list, name, dtype, shape, &recipe, err);
}

static const char *plain_note(uint32_t type) {
    return type == MICA_GGUF_TENSOR_F32   ? "F32 as it is"
           : type == MICA_GGUF_TENSOR_F16 ? "F16 as it is"
                                          : "BF16 as it is";
}

static mica_status move_plain(rewriter *w, const moved_tensor *m, mica_error *err) {
    mica_safetensors_dtype dtype = mica_gguf_plain_dtype(m->from->type);
    const char *note = plain_note(m->from->type);
    if (m->role == MICA_GGUF_ROLE_NORM && w->family->has_shifted_norms) {
        note = "norm, less 1: to F32";
        count_note(w, m, note);
        return add(w, m, m->name, MICA_SAFETENSORS_F32, &m->from->shape, make_norm, note, err);
    }
    count_note(w, m, note);
    if (m->head_rows) return add(w, m, m->name, dtype, &m->from->shape, make_rows, note, err);
    return mica_checkpoint_rewrite_rename(&w->list, m->source, m->name, err);
}

static mica_status fail_type(const moved_tensor *m, mica_error *err) {
    return mica_fail(err, MICA_STATUS_UNSUPPORTED,
                     "%s: type %s, expected F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, "
                     "Q5_K, Q6_K, MXFP4 or NVFP4",
                     m->from->name, mica_gguf_type_find(m->from->type)->name);
}

/* <path>.weight, .scales and .biases. */
static mica_status move_quantised(rewriter *w, const moved_tensor *m, const mica_gguf_target *to,
                                  mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    char name[MICA_SAFETENSORS_NAME_BYTES_MAX + 16];
    int path = (int)(strlen(m->name) - strlen("weight"));
    mica_shape codes = m->from->shape, groups = m->from->shape;
    mica_safetensors_dtype scale_type = mica_safetensors_dtype_of(to->scale_dtype);
    int last = codes.rank - 1;
    codes.dims[last] = codes.dims[last] * to->bits / 32;
    groups.dims[last] /= to->group;
    MICA_TRY(add(w, m, m->name, MICA_SAFETENSORS_U32, &codes, make_codes, to->note, err));
    mica_format(name, sizeof name, "%.*sscales", path, m->name);
    MICA_TRY(add(w, m, name, scale_type, &groups, make_scales, to->note, err));
    if (to->mode != MICA_QUANT_AFFINE) goto done;
    mica_format(name, sizeof name, "%.*sbiases", path, m->name);
    MICA_TRY(add(w, m, name, scale_type, &groups, make_biases, to->note, err));
done:
    return st;
}

static mica_status move_blocks(rewriter *w, const moved_tensor *m, mica_error *err) {
    const mica_gguf_target *to = mica_gguf_target_of(m->from->type);
    if (!to) return fail_type(m, err);
    bool is_matrix = m->from->shape.rank >= 2 && m->role != MICA_GGUF_ROLE_PLAIN &&
                     m->role != MICA_GGUF_ROLE_NORM;
    if (!is_matrix)
        return mica_fail(err, MICA_STATUS_UNSUPPORTED, "%s: type %s, expected F32, F16 or BF16",
                         m->from->name, mica_gguf_type_find(m->from->type)->name);
    count_note(w, m, to->note);
    if (to->mode == MICA_QUANT_NONE)
        return add(w, m, m->name, MICA_SAFETENSORS_F16, &m->from->shape, make_halves, to->note,
                   err);
    return move_quantised(w, m, to, err);
}

static mica_status check_head_rows(const moved_tensor *m, mica_error *err) {
    int64_t rows = m->from->shape.dims[0];
    if (m->head_rows == 0 || rows % m->head_rows == 0) return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_FORMAT, "%s: %lld rows, expected a multiple of %lld",
                     m->from->name, (long long)rows, (long long)m->head_rows);
}

static mica_status move_tensor(rewriter *w, const mica_gguf_tensor *from, mica_error *err) {
    moved_tensor m = {.from = from, .source = mica_checkpoint_find(w->checkpoint, from->name)};
    if (!mica_gguf_map_name(w->family, from->name, m.name, &m.role))
        return mica_fail(err, MICA_STATUS_FORMAT,
                         "%s: a model of architecture %s has no use for "
                         "this tensor",
                         from->name, w->family->name);
    if (m.role == MICA_GGUF_ROLE_NONE) return MICA_STATUS_OK;
    if (m.role == MICA_GGUF_ROLE_QUERY) m.head_rows = w->query_head_rows;
    if (m.role == MICA_GGUF_ROLE_KEY) m.head_rows = w->key_head_rows;
    mica_status st = check_head_rows(&m, err);
    if (st != MICA_STATUS_OK) return st;
    bool is_plain = mica_gguf_plain_dtype(from->type) != MICA_SAFETENSORS_NONE;
    return is_plain ? move_plain(w, &m, err) : move_blocks(w, &m, err);
}

/* ---- heads ---- */

/* Rows of a head: those of the first layer's tensor by the number of heads. */
static mica_status find_head_rows(const rewriter *w, const char *key, const char *tensor,
                                  int64_t *out, mica_error *err) {
    char name[64];
    int64_t heads = 0;
    mica_format(name, sizeof name, "%s.attention.%s", w->family->name, key);
    mica_status st = mica_gguf_read_integer(w->gguf, name, &heads, NULL, err);
    if (st != MICA_STATUS_OK) return st;
    const mica_gguf_tensor *t = mica_gguf_find_tensor(w->gguf, tensor);
    if (!t) return MICA_STATUS_OK; /* the loader says what is missing */
    int64_t rows = t->shape.dims[0];
    if (heads < 1 || rows % heads != 0 || rows / heads % 2 != 0)
        return mica_fail(err, MICA_STATUS_FORMAT,
                         "%s: %lld rows cannot be divided into %lld heads of even size (%s)",
                         tensor, (long long)rows, (long long)heads, name);
    *out = rows / heads;
    return MICA_STATUS_OK;
}

static mica_status find_heads(rewriter *w, mica_error *err) {
    if (!w->family->permutes) return MICA_STATUS_OK;
    char key[64];
    mica_format(key, sizeof key, "%s.attention.head_count_kv", w->family->name);
    bool has_key = mica_gguf_find(w->gguf, key) != NULL;
    mica_status st =
        find_head_rows(w, "head_count", "blk.0.attn_q.weight", &w->query_head_rows, err);
    if (st != MICA_STATUS_OK) return st;
    return find_head_rows(w, has_key ? "head_count_kv" : "head_count", "blk.0.attn_k.weight",
                          &w->key_head_rows, err);
}

/* ---- all of them ---- */

static void log_summary(const rewriter *w) {
    char text[SUMMARY_BYTES_MAX];
    size_t used = mica_format(text, sizeof text, "%s: %s, %zu tensors", mica_gguf_name(w->gguf),
                              w->family->name, mica_gguf_count(w->gguf));
    for (size_t i = 0; i < w->n_notes && used < sizeof text; i++)
        used += mica_format(text + used, sizeof text - used, "; %zu x %s", w->notes[i].count,
                            w->notes[i].note);
    mica_host_log(w->host, MICA_LOG_INFO, "%s", text);
}

mica_status mica_gguf_rewrite_tensors(mica_checkpoint *c, const mica_host *host, const mica_gguf *g,
                                      mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    rewriter w = {.checkpoint = c, .host = host, .gguf = g};
    mica_checkpoint_rewrite_begin(&w.list, c);
    MICA_TRY(mica_gguf_family_of(g, &w.family, err));
    MICA_TRY(find_heads(&w, err));
    for (size_t i = 0; i < mica_gguf_count(g); i++)
        MICA_TRY(move_tensor(&w, mica_gguf_at(g, i), err));
    MICA_TRY(mica_checkpoint_rewrite_commit(&w.list, err));
    log_summary(&w);
done:
    mica_checkpoint_rewrite_end(&w.list);
    if (st != MICA_STATUS_OK) mica_fail_prefix(err, st, "%s", mica_gguf_name(g));
    return st;
}

#ifdef MICA_FUZZ_GGUF
#include <sys/mman.h>
#include <unistd.h>
#include "base/fuzz.h"
#include "format/gguf_config.h"
#include "format/gguf_tokenizer.h"

static void fuzz_texts(const mica_gguf *g) {
    mica_status (*const makers[])(const mica_gguf *, mica_str *, mica_error *) = {
        mica_gguf_config_text, mica_gguf_generation_config_text, mica_gguf_tokenizer_text,
        mica_gguf_tokenizer_config_text, mica_gguf_special_tokens_text};
    mica_error err;
    mica_slice source;
    for (size_t i = 0; i < sizeof makers / sizeof *makers; i++) {
        mica_str text;
        mica_config *config = NULL;
        mica_json *json = NULL;
        mica_str_init(&text, mica_allocator_default());
        mica_status st = makers[i](g, &text, &err);
        if (i == 0 && st == MICA_STATUS_OK &&
            mica_config_parse(mica_host_default(), "fuzz", text.data, text.bytes, &config, &err) ==
                MICA_STATUS_OK)
            mica_config_destroy(&config);
        /* Whatever stands in the file, what comes out is JSON. A key that stands twice is not. */
        if (st == MICA_STATUS_OK &&
            mica_json_open(mica_host_default(), "fuzz", text.data, text.bytes, 64, &json, &err) ==
                MICA_STATUS_OK &&
            mica_json_skip(json, &err) != MICA_STATUS_OK && !strstr(err.message, "twice") &&
            !strstr(err.message, "duplicate"))
            __builtin_trap();
        mica_json_close(&json);
        mica_str_deinit(&text);
    }
    (void)mica_gguf_chat_template(g, true, &source, &err);
}

/* Any bytes as a file: header, texts, and the tensors of the list. */
MICA_FUZZ_ENTRY(gguf) {
    static int fd = -1;
    char path[64];
    mica_error err;
    mica_checkpoint *c = NULL;
    mica_gguf *g = NULL;
    const uint8_t *bytes;
    if (fd < 0) fd = memfd_create("gguf", MFD_CLOEXEC);
    if (ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size) return 0;
    mica_format(path, sizeof path, "/proc/self/fd/%d", fd);
    if (mica_gguf_open(mica_host_default(), path, &g, &err) != MICA_STATUS_OK) return 0;
    fuzz_texts(g);
    mica_gguf_close(&g);
    if (mica_checkpoint_open(mica_host_default(), path, NULL, &c, &err) != MICA_STATUS_OK) return 0;
    for (size_t i = 0; i < mica_checkpoint_count(c); i++)
        (void)mica_checkpoint_map_tensor(c, mica_checkpoint_at(c, i), &bytes, &err);
    mica_checkpoint_close(&c);
    return 0;
}
#endif
