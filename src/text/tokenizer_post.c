/* Reads post_processor of tokenizer.json: which ids stand before and after an encoded text when
 * special tokens are asked for. Offsets and pairs of texts are of no use here. */
#include <string.h>
#include "base/error.h"
#include "text/tokenizer_parts.h"

enum { NESTING_MAX = 4, NAME_BYTES_MAX = 256, TYPE_BYTES_MAX = 32, NAMES_MAX = 16 };

typedef struct named_ids {
    char name[NAME_BYTES_MAX];
    int32_t ids[MICA_POST_IDS_MAX];
    int n_ids;
} named_ids;

/* template_: the places of `single`: an index into names, or -1 for the text itself. */
typedef struct post_fields {
    char type[TYPE_BYTES_MAX];
    named_ids names[NAMES_MAX];
    int n_names;
    int template_[NAMES_MAX];
    int n_template;
    bool has_children, has_template;
    int32_t cls, sep; /* -1: not given */
} post_fields;

static mica_status copy_name(mica_json *j, char *out, size_t bytes_max, mica_error *err) {
    mica_slice text;
    mica_status st = mica_json_read_string(j, &text, err);
    if (st != MICA_STATUS_OK) return st;
    if (text.bytes >= bytes_max)
        return mica_json_fail(j, err, "text of %zu bytes, expected fewer than %zu", text.bytes,
                              bytes_max);
    memcpy(out, text.data, text.bytes);
    out[text.bytes] = '\0';
    return MICA_STATUS_OK;
}

static mica_status read_id(mica_json *j, int32_t *out, mica_error *err) {
    uint64_t id = 0;
    mica_status st = mica_json_read_u64(j, &id, err);
    if (st != MICA_STATUS_OK) return st;
    if (id >= MICA_TOKENIZER_IDS_MAX)
        return mica_json_fail(j, err, "token id %llu, expected below %d", (unsigned long long)id,
                              MICA_TOKENIZER_IDS_MAX);
    *out = (int32_t)id;
    return MICA_STATUS_OK;
}

/* The entry of a special token, by its name; made when it is new. NULL: too many. */
static named_ids *find_name(post_fields *f, const char *name) {
    for (int i = 0; i < f->n_names; i++)
        if (strcmp(f->names[i].name, name) == 0) return &f->names[i];
    if (f->n_names == NAMES_MAX) return NULL;
    named_ids *n = &f->names[f->n_names++];
    memcpy(n->name, name, strlen(name) + 1);
    n->n_ids = 0;
    return n;
}

/* {"SpecialToken": {"id": name, "type_id": n}} or {"Sequence": {"id": "A", "type_id": n}} */
static mica_status read_place(mica_json *j, post_fields *f, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_slice key, inner;
    char name[NAME_BYTES_MAX] = "";
    bool is_text = false;
    MICA_TRY(mica_json_begin_object(j, err));
    while (mica_json_next_key(j, &key)) {
        is_text = mica_slice_is(key, "Sequence");
        if (!is_text && !mica_slice_is(key, "SpecialToken")) {
            st = mica_json_fail(j, err, "TemplateProcessing: expected SpecialToken or Sequence");
            goto done;
        }
        MICA_TRY(mica_json_begin_object(j, err));
        while (mica_json_next_key(j, &inner)) {
            if (mica_slice_is(inner, "id"))
                MICA_TRY(copy_name(j, name, sizeof(name), err));
            else
                MICA_TRY(mica_json_skip(j, err));
        }
        MICA_TRY(mica_json_check(j, err));
    }
    MICA_TRY(mica_json_check(j, err));
    named_ids *entry = is_text ? NULL : find_name(f, name);
    MICA_REQUIRE(f->n_template < NAMES_MAX && (is_text || entry), MICA_STATUS_LIMIT,
                 "TemplateProcessing has more than %d places", NAMES_MAX);
    MICA_REQUIRE(!is_text || strcmp(name, "A") == 0, MICA_STATUS_UNSUPPORTED,
                 "TemplateProcessing: single needs the sequence A only");
    f->template_[f->n_template++] = is_text ? -1 : (int)(entry - f->names);
done:
    return st;
}

static mica_status read_template(mica_json *j, post_fields *f, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    f->has_template = true;
    MICA_TRY(mica_json_begin_array(j, err));
    while (mica_json_next_item(j)) MICA_TRY(read_place(j, f, err));
    MICA_TRY(mica_json_check(j, err));
done:
    return st;
}

