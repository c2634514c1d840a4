/* quantization and quantization_config of config.json. MLX writes one mode for all and a rule for
 * each module that differs; others name a method and the modules they left alone, in flat fields or
 * by groups. Which tensors a rule means is the business of the loader and the importers. */
#include "format/config_parts.h"
#include <string.h>
#include "base/error.h"
#include "base/vec.h"

/* clang-format off */
#define FIELD(kind, member, min, max) {#member, MICA_FIELD_##kind, \
    offsetof(mica_config_quant, member), offsetof(mica_config_quant, has.member), min, max},
static const mica_field plain_fields[] = {
#include "format/config_quant_fields.def"
};
#undef FIELD
#define FIELD(kind, member, min, max) {#member, MICA_FIELD_##kind, \
    offsetof(mica_config_quant_weights, member), \
    offsetof(mica_config_quant_weights, has.member), min, max},
static const mica_field weight_fields[] = {
#include "format/config_quant_weights.def"
};
#undef FIELD
/* clang-format on */

typedef struct quant_parser {
    config_parser *p;
    const char *key;
    bool is_mlx;
    mica_config_quant *out;
    mica_vec rules;         /* mica_config_quant_rule */
    mica_vec not_converted; /* const char * */
} quant_parser;

static const char *keep_text(quant_parser *q, mica_slice text) {
    return mica_arena_string(&q->p->config->texts->arena, text.data, text.bytes);
}

static mica_status read_small(quant_parser *q, const char *key, int64_t min, int64_t max,
                              int32_t *out, mica_error *err) {
    int64_t v;
    mica_status st = mica_json_read_i64(q->p->json, &v, err);
    if (st != MICA_STATUS_OK) return mica_fail_prefix(err, st, "%s.%s", q->key, key);
    if (v < min || v > max)
        return mica_fail(err, MICA_STATUS_FORMAT, "%s: %s.%s is %lld, expected %lld to %lld",
                         q->p->file, q->key, key, (long long)v, (long long)min, (long long)max);
    *out = (int32_t)v;
    return MICA_STATUS_OK;
}

static mica_status read_mode(quant_parser *q, mica_quant_mode *out, mica_error *err) {
    static const struct {
        const char *name;
        mica_quant_mode mode;
    } modes[] = {{"affine", MICA_QUANT_AFFINE},
                 {"mxfp4", MICA_QUANT_MXFP4},
                 {"mxfp8", MICA_QUANT_MXFP8},
                 {"nvfp4", MICA_QUANT_NVFP4}};
    mica_slice name;
    mica_status st = mica_json_read_string(q->p->json, &name, err);
    if (st != MICA_STATUS_OK) return mica_fail_prefix(err, st, "%s.mode", q->key);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (mica_slice_is(name, modes[i].name)) {
            *out = modes[i].mode;
            return MICA_STATUS_OK;
        }
    return mica_fail(err, MICA_STATUS_UNSUPPORTED,
                     "%s: %s.mode is \"%.*s\", expected affine, mxfp4, mxfp8 or nvfp4", q->p->file,
                     q->key, (int)(name.bytes < 64 ? name.bytes : 64), name.data);
}

/* group_size, bits, mode; *is_known is false for another key. */
static mica_status read_numbers(quant_parser *q, mica_slice key, int32_t *bits, int32_t *group_size,
                                mica_quant_mode *mode, bool *is_known, mica_error *err) {
    *is_known = true;
    mica_json_kind kind = mica_json_peek(q->p->json);
    if (kind == MICA_JSON_NULL) return mica_json_read_null(q->p->json, err);
    if (mica_slice_is(key, "bits")) return read_small(q, "bits", 0, 64, bits, err);
    if (mica_slice_is(key, "group_size"))
        return read_small(q, "group_size", q->is_mlx ? 0 : MICA_CONFIG_QUANT_WHOLE_ROW, 65536,
                          group_size, err);
    if (q->is_mlx && mica_slice_is(key, "mode")) return read_mode(q, mode, err);
    *is_known = false;
    return MICA_STATUS_OK;
}

