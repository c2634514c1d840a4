/* Finding added tokens in a text: leftmost, longest, by a byte trie. Which of them count as tokens
 * at all (special ones in plain text) is the caller's choice at each search. */
#pragma once
#include "base/host.h"
#include "base/str.h"

#define MICA_ADDED_TOKEN_BYTES_MAX 1024
#define MICA_ADDED_TOKENS_MAX 65536

/* One entry of added_tokens. content is borrowed from the vocabulary or an arena. */
typedef struct mica_added_token {
    mica_slice content;
    int32_t id;
    bool is_special, is_normalized, is_single_word, strips_left, strips_right;
} mica_added_token;

/* child, sibling: node indices, 0 = none (node 0 is the root); token: index + 1 of the token that
 * ends here, 0 = none. */
typedef struct mica_added_node {
    uint32_t child, sibling, token;
    uint8_t byte;
} mica_added_node;

/* Threads: any, once built. Zero is the empty set. */
typedef struct mica_added_trie {
    const mica_allocator *allocator;
    mica_added_node *nodes;
    size_t n_nodes, capacity;
    uint32_t roots[256]; /* child of the root by byte, so that plain text is skipped fast */
} mica_added_trie;

void mica_added_trie_init(mica_added_trie *trie, const mica_allocator *allocator);
void mica_added_trie_deinit(mica_added_trie *trie);
/* index: the token's place in the caller's list. A text that is already there keeps its first
 * index. false when there is no memory. */
bool mica_added_trie_add(mica_added_trie *trie, mica_slice text, uint32_t index);

typedef enum mica_added_special {
    MICA_SPECIAL_MATCHED, /* special tokens are tokens wherever they stand */
    MICA_SPECIAL_SKIPPED, /* they are found and left as text (the reference's encode_special_tokens)
                           */
    MICA_SPECIAL_BY_ORIGIN, /* `guarded` ones count only where every byte's origin is 0 (template)
                             */
} mica_added_special;

/* One pass over a text. */
typedef struct mica_added_scan {
    const mica_added_trie *trie;
    const mica_added_token *tokens;
    mica_added_special special;
    const char *text;
    size_t bytes;
    /* Only for MICA_SPECIAL_BY_ORIGIN: */
    const char *origin;  /* [bytes], 0 = template, 1 = input */
    const bool *guarded; /* by the token's index */
    size_t from;         /* where the next search begins */
    size_t done;         /* text before it has been handed out */
} mica_added_scan;

/* Tokens that no text from outside may become, wherever it stands: special ones, and those written
 * as no natural text is (<|...|>, also with U+FF5C for the bars). */
bool mica_added_token_is_guarded(const mica_added_token *token);
/* Tokens written like a tag (<...>, [...], no white space): they are guarded where the template
 * itself uses them, and content elsewhere (a vocabulary may have <table> or <think>). */
bool mica_added_token_is_tag(const mica_added_token *token);

/* The next token; what lies between scan->done (as it was before the call) and *start is ordinary
 * text. Returns its index in tokens, or -1 at the end. *start and *end include stripped space. */
int32_t mica_added_scan_next(mica_added_scan *scan, size_t *start, size_t *end);