static mica_status read_ids(mica_json *j, named_ids *n, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    n->n_ids = 0;
    MICA_TRY(mica_json_begin_array(j, err));
    while (mica_json_next_item(j)) {
        MICA_REQUIRE(n->n_ids < MICA_POST_IDS_MAX, MICA_STATUS_LIMIT,
                     "post_processor: a special token has more than %d ids", MICA_POST_IDS_MAX);
        MICA_TRY(read_id(j, &n->ids[n->n_ids], err));
        n->n_ids++;
    }
    MICA_TRY(mica_json_check(j, err));
done:
    return st;
}

/* {name: {"id": name, "ids": [n], "tokens": [..]}} */
static mica_status read_special_tokens(mica_json *j, post_fields *f, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_slice key, inner;
    MICA_TRY(mica_json_begin_object(j, err));
    while (mica_json_next_key(j, &key)) {
        char name[NAME_BYTES_MAX];
        named_ids *n = NULL;
        if (key.bytes < sizeof(name)) {
            memcpy(name, key.data, key.bytes);
            name[key.bytes] = '\0';
            n = find_name(f, name);
        }
        MICA_REQUIRE(n, MICA_STATUS_LIMIT,
                     "post_processor: too many special tokens or a long name");
        MICA_TRY(mica_json_begin_object(j, err));
        while (mica_json_next_key(j, &inner)) {
            if (mica_slice_is(inner, "ids"))
                MICA_TRY(read_ids(j, n, err));
            else
                MICA_TRY(mica_json_skip(j, err));
        }
        MICA_TRY(mica_json_check(j, err));
    }
    MICA_TRY(mica_json_check(j, err));
done:
    return st;
}

/* ["</s>", 2] */
static mica_status read_pair(mica_json *j, int32_t *id, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_slice text;
    int n = 0;
    MICA_TRY(mica_json_begin_array(j, err));
    while (mica_json_next_item(j)) {
        if (n == 0)
            MICA_TRY(mica_json_read_string(j, &text, err));
        else
            MICA_TRY(read_id(j, id, err));
        n++;
    }
    MICA_TRY(mica_json_check(j, err));
    if (n != 2) st = mica_json_fail(j, err, "expected a token and its id");
done:
    return st;
}

/* Puts ids before everything that stands in front so far, or after everything behind. */
static mica_status add_ids(mica_tokenizer *t, const int32_t *ids, int n, bool is_front,
                           mica_error *err) {
    int32_t *to = is_front ? t->front_ids : t->back_ids;
    int *count = is_front ? &t->n_front : &t->n_back;
    if (*count + n > MICA_POST_IDS_MAX)
        return mica_fail(err, MICA_STATUS_LIMIT, "post_processor adds more than %d ids",
                         MICA_POST_IDS_MAX);
    if (is_front) {
        memmove(to + n, to, (size_t)*count * sizeof(*to));
        memcpy(to, ids, (size_t)n * sizeof(*to));
    } else {
        memcpy(to + *count, ids, (size_t)n * sizeof(*to));
    }
    *count += n;
    return MICA_STATUS_OK;
}

static mica_status take_template(mica_tokenizer *t, const post_fields *f, mica_error *err) {
    int32_t ids[2][MICA_POST_IDS_MAX];
    int n[2] = {0, 0}, side = 0;
    for (int i = 0; i < f->n_template; i++) {
        int place = f->template_[i];
        if (place < 0 && side == 1) side = 2;
        if (side == 2) break;
        if (place < 0) {
            side = 1;
            continue;
        }
        const named_ids *name = &f->names[place];
        if (name->n_ids == 0)
            return mica_fail(err, MICA_STATUS_FORMAT,
                             "post_processor: special token \"%.64s\" has no ids", name->name);
        if (n[side] + name->n_ids > MICA_POST_IDS_MAX)
            return mica_fail(err, MICA_STATUS_LIMIT, "post_processor adds more than %d ids",
                             MICA_POST_IDS_MAX);
        memcpy(ids[side] + n[side], name->ids, (size_t)name->n_ids * sizeof(int32_t));
        n[side] += name->n_ids;
    }
    if (side != 1)
        return mica_fail(err, MICA_STATUS_UNSUPPORTED,
                         "TemplateProcessing: single needs the sequence A exactly once");
    mica_status st = add_ids(t, ids[0], n[0], true, err);
    return st == MICA_STATUS_OK ? add_ids(t, ids[1], n[1], false, err) : st;
}