static mica_config_quant_rule *add_rule(quant_parser *q, mica_slice path, mica_error *err) {
    mica_config_quant_rule *rule = NULL;
    if (q->rules.count == MICA_CONFIG_QUANT_RULES_MAX) {
        mica_fail(err, MICA_STATUS_LIMIT, "%s: %s: more than %d modules", q->p->file, q->key,
                  MICA_CONFIG_QUANT_RULES_MAX);
        return NULL;
    }
    const char *copy = keep_text(q, path);
    if (copy) rule = mica_vec_push(&q->rules);
    if (!rule) {
        mica_fail_memory(err, sizeof *rule, "a quantisation rule");
        return NULL;
    }
    rule->path = copy;
    return rule;
}

/* A module of its own: an object, or false for "as it is". */
static mica_status read_rule(quant_parser *q, mica_slice path, mica_error *err) {
    mica_slice key;
    mica_config_quant_rule rule = {.mode = MICA_QUANT_AFFINE, .is_quantized = true};
    mica_status st = MICA_STATUS_OK;
    bool is_known, is_on = true;
    if (mica_json_peek(q->p->json) == MICA_JSON_BOOL) {
        st = mica_json_read_bool(q->p->json, &is_on, err);
        if (st != MICA_STATUS_OK || is_on) return st; /* true: as the rest */
        rule = (mica_config_quant_rule){0};
    } else {
        st = mica_json_begin_object(q->p->json, err);
        while (st == MICA_STATUS_OK && mica_json_next_key(q->p->json, &key)) {
            st = read_numbers(q, key, &rule.bits, &rule.group_size, &rule.mode, &is_known, err);
            if (st == MICA_STATUS_OK && !is_known) st = mica_json_skip(q->p->json, err);
        }
        if (st == MICA_STATUS_OK) st = mica_json_check(q->p->json, err);
        if (st != MICA_STATUS_OK) return st;
    }
    mica_error local;
    mica_config_quant_rule *place = add_rule(q, path, &local);
    if (!place) {
        if (err) *err = local;
        return local.status;
    }
    rule.path = place->path;
    *place = rule;
    return MICA_STATUS_OK;
}

static mica_status read_list(quant_parser *q, mica_error *err) {
    mica_slice text;
    if (mica_json_peek(q->p->json) == MICA_JSON_NULL) return mica_json_read_null(q->p->json, err);
    mica_status st = mica_json_begin_array(q->p->json, err);
    while (st == MICA_STATUS_OK && mica_json_next_item(q->p->json)) {
        st = mica_json_read_string(q->p->json, &text, err);
        if (st != MICA_STATUS_OK) break;
        if (q->not_converted.count == MICA_CONFIG_QUANT_RULES_MAX)
            return mica_fail(err, MICA_STATUS_LIMIT, "%s: %s: more than %d modules", q->p->file,
                             q->key, MICA_CONFIG_QUANT_RULES_MAX);
        const char **slot = mica_vec_push(&q->not_converted);
        if (slot) *slot = keep_text(q, text);
        if (!slot || !*slot) return mica_fail_memory(err, text.bytes, "a module name");
    }
    if (st == MICA_STATUS_OK) st = mica_json_check(q->p->json, err);
    return st == MICA_STATUS_OK ? st : mica_fail_prefix(err, st, "%s", q->key);
}

/* ---- what other programs say ---- */

/* "4 bit int, group 128": the group of modules in one line. */
static void describe_weights(const mica_config_quant_weights *w, char out[192]) {
    mica_format(out, 192, "%lld bit %s%s, strategy %s, group %lld%s%s", (long long)w->num_bits,
                w->type[0] ? w->type : "untyped",
                !w->has.symmetric ? ""
                : w->symmetric    ? ", symmetric"
                                  : ", asymmetric",
                w->strategy[0] ? w->strategy : "unsaid", (long long)w->group_size,
                w->actorder[0] ? ", actorder " : "", w->actorder);
}

