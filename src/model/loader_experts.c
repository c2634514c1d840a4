/* Experts, in the layouts that checkpoints have: one tensor of all as gpt-oss publishes it (MXFP4
 * blocks, or plain and transposed), one of all as MLX converts it, or a matrix for each. */
#include <string.h>
#include "model/loader_parts.h"

/* ---- gpt-oss ---- */

static mica_status load_mxfp4(mica_loader *l, const char *prefix, int64_t e, int64_t n, int64_t k,
                              mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_storage parts[MICA_PARTS_MAX] = {{0}};
    const mica_checkpoint_tensor *tensor = NULL;
    mica_quant quant = {.mode = MICA_QUANT_MXFP4, .bits = 4, .group = 32};
    quant.scale_dtype = MICA_DTYPE_U8;
    mica_shape shape, blocks, scales;
    char name[LOADER_NAME_BYTES];
    MICA_REQUIRE(k % quant.group == 0, MICA_STATUS_FORMAT,
                 "%s: MXFP4 rows of %lld elements, wanted a multiple of 32", prefix, (long long)k);
    MICA_REQUIRE(mica_shape_make(3, (int64_t[]){e, n, k}, &shape) &&
                     mica_shape_make(4, (int64_t[]){e, n, k / 32, 16}, &blocks) &&
                     mica_shape_make(3, (int64_t[]){e, n, k / 32}, &scales),
                 MICA_STATUS_LIMIT, "%s: the configuration predicts a shape that is too large",
                 prefix);
    snprintf(name, sizeof name, "%s_blocks", prefix);
    MICA_TRY(loader_take_part(l, name, loader_byte_types, 1, &blocks, &tensor, &parts[0], err));
    snprintf(name, sizeof name, "%s_scales", prefix);
    MICA_TRY(loader_take_part(l, name, loader_byte_types, 1, &scales, &tensor, &parts[1], err));
    if (!l->check_only && !l->predict)
        MICA_TRY(mica_checkpoint_check_e8m0(name, parts[1].buffer->host, tensor->bytes, err));
    st = loader_add_weight(l, prefix, MICA_DTYPE_BF16, quant, &shape, parts, err);
done:
    loader_release_parts(parts);
    return st;
}

/* [e, k, n] to [e, n, k], element by element of `item` bytes. */
static void transpose(const uint8_t *from, uint8_t *to, int64_t e, int64_t k, int64_t n,
                      size_t item) {
    for (int64_t i = 0; i < e; i++)
        for (int64_t row = 0; row < n; row++)
            for (int64_t column = 0; column < k; column++, to += item)
                memcpy(to, from + (size_t)((i * k + column) * n + row) * item, item);
}

static mica_status load_transposed(mica_loader *l, const char *name, int64_t e, int64_t n,
                                   int64_t k, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_storage parts[MICA_PARTS_MAX] = {{0}}, file[MICA_PARTS_MAX] = {{0}};
    const mica_checkpoint_tensor *tensor = NULL;
    mica_shape shape, stored;
    uint8_t *host = NULL;
    MICA_REQUIRE(mica_shape_make(3, (int64_t[]){e, n, k}, &shape) &&
                     mica_shape_make(3, (int64_t[]){e, k, n}, &stored),
                 MICA_STATUS_LIMIT, "%s: the configuration predicts a shape that is too large",
                 name);
    MICA_TRY(loader_take_part(l, name, loader_float_types, 3, &stored, &tensor, &file[0], err));
    mica_dtype dtype = loader_plain_type(tensor);
    if (!l->predict) MICA_TRY(loader_new_part(l, tensor->bytes, &parts[0], &host, err));
    if (host) transpose(file[0].buffer->host, host, e, k, n, mica_dtype_bytes(dtype));
    st = loader_add_weight(l, name, dtype, (mica_quant){0}, &shape, parts, err);
done:
    loader_release_parts(parts);
    loader_release_parts(file);
    return st;
}

mica_status mica_load_experts(mica_loader *l, int64_t e, int64_t n, int64_t k, mica_error *err,
                              const char *format, ...) {
    char prefix[LOADER_NAME_BYTES - 16], name[LOADER_NAME_BYTES];
    LOADER_FORMAT_NAME(prefix, format);
    snprintf(name, sizeof name, "%s_blocks", prefix);
    bool is_mxfp4 = l->predict ? strcmp(l->config->quant.method, "mxfp4") == 0
                               : mica_checkpoint_find(l->checkpoint, name) ||
                                     !mica_checkpoint_find(l->checkpoint, prefix);
    mica_status st =
        is_mxfp4 ? load_mxfp4(l, prefix, e, n, k, err) : load_transposed(l, prefix, e, n, k, err);
    if (st != MICA_STATUS_OK) return st;
    snprintf(name, sizeof name, "%s_bias", prefix);
    return loader_load_plain(l, name, 2, (int64_t[]){e, n}, err);
}

/* ---- MLX ---- */

bool mica_loader_has_mlx(const mica_loader *l, const char *format, ...) {
    char name[LOADER_NAME_BYTES];
    LOADER_FORMAT_NAME(name, format);
    if (l->predict) return l->config->quant_mlx.is_present;
    return mica_checkpoint_find(l->checkpoint, name) != NULL;
}

