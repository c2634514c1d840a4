/* Reads normalizer, pre_tokenizer and decoder of tokenizer.json. All three are trees of objects
 * with a "type"; Sequences are flattened. The fields of a step may stand in any order, so all of
 * them are read into one struct and judged when the object ends. The post-processor is in
 * tokenizer_post.c. */
#include <string.h>
#include "base/error.h"
#include "text/tokenizer_parts.h"

enum { NESTING_MAX = 4, TYPE_BYTES_MAX = 32, TEXT_BYTES_MAX = 1024, FIXED_LENGTH_DEFAULT = 5 };

/* Fields of all step types together. */
typedef struct step_fields {
    char type[TYPE_BYTES_MAX];
    mica_slice pattern, content, prepend, replacement, prepend_scheme, behavior, delimiter;
    mica_slice charsmap, prefix, suffix, pad_token, word_delimiter_token;
    uint64_t start, stop, length;
    bool is_regex, add_prefix_space, use_regex, individual_digits, split, invert;
    bool strip_left, strip_right, has_children, has_pattern, has_content;
    bool clean_text, handle_chinese_chars, strip_accents, lowercase, cleanup;
    bool has_strip_accents;
} step_fields;

typedef enum field_kind {
    FIELD_TEXT,
    FIELD_LONG_TEXT,
    FIELD_BOOL,
    FIELD_COUNT,
    FIELD_IGNORED,
} field_kind;

static const struct {
    const char *name;
    field_kind kind;
    size_t offset;
} fields[] = {
    {"content", FIELD_TEXT, offsetof(step_fields, content)},
    {"prepend", FIELD_TEXT, offsetof(step_fields, prepend)},
    {"replacement", FIELD_TEXT, offsetof(step_fields, replacement)},
    {"prepend_scheme", FIELD_TEXT, offsetof(step_fields, prepend_scheme)},
    {"behavior", FIELD_TEXT, offsetof(step_fields, behavior)},
    {"delimiter", FIELD_TEXT, offsetof(step_fields, delimiter)},
    {"prefix", FIELD_TEXT, offsetof(step_fields, prefix)},
    {"suffix", FIELD_TEXT, offsetof(step_fields, suffix)},
    {"pad_token", FIELD_TEXT, offsetof(step_fields, pad_token)},
    {"word_delimiter_token", FIELD_TEXT, offsetof(step_fields, word_delimiter_token)},
    {"precompiled_charsmap", FIELD_LONG_TEXT, offsetof(step_fields, charsmap)},
    {"length", FIELD_COUNT, offsetof(step_fields, length)},
    {"clean_text", FIELD_BOOL, offsetof(step_fields, clean_text)},
    {"handle_chinese_chars", FIELD_BOOL, offsetof(step_fields, handle_chinese_chars)},
    {"strip_accents", FIELD_BOOL, offsetof(step_fields, strip_accents)},
    {"lowercase", FIELD_BOOL, offsetof(step_fields, lowercase)},
    {"cleanup", FIELD_BOOL, offsetof(step_fields, cleanup)},
    {"start", FIELD_COUNT, offsetof(step_fields, start)},
    {"stop", FIELD_COUNT, offsetof(step_fields, stop)},
    {"add_prefix_space", FIELD_BOOL, offsetof(step_fields, add_prefix_space)},
    {"use_regex", FIELD_BOOL, offsetof(step_fields, use_regex)},
    {"individual_digits", FIELD_BOOL, offsetof(step_fields, individual_digits)},
    {"split", FIELD_BOOL, offsetof(step_fields, split)},
    {"invert", FIELD_BOOL, offsetof(step_fields, invert)},
    {"strip_left", FIELD_BOOL, offsetof(step_fields, strip_left)},
    {"strip_right", FIELD_BOOL, offsetof(step_fields, strip_right)},
    {"trim_offsets", FIELD_IGNORED, 0}, /* ids do not depend on it */
    {"str_rep", FIELD_IGNORED, 0},      /* `replacement` once more, in old files */
};

/* What a tree is made of: its name, the key of a Sequence's list, and who takes a step. */
typedef struct step_family {
    const char *name, *children;
    mica_status (*take)(mica_tokenizer *t, mica_json *j, const step_fields *f, mica_error *err);
} step_family;

