/* How the matrix of a module is stored: MLX's rules of config.json, and the tensors that each
 * format has. Foreign formats have been rewritten to MLX's before (format/import.h). */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "model/loader_parts.h"

static const mica_safetensors_dtype code_types[] = {MICA_SAFETENSORS_U32};
static const mica_safetensors_dtype factor_types[] = {MICA_SAFETENSORS_F32};

/* ---- rules ---- */

static int compare_rules(const void *a, const void *b) {
    const mica_config_quant_rule *const *x = a, *const *y = b;
    return strcmp((*x)->path, (*y)->path);
}

mica_status mica_loader_sort_rules(mica_loader *l, const mica_allocator *allocator,
                                   mica_error *err) {
    const mica_config_quant *q = &l->config->quant_mlx;
    if (!q->is_present || q->n_rules == 0) return MICA_STATUS_OK;
    l->rules = MICA_NEW_ARRAY(allocator, const mica_config_quant_rule *, q->n_rules);
    if (!l->rules)
        return mica_fail_memory(err, q->n_rules * sizeof *l->rules, "quantisation rules");
    for (size_t i = 0; i < q->n_rules; i++) l->rules[i] = &q->rules[i];
    qsort(l->rules, q->n_rules, sizeof *l->rules, compare_rules);
    return MICA_STATUS_OK;
}

static const mica_config_quant_rule *find_rule(const mica_loader *l, const char *path) {
    const mica_config_quant *q = &l->config->quant_mlx;
    const mica_config_quant_rule wanted = {.path = path}, *key = &wanted, **found;
    if (l->rules) {
        found = bsearch(&key, l->rules, q->n_rules, sizeof *l->rules, compare_rules);
        return found ? *found : NULL;
    }
    for (size_t i = 0; i < q->n_rules; i++)
        if (strcmp(q->rules[i].path, path) == 0) return &q->rules[i];
    return NULL;
}

static bool has_tensor(const mica_loader *l, const char *path, const char *suffix) {
    char name[LOADER_NAME_BYTES];
    snprintf(name, sizeof name, "%s%s", path, suffix);
    return !l->predict && mica_checkpoint_find(l->checkpoint, name);
}

/* What MLX takes where bits or group_size do not stand there. */
static mica_quant fill_format(mica_quant_mode mode, int32_t bits, int32_t group) {
    static const struct {
        uint8_t bits;
        uint16_t group;
    } defaults[] = {[MICA_QUANT_AFFINE] = {4, 64},
                    [MICA_QUANT_MXFP4] = {4, 32},
                    [MICA_QUANT_MXFP8] = {8, 32},
                    [MICA_QUANT_NVFP4] = {4, 16}};
    mica_quant q = {.mode = (uint8_t)mode, .scale_dtype = MICA_DTYPE_U8};
    if (mode == MICA_QUANT_AFFINE) q.scale_dtype = MICA_DTYPE_F32;
    q.bits = bits > 0 && bits <= 64 ? (uint8_t)bits : bits ? 255 : defaults[mode].bits;
    q.group = group > 0 && group <= 65535 ? (uint16_t)group : group ? 65535 : defaults[mode].group;
    return q;
}

static mica_status refuse_format(const char *path, mica_quant_mode mode, mica_quant q,
                                 mica_error *err) {
    static const char *const names[] = {"none", "affine", "mxfp4", "mxfp8", "nvfp4"};
    return mica_fail(err, MICA_STATUS_UNSUPPORTED,
                     "config.json: %s is quantised as %s of %u bits in groups of %u; mica has "
                     "affine (2, 3, 4, 5, 6 or 8 bits; 32, 64 or 128), mxfp4 (4; 32), mxfp8 (8; "
                     "32) and nvfp4 (4; 16)",
                     path, names[mode], (unsigned)q.bits, (unsigned)q.group);
}

/* mode NONE: plain. */
static mica_status find_quant(const mica_loader *l, const char *path, int64_t k, mica_quant *out,
                              mica_error *err) {
    const mica_config_quant *q = &l->config->quant_mlx;
    const mica_config_quant_rule *rule = find_rule(l, path);
    *out = (mica_quant){0};
    if (!q->is_present || (rule && !rule->is_quantized)) return MICA_STATUS_OK;
    if (!rule && !l->predict && !has_tensor(l, path, ".scales")) return MICA_STATUS_OK;
    mica_quant_mode mode = rule ? rule->mode : q->mode;
    if (mode < MICA_QUANT_NONE || mode > MICA_QUANT_NVFP4) mode = MICA_QUANT_NONE;
    mica_quant found = mode ? fill_format(mode, rule ? rule->bits : q->bits,
                                          rule ? rule->group_size : q->group_size)
                            : (mica_quant){0};
    if (!mode || !mica_quant_is_valid(found)) return refuse_format(path, mode, found, err);
    /* MLX's converter leaves alone what does not fit. */
    if (l->predict && !rule && k % found.group != 0) return MICA_STATUS_OK;
    if (mode == MICA_QUANT_NVFP4 && has_tensor(l, path, ".scale_factor"))
        found.mode = MICA_QUANT_NVFP4_SCALED;
    *out = found;
    return MICA_STATUS_OK;
}

