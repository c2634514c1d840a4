/* A pattern of a Split or Replace step, of whatever kind: it finds the next match in a text. */
#pragma once
#include "text/split_regex.h"
#include "text/splitter.h"

typedef enum mica_split_kind {
    MICA_SPLIT_LITERAL,       /* an exact text */
    MICA_SPLIT_KNOWN,         /* a regex with a linear splitter */
    MICA_SPLIT_REGEX,         /* any other regex */
    MICA_SPLIT_NUMBER,        /* one numeric character */
    MICA_SPLIT_WHITE,         /* one white-space character */
    MICA_SPLIT_PUNCTUATION,   /* one punctuation character */
    MICA_SPLIT_WORD_OR_OTHER, /* `\w+|[^\w\s]+` */
    MICA_SPLIT_LENGTH,        /* any `length` characters, at the end fewer */
} mica_split_kind;

/* literal is borrowed; regex is owned. Zero is no valid pattern. */
typedef struct mica_split_pattern {
    mica_split_kind kind;
    mica_slice literal;
    size_t length;
    const mica_splitter *splitter;
    mica_split_regex *regex;
} mica_split_pattern;

/* Chooses the linear splitter where it is known, else compiles. Errors: as
 * mica_split_regex_create. */
mica_status mica_split_pattern_from_regex(const mica_allocator *allocator, mica_slice regex,
                                          mica_split_pattern *out, mica_error *err);
void mica_split_pattern_deinit(mica_split_pattern *pattern);

/* State of one pass over one text. search is created when first needed and may be kept for further
 * passes of the same pattern. */
typedef struct mica_split_scan {
    const mica_split_pattern *pattern;
    const char *text;
    size_t bytes;
    size_t from;     /* where the next search begins */
    size_t last_end; /* end of the last match; SIZE_MAX = none yet */
    const mica_allocator *allocator;
    mica_split_regex_search *search;
} mica_split_scan;

void mica_split_scan_init(mica_split_scan *scan, const mica_split_pattern *pattern,
                          const mica_allocator *allocator);
void mica_split_scan_deinit(mica_split_scan *scan);
void mica_split_scan_begin(mica_split_scan *scan, const char *text, size_t bytes);
/* The next match (it may be empty, but not at the end of the one before it). */
mica_status mica_split_scan_next(mica_split_scan *scan, bool *found, size_t *start, size_t *end,
                                 mica_error *err);