static mica_status copy_text(mica_tokenizer *t, mica_json *j, size_t bytes_max, mica_slice *out,
                             mica_error *err) {
    mica_slice text;
    mica_status st = mica_json_read_string(j, &text, err);
    if (st != MICA_STATUS_OK) return st;
    if (text.bytes > bytes_max)
        return mica_json_fail(j, err, "text of %zu bytes, at most %zu are allowed here", text.bytes,
                              bytes_max);
    out->bytes = text.bytes;
    out->data = mica_arena_string(&t->arena, text.data, text.bytes);
    return out->data ? MICA_STATUS_OK : mica_fail_memory(err, text.bytes, "a tokenizer step");
}

/* {"String": text} or {"Regex": text} */
static mica_status read_pattern(mica_tokenizer *t, mica_json *j, step_fields *f, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_slice key;
    MICA_TRY(mica_json_begin_object(j, err));
    while (mica_json_next_key(j, &key)) {
        bool is_regex = mica_slice_is(key, "Regex");
        if (f->has_pattern || (!is_regex && !mica_slice_is(key, "String"))) {
            st = mica_json_fail(j, err, "pattern needs either String or Regex");
            goto done;
        }
        f->is_regex = is_regex;
        f->has_pattern = true;
        MICA_TRY(copy_text(t, j, MICA_REGEX_BYTES_MAX, &f->pattern, err));
    }
    MICA_TRY(mica_json_check(j, err));
    if (f->pattern.bytes == 0) st = mica_json_fail(j, err, "empty pattern");
done:
    return st;
}

static mica_status read_type(mica_json *j, step_fields *f, mica_error *err) {
    mica_slice type;
    mica_status st = mica_json_read_string(j, &type, err);
    if (st != MICA_STATUS_OK) return st;
    if (type.bytes == 0 || type.bytes >= TYPE_BYTES_MAX)
        return mica_json_fail(j, err, "type is no known name");
    memcpy(f->type, type.data, type.bytes);
    f->type[type.bytes] = '\0';
    return MICA_STATUS_OK;
}

static mica_status read_field(mica_tokenizer *t, mica_json *j, mica_slice key, step_fields *f,
                              const step_family *family, mica_error *err) {
    for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
        if (!mica_slice_is(key, fields[i].name)) continue;
        void *to = (char *)f + fields[i].offset;
        switch (fields[i].kind) {
        case FIELD_TEXT:
            f->has_content = f->has_content || mica_slice_is(key, "content");
            return copy_text(t, j, TEXT_BYTES_MAX, to, err);
        case FIELD_LONG_TEXT:
            return copy_text(t, j, MICA_CHARSMAP_BYTES_MAX / 3 * 4, to, err);
        case FIELD_BOOL:
            if (to == &f->strip_accents) {
                f->has_strip_accents = mica_json_peek(j) != MICA_JSON_NULL;
                if (!f->has_strip_accents) return mica_json_read_null(j, err);
            }
            return mica_json_read_bool(j, to, err);
        case FIELD_COUNT:
            return mica_json_read_u64(j, to, err);
        default:
            return mica_json_skip(j, err);
        }
    }
    return mica_fail(err, MICA_STATUS_UNSUPPORTED, "%s: field \"%.*s\" is not known", family->name,
                     (int)(key.bytes < 64 ? key.bytes : 64), key.data);
}

static mica_status read_step(mica_tokenizer *t, mica_json *j, const step_family *family,
                             int nesting, mica_error *err);

static mica_status read_children(mica_tokenizer *t, mica_json *j, const step_family *family,
                                 int nesting, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    MICA_REQUIRE(nesting < NESTING_MAX, MICA_STATUS_LIMIT, "%s: Sequences nest deeper than %d",
                 family->name, NESTING_MAX);
    MICA_TRY(mica_json_begin_array(j, err));
    while (mica_json_next_item(j)) MICA_TRY(read_step(t, j, family, nesting + 1, err));
    MICA_TRY(mica_json_check(j, err));
done:
    return st;
}

