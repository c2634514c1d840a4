/* The long path of byte-pair encoding: n symbols in O(n log n) time and O(n) memory.
 *
 * Live pairs stand in buckets, one per rank: doubly linked lists over the symbols, so that a pair
 * that goes away is unlinked at once and nothing stale is ever queued. A binary heap orders the
 * ranks that have (or had) pairs. The bucket of lowest rank is emptied from its leftmost pair on.
 *
 * Pairs arrive in a bucket in ascending runs (each pass over a lower bucket goes left to right),
 * and a bucket is sorted by a natural merge sort when its turn comes. While it is being emptied
 * nothing can be added to it: what a merge of (x, y) leads to before the bucket is done contains x
 * + y and is longer than x and y (the loader checks that both parts of a merge add text). */
#include <string.h>
#include "base/checked.h"
#include "text/bpe.h"

#define NONE UINT32_MAX

/* id and the neighbours in the text; the pair (this, next) stands in `bucket` (NONE: in none)
 * between the pairs `before` and `after`. */
typedef struct symbol {
    uint32_t id, previous, next;
    uint32_t bucket, before, after;
} symbol;

/* key: rank + 1, 0 = free slot. */
typedef struct bucket {
    uint32_t key, head, tail;
    int32_t joined; /* id of the merged token */
    bool is_sorted, is_queued;
} bucket;

typedef struct queue {
    const mica_bpe *bpe;
    symbol *symbols;
    bucket *buckets; /* open addressing by rank */
    uint32_t bucket_mask;
    uint64_t *heap; /* rank << 32 | bucket */
    size_t heap_count;
} queue;

static void heap_push(queue *q, uint64_t item) {
    size_t i = q->heap_count++;
    for (; i > 0 && q->heap[(i - 1) / 2] > item; i = (i - 1) / 2) q->heap[i] = q->heap[(i - 1) / 2];
    q->heap[i] = item;
}

static void heap_pop(queue *q) {
    uint64_t item = q->heap[--q->heap_count];
    size_t i = 0, child;
    for (; (child = 2 * i + 1) < q->heap_count; i = child) {
        if (child + 1 < q->heap_count && q->heap[child + 1] < q->heap[child]) child++;
        if (q->heap[child] >= item) break;
        q->heap[i] = q->heap[child];
    }
    q->heap[i] = item;
}

static uint32_t find_bucket(queue *q, const mica_merge *m) {
    uint32_t key = m->rank + 1;
    uint32_t at = (key * 0x9E3779B1u >> 7) & q->bucket_mask;
    while (q->buckets[at].key && q->buckets[at].key != key) at = (at + 1) & q->bucket_mask;
    if (!q->buckets[at].key)
        q->buckets[at] = (bucket){.key = key, .head = NONE, .tail = NONE, .joined = m->id};
    return at;
}

/* Enters the pair that begins at `at`, if its merge exists. */
static void add_pair(queue *q, uint32_t at) {
    symbol *s = &q->symbols[at];
    const mica_merge *m = mica_bpe_find_merge(q->bpe, s->id, q->symbols[s->next].id);
    s->bucket = NONE;
    if (!m) return;
    s->bucket = find_bucket(q, m);
    bucket *b = &q->buckets[s->bucket];
    b->is_sorted = b->head == NONE || (b->is_sorted && b->tail < at);
    s->before = b->tail;
    s->after = NONE;
    if (b->tail == NONE)
        b->head = at;
    else
        q->symbols[b->tail].after = at;
    b->tail = at;
    if (!b->is_queued) heap_push(q, (uint64_t)m->rank << 32 | s->bucket);
    b->is_queued = true;
}

static void remove_pair(queue *q, uint32_t at) {
    symbol *s = &q->symbols[at];
    if (s->bucket == NONE) return;
    bucket *b = &q->buckets[s->bucket];
    if (s->before == NONE)
        b->head = s->after;
    else
        q->symbols[s->before].after = s->after;
    if (s->after == NONE)
        b->tail = s->before;
    else
        q->symbols[s->after].before = s->before;
    s->bucket = NONE;
}

static uint32_t merge_lists(queue *q, uint32_t a, uint32_t b) {
    uint32_t head = NONE, *link = &head;
    while (a != NONE && b != NONE) {
        uint32_t *least = a < b ? &a : &b;
        *link = *least;
        link = &q->symbols[*least].after;
        *least = *link;
    }
    *link = a != NONE ? a : b;
    return head;
}

