/* Reads the merges of a BPE model. There are hundreds of thousands of them, with look-ups in tables
 * of many megabytes each: they are taken in batches, so that the waits for memory overlap (0.3 s
 * less for a vocabulary of 200,000). */
#include <string.h>
#include "base/error.h"
#include "text/bpe_merges.h"

enum { BATCH = 64, SHOWN_BYTES_MAX = 48 };

/* One text of a merge: a place in the batch's text. */
typedef struct part {
    size_t start, bytes;
    uint32_t hash;
} part;

enum { LEFT, RIGHT, JOINED, PARTS };

typedef struct batch {
    mica_bpe *bpe;
    const mica_vocab *vocab;
    const char *name;
    size_t cut; /* bytes of continuing_subword_prefix: the right part loses them when it joins */
    mica_str text;
    part parts[BATCH][PARTS];
    int32_t ids[BATCH][PARTS]; /* -1: not found yet */
    int count;
    int32_t last_joined; /* what the last merge made */
} batch;

static mica_slice text_of(const batch *b, const part *p) {
    return mica_slice_of(b->text.data + p->start, p->bytes);
}

static void add_part(batch *b, int which, mica_slice text) {
    part *p = &b->parts[b->count][which];
    p->start = b->text.bytes;
    p->bytes = text.bytes;
    mica_str_append_slice(&b->text, text);
}

/* "left right", split at its only space. */
static mica_status read_spaced(batch *b, mica_json *j, unsigned number, mica_error *err) {
    mica_slice text;
    mica_status st = mica_json_read_string(j, &text, err);
    if (st != MICA_STATUS_OK) return st;
    const char *space = memchr(text.data, ' ', text.bytes);
    size_t at = space ? (size_t)(space - text.data) : 0;
    if (!space || memchr(space + 1, ' ', text.bytes - at - 1))
        return mica_json_fail(j, err, "merge %u: \"%.*s\" is not two tokens and one space", number,
                              (int)(text.bytes < SHOWN_BYTES_MAX ? text.bytes : SHOWN_BYTES_MAX),
                              text.data);
    add_part(b, LEFT, mica_slice_of(text.data, at));
    add_part(b, RIGHT, mica_slice_of(space + 1, text.bytes - at - 1));
    return MICA_STATUS_OK;
}

/* ["left", "right"] */
static mica_status read_pair(batch *b, mica_json *j, unsigned number, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    int n = 0;
    MICA_TRY(mica_json_begin_array(j, err));
    while (mica_json_next_item(j)) {
        mica_slice text;
        MICA_TRY(mica_json_read_string(j, &text, err));
        if (n < JOINED) add_part(b, n, text);
        n++;
    }
    MICA_TRY(mica_json_check(j, err));
    if (n != 2) st = mica_json_fail(j, err, "merge %u has %d parts, expected 2", number, n);
done:
    return st;
}

/* The joined text is left and right as they stand behind each other, unless a prefix goes. Both
 * parts must add to it: bpe_queue.c relies on that. */
static mica_status join(batch *b, unsigned number, mica_error *err) {
    part *p = b->parts[b->count];
    if (b->text.failed) return mica_fail_memory(err, b->text.bytes, "merges");
    if (p[LEFT].bytes == 0 || p[RIGHT].bytes <= b->cut)
        return mica_fail(err, MICA_STATUS_FORMAT, "%s: merge %u: a part adds nothing", b->name,
                         number);
    p[JOINED] = (part){.start = p[LEFT].start, .bytes = p[LEFT].bytes + p[RIGHT].bytes};
    if (b->cut == 0) return MICA_STATUS_OK;
    p[JOINED].start = b->text.bytes;
    p[JOINED].bytes -= b->cut;
    for (int which = LEFT; which <= RIGHT; which++)
        for (size_t i = which == RIGHT ? b->cut : 0; i < p[which].bytes && !b->text.failed; i++)
            mica_str_append_char(&b->text, b->text.data[p[which].start + i]);
    return MICA_STATUS_OK;
}

/* Trained vocabularies number their tokens as they were merged, so that what a merge makes is the
 * token of the merge before it once more, or the next one: both are compared at once, and a look-up
 * is left for the rest. */