/* One object. The depth of the recursion is bounded by NESTING_MAX. */
static mica_status read_step(mica_tokenizer *t, mica_json *j, const step_family *family,
                             int nesting, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    step_fields f = {.use_regex = true,
                     .split = true,
                     .add_prefix_space = true,
                     .clean_text = true,
                     .handle_chinese_chars = true,
                     .lowercase = true,
                     .cleanup = true,
                     .prefix = {"##", 2},
                     .suffix = {"</w>", 4},
                     .pad_token = {"<pad>", 5},
                     .word_delimiter_token = {"|", 1},
                     .length = FIXED_LENGTH_DEFAULT};
    mica_slice key;
    MICA_TRY(mica_json_begin_object(j, err));
    while (mica_json_next_key(j, &key)) {
        if (mica_slice_is(key, "type")) {
            MICA_TRY(read_type(j, &f, err));
        } else if (mica_slice_is(key, family->children)) {
            f.has_children = true;
            MICA_TRY(read_children(t, j, family, nesting, err));
        } else if (mica_slice_is(key, "pattern")) {
            MICA_TRY(read_pattern(t, j, &f, err));
        } else {
            MICA_TRY(read_field(t, j, key, &f, family, err));
        }
    }
    MICA_TRY(mica_json_check(j, err));
    if (f.has_children != (strcmp(f.type, "Sequence") == 0))
        st = mica_json_fail(j, err, "%s: \"%s\" belongs to the type Sequence and only there",
                            family->name, family->children);
    else if (!f.has_children)
        st = family->take(t, j, &f, err);
done:
    return st;
}

static mica_status read_tree(mica_tokenizer *t, mica_json *j, const step_family *family,
                             mica_error *err) {
    if (mica_json_peek(j) == MICA_JSON_NULL) return mica_json_read_null(j, err);
    return read_step(t, j, family, 0, err);
}

static mica_status refuse(const char *family, const step_fields *f, const char *why,
                          mica_error *err) {
    return mica_fail(err, MICA_STATUS_UNSUPPORTED, "tokenizer %s: type \"%s\" %s", family, f->type,
                     why);
}

/* A String or Regex pattern into its compiled form. */
static mica_status make_pattern(mica_tokenizer *t, mica_json *j, const step_fields *f,
                                mica_split_pattern *out, mica_error *err) {
    if (!f->has_pattern) return mica_json_fail(j, err, "%s without a pattern", f->type);
    if (f->is_regex) return mica_split_pattern_from_regex(t->host->allocator, f->pattern, out, err);
    *out = (mica_split_pattern){.kind = MICA_SPLIT_LITERAL, .literal = f->pattern};
    return MICA_STATUS_OK;
}

/* ---- normalizer ---- */

/* Takes the step over, also when it fails. */
static mica_status add_normalizer(mica_tokenizer *t, mica_normalizer_step step, mica_error *err) {
    mica_normalizer *n = &t->normalizer;
    if (n->n_steps < MICA_NORMALIZER_STEPS_MAX) {
        n->steps[n->n_steps++] = step;
        return MICA_STATUS_OK;
    }
    mica_split_pattern_deinit(&step.pattern);
    mica_charsmap_destroy(&step.charsmap);
    return mica_fail(err, MICA_STATUS_LIMIT, "normalizer has more than %d steps",
                     MICA_NORMALIZER_STEPS_MAX);
}

static mica_status add_plain_normalizer(mica_tokenizer *t, mica_normalizer_kind kind,
                                        mica_error *err) {
    return add_normalizer(t, (mica_normalizer_step){.kind = kind}, err);
}

/* strip_accents: null means as lowercase. */
static mica_status take_bert(mica_tokenizer *t, const step_fields *f, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    bool strips = f->has_strip_accents ? f->strip_accents : f->lowercase;
    if (f->clean_text) MICA_TRY(add_plain_normalizer(t, MICA_NORMALIZE_CLEAN, err));
    if (f->handle_chinese_chars) MICA_TRY(add_plain_normalizer(t, MICA_NORMALIZE_SPACE_HAN, err));
    if (strips) MICA_TRY(add_plain_normalizer(t, MICA_NORMALIZE_NFD, err));
    if (strips) MICA_TRY(add_plain_normalizer(t, MICA_NORMALIZE_NO_NONSPACING, err));
    if (f->lowercase) MICA_TRY(add_plain_normalizer(t, MICA_NORMALIZE_LOWERCASE, err));
done:
    return st;
}

