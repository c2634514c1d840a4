/* The walker over pre-tokenizer steps: a stack of levels, one per step, each an iterator over the
 * sub-pieces of the piece above it. Joining behaviours need one span of look-ahead. */
#include "text/pre_tokenizer.h"
#include <string.h>
#include "base/error.h"
#include "text/byte_alphabet.h"
#include "text/unicode.h"

void mica_pre_tokenizer_deinit(mica_pre_tokenizer *p) {
    for (int i = 0; i < p->n_steps; i++) mica_split_pattern_deinit(&p->steps[i].pattern);
    p->n_steps = 0;
}

void mica_pre_walker_init(mica_pre_walker *w, const mica_pre_tokenizer *p,
                          const mica_allocator *allocator) {
    w->steps = p;
    w->depth = -1;
    w->is_single = false;
    for (int i = 0; i < p->n_steps; i++) {
        w->levels[i] = (mica_pre_level){0};
        mica_split_scan_init(&w->levels[i].scan, &p->steps[i].pattern, allocator);
        mica_str_init(&w->levels[i].text, allocator);
    }
}

void mica_pre_walker_deinit(mica_pre_walker *w) {
    for (int i = 0; w->steps && i < w->steps->n_steps; i++) {
        mica_split_scan_deinit(&w->levels[i].scan);
        mica_str_deinit(&w->levels[i].text);
    }
    w->steps = NULL;
}

static void write_metaspace(const mica_pre_tokenizer_step *step, const mica_pre_piece *piece,
                            mica_str *out) {
    mica_slice mark = step->content;
    bool has_mark = piece->bytes &&
                    (piece->text[0] == ' ' || (piece->bytes >= mark.bytes &&
                                               memcmp(piece->text, mark.data, mark.bytes) == 0));
    bool prepends = step->prepend == MICA_PREPEND_ALWAYS ||
                    (step->prepend == MICA_PREPEND_FIRST && piece->is_at_start);
    if (prepends && !has_mark) mica_str_append_slice(out, mark);
    for (size_t i = 0; i < piece->bytes; i++) {
        if (piece->text[i] == ' ')
            mica_str_append_slice(out, mark);
        else
            mica_str_append_char(out, piece->text[i]);
    }
}

static void write_byte_map(const mica_pre_piece *piece, mica_str *out) {
    for (size_t i = 0; i < piece->bytes; i++) {
        char letter[2];
        size_t n = mica_byte_alphabet_write((uint8_t)piece->text[i], letter);
        mica_str_append(out, letter, n);
    }
}

/* Prepares a level for one piece; rewriting steps do their work here. */
static mica_status begin_level(const mica_pre_tokenizer_step *step, mica_pre_level *l,
                               mica_pre_piece piece, mica_error *err) {
    l->piece = piece;
    l->at = 0;
    l->n_waiting = 0;
    l->is_scanned = l->was_match = false;
    if (step->kind == MICA_PRE_SPLIT) {
        mica_split_scan_begin(&l->scan, piece.text, piece.bytes);
        return MICA_STATUS_OK;
    }
    if (step->kind == MICA_PRE_PREFIX_SPACE && piece.text[0] == ' ') return MICA_STATUS_OK;
    mica_str_clear(&l->text);
    switch (step->kind) {
    case MICA_PRE_METASPACE:
        write_metaspace(step, &piece, &l->text);
        break;
    case MICA_PRE_BYTE_MAP:
        write_byte_map(&piece, &l->text);
        break;
    default:
        mica_str_append_char(&l->text, ' ');
        mica_str_append(&l->text, piece.text, piece.bytes);
    }
    if (l->text.failed) return mica_fail_memory(err, piece.bytes, "a rewritten piece");
    l->piece.text = l->text.data;
    l->piece.bytes = l->text.bytes;
    return MICA_STATUS_OK;
}

/* The next match or stretch between matches, in order; they tile the piece. */
static mica_status take_span(const mica_pre_tokenizer_step *step, mica_pre_level *l, bool *found,
                             mica_pre_span *span, mica_error *err) {
    *found = true;
    if (l->n_waiting == 0 && !l->is_scanned) {
        size_t start = 0, end = 0;
        bool is_match = false;
        mica_status st = mica_split_scan_next(&l->scan, &is_match, &start, &end, err);
        if (st != MICA_STATUS_OK) return st;
        l->is_scanned = !is_match;
        if (!is_match) start = l->piece.bytes;
        if (l->at < start)
            l->waiting[l->n_waiting++] = (mica_pre_span){l->at, start, step->is_inverted};
        if (is_match) l->waiting[l->n_waiting++] = (mica_pre_span){start, end, !step->is_inverted};
        l->at = is_match ? end : start;
    }
    *found = l->n_waiting > 0;
    if (!*found) return MICA_STATUS_OK;
    *span = l->waiting[0];
    l->waiting[0] = l->waiting[1];
    l->n_waiting--;
    return MICA_STATUS_OK;
}

