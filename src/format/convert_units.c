/* Pairing weights with their scales, checking that they go together, and deciding what becomes of
 * each. The type of a quantised tensor follows from its scales where those are bytes (their number
 * per row tells the mode); affine has to be told by the config. */
#include "format/convert_units.h"
#include <string.h>
#include "base/checked.h"
#include "base/error.h"
#include "format/checkpoint_rewrite.h"

enum { NAME_BYTES = MICA_SAFETENSORS_NAME_BYTES_MAX + 1 };

/* Of quantised modules; only the first three are written. */
enum { PART_WEIGHT, PART_SCALES, PART_BIASES, PART_FACTORS, PART_END_COUNT };
static const char *const part_ends[PART_END_COUNT] = {".weight", ".scales", ".biases",
                                                      ".scale_factor"};

typedef struct unit_maker {
    mica_checkpoint *checkpoint;
    const convert_rules *rules;
    mica_vec *units;
} unit_maker;

/* ---- names ---- */

/* Bytes before `end` where the name ends in it, else 0. */
static size_t path_bytes(const mica_checkpoint_tensor *tensor, const char *end) {
    size_t bytes = strlen(end);
    if (tensor->name_bytes <= bytes) return 0;
    size_t path = tensor->name_bytes - bytes;
    return strcmp(tensor->name + path, end) == 0 ? path : 0;
}

static mica_status make_name(unit_maker *m, const char *path, size_t bytes, const char *end,
                             const char **out, mica_error *err) {
    char name[NAME_BYTES];
    size_t length = mica_format(name, sizeof name, "%.*s%s", (int)bytes, path, end);
    if (length >= sizeof name)
        return mica_fail(err, MICA_STATUS_FORMAT, "%s: the name is too long to be changed", path);
    *out = mica_arena_string(mica_checkpoint_arena(m->checkpoint), name, length);
    return *out ? MICA_STATUS_OK : mica_fail_memory(err, length, "a tensor name");
}

static const mica_checkpoint_tensor *find_part(const unit_maker *m, const char *path, int part) {
    char name[NAME_BYTES];
    if (mica_format(name, sizeof name, "%s%s", path, part_ends[part]) >= sizeof name) return NULL;
    return mica_checkpoint_find(m->checkpoint, name);
}

/* ---- what the files hold ---- */

static mica_dtype float_type(const mica_checkpoint_tensor *tensor) {
    mica_dtype dtype = mica_safetensors_dtype_plain(tensor->dtype);
    bool is_float = dtype == MICA_DTYPE_BF16 || dtype == MICA_DTYPE_F16 || dtype == MICA_DTYPE_F32;
    return is_float ? dtype : MICA_DTYPE_NONE;
}

static const mica_config_quant_rule *find_rule(const mica_config_quant *quant, const char *path) {
    for (size_t i = 0; i < quant->n_rules; i++)
        if (strcmp(quant->rules[i].path, path) == 0) return &quant->rules[i];
    return NULL;
}

/* What the config says of a module. Stacked experts are said to be what the first one was. */
static mica_quant_spec said_spec(const mica_config *config, const char *path) {
    const mica_config_quant *quant = &config->quant_mlx;
    char name[NAME_BYTES];
    if (!quant->is_present) return (mica_quant_spec){0};
    const mica_config_quant_rule *rule = find_rule(quant, path);
    const char *stacked = strstr(path, ".mlp.switch_mlp.");
    if (!rule && stacked &&
        mica_format(name, sizeof name, "%.*s.mlp.experts.0.%s", (int)(stacked - path), path,
                    stacked + strlen(".mlp.switch_mlp.")) < sizeof name)
        rule = find_rule(quant, name);
    if (rule && !rule->is_quantized) return (mica_quant_spec){0};
    mica_quant_spec spec = mica_quant_spec_usual(rule ? (int)rule->mode : (int)quant->mode);
    int32_t bits = rule ? rule->bits : quant->bits;
    int32_t group = rule ? rule->group_size : quant->group_size;
    if (bits != 0) spec.bits = bits > 0 && bits <= UINT8_MAX ? (uint8_t)bits : UINT8_MAX;
    if (group != 0) spec.group = group > 0 && group <= UINT16_MAX ? (uint16_t)group : UINT16_MAX;
    return spec;
}