static mica_status take_normalizer(mica_tokenizer *t, mica_json *j, const step_fields *f,
                                   mica_error *err) {
    static const struct {
        const char *type;
        mica_normalizer_kind kind;
    } types[] = {
        {"NFC", MICA_NORMALIZE_NFC},
        {"NFD", MICA_NORMALIZE_NFD},
        {"NFKC", MICA_NORMALIZE_NFKC},
        {"NFKD", MICA_NORMALIZE_NFKD},
        {"Replace", MICA_NORMALIZE_REPLACE},
        {"Lowercase", MICA_NORMALIZE_LOWERCASE},
        {"Strip", MICA_NORMALIZE_STRIP},
        {"Prepend", MICA_NORMALIZE_PREPEND},
        {"StripAccents", MICA_NORMALIZE_NO_MARKS},
        {"Nmt", MICA_NORMALIZE_NMT},
        {"ByteLevel", MICA_NORMALIZE_BYTE_MAP},
        {"Precompiled", MICA_NORMALIZE_CHARSMAP},
    };
    if (strcmp(f->type, "BertNormalizer") == 0) return take_bert(t, f, err);
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
        if (strcmp(f->type, types[i].type) != 0) continue;
        mica_status st = MICA_STATUS_OK;
        mica_normalizer_step step = {.kind = types[i].kind,
                                     .content = f->content,
                                     .strips_left = f->strip_left,
                                     .strips_right = f->strip_right};
        if (step.kind == MICA_NORMALIZE_PREPEND) step.content = f->prepend;
        if (step.kind == MICA_NORMALIZE_CHARSMAP) {
            if (!f->charsmap.data) return mica_json_fail(j, err, "Precompiled without a map");
            st = mica_charsmap_create(t->host->allocator, f->charsmap, &step.charsmap, err);
        }
        if (step.kind == MICA_NORMALIZE_REPLACE) {
            if (!f->has_content) return mica_json_fail(j, err, "Replace without content");
            st = make_pattern(t, j, f, &step.pattern, err);
        }
        return st == MICA_STATUS_OK ? add_normalizer(t, step, err) : st;
    }
    return refuse("normalizer", f, "is not supported", err);
}

mica_status mica_tokenizer_read_normalizer(mica_tokenizer *t, mica_json *j, mica_error *err) {
    static const step_family family = {"normalizer", "normalizers", take_normalizer};
    return read_tree(t, j, &family, err);
}

/* ---- pre_tokenizer ---- */

static mica_status add_pre(mica_tokenizer *t, mica_pre_tokenizer_step step, mica_error *err) {
    mica_pre_tokenizer *p = &t->pre_tokenizer;
    if (p->n_steps == MICA_PRE_TOKENIZER_STEPS_MAX) {
        mica_split_pattern_deinit(&step.pattern);
        return mica_fail(err, MICA_STATUS_LIMIT, "pre_tokenizer has more than %d steps",
                         MICA_PRE_TOKENIZER_STEPS_MAX);
    }
    p->steps[p->n_steps++] = step;
    return MICA_STATUS_OK;
}

static mica_status add_split(mica_tokenizer *t, mica_split_kind kind, mica_split_behavior behavior,
                             mica_error *err) {
    mica_pre_tokenizer_step step = {.pattern = {.kind = kind}, .behavior = behavior};
    return add_pre(t, step, err);
}

static mica_status parse_behavior(mica_json *j, mica_slice name, mica_split_behavior *out,
                                  mica_error *err) {
    static const char *const names[] = {"Isolated", "Removed", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};
    for (int i = 0; i < 5; i++) {
        if (!mica_slice_is(name, names[i])) continue;
        *out = (mica_split_behavior)i;
        return MICA_STATUS_OK;
    }
    return mica_json_fail(j, err, "behavior \"%.*s\" is not known",
                          (int)(name.bytes < 64 ? name.bytes : 64), name.data ? name.data : "");
}

static mica_status take_split(mica_tokenizer *t, mica_json *j, const step_fields *f,
                              mica_error *err) {
    mica_pre_tokenizer_step step = {.is_inverted = f->invert};
    mica_status st = parse_behavior(j, f->behavior, &step.behavior, err);
    if (st == MICA_STATUS_OK) st = make_pattern(t, j, f, &step.pattern, err);
    return st == MICA_STATUS_OK ? add_pre(t, step, err) : st;
}

/* The map to the byte alphabet is a step of its own; the loader takes it off again where it is the
 * last one and the model can work on raw bytes. */