/* ---- tensors ---- */

/* The shape with another last axis. */
static mica_shape with_last(const mica_shape *s, int64_t last) {
    mica_shape out = *s;
    out.dims[out.rank - 1] = last;
    return out;
}

static void add_part(loader_parts *m, const char *suffix, const mica_safetensors_dtype *types,
                     size_t n_types, mica_shape shape) {
    m->parts[m->n_parts++] = (loader_part){suffix, types, n_types, shape};
}

static void list_parts(loader_parts *m) {
    const mica_shape *s = &m->shape;
    int64_t k = s->dims[s->rank - 1];
    mica_shape factors = {.rank = 1, .dims = {s->rank == 3 ? s->dims[0] : 1}};
    bool is_affine = m->quant.mode == MICA_QUANT_AFFINE;
    if (!m->quant.mode) {
        add_part(m, ".weight", loader_float_types, 3, *s);
        return;
    }
    mica_shape scales = with_last(s, k / m->quant.group);
    add_part(m, ".weight", code_types, 1, with_last(s, k * m->quant.bits / 32));
    add_part(m, ".scales", is_affine ? loader_float_types : loader_byte_types, is_affine ? 3 : 1,
             scales);
    if (is_affine) add_part(m, ".biases", loader_float_types, 3, scales);
    if (m->quant.mode == MICA_QUANT_NVFP4_SCALED)
        add_part(m, ".scale_factor", factor_types, 1, factors);
}

mica_status loader_find_parts(const mica_loader *l, const char *path, int rank, const int64_t *dims,
                              loader_parts *out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    char format[32];
    int64_t k = dims[rank - 1];
    *out = (loader_parts){0};
    MICA_REQUIRE(mica_shape_make(rank, dims, &out->shape), MICA_STATUS_LIMIT,
                 "%s.weight: the configuration predicts a shape that is too large", path);
    MICA_TRY(find_quant(l, path, k, &out->quant, err));
    mica_quant_format(out->quant, format);
    MICA_REQUIRE(!out->quant.mode || k % out->quant.group == 0, MICA_STATUS_FORMAT,
                 "%s: rows of %lld elements as %s, wanted a multiple of %u", path, (long long)k,
                 format, (unsigned)out->quant.group);
    MICA_REQUIRE(
        !out->quant.mode || out->quant.mode == MICA_QUANT_AFFINE || !has_tensor(l, path, ".biases"),
        MICA_STATUS_FORMAT, "%s.biases: config.json says %s, which has no biases", path, format);
    list_parts(out);
done:
    return st;
}

void loader_narrow_parts(loader_parts *m, int p, const mica_checkpoint_tensor *tensor) {
    if (m->quant.mode != MICA_QUANT_AFFINE || p != 1 || !tensor) return;
    m->quant.scale_dtype = (uint8_t)mica_safetensors_dtype_plain(tensor->dtype);
    for (size_t i = 0; i < 3; i++)
        if (loader_float_types[i] == tensor->dtype) m->parts[2].types = &loader_float_types[i];
    m->parts[2].n_types = 1;
}

mica_status loader_check_values(const loader_parts *m, int p, const char *name, const uint8_t *data,
                                uint64_t bytes, mica_error *err) {
    bool is_nvfp4 = m->quant.mode == MICA_QUANT_NVFP4 || m->quant.mode == MICA_QUANT_NVFP4_SCALED;
    if (m->quant.mode < MICA_QUANT_MXFP4 || p == 0) return MICA_STATUS_OK;
    if (p == 1 && !is_nvfp4) return mica_checkpoint_check_e8m0(name, data, bytes, err);
    if (p == 1) return mica_checkpoint_check_e4m3(name, data, bytes, err);
    for (uint64_t i = 0; i < bytes / sizeof(float); i++) {
        float factor;
        memcpy(&factor, data + i * sizeof factor, sizeof factor);
        if (!isfinite(factor))
            return mica_fail(err, MICA_STATUS_FORMAT, "%s: factor %llu is %g, wanted a finite one",
                             name, (unsigned long long)i, (double)factor);
    }
    return MICA_STATUS_OK;
}
