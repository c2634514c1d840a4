/* Split patterns that no linear splitter knows, through PCRE2 under limits. The patterns are
 * written for Oniguruma: what it reads differently is translated (white space, \w, nested classes)
 * or refused at load, never matched with another meaning. */
#pragma once
#include "base/host.h"
#include "base/str.h"

#define MICA_REGEX_BYTES_MAX 16384       /* of a pattern */
#define MICA_REGEX_MATCH_LIMIT 50000000  /* backtracking steps of one search */
#define MICA_REGEX_DEPTH_LIMIT 1000000   /* nested backtracking points of one search */
#define MICA_REGEX_HEAP_KIB_LIMIT 262144 /* memory of one search */

/* A compiled pattern. Threads: any, once created. */
typedef struct mica_split_regex mica_split_regex;
/* One thread's working memory for searches. Threads: one at a time. */
typedef struct mica_split_regex_search mica_split_regex_search;

/* Errors: UNSUPPORTED with the reason and the place in the pattern. The allocator must outlive the
 * pattern. */
mica_status mica_split_regex_create(const mica_allocator *allocator, mica_slice pattern,
                                    mica_split_regex **out, mica_error *err);
void mica_split_regex_destroy(mica_split_regex **regex);

mica_status mica_split_regex_search_create(const mica_split_regex *regex,
                                           const mica_allocator *allocator,
                                           mica_split_regex_search **out, mica_error *err);
void mica_split_regex_search_destroy(mica_split_regex_search **search);

/* The leftmost match at or after `from`; *found false when there is none. text is valid UTF-8.
 * Errors: LIMIT when the search takes more than the limits above. */
mica_status mica_split_regex_find(mica_split_regex_search *search, const char *text, size_t bytes,
                                  size_t from, bool *found, size_t *start, size_t *end,
                                  mica_error *err);