static mica_status take_byte_level(mica_tokenizer *t, const step_fields *f, mica_error *err) {
    mica_pre_tokenizer_step space = {.kind = MICA_PRE_PREFIX_SPACE};
    mica_pre_tokenizer_step words = {
        .pattern = {.kind = MICA_SPLIT_KNOWN, .splitter = mica_splitter_gpt2()}};
    mica_pre_tokenizer_step map = {.kind = MICA_PRE_BYTE_MAP};
    mica_status st = MICA_STATUS_OK;
    if (f->add_prefix_space) MICA_TRY(add_pre(t, space, err));
    if (f->use_regex) MICA_TRY(add_pre(t, words, err));
    MICA_TRY(add_pre(t, map, err));
done:
    return st;
}

static mica_status parse_prepend(mica_json *j, const step_fields *f, mica_metaspace_prepend *out,
                                 mica_error *err) {
    static const char *const names[] = {"always", "first", "never"};
    *out = f->add_prefix_space ? MICA_PREPEND_ALWAYS : MICA_PREPEND_NEVER;
    if (!f->prepend_scheme.data) return MICA_STATUS_OK;
    for (int i = 0; i < 3; i++) {
        if (!mica_slice_is(f->prepend_scheme, names[i])) continue;
        *out = (mica_metaspace_prepend)i;
        if (f->add_prefix_space || *out == MICA_PREPEND_NEVER) return MICA_STATUS_OK;
    }
    return mica_json_fail(j, err, "Metaspace: prepend_scheme and add_prefix_space do not agree");
}

static mica_status check_replacement(mica_json *j, const step_fields *f, mica_error *err) {
    uint32_t c;
    if (f->replacement.bytes &&
        mica_utf8_decode(f->replacement.data, f->replacement.bytes, &c) == f->replacement.bytes)
        return MICA_STATUS_OK;
    return mica_json_fail(j, err, "%s: replacement must be one character", f->type);
}

static mica_status take_metaspace(mica_tokenizer *t, mica_json *j, const step_fields *f,
                                  mica_error *err) {
    mica_pre_tokenizer_step step = {.kind = MICA_PRE_METASPACE, .content = f->replacement};
    mica_pre_tokenizer_step split = {
        .pattern = {.kind = MICA_SPLIT_LITERAL, .literal = f->replacement},
        .behavior = MICA_BEHAVIOR_NEXT};
    mica_status st = check_replacement(j, f, err);
    if (st == MICA_STATUS_OK) st = parse_prepend(j, f, &step.prepend, err);
    if (st == MICA_STATUS_OK) st = add_pre(t, step, err);
    return st == MICA_STATUS_OK && f->split ? add_pre(t, split, err) : st;
}

static mica_status take_pre_tokenizer(mica_tokenizer *t, mica_json *j, const step_fields *f,
                                      mica_error *err) {
    mica_split_behavior behavior = MICA_BEHAVIOR_ISOLATED;
    if (strcmp(f->type, "Split") == 0) return take_split(t, j, f, err);
    if (strcmp(f->type, "ByteLevel") == 0) return take_byte_level(t, f, err);
    if (strcmp(f->type, "Metaspace") == 0) return take_metaspace(t, j, f, err);
    if (strcmp(f->type, "Digits") == 0)
        return add_split(t, MICA_SPLIT_NUMBER,
                         f->individual_digits ? MICA_BEHAVIOR_ISOLATED : MICA_BEHAVIOR_CONTIGUOUS,
                         err);
    if (strcmp(f->type, "Punctuation") == 0) {
        mica_status st =
            f->behavior.data ? parse_behavior(j, f->behavior, &behavior, err) : MICA_STATUS_OK;
        return st == MICA_STATUS_OK ? add_split(t, MICA_SPLIT_PUNCTUATION, behavior, err) : st;
    }
    if (strcmp(f->type, "WhitespaceSplit") == 0)
        return add_split(t, MICA_SPLIT_WHITE, MICA_BEHAVIOR_REMOVED, err);
    if (strcmp(f->type, "Whitespace") == 0) {
        mica_pre_tokenizer_step step = {.pattern = {.kind = MICA_SPLIT_WORD_OR_OTHER},
                                        .behavior = MICA_BEHAVIOR_REMOVED,
                                        .is_inverted = true};
        return add_pre(t, step, err);
    }
    if (strcmp(f->type, "CharDelimiterSplit") == 0 && f->delimiter.bytes) {
        mica_pre_tokenizer_step step = {
            .pattern = {.kind = MICA_SPLIT_LITERAL, .literal = f->delimiter},
            .behavior = MICA_BEHAVIOR_REMOVED};
        return add_pre(t, step, err);
    }
    if (strcmp(f->type, "BertPreTokenizer") == 0) {
        mica_status st = add_split(t, MICA_SPLIT_WHITE, MICA_BEHAVIOR_REMOVED, err);
        return st == MICA_STATUS_OK
                   ? add_split(t, MICA_SPLIT_PUNCTUATION, MICA_BEHAVIOR_ISOLATED, err)
                   : st;
    }
    if (strcmp(f->type, "FixedLength") == 0) {
        if (f->length == 0 || f->length > SIZE_MAX)
            return mica_json_fail(j, err, "FixedLength: length must be above 0");
        mica_pre_tokenizer_step step = {
            .pattern = {.kind = MICA_SPLIT_LENGTH, .length = (size_t)f->length}};
        return add_pre(t, step, err);
    }
    return refuse("pre_tokenizer", f, "is not supported", err);
}