/* The mode whose rows have that many words of codes for so many byte scales. */
static mica_quant_spec seen_spec(int64_t words, int64_t scales) {
    if (scales > 0 && words == 4 * scales) return (mica_quant_spec){MICA_QUANT_MXFP4, 4, 32};
    if (scales > 0 && words == 8 * scales) return (mica_quant_spec){MICA_QUANT_MXFP8, 8, 32};
    if (scales > 0 && words == 2 * scales) return (mica_quant_spec){MICA_QUANT_NVFP4, 4, 16};
    return (mica_quant_spec){0};
}

static mica_status fail_pair(const mica_checkpoint_tensor *a, const mica_checkpoint_tensor *b,
                             mica_error *err) {
    char x[176], y[176];
    return mica_fail(err, MICA_STATUS_FORMAT, "%s: %s %s does not go with %s %s of %s", b->name,
                     mica_safetensors_dtype_name(b->dtype), mica_shape_format(&b->shape, y),
                     mica_safetensors_dtype_name(a->dtype), mica_shape_format(&a->shape, x),
                     a->name);
}

static bool have_same_rows(const mica_shape *a, const mica_shape *b) {
    if (a->rank != b->rank || a->rank < 2) return false;
    return memcmp(a->dims, b->dims, (size_t)(a->rank - 1) * sizeof *a->dims) == 0;
}

/* affine, with its biases. */
static mica_status read_affine(const unit_maker *m, convert_unit *u, mica_error *err) {
    char text[32];
    const mica_checkpoint_tensor *weight = u->sources[0], *scales = u->sources[1];
    const mica_checkpoint_tensor *biases = find_part(m, u->path, PART_BIASES);
    mica_quant_spec spec = said_spec(m->rules->config, u->path);
    u->from = mica_quant_spec_type(spec, float_type(scales));
    if (spec.mode != MICA_QUANT_AFFINE || !mica_quant_is_valid(u->from))
        return mica_fail(err, MICA_STATUS_FORMAT, "%s: scales of type %s, but the config says %s",
                         u->path, mica_safetensors_dtype_name(scales->dtype),
                         mica_quant_spec_format(spec, text));
    if (!biases) return mica_fail(err, MICA_STATUS_NOT_FOUND, "%s.biases is missing", u->path);
    if (biases->dtype != scales->dtype || !mica_shape_equal(&biases->shape, &scales->shape))
        return fail_pair(scales, biases, err);
    u->sources[2] = biases;
    u->n_sources = 3;
    int64_t k = scales->shape.dims[scales->shape.rank - 1] * spec.group;
    if (weight->shape.dims[weight->shape.rank - 1] * 32 != k * spec.bits)
        return fail_pair(weight, scales, err);
    u->k = k;
    return MICA_STATUS_OK;
}

/* mxfp4, mxfp8, nvfp4; the latter with one factor a matrix, where it has one. */
static mica_status read_blocks(const unit_maker *m, convert_unit *u, mica_error *err) {
    char seen[32], said[32];
    const mica_checkpoint_tensor *weight = u->sources[0], *scales = u->sources[1];
    const mica_checkpoint_tensor *factors = find_part(m, u->path, PART_FACTORS);
    int64_t n_scales = scales->shape.dims[scales->shape.rank - 1];
    mica_quant_spec spec = seen_spec(weight->shape.dims[weight->shape.rank - 1], n_scales);
    mica_quant_spec wanted = said_spec(m->rules->config, u->path);
    if (spec.mode == MICA_QUANT_NONE) return fail_pair(weight, scales, err);
    u->from = mica_quant_spec_type(spec, MICA_DTYPE_U8);
    u->k = n_scales * spec.group;
    if (factors) {
        int64_t n = mica_shape_count(&factors->shape);
        if (spec.mode != MICA_QUANT_NVFP4 || factors->dtype != MICA_SAFETENSORS_F32 ||
            n * weight->shape.dims[weight->shape.rank - 2] != u->rows)
            return fail_pair(scales, factors, err);
        u->from.mode = MICA_QUANT_NVFP4_SCALED;
        u->sources[2] = factors;
        u->n_sources = 3;
        return MICA_STATUS_OK;
    }
    if (wanted.mode == MICA_QUANT_NONE || mica_quant_spec_equal(spec, wanted))
        return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_FORMAT, "%s: its scales are those of %s, the config says %s",
                     u->path, mica_quant_spec_format(spec, seen),
                     mica_quant_spec_format(wanted, said));
}