mica_status mica_load_linear_experts(mica_loader *l, int64_t e, int64_t n, int64_t k, bool has_bias,
                                     mica_error *err, const char *format, ...) {
    char path[LOADER_NAME_BYTES - 16], name[LOADER_NAME_BYTES];
    LOADER_FORMAT_NAME(path, format);
    mica_status st = loader_load_matrix(l, path, 3, (int64_t[]){e, n, k}, err);
    if (st != MICA_STATUS_OK || !has_bias) return st;
    snprintf(name, sizeof name, "%s.bias", path);
    return loader_load_plain(l, name, 2, (int64_t[]){e, n}, err);
}

/* ---- a matrix for each ---- */

/* Experts of one matrix: where it is stored, and its parts, the same for all. */
typedef struct expert_stack {
    const mica_expert_matrices *matrices;
    const char *prefix;
    loader_parts parts;
    const mica_checkpoint_tensor *first[MICA_PARTS_MAX]; /* of expert 0 */
} expert_stack;

static void name_part(const expert_stack *s, int64_t expert, const char *suffix,
                      char name[LOADER_NAME_BYTES]) {
    snprintf(name, LOADER_NAME_BYTES, "%s.%lld.%s%s", s->prefix, (long long)expert,
             s->matrices->name, suffix);
}

/* Names and shapes of one expert. The first decides the types. */
static mica_status expect_expert(mica_loader *l, expert_stack *s, int64_t expert, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    char name[LOADER_NAME_BYTES];
    for (int p = 0; p < s->parts.n_parts; p++) {
        const loader_part *part = &s->parts.parts[p];
        const mica_checkpoint_tensor *first = s->first[p], *tensor = NULL;
        name_part(s, expert, part->suffix, name);
        if (l->predict) {
            MICA_TRY(l->predict(l->predict_context, name, part->types[0], &part->shape, err));
            continue;
        }
        MICA_TRY(mica_checkpoint_expect(l->checkpoint, name, first ? &first->dtype : part->types,
                                        first ? 1 : part->n_types, &part->shape, &tensor, err));
        if (first) continue;
        s->first[p] = tensor;
        loader_narrow_parts(&s->parts, p, tensor);
    }
done:
    return st;
}

static bool is_same_quant(mica_quant a, mica_quant b) {
    return a.mode == b.mode && a.bits == b.bits && a.group == b.group;
}

/* All names and shapes, before memory is taken for them. */
static mica_status expect_experts(mica_loader *l, expert_stack *s, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_expert_matrices *m = s->matrices;
    char path[LOADER_NAME_BYTES], one[32], other[32];
    for (int64_t i = 0; i < m->e; i++) {
        loader_parts parts;
        name_part(s, i, "", path);
        MICA_TRY(loader_find_parts(l, path, 2, (int64_t[]){m->n, m->k}, &parts, err));
        if (i == 0) s->parts = parts;
        mica_quant_format(parts.quant, one);
        mica_quant_format(s->parts.quant, other);
        MICA_REQUIRE(is_same_quant(parts.quant, s->parts.quant), MICA_STATUS_UNSUPPORTED,
                     "%s is stored as %s, expert 0 as %s; all of a layer must agree", path,
                     one[0] ? one : "plain", other[0] ? other : "plain");
        MICA_TRY(expect_expert(l, s, i, err));
    }
done:
    return st;
}

static mica_status copy_part(mica_loader *l, const expert_stack *s, int p, uint8_t *to,
                             mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    char name[LOADER_NAME_BYTES];
    for (int64_t i = 0; i < s->matrices->e; i++) {
        name_part(s, i, s->parts.parts[p].suffix, name);
        const mica_checkpoint_tensor *tensor = mica_checkpoint_find(l->checkpoint, name);
        if (to) {
            size_t bytes = (size_t)tensor->bytes;
            MICA_TRY(mica_checkpoint_read_tensor(l->checkpoint, tensor, 0, to, bytes, err));
            MICA_TRY(loader_check_values(&s->parts, p, name, to, bytes, err));
            to += bytes;
        }
        l->done_bytes += tensor->bytes;
        MICA_TRY(loader_report(l, to ? "weights" : "check", err));
    }
done:
    return st;
}

mica_status mica_load_expert_matrices(mica_loader *l, const mica_expert_matrices *m,
                                      mica_error *err, const char *format, ...) {
    mica_status st = MICA_STATUS_OK;
    mica_storage storage[MICA_PARTS_MAX] = {{0}};
    mica_shape shape;
    char prefix[LOADER_NAME_BYTES / 2], name[LOADER_NAME_BYTES];
    LOADER_FORMAT_NAME(prefix, format);
    expert_stack s = {.matrices = m, .prefix = prefix};
    MICA_REQUIRE(mica_shape_make(3, (int64_t[]){m->e, m->n, m->k}, &shape), MICA_STATUS_LIMIT,
                 "%s: the configuration predicts a shape that is too large", prefix);
    MICA_TRY(expect_experts(l, &s, err));
    if (l->predict) return MICA_STATUS_OK;
    for (int p = 0; p < s.parts.n_parts; p++) {
        uint8_t *host = NULL;
        MICA_TRY(loader_new_part(l, (uint64_t)m->e * s.first[p]->bytes, &storage[p], &host, err));
        MICA_TRY(copy_part(l, &s, p, host, err));
    }
    snprintf(name, sizeof name, "%s.%s.weight", prefix, m->name);
    mica_dtype dtype = s.parts.quant.mode ? MICA_DTYPE_BF16 : loader_plain_type(s.first[0]);
    st = loader_add_weight(l, name, dtype, s.parts.quant, &shape, storage, err);
done:
    loader_release_parts(storage);
    return st;
}