static mica_status take_post_processor(mica_tokenizer *t, mica_json *j, const post_fields *f,
                                       mica_error *err) {
    if (strcmp(f->type, "ByteLevel") == 0) return MICA_STATUS_OK; /* offsets only */
    /* The reference would wrap each part that the first one made. No published file does this. */
    if (t->has_post_ids)
        return mica_fail(err, MICA_STATUS_UNSUPPORTED,
                         "tokenizer post_processor: type \"%s\" after another that adds ids",
                         f->type);
    t->has_post_ids = true;
    if (strcmp(f->type, "TemplateProcessing") == 0 && f->has_template)
        return take_template(t, f, err);
    if (strcmp(f->type, "RobertaProcessing") == 0 || strcmp(f->type, "BertProcessing") == 0) {
        if (f->cls < 0 || f->sep < 0)
            return mica_json_fail(j, err, "%s: cls or sep is missing", f->type);
        mica_status st = add_ids(t, &f->cls, 1, true, err);
        return st == MICA_STATUS_OK ? add_ids(t, &f->sep, 1, false, err) : st;
    }
    return mica_fail(err, MICA_STATUS_UNSUPPORTED,
                     "tokenizer post_processor: type \"%s\" is not supported", f->type);
}

static mica_status read_step(mica_tokenizer *t, mica_json *j, int nesting, mica_error *err);

static mica_status read_children(mica_tokenizer *t, mica_json *j, int nesting, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    MICA_REQUIRE(nesting < NESTING_MAX, MICA_STATUS_LIMIT,
                 "post_processor: Sequences nest deeper than %d", NESTING_MAX);
    MICA_TRY(mica_json_begin_array(j, err));
    while (mica_json_next_item(j)) MICA_TRY(read_step(t, j, nesting + 1, err));
    MICA_TRY(mica_json_check(j, err));
done:
    return st;
}

static mica_status read_field(mica_tokenizer *t, mica_json *j, mica_slice key, post_fields *f,
                              int nesting, mica_error *err) {
    static const char *const ignored[] = {"pair", "trim_offsets", "add_prefix_space", "use_regex"};
    if (mica_slice_is(key, "type")) return copy_name(j, f->type, sizeof(f->type), err);
    if (mica_slice_is(key, "single")) return read_template(j, f, err);
    if (mica_slice_is(key, "special_tokens")) return read_special_tokens(j, f, err);
    if (mica_slice_is(key, "cls")) return read_pair(j, &f->cls, err);
    if (mica_slice_is(key, "sep")) return read_pair(j, &f->sep, err);
    if (mica_slice_is(key, "processors")) {
        f->has_children = true;
        return read_children(t, j, nesting, err);
    }
    for (size_t i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
        if (mica_slice_is(key, ignored[i])) return mica_json_skip(j, err);
    return mica_fail(err, MICA_STATUS_UNSUPPORTED, "post_processor: field \"%.*s\" is not known",
                     (int)(key.bytes < 64 ? key.bytes : 64), key.data);
}

/* The fields are several KiB, too much for a recursive frame: they lie in the arena. */
static mica_status read_step(mica_tokenizer *t, mica_json *j, int nesting, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_slice key;
    post_fields *f = mica_arena_alloc_zero(&t->arena, sizeof(*f));
    if (!f) return mica_fail_memory(err, sizeof(*f), "a post-processor");
    f->cls = f->sep = -1;
    MICA_TRY(mica_json_begin_object(j, err));
    while (mica_json_next_key(j, &key)) MICA_TRY(read_field(t, j, key, f, nesting, err));
    MICA_TRY(mica_json_check(j, err));
    if (f->has_children != (strcmp(f->type, "Sequence") == 0))
        st = mica_json_fail(j, err, "post_processor: processors belong to the type Sequence");
    else if (!f->has_children)
        st = take_post_processor(t, j, f, err);
done:
    return st;
}

mica_status mica_tokenizer_read_post_processor(mica_tokenizer *t, mica_json *j, mica_error *err) {
    if (mica_json_peek(j) == MICA_JSON_NULL) return mica_json_read_null(j, err);
    return read_step(t, j, 0, err);
}