static mica_status read_quantized(const unit_maker *m, convert_unit *u, mica_error *err) {
    const mica_checkpoint_tensor *weight = u->sources[0], *scales = u->sources[1];
    bool has_types = weight->dtype == MICA_SAFETENSORS_U32 &&
                     (scales->dtype == MICA_SAFETENSORS_U8 || float_type(scales));
    if (!has_types || !have_same_rows(&weight->shape, &scales->shape))
        return fail_pair(weight, scales, err);
    u->n_sources = 2;
    mica_status st =
        scales->dtype == MICA_SAFETENSORS_U8 ? read_blocks(m, u, err) : read_affine(m, u, err);
    u->shape.dims[u->shape.rank - 1] = u->k;
    u->from_dtype = float_type(scales); /* NONE for byte scales */
    return st;
}

/* The sources and what they hold. */
static mica_status read_unit(const unit_maker *m, convert_unit *u, mica_error *err) {
    const mica_checkpoint_tensor *weight = u->sources[0];
    const mica_checkpoint_tensor *scales = NULL;
    const mica_shape *shape = &weight->shape;
    bool is_module = weight->name[strlen(u->path)] != '\0';
    u->shape = *shape;
    u->n_sources = 1;
    u->from_dtype = float_type(weight);
    u->k = shape->rank > 0 ? shape->dims[shape->rank - 1] : 1;
    u->matrix_rows = shape->rank > 1 ? shape->dims[shape->rank - 2] : 1;
    u->rows = 1;
    for (int i = 0; i + 1 < shape->rank; i++) u->rows *= shape->dims[i];
    if (is_module) scales = find_part(m, u->path, PART_SCALES);
    if (!scales) return MICA_STATUS_OK;
    u->sources[1] = scales;
    return read_quantized(m, u, err);
}

/* ---- what becomes of them ---- */

static mica_quant_spec spec_of(mica_quant quant) {
    return (mica_quant_spec){quant.mode, quant.bits, quant.group};
}

/* The float type that a unit gets when nothing else says so: that of its own floats, or of the
 * model. */
static mica_dtype plain_dtype(const unit_maker *m, const convert_unit *u) {
    if (m->rules->dtype) return m->rules->dtype;
    return u->from_dtype ? u->from_dtype : m->rules->config->dtype;
}

static void decide_plain(const unit_maker *m, convert_unit *u) {
    u->to = (mica_quant){0};
    u->to_dtype = plain_dtype(m, u);
    u->kind = u->from.mode != MICA_QUANT_NONE ? CONVERT_DECODE
              : u->from_dtype == u->to_dtype  ? CONVERT_COPY
                                              : CONVERT_CAST;
}

static void decide_module(const unit_maker *m, convert_unit *u) {
    bool is_quantized = u->from.mode != MICA_QUANT_NONE;
    bool is_foreign =
        u->from.mode == MICA_QUANT_NVFP4_SCALED; /* MLX's layers have no such factor */
    convert_choice choice = convert_rules_choose(m->rules, u->path, spec_of(u->from));
    bool wants_quant = choice.action == CONVERT_STORE && choice.spec.mode != MICA_QUANT_NONE;
    bool fits = wants_quant && u->k > 0 && u->k % choice.row_multiple == 0;
    bool is_same = wants_quant && mica_quant_spec_equal(choice.spec, spec_of(u->from));
    if (wants_quant && !fits) u->note = "its rows do not come to whole groups";
    bool is_kept = choice.action == CONVERT_KEEP || is_same || (wants_quant && !fits);
    if (is_quantized && is_kept && !is_foreign) {
        u->kind = CONVERT_COPY;
        u->to = u->from;
    } else if (fits) {
        u->kind = CONVERT_ENCODE;
        u->to_dtype = plain_dtype(m, u);
        u->to = mica_quant_spec_type(choice.spec, u->to_dtype);
    } else {
        decide_plain(m, u);
    }
}

static void decide(const unit_maker *m, convert_unit *u) {
    bool is_module = u->sources[0]->name[strlen(u->path)] != '\0';
    bool is_float = u->from_dtype || u->from.mode != MICA_QUANT_NONE;
    if (!is_float) {
        u->kind = CONVERT_COPY;
    } else if (is_module && u->shape.rank >= 2) {
        decide_module(m, u);
    } else {
        decide_plain(m, u);
    }
}

/* ---- outputs ---- */

static mica_status add_output(convert_unit *u, const char *name, mica_safetensors_dtype dtype,
                              const mica_shape *shape, mica_error *err) {
    convert_output *out = &u->outputs[u->n_outputs++];
    *out = (convert_output){.name = name, .dtype = dtype, .shape = *shape};
    int rule = mica_safetensors_tensor_bytes(dtype, shape, &out->bytes);
    if (rule != 0)
        return mica_fail(err, MICA_STATUS_FORMAT,
                         "%s: rule %d: a tensor of that shape is too large", name, rule);
    u->bytes_out += out->bytes;
    return MICA_STATUS_OK;
}