/* Cuts the ascending run off the front of a list; *rest is what follows. */
static uint32_t take_run(queue *q, uint32_t head, uint32_t *rest) {
    uint32_t last = head;
    while (q->symbols[last].after != NONE && q->symbols[last].after > last)
        last = q->symbols[last].after;
    *rest = q->symbols[last].after;
    q->symbols[last].after = NONE;
    return head;
}

/* levels[k] holds the merge of 2^k runs or nothing, as the digits of a binary counter. */
static void sort_bucket(queue *q, bucket *b) {
    uint32_t levels[32], rest = b->head;
    for (int k = 0; k < 32; k++) levels[k] = NONE;
    while (rest != NONE) {
        uint32_t list = take_run(q, rest, &rest);
        int k = 0;
        for (; k < 31 && levels[k] != NONE; k++) {
            list = merge_lists(q, levels[k], list);
            levels[k] = NONE;
        }
        levels[k] = levels[k] == NONE ? list : merge_lists(q, levels[k], list);
    }
    uint32_t sorted = NONE;
    for (int k = 0; k < 32; k++) sorted = merge_lists(q, levels[k], sorted);
    b->head = sorted;
    uint32_t before = NONE;
    for (uint32_t at = sorted; at != NONE; at = q->symbols[at].after) {
        q->symbols[at].before = before;
        before = at;
    }
    b->tail = before;
    b->is_sorted = true;
}

static void merge_pair(queue *q, uint32_t at, int32_t joined) {
    symbol *s = &q->symbols[at];
    uint32_t gone = s->next;
    remove_pair(q, at);
    remove_pair(q, gone);
    if (s->previous != NONE) remove_pair(q, s->previous);
    s->id = (uint32_t)joined;
    s->next = q->symbols[gone].next;
    if (s->next != NONE) q->symbols[s->next].previous = at;
    if (s->previous != NONE) add_pair(q, s->previous);
    if (s->next != NONE) add_pair(q, at);
}

static void merge_all(queue *q) {
    while (q->heap_count) {
        bucket *b = &q->buckets[(uint32_t)q->heap[0]];
        if (b->head == NONE) {
            b->is_queued = false;
            heap_pop(q);
            continue;
        }
        if (!b->is_sorted) sort_bucket(q, b);
        merge_pair(q, b->head, b->joined);
    }
}

/* One block for symbols, buckets and heap. At most 3n pairs are ever entered (each of n - 1 merges
 * makes two), so there are at most min(3n, merges) ranks. */
static bool lay_out(queue *q, mica_bpe_run *run, size_t n) {
    size_t ranks, slots = 64, bytes, total;
    if (n >= NONE / 2 || !mica_mul_size(n, 3, &ranks)) return false;
    if (ranks > q->bpe->n_merges) ranks = q->bpe->n_merges;
    while (slots < ranks + ranks / 2) slots *= 2;
    if (!mica_mul_size(n, sizeof(symbol), &total)) return false;
    if (!mica_mul_size(slots, sizeof(bucket), &bytes)) return false;
    if (!mica_add_size(total, bytes, &total) || !mica_align_size(total, 8, &total)) return false;
    size_t heap_start = total;
    if (!mica_add_size(total, (ranks + 1) * sizeof(uint64_t), &total)) return false;
    if (!mica_vec_reserve(&run->queue, total)) return false;
    char *memory = run->queue.data;
    q->symbols = (symbol *)(void *)memory;
    q->buckets = (bucket *)(void *)(memory + n * sizeof(symbol));
    q->heap = (uint64_t *)(void *)(memory + heap_start);
    q->bucket_mask = (uint32_t)(slots - 1);
    memset(q->buckets, 0, slots * sizeof(bucket));
    return true;
}

bool mica_bpe_merge_long(mica_bpe_run *run, const uint32_t *ids, size_t n) {
    queue q = {.bpe = run->bpe};
    if (!lay_out(&q, run, n)) return false;
    for (size_t i = 0; i < n; i++)
        q.symbols[i] = (symbol){.id = ids[i],
                                .previous = i ? (uint32_t)i - 1 : NONE,
                                .next = i + 1 < n ? (uint32_t)i + 1 : NONE,
                                .bucket = NONE};
    for (size_t i = 0; i + 1 < n; i++) add_pair(&q, (uint32_t)i);
    merge_all(&q);
    for (uint32_t at = 0; at != NONE; at = q.symbols[at].next) {
        int32_t id = (int32_t)q.symbols[at].id;
        mica_vec *v = run->ids;
        if (v->count == v->capacity && !mica_vec_reserve(v, v->count + 64)) return false;
        ((int32_t *)v->data)[v->count++] = id;
    }
    return true;
}
