/* Normalizers: a list of steps that rewrite a text before it is split. Each byte may carry its
 * origin (template or input), so that special tokens can still be told apart afterwards. */
#pragma once
#include "base/host.h"
#include "text/charsmap.h"
#include "text/split_pattern.h"

#define MICA_NORMALIZER_STEPS_MAX 16

typedef enum mica_normalizer_kind {
    MICA_NORMALIZE_NFC,
    MICA_NORMALIZE_NFD,
    MICA_NORMALIZE_NFKC,
    MICA_NORMALIZE_NFKD,
    MICA_NORMALIZE_LOWERCASE,
    MICA_NORMALIZE_REPLACE,       /* every match of pattern by content */
    MICA_NORMALIZE_PREPEND,       /* content before a text that is not empty */
    MICA_NORMALIZE_STRIP,         /* white space at the ends */
    MICA_NORMALIZE_NO_MARKS,      /* all combining marks go */
    MICA_NORMALIZE_NO_NONSPACING, /* the nonspacing ones (Mn) go */
    MICA_NORMALIZE_CLEAN,         /* BERT: controls go, white space becomes spaces */
    MICA_NORMALIZE_SPACE_HAN,     /* BERT: spaces around Chinese characters */
    MICA_NORMALIZE_NMT,           /* sentencepiece's: controls go, odd spaces become spaces */
    MICA_NORMALIZE_BYTE_MAP,      /* bytes become letters of the byte alphabet */
    MICA_NORMALIZE_CHARSMAP,      /* grapheme clusters or characters by their replacements */
} mica_normalizer_kind;

typedef struct mica_normalizer_step {
    mica_normalizer_kind kind;
    mica_split_pattern pattern;
    mica_slice content; /* borrowed */
    mica_charsmap *charsmap;
    bool strips_left, strips_right;
} mica_normalizer_step;

/* Threads: any, once filled. Zero is the normalizer that changes nothing. */
typedef struct mica_normalizer {
    mica_normalizer_step steps[MICA_NORMALIZER_STEPS_MAX];
    int n_steps;
} mica_normalizer;

void mica_normalizer_deinit(mica_normalizer *n);

/* Text and, where has_origin, one origin byte for each of its bytes. */
typedef struct mica_origin_text {
    mica_str text, origin;
    bool has_origin;
} mica_origin_text;

void mica_origin_text_init(mica_origin_text *t, const mica_allocator *allocator, bool has_origin);
void mica_origin_text_deinit(mica_origin_text *t);

/* Working memory of normalizing. Threads: one at a time. */
typedef struct mica_normalizer_run {
    const mica_allocator *allocator;
    mica_origin_text buffers[2];
    int32_t *codepoints;
    size_t codepoint_capacity;
} mica_normalizer_run;

void mica_normalizer_run_init(mica_normalizer_run *run, const mica_allocator *allocator,
                              bool has_origin);
void mica_normalizer_run_deinit(mica_normalizer_run *run);

/* text is valid UTF-8; origin is NULL unless the run has origins. The result is valid UTF-8; it is
 * text itself (no steps) or lies in the run's memory until the next call.
 * Errors: OUT_OF_MEMORY, LIMIT (a regex; the result grows past MICA_ENCODE_BYTES_MAX). */
mica_status mica_normalizer_apply(const mica_normalizer *n, mica_normalizer_run *run,
                                  mica_slice text, const char *origin, mica_slice *out,
                                  const char **out_origin, mica_error *err);