static bool equal_weights(const mica_config_quant_weights *a, const mica_config_quant_weights *b) {
    return a->num_bits == b->num_bits && a->has.num_bits == b->has.num_bits &&
           a->symmetric == b->symmetric && a->has.symmetric == b->has.symmetric &&
           a->group_size == b->group_size && a->has.group_size == b->has.group_size &&
           strcmp(a->type, b->type) == 0 && strcmp(a->strategy, b->strategy) == 0 &&
           strcmp(a->actorder, b->actorder) == 0 && strcmp(a->format, b->format) == 0;
}

static mica_status read_weights(quant_parser *q, mica_config_quant_weights *out, bool *has,
                                mica_error *err) {
    mica_slice key;
    bool is_known;
    if (mica_json_peek(q->p->json) == MICA_JSON_NULL) return mica_json_read_null(q->p->json, err);
    *has = true;
    mica_status st = mica_json_begin_object(q->p->json, err);
    while (st == MICA_STATUS_OK && mica_json_next_key(q->p->json, &key)) {
        st = mica_fields_read(q->p->json, q->p->file, key, weight_fields,
                              sizeof weight_fields / sizeof *weight_fields, out, &is_known, err);
        if (st == MICA_STATUS_OK && !is_known) st = mica_json_skip(q->p->json, err);
    }
    return st == MICA_STATUS_OK ? mica_json_check(q->p->json, err) : st;
}

/* A text of a fixed place. null leaves it empty. */
static mica_status read_text(quant_parser *q, const char *key, char out[MICA_FIELD_TEXT_BYTES],
                             mica_error *err) {
    mica_slice text;
    if (mica_json_peek(q->p->json) == MICA_JSON_NULL) return mica_json_read_null(q->p->json, err);
    mica_status st = mica_json_read_string(q->p->json, &text, err);
    if (st != MICA_STATUS_OK) return mica_fail_prefix(err, st, "%s.%s", q->key, key);
    if (text.bytes >= MICA_FIELD_TEXT_BYTES || (text.bytes && memchr(text.data, 0, text.bytes)))
        return mica_fail(err, MICA_STATUS_FORMAT,
                         "%s: %s.%s has %zu bytes, expected a text of at most %d", q->p->file,
                         q->key, key, text.bytes, MICA_FIELD_TEXT_BYTES - 1);
    if (text.bytes > 0) memcpy(out, text.data, text.bytes);
    out[text.bytes] = '\0';
    return MICA_STATUS_OK;
}

static mica_status read_group(quant_parser *q, mica_error *err) {
    mica_slice key;
    mica_config_quant_weights weights = {0};
    bool has = false;
    char one[192], other[192];
    mica_status st = mica_json_begin_object(q->p->json, err);
    while (st == MICA_STATUS_OK && mica_json_next_key(q->p->json, &key)) {
        if (mica_slice_is(key, "weights"))
            st = read_weights(q, &weights, &has, err);
        else if (mica_slice_is(key, "format"))
            st = read_text(q, "config_groups.*.format", weights.format, err);
        else
            st = mica_json_skip(q->p->json, err);
    }
    if (st == MICA_STATUS_OK) st = mica_json_check(q->p->json, err);
    if (st != MICA_STATUS_OK || !has) return st;
    if (q->out->n_weights > 0 && !equal_weights(&weights, &q->out->weights)) {
        describe_weights(&q->out->weights, one);
        describe_weights(&weights, other);
        return mica_fail(err, MICA_STATUS_UNSUPPORTED,
                         "%s: %s.config_groups differ: %s; and %s: one kind for all is supported",
                         q->p->file, q->key, one, other);
    }
    q->out->weights = weights;
    q->out->n_weights++;
    return MICA_STATUS_OK;
}