mica_status mica_tokenizer_read_pre_tokenizer(mica_tokenizer *t, mica_json *j, mica_error *err) {
    static const step_family family = {"pre_tokenizer", "pretokenizers", take_pre_tokenizer};
    return read_tree(t, j, &family, err);
}

/* ---- decoder ---- */

static mica_status add_decoder(mica_tokenizer *t, mica_decoder_step step, const step_fields *f,
                               bool is_joined, mica_error *err) {
    mica_token_decoder *d = &t->decoder;
    if (is_joined || d->has_byte_fallback || d->is_byte_level) {
        if (step.kind != MICA_DECODE_STRIP || d->has_strip || !is_joined)
            return refuse("decoder", f, "is not supported at this place", err);
        d->has_strip = true;
        d->strip = step;
        return MICA_STATUS_OK;
    }
    if (d->n_steps == MICA_DECODER_STEPS_MAX)
        return mica_fail(err, MICA_STATUS_LIMIT, "decoder has more than %d steps",
                         MICA_DECODER_STEPS_MAX);
    d->steps[d->n_steps++] = step;
    return MICA_STATUS_OK;
}

static mica_status take_decoder_strip(mica_tokenizer *t, mica_json *j, const step_fields *f,
                                      bool is_joined, mica_error *err) {
    uint32_t c;
    if (f->content.bytes == 0 ||
        mica_utf8_decode(f->content.data, f->content.bytes, &c) != f->content.bytes)
        return mica_json_fail(j, err, "Strip: content must be one character");
    if (f->start > TEXT_BYTES_MAX || f->stop > TEXT_BYTES_MAX)
        return mica_json_fail(j, err, "Strip: start or stop is above %d", TEXT_BYTES_MAX);
    mica_decoder_step step = {.kind = MICA_DECODE_STRIP,
                              .content = f->content,
                              .start = (size_t)f->start,
                              .stop = (size_t)f->stop};
    return add_decoder(t, step, f, is_joined, err);
}

static mica_status take_word_piece(mica_tokenizer *t, const step_fields *f, bool is_joined,
                                   mica_error *err) {
    mica_decoder_step join = {.kind = MICA_DECODE_WORD_PIECE, .pattern = f->prefix};
    mica_decoder_step clean = {.kind = MICA_DECODE_CLEAN_UP};
    mica_status st = add_decoder(t, join, f, is_joined, err);
    return st == MICA_STATUS_OK && f->cleanup ? add_decoder(t, clean, f, is_joined, err) : st;
}

/* Suffixed and repeating decoders look at whole tokens: nothing may have changed them before. */
static bool is_untouched(const mica_token_decoder *d) {
    return !d->n_steps && !d->is_byte_level && !d->has_byte_fallback && !d->is_fused &&
           !d->is_suffixed && !d->is_repeating;
}

