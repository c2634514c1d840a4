/* Pre-tokenizers: steps that cut a text into pieces and rewrite pieces. All types are reduced to a
 * few primitive steps; a walker yields the pieces one by one, depth first, so that memory does not
 * grow with their number. */
#pragma once
#include "base/host.h"
#include "text/split_pattern.h"

#define MICA_PRE_TOKENIZER_STEPS_MAX 16

typedef enum mica_pre_tokenizer_kind {
    MICA_PRE_SPLIT,        /* cut by pattern and behaviour */
    MICA_PRE_PREFIX_SPACE, /* a space in front where there is none */
    MICA_PRE_BYTE_MAP,     /* bytes become letters of the byte alphabet */
    MICA_PRE_METASPACE,    /* spaces become `content`, one is put in front by `prepend` */
} mica_pre_tokenizer_kind;

/* What happens to a match: */
typedef enum mica_split_behavior {
    MICA_BEHAVIOR_ISOLATED,   /* a piece of its own */
    MICA_BEHAVIOR_REMOVED,    /* dropped */
    MICA_BEHAVIOR_PREVIOUS,   /* joined to the text before it */
    MICA_BEHAVIOR_NEXT,       /* joined to the text after it */
    MICA_BEHAVIOR_CONTIGUOUS, /* joined to the matches beside it */
} mica_split_behavior;

typedef enum mica_metaspace_prepend {
    MICA_PREPEND_ALWAYS,
    MICA_PREPEND_FIRST, /* at the very start of the text only */
    MICA_PREPEND_NEVER,
} mica_metaspace_prepend;

typedef struct mica_pre_tokenizer_step {
    mica_pre_tokenizer_kind kind;
    mica_split_pattern pattern;
    mica_split_behavior behavior;
    bool is_inverted; /* matches and the text between them change places */
    mica_slice content;
    mica_metaspace_prepend prepend;
} mica_pre_tokenizer_step;

/* Threads: any, once filled. Zero: the whole text is one piece. */
typedef struct mica_pre_tokenizer {
    mica_pre_tokenizer_step steps[MICA_PRE_TOKENIZER_STEPS_MAX];
    int n_steps;
} mica_pre_tokenizer;

void mica_pre_tokenizer_deinit(mica_pre_tokenizer *p);

typedef struct mica_pre_piece {
    const char *text;
    size_t bytes;
    bool is_at_start; /* begins where the whole text begins */
} mica_pre_piece;

typedef struct mica_pre_span {
    size_t start, end;
    bool is_match;
} mica_pre_span;

/* One step at work on one piece. */
typedef struct mica_pre_level {
    mica_pre_piece piece;
    mica_split_scan scan;
    size_t at; /* spans before it are taken */
    mica_pre_span waiting[2];
    int n_waiting;
    bool is_scanned, was_match;
    mica_str text; /* a rewritten piece */
} mica_pre_level;

/* Threads: one at a time. */
typedef struct mica_pre_walker {
    const mica_pre_tokenizer *steps;
    mica_pre_level levels[MICA_PRE_TOKENIZER_STEPS_MAX];
    int depth;      /* -1: at the end */
    bool is_single; /* no steps: the text itself is still to be handed out */
    mica_pre_piece single;
} mica_pre_walker;

void mica_pre_walker_init(mica_pre_walker *w, const mica_pre_tokenizer *p,
                          const mica_allocator *allocator);
void mica_pre_walker_deinit(mica_pre_walker *w);
/* text is valid UTF-8, borrowed until the walk ends. */
mica_status mica_pre_walker_begin(mica_pre_walker *w, const char *text, size_t bytes,
                                  bool is_at_start, mica_error *err);
/* The next piece, never empty; *found false at the end. Valid until the next call.
 * Errors: OUT_OF_MEMORY, LIMIT (a regex). */
mica_status mica_pre_walker_next(mica_pre_walker *w, bool *found, mica_pre_piece *piece,
                                 mica_error *err);