static mica_status read_groups(quant_parser *q, mica_error *err) {
    mica_slice key;
    if (mica_json_peek(q->p->json) == MICA_JSON_NULL) return mica_json_read_null(q->p->json, err);
    mica_status st = mica_json_begin_object(q->p->json, err);
    while (st == MICA_STATUS_OK && mica_json_next_key(q->p->json, &key)) {
        if (q->out->n_weights == MICA_CONFIG_QUANT_RULES_MAX)
            return mica_fail(err, MICA_STATUS_LIMIT, "%s: %s.config_groups: more than %d",
                             q->p->file, q->key, MICA_CONFIG_QUANT_RULES_MAX);
        st = read_group(q, err);
    }
    if (st == MICA_STATUS_OK) st = mica_json_check(q->p->json, err);
    if (st == MICA_STATUS_OK || st == MICA_STATUS_UNSUPPORTED) return st;
    return mica_fail_prefix(err, st, "%s.config_groups", q->key);
}

/* [rows, columns] */
static mica_status read_block_size(quant_parser *q, mica_error *err) {
    int32_t n = 0;
    if (mica_json_peek(q->p->json) == MICA_JSON_NULL) return mica_json_read_null(q->p->json, err);
    mica_status st = mica_json_begin_array(q->p->json, err);
    if (st != MICA_STATUS_OK) return mica_fail_prefix(err, st, "%s.weight_block_size", q->key);
    while (st == MICA_STATUS_OK && mica_json_next_item(q->p->json)) {
        int32_t side = 0;
        st = read_small(q, "weight_block_size", 1, 65536, &side, err);
        if (st == MICA_STATUS_OK && n < 2) q->out->weight_block_size[n] = side;
        n += n < 3;
    }
    if (st == MICA_STATUS_OK) st = mica_json_check(q->p->json, err);
    if (st != MICA_STATUS_OK || n == 2) return st;
    return mica_fail(err, MICA_STATUS_FORMAT,
                     "%s: %s.weight_block_size has %d numbers%s, expected rows and columns",
                     q->p->file, q->key, n, n == 3 ? " or more" : "");
}

static mica_status read_sparsity(quant_parser *q, mica_error *err) {
    mica_slice key;
    if (mica_json_peek(q->p->json) != MICA_JSON_OBJECT) return mica_json_skip(q->p->json, err);
    mica_status st = mica_json_begin_object(q->p->json, err);
    while (st == MICA_STATUS_OK && mica_json_next_key(q->p->json, &key))
        st = mica_slice_is(key, "format")
                 ? read_text(q, "sparsity_config.format", q->out->sparsity_format, err)
                 : mica_json_skip(q->p->json, err);
    return st == MICA_STATUS_OK ? mica_json_check(q->p->json, err) : st;
}

/* Fields that MLX does not write. */
static mica_status read_foreign_field(quant_parser *q, mica_slice key, mica_error *err) {
    bool is_known;
    mica_status st =
        mica_fields_read(q->p->json, q->p->file, key, plain_fields,
                         sizeof plain_fields / sizeof *plain_fields, q->out, &is_known, err);
    if (st != MICA_STATUS_OK) return mica_fail_prefix(err, st, "%s", q->key);
    if (is_known) return MICA_STATUS_OK;
    if (mica_slice_is(key, "config_groups")) return read_groups(q, err);
    if (mica_slice_is(key, "weight_block_size")) return read_block_size(q, err);
    if (mica_slice_is(key, "sparsity_config")) return read_sparsity(q, err);
    return mica_json_skip(q->p->json, err);
}