static mica_status take_bpe_decoder(mica_tokenizer *t, mica_json *j, const step_fields *f,
                                    mica_error *err) {
    mica_token_decoder *d = &t->decoder;
    if (!is_untouched(d)) return refuse("decoder", f, "is not supported at this place", err);
    if (!f->suffix.bytes) return mica_json_fail(j, err, "BPEDecoder: suffix is empty");
    d->is_suffixed = true;
    d->suffix = f->suffix;
    return MICA_STATUS_OK;
}

/* Only CTC alone: the reference drops tokens that become empty, which moves the first place. */
static mica_status take_ctc(mica_tokenizer *t, mica_json *j, const step_fields *f,
                            mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_token_decoder *d = &t->decoder;
    if (!is_untouched(d)) return refuse("decoder", f, "is not supported at this place", err);
    if (!f->pad_token.bytes || !f->word_delimiter_token.bytes)
        return mica_json_fail(j, err, "CTC: pad_token or word_delimiter_token is empty");
    mica_decoder_step pad = {
        .kind = MICA_DECODE_REPLACE, .pattern = f->pad_token, .content = {"", 0}};
    mica_decoder_step clean = {.kind = MICA_DECODE_CLEAN_UP};
    mica_decoder_step space = {
        .kind = MICA_DECODE_REPLACE, .pattern = f->word_delimiter_token, .content = {" ", 1}};
    MICA_TRY(add_decoder(t, pad, f, false, err));
    if (f->cleanup) MICA_TRY(add_decoder(t, clean, f, false, err));
    if (f->cleanup) MICA_TRY(add_decoder(t, space, f, false, err));
    d->is_repeating = true;
done:
    return st;
}

static mica_status take_decoder(mica_tokenizer *t, mica_json *j, const step_fields *f,
                                mica_error *err) {
    mica_token_decoder *d = &t->decoder;
    /* From Fuse (or ByteLevel, which joins as well) on there is one text. */
    bool is_joined = d->is_byte_level || d->is_fused;
    if (d->is_repeating) return refuse("decoder", f, "behind CTC is not supported", err);
    if (strcmp(f->type, "Strip") == 0) return take_decoder_strip(t, j, f, is_joined, err);
    if (strcmp(f->type, "WordPiece") == 0) return take_word_piece(t, f, is_joined, err);
    if (strcmp(f->type, "BPEDecoder") == 0) return take_bpe_decoder(t, j, f, err);
    if (strcmp(f->type, "CTC") == 0) return take_ctc(t, j, f, err);
    if (strcmp(f->type, "Fuse") == 0) {
        d->is_fused = true;
        return MICA_STATUS_OK;
    }
    if (strcmp(f->type, "ByteLevel") == 0 || strcmp(f->type, "ByteFallback") == 0) {
        bool is_level = strcmp(f->type, "ByteLevel") == 0;
        if (is_joined || d->has_byte_fallback || (is_level && d->n_steps))
            return refuse("decoder", f, "is not supported at this place", err);
        d->is_byte_level = is_level;
        d->has_byte_fallback = !is_level;
        return MICA_STATUS_OK;
    }
    if (strcmp(f->type, "Replace") == 0) {
        if (!f->has_pattern || !f->has_content)
            return mica_json_fail(j, err, "Replace needs pattern and content");
        if (f->is_regex) return refuse("decoder", f, "with a Regex is not supported", err);
        mica_decoder_step step = {
            .kind = MICA_DECODE_REPLACE, .pattern = f->pattern, .content = f->content};
        return add_decoder(t, step, f, is_joined, err);
    }
    if (strcmp(f->type, "Metaspace") == 0) {
        mica_metaspace_prepend prepend;
        mica_status st = check_replacement(j, f, err);
        if (st == MICA_STATUS_OK) st = parse_prepend(j, f, &prepend, err);
        if (st != MICA_STATUS_OK) return st;
        mica_decoder_step step = {.kind = MICA_DECODE_METASPACE,
                                  .pattern = f->replacement,
                                  .drops_first = prepend != MICA_PREPEND_NEVER};
        return add_decoder(t, step, f, is_joined, err);
    }
    return refuse("decoder", f, "is not supported", err);
}

mica_status mica_tokenizer_read_decoder(mica_tokenizer *t, mica_json *j, mica_error *err) {
    static const step_family family = {"decoder", "decoders", take_decoder};
    t->decoder.joins_with_space = mica_json_peek(j) == MICA_JSON_NULL;
    return read_tree(t, j, &family, err);
}