static mica_status add_quantized(unit_maker *m, convert_unit *u, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_safetensors_dtype dtypes[CONVERT_PARTS] = {MICA_SAFETENSORS_U32};
    int n = mica_quant_parts(u->to);
    dtypes[1] = dtypes[2] = mica_safetensors_dtype_of(u->to.scale_dtype);
    for (int i = 0; i < n; i++) {
        const char *name = NULL;
        mica_shape shape = u->shape;
        int64_t *columns = &shape.dims[shape.rank - 1];
        *columns = i == 0 ? *columns * u->to.bits / 32 : *columns / u->to.group;
        MICA_TRY(make_name(m, u->path, strlen(u->path), part_ends[i], &name, err));
        MICA_TRY(add_output(u, name, dtypes[i], &shape, err));
    }
done:
    return st;
}

static mica_status add_outputs(unit_maker *m, convert_unit *u, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    for (int i = 0; i < u->n_sources; i++) u->bytes_in += u->sources[i]->bytes;
    if (u->kind == CONVERT_ENCODE) return add_quantized(m, u, err);
    if (u->kind != CONVERT_COPY)
        return add_output(u, u->sources[0]->name, mica_safetensors_dtype_of(u->to_dtype), &u->shape,
                          err);
    for (int i = 0; i < u->n_sources && st == MICA_STATUS_OK; i++)
        st = add_output(u, u->sources[i]->name, u->sources[i]->dtype, &u->sources[i]->shape, err);
    return st;
}

/* ---- the list ---- */

/* Scales and biases belong to the weight that has their name. */
static mica_status check_owner(const unit_maker *m, const mica_checkpoint_tensor *tensor,
                               size_t bytes, mica_error *err) {
    char path[NAME_BYTES];
    mica_format(path, sizeof path, "%.*s", (int)bytes, tensor->name);
    bool has_weight = find_part(m, path, PART_WEIGHT) != NULL;
    if (has_weight && find_part(m, path, PART_SCALES)) return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_FORMAT, "%s: there is no %s%s that it belongs to",
                     tensor->name, path, part_ends[has_weight ? PART_SCALES : PART_WEIGHT]);
}

static mica_status make_unit(unit_maker *m, const mica_checkpoint_tensor *tensor, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    convert_unit u = {.sources = {tensor}};
    size_t bytes = path_bytes(tensor, part_ends[PART_WEIGHT]);
    for (int i = PART_SCALES; i < PART_END_COUNT; i++) {
        size_t owner = path_bytes(tensor, part_ends[i]);
        if (owner > 0) return check_owner(m, tensor, owner, err);
    }
    MICA_TRY(make_name(m, tensor->name, bytes ? bytes : tensor->name_bytes, "", &u.path, err));
    MICA_TRY(read_unit(m, &u, err));
    decide(m, &u);
    MICA_TRY(add_outputs(m, &u, err));
    if (!mica_vec_append(m->units, &u, 1))
        st = mica_fail_memory(err, sizeof u, "a list of tensors");
done:
    return st;
}

mica_status convert_units_make(mica_checkpoint *c, const convert_rules *rules, mica_vec *units,
                               mica_error *err) {
    unit_maker m = {c, rules, units};
    mica_status st = MICA_STATUS_OK;
    for (size_t i = 0; i < mica_checkpoint_count(c) && st == MICA_STATUS_OK; i++)
        st = make_unit(&m, mica_checkpoint_at(c, i), err);
    return st;
}

/* ---- names of types ---- */

static const char *name_type(mica_quant quant, mica_safetensors_dtype dtype, char out[32]) {
    if (quant.mode == MICA_QUANT_NVFP4_SCALED)
        mica_format(out, 32, "nvfp4 with a factor");
    else if (quant.mode != MICA_QUANT_NONE)
        mica_quant_spec_format(spec_of(quant), out);
    else
        mica_format(out, 32, "%s", mica_safetensors_dtype_name(dtype));
    return out;
}

const char *convert_unit_from(const convert_unit *u, char out[32]) {
    return name_type(u->from, u->sources[0]->dtype, out);
}

const char *convert_unit_to(const convert_unit *u, char out[32]) {
    return name_type(u->to, u->outputs[0].dtype, out);
}
