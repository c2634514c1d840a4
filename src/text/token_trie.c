/* Growing of the two tables; looking up is inline in the header. */
#include "text/token_trie.h"
#include "base/checked.h"

enum { EDGES_MIN = 512, NODES_MIN = 256 };

void mica_token_trie_init(mica_token_trie *trie, const mica_allocator *allocator) {
    *trie = (mica_token_trie){.allocator = allocator};
}

void mica_token_trie_deinit(mica_token_trie *trie) {
    mica_free(trie->allocator, trie->edges);
    mica_free(trie->allocator, trie->ids);
    mica_token_trie_init(trie, trie->allocator);
}

static void put_edge(mica_token_trie_edge *edges, uint32_t mask, mica_token_trie_edge edge) {
    uint32_t at = mica_token_trie_hash(edge.key) & mask;
    while (edges[at].child) at = (at + 1) & mask;
    edges[at] = edge;
}

/* At most MICA_TOKEN_TRIE_NODES_MAX nodes, so that sizes fit 32 bits. */
static bool grow_edges(mica_token_trie *t) {
    uint32_t slots = t->edges ? (t->edge_mask + 1) * 2 : EDGES_MIN;
    mica_token_trie_edge *edges = mica_alloc_array_zero(t->allocator, slots, sizeof(*edges));
    if (!edges) return false;
    for (uint32_t i = 0; t->edges && i <= t->edge_mask; i++)
        if (t->edges[i].child) put_edge(edges, slots - 1, t->edges[i]);
    mica_free(t->allocator, t->edges);
    t->edges = edges;
    t->edge_mask = slots - 1;
    return true;
}

static mica_token_trie_result add_node(mica_token_trie *t, uint32_t *node) {
    if (t->n_nodes == MICA_TOKEN_TRIE_NODES_MAX) return MICA_TOKEN_TRIE_FULL;
    if (t->n_nodes == t->node_capacity) {
        uint32_t capacity = t->node_capacity ? t->node_capacity * 2 : NODES_MIN;
        int32_t *ids = mica_realloc(t->allocator, t->ids, capacity * sizeof(*ids));
        if (!ids) return MICA_TOKEN_TRIE_NO_MEMORY;
        t->ids = ids;
        t->node_capacity = capacity;
    }
    if ((!t->edges || t->n_nodes * 2 > t->edge_mask) && !grow_edges(t))
        return MICA_TOKEN_TRIE_NO_MEMORY;
    *node = t->n_nodes++;
    t->ids[*node] = -1;
    return MICA_TOKEN_TRIE_ADDED;
}

mica_token_trie_result mica_token_trie_add_root(mica_token_trie *trie, uint32_t *root) {
    return add_node(trie, root);
}

mica_token_trie_result mica_token_trie_add(mica_token_trie *t, uint32_t root, mica_slice text,
                                           int32_t id) {
    uint32_t node = root;
    if (text.bytes == 0) return MICA_TOKEN_TRIE_ADDED;
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t byte = (uint8_t)text.data[i];
        uint32_t child = mica_token_trie_step(t, node, byte);
        if (!child) {
            mica_token_trie_result result = add_node(t, &child);
            if (result != MICA_TOKEN_TRIE_ADDED) return result;
            put_edge(t->edges, t->edge_mask, (mica_token_trie_edge){node << 8 | byte, child});
        }
        node = child;
    }
    t->ids[node] = id;
    return MICA_TOKEN_TRIE_ADDED;
}
