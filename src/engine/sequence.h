/* A sequence: the tokens of one conversation, how many of them the KV cache holds, its pages. */
#pragma once
#include "engine/page_pool.h"

/* Threads: one at a time. All memory is taken at init. */
typedef struct mica_sequence {
    int32_t *ids; /* [context] tokens so far: prompt and generated */
    int64_t n_ids;
    int64_t n_cached;  /* leading tokens whose K and V are in the pages */
    int64_t n_written; /* the most tokens the pages ever held: what rings have overwritten */
    int64_t context;   /* capacity of ids */
    int32_t *pages[MICA_KV_GROUPS_MAX]; /* page tables [table_width] */
    int32_t n_pages[MICA_KV_GROUPS_MAX];
    int32_t table_width[MICA_KV_GROUPS_MAX];
    size_t n_groups;
    float *rope; /* rotary table [n_rope_pairs] of all its tokens; NULL where one serves all */
    int32_t n_rope_pairs;
    int64_t rope_limit; /* the most tokens that the table is for */
} mica_sequence;

mica_status mica_sequence_init(mica_sequence *s, const mica_model *model, int64_t context,
                               mica_error *err);
void mica_sequence_deinit(mica_sequence *s, const mica_host *host);
/* Gives all pages back and forgets the tokens. */
void mica_sequence_clear(mica_sequence *s, mica_page_pool *pools);
/* Makes room in the KV cache for `tokens` tokens in all; false when the pools lack pages (those
 * already taken stay). */
bool mica_sequence_reserve(mica_sequence *s, mica_page_pool *pools, int64_t tokens);
/* Chooses the rotary table of a new prompt of n tokens that may come to n_most. Where that is
 * another table, nothing in the cache is right any more. Before set_prompt. */
void mica_sequence_begin_rope(mica_sequence *s, const mica_model *model, int64_t n, int64_t n_most);
/* The same when it has grown past rope_limit: all its tokens are to be computed again. */
void mica_sequence_grow_rope(mica_sequence *s, const mica_model *model);
/* Replaces the tokens by a new prompt and keeps the longest prefix of the cache that is still
 * right: the common prefix, unless a window ring no longer holds what it needs; then nothing. At
 * least one token is left to compute. n <= context. */
void mica_sequence_set_prompt(mica_sequence *s, const mica_page_pool *pools, const int32_t *ids,
                              int64_t n);