static void guess_joined(batch *b) {
    for (int i = 0; i < b->count; i++) {
        mica_slice text = text_of(b, &b->parts[i][JOINED]);
        int32_t found = -1;
        for (int32_t id = b->last_joined; id <= b->last_joined + 1 && found < 0; id++) {
            mica_slice token = mica_vocab_text(b->vocab, id);
            if (token.data && mica_slice_equal(token, text)) found = id;
        }
        b->ids[i][JOINED] = found;
        b->last_joined += found > b->last_joined;
        if (found < 0) break; /* the guesses after it would start from the wrong place */
    }
}

static mica_status find_all(batch *b, mica_error *err) {
    static const char *const what[] = {"", "", "the joined "};
    const mica_vocab *v = b->vocab;
    for (int i = 0; i < b->count; i++) {
        for (int k = 0; k < PARTS; k++) {
            if (b->ids[i][k] >= 0) continue;
            mica_slice text = text_of(b, &b->parts[i][k]);
            b->ids[i][k] = mica_vocab_find_hashed(v, text, b->parts[i][k].hash);
            if (b->ids[i][k] >= 0) continue;
            return mica_fail(
                err, MICA_STATUS_FORMAT, "%s: merge %u: %s\"%.*s\" is not in the vocabulary",
                b->name, (unsigned)b->bpe->n_merges + (unsigned)i, what[k],
                (int)(text.bytes < SHOWN_BYTES_MAX ? text.bytes : SHOWN_BYTES_MAX), text.data);
        }
        mica_bpe_prefetch_merge(b->bpe, b->ids[i][LEFT], b->ids[i][RIGHT]);
    }
    if (b->count) b->last_joined = b->ids[b->count - 1][JOINED];
    return MICA_STATUS_OK;
}

/* Takes the batch into the table and empties it. */
static mica_status finish_batch(batch *b, mica_error *err) {
    const mica_vocab *v = b->vocab;
    if (b->text.failed) return mica_fail_memory(err, b->text.bytes, "merges");
    for (int i = 0; i < b->count; i++)
        for (int k = 0; k < PARTS; k++) b->ids[i][k] = -1;
    guess_joined(b);
    for (int i = 0; i < b->count; i++)
        for (int k = 0; k < PARTS; k++) {
            if (b->ids[i][k] >= 0) continue;
            mica_slice text = text_of(b, &b->parts[i][k]);
            b->parts[i][k].hash = mica_vocab_hash(text.data, text.bytes);
            mica_vocab_prefetch_slot(v, b->parts[i][k].hash);
        }
    for (int i = 0; i < b->count; i++)
        for (int k = 0; k < PARTS; k++)
            if (b->ids[i][k] < 0) mica_vocab_prefetch_entry(v, b->parts[i][k].hash);
    for (int i = 0; i < b->count; i++)
        for (int k = 0; k < PARTS; k++)
            if (b->ids[i][k] < 0) mica_vocab_prefetch_text(v, b->parts[i][k].hash);
    mica_status st = find_all(b, err);
    for (int i = 0; st == MICA_STATUS_OK && i < b->count; i++)
        if (!mica_bpe_add_merge(b->bpe, b->ids[i][LEFT], b->ids[i][RIGHT], b->ids[i][JOINED]))
            st = mica_fail_memory(err, b->bpe->n_merges * sizeof(mica_merge), "merges");
    b->count = 0;
    mica_str_clear(&b->text);
    return st;
}

mica_status mica_bpe_read_merges(mica_bpe *bpe, mica_json *j, const char *name, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    batch b = {.bpe = bpe, .vocab = bpe->vocab, .name = name, .cut = bpe->prefix.bytes};
    mica_str_init(&b.text, bpe->allocator);
    /* Real files have about two merges a token; a guess only saves steps of growing. */
    if (!mica_bpe_reserve(bpe, (size_t)bpe->vocab->count * 2))
        MICA_TRY(mica_fail_memory(err, (size_t)bpe->vocab->count * sizeof(mica_merge), "merges"));
    MICA_TRY(mica_json_begin_array(j, err));
    while (mica_json_next_item(j)) {
        unsigned number = bpe->n_merges + (unsigned)b.count;
        if (mica_json_peek(j) == MICA_JSON_ARRAY)
            MICA_TRY(read_pair(&b, j, number, err));
        else
            MICA_TRY(read_spaced(&b, j, number, err));
        MICA_TRY(join(&b, number, err));
        if (++b.count == BATCH) MICA_TRY(finish_batch(&b, err));
    }
    MICA_TRY(mica_json_check(j, err));
    MICA_TRY(finish_batch(&b, err));
done:
    mica_str_deinit(&b.text);
    return st;
}