/* Puts a span that was taken as look-ahead back in front. */
static void give_span(mica_pre_level *l, mica_pre_span span) {
    l->waiting[1] = l->waiting[0];
    l->waiting[0] = span;
    l->n_waiting++;
}

static bool joins(mica_split_behavior behavior, bool left_is_match, bool right_is_match) {
    switch (behavior) {
    case MICA_BEHAVIOR_PREVIOUS:
        return !left_is_match && right_is_match;
    case MICA_BEHAVIOR_NEXT:
        return left_is_match && !right_is_match;
    case MICA_BEHAVIOR_CONTIGUOUS:
        return left_is_match == right_is_match;
    default:
        return false;
    }
}

/* One sub-piece of a split; it may be empty. */
static mica_status next_split(const mica_pre_tokenizer_step *step, mica_pre_level *l, bool *found,
                              mica_pre_span *out, mica_error *err) {
    mica_pre_span next;
    bool has_next = false;
    mica_status st;
    do {
        st = take_span(step, l, found, out, err);
        if (st != MICA_STATUS_OK || !*found) return st;
    } while (out->is_match && step->behavior == MICA_BEHAVIOR_REMOVED);
    if (step->behavior == MICA_BEHAVIOR_ISOLATED || step->behavior == MICA_BEHAVIOR_REMOVED)
        return MICA_STATUS_OK;
    for (;;) {
        st = take_span(step, l, &has_next, &next, err);
        if (st != MICA_STATUS_OK || !has_next) return st;
        if (!joins(step->behavior, out->is_match, next.is_match)) break;
        out->end = next.end;
        out->is_match = next.is_match;
        if (step->behavior != MICA_BEHAVIOR_CONTIGUOUS) return MICA_STATUS_OK;
    }
    give_span(l, next);
    return MICA_STATUS_OK;
}

static mica_status next_piece(const mica_pre_tokenizer_step *step, mica_pre_level *l, bool *found,
                              mica_pre_piece *out, mica_error *err) {
    mica_pre_span span = {0};
    if (step->kind != MICA_PRE_SPLIT) {
        *found = !l->is_scanned;
        l->is_scanned = true;
        *out = l->piece;
        return MICA_STATUS_OK;
    }
    do {
        mica_status st = next_split(step, l, found, &span, err);
        if (st != MICA_STATUS_OK || !*found) return st;
    } while (span.start == span.end);
    *out = (mica_pre_piece){l->piece.text + span.start, span.end - span.start,
                            l->piece.is_at_start && span.start == 0};
    return MICA_STATUS_OK;
}

mica_status mica_pre_walker_begin(mica_pre_walker *w, const char *text, size_t bytes,
                                  bool is_at_start, mica_error *err) {
    mica_pre_piece whole = {text, bytes, is_at_start};
    w->depth = -1;
    w->is_single = false;
    if (bytes == 0) return MICA_STATUS_OK;
    if (w->steps->n_steps == 0) {
        w->is_single = true;
        w->single = whole;
        return MICA_STATUS_OK;
    }
    w->depth = 0;
    return begin_level(&w->steps->steps[0], &w->levels[0], whole, err);
}

mica_status mica_pre_walker_next(mica_pre_walker *w, bool *found, mica_pre_piece *piece,
                                 mica_error *err) {
    *found = w->is_single;
    *piece = w->single;
    if (w->is_single) {
        w->is_single = false;
        return MICA_STATUS_OK;
    }
    while (w->depth >= 0) {
        const mica_pre_tokenizer_step *step = &w->steps->steps[w->depth];
        mica_status st = next_piece(step, &w->levels[w->depth], found, piece, err);
        if (st != MICA_STATUS_OK) return st;
        if (!*found) {
            w->depth--;
            continue;
        }
        if (w->depth + 1 == w->steps->n_steps) return MICA_STATUS_OK;
        w->depth++;
        st = begin_level(step + 1, &w->levels[w->depth], *piece, err);
        if (st != MICA_STATUS_OK) return st;
    }
    *found = false;
    return MICA_STATUS_OK;
}