static mica_status read_quant_field(quant_parser *q, mica_slice key, mica_error *err) {
    static const char *const lists[] = {"modules_to_not_convert", "ignore", "ignored_layers",
                                        "exclude_modules"};
    bool is_known;
    mica_json_kind kind = mica_json_peek(q->p->json);
    mica_status st =
        read_numbers(q, key, &q->out->bits, &q->out->group_size, &q->out->mode, &is_known, err);
    if (st != MICA_STATUS_OK || is_known) return st;
    if (mica_slice_is(key, "quant_method"))
        return read_text(q, "quant_method", q->out->method, err);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (mica_slice_is(key, lists[i])) return read_list(q, err);
    if (q->is_mlx && (kind == MICA_JSON_OBJECT || kind == MICA_JSON_BOOL))
        return read_rule(q, key, err);
    return q->is_mlx ? mica_json_skip(q->p->json, err) : read_foreign_field(q, key, err);
}

/* Moves a list to the memory of the config. */
static bool seal(quant_parser *q, const mica_vec *list, const void **out, size_t *count) {
    if (list->count == 0) return true;
    size_t bytes = list->count * list->item_bytes;
    void *copy = mica_arena_alloc(&q->p->config->texts->arena, bytes);
    if (!copy) return false;
    memcpy(copy, list->data, bytes);
    *out = copy;
    *count = list->count;
    return true;
}

static mica_status read_object(quant_parser *q, mica_error *err) {
    mica_slice key;
    const void *rules = NULL, *not_converted = NULL;
    mica_status st = mica_json_begin_object(q->p->json, err);
    if (st != MICA_STATUS_OK) return mica_fail_prefix(err, st, "%s", q->key);
    while (st == MICA_STATUS_OK && mica_json_next_key(q->p->json, &key))
        st = read_quant_field(q, key, err);
    if (st == MICA_STATUS_OK) st = mica_json_check(q->p->json, err);
    if (st != MICA_STATUS_OK) return st;
    if (!seal(q, &q->rules, &rules, &q->out->n_rules) ||
        !seal(q, &q->not_converted, &not_converted, &q->out->n_not_converted))
        return mica_fail_memory(err, q->rules.count * sizeof(mica_config_quant_rule),
                                "quantisation rules");
    q->out->rules = rules;
    q->out->not_converted = not_converted;
    q->out->is_present = true;
    return MICA_STATUS_OK;
}

mica_status config_read_quant(config_parser *p, bool is_mlx, mica_error *err) {
    const mica_allocator *allocator = p->host->allocator;
    quant_parser q = {.p = p,
                      .key = is_mlx ? "quantization" : "quantization_config",
                      .is_mlx = is_mlx,
                      .out = is_mlx ? &p->config->quant_mlx : &p->config->quant};
    if (mica_json_peek(p->json) == MICA_JSON_NULL) return mica_json_read_null(p->json, err);
    if (q.out->is_present)
        return mica_fail(err, MICA_STATUS_FORMAT,
                         "%s: %s stands both at the top and in text_config", p->file, q.key);
    if (is_mlx) q.out->mode = MICA_QUANT_AFFINE;
    mica_vec_init(&q.rules, allocator, sizeof(mica_config_quant_rule));
    mica_vec_init(&q.not_converted, allocator, sizeof(const char *));
    mica_status st = read_object(&q, err);
    mica_vec_deinit(&q.rules);
    mica_vec_deinit(&q.not_converted);
    return st;
}

mica_status config_read_text_config(config_parser *p, mica_error *err) {
    mica_slice key;
    if (mica_json_peek(p->json) != MICA_JSON_OBJECT) return mica_json_skip(p->json, err);
    mica_status st = mica_json_begin_object(p->json, err);
    while (st == MICA_STATUS_OK && mica_json_next_key(p->json, &key)) {
        if (mica_slice_is(key, "quantization"))
            st = config_read_quant(p, true, err);
        else if (mica_slice_is(key, "quantization_config"))
            st = config_read_quant(p, false, err);
        else
            st = mica_json_skip(p->json, err);
    }
    return st == MICA_STATUS_OK ? mica_json_check(p->json, err) : st;
}
