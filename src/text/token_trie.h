/* A byte trie over token texts, for models that look for the tokens that begin at a place. Edges
 * stand in one hash table, so that building and each step take constant time whatever the texts
 * are. There may be several roots. */
#pragma once
#include "base/alloc.h"
#include "base/str.h"

#define MICA_TOKEN_TRIE_NODES_MAX (1u << 24) /* an edge's key has 24 bits for its node */

/* key: node << 8 | byte; child 0 = free slot (node 0 is a root and nobody's child). */
typedef struct mica_token_trie_edge {
    uint32_t key, child;
} mica_token_trie_edge;

/* Threads: any, once built. */
typedef struct mica_token_trie {
    const mica_allocator *allocator;
    mica_token_trie_edge *edges; /* open addressing, at most half full */
    uint32_t edge_mask;          /* slots - 1; 0 = no table yet */
    int32_t *ids;                /* by node: the token that ends there, -1 = none */
    uint32_t n_nodes, node_capacity;
} mica_token_trie;

typedef enum mica_token_trie_result {
    MICA_TOKEN_TRIE_ADDED,
    MICA_TOKEN_TRIE_NO_MEMORY,
    MICA_TOKEN_TRIE_FULL, /* MICA_TOKEN_TRIE_NODES_MAX */
} mica_token_trie_result;

void mica_token_trie_init(mica_token_trie *trie, const mica_allocator *allocator);
void mica_token_trie_deinit(mica_token_trie *trie);
/* A new root: the first one is node 0. */
mica_token_trie_result mica_token_trie_add_root(mica_token_trie *trie, uint32_t *root);
/* Enters a text below a root. The empty text is passed over: nothing can match it. */
mica_token_trie_result mica_token_trie_add(mica_token_trie *trie, uint32_t root, mica_slice text,
                                           int32_t id);

static inline uint32_t mica_token_trie_hash(uint32_t key) {
    key *= 0x9E3779B1u;
    return key ^ key >> 15;
}

/* The child of a node by the next byte; 0: none. The trie has at least one root. */
static inline uint32_t mica_token_trie_step(const mica_token_trie *trie, uint32_t node,
                                            uint8_t byte) {
    uint32_t key = node << 8 | byte;
    for (uint32_t at = mica_token_trie_hash(key) & trie->edge_mask;;
         at = (at + 1) & trie->edge_mask) {
        const mica_token_trie_edge *e = &trie->edges[at];
        if (!e->child || e->key == key) return e->child;
    }
}
