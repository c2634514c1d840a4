/* Two ways of packing, of which the smaller result counts. Along the time line: a block takes the
 * smallest gap that is free when it begins. By size: the largest block first, each into the
 * smallest gap that the blocks placed before it leave over its whole life. The first is good for
 * chains and takes n log n steps; the second is better where small blocks outlive large ones, takes
 * n^2 steps, and is tried only where the first missed the floor. */
#include "plan/pack.h"
#include <string.h>
#include "base/error.h"

#define PACK_END (UINT64_C(1) << 60)
#define PACK_BY_SIZE_MAX 4096 /* blocks: some milliseconds */

/* Free bytes; the last gap is open-ended. */
typedef struct gap {
    uint64_t offset;
    uint64_t bytes;
} gap;

typedef struct packer {
    mica_draft *draft;
    mica_packing *packing;
    gap *gaps; /* ascending, never touching */
    size_t n_gaps;
    uint32_t *by_end; /* blocks in order of their end */
} packer;

/* ---- gaps ---- */

static void remove_gap(packer *p, size_t at) {
    p->n_gaps--;
    for (; at < p->n_gaps; at++) p->gaps[at] = p->gaps[at + 1];
}

/* The smallest gap that fits, the lowest of equals; the open end only when no other does. */
static mica_status take_bytes(packer *p, uint64_t bytes, uint64_t *offset, mica_error *err) {
    size_t best = p->n_gaps - 1;
    for (size_t i = 0; i < p->n_gaps; i++)
        if (p->gaps[i].bytes >= bytes && p->gaps[i].bytes < p->gaps[best].bytes) best = i;
    gap *g = &p->gaps[best];
    if (g->bytes < bytes)
        return mica_fail(err, MICA_STATUS_LIMIT, "activations of more than 2^60 bytes");
    *offset = g->offset;
    g->offset += bytes;
    g->bytes -= bytes;
    if (g->bytes == 0) remove_gap(p, best);
    return MICA_STATUS_OK;
}

static void give_bytes(packer *p, uint64_t offset, uint64_t bytes) {
    size_t low = 0, high = p->n_gaps; /* the first gap behind offset */
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (p->gaps[middle].offset > offset)
            high = middle;
        else
            low = middle + 1;
    }
    bool joins_left = low > 0 && p->gaps[low - 1].offset + p->gaps[low - 1].bytes == offset;
    bool joins_right = low < p->n_gaps && offset + bytes == p->gaps[low].offset;
    if (joins_left) {
        p->gaps[low - 1].bytes += bytes;
        if (!joins_right) return;
        p->gaps[low - 1].bytes += p->gaps[low].bytes;
        remove_gap(p, low);
    } else if (joins_right) {
        p->gaps[low].offset = offset;
        p->gaps[low].bytes += bytes;
    } else {
        for (size_t i = p->n_gaps++; i > low; i--) p->gaps[i] = p->gaps[i - 1];
        p->gaps[low] = (gap){offset, bytes};
    }
}

/* ---- along the time line ---- */

static mica_status sort_by_end(packer *p, mica_error *err) {
    const mica_packing *k = p->packing;
    uint32_t *start = mica_draft_scratch(p->draft, (size_t)k->n_times + 1, sizeof *start);
    p->by_end = mica_draft_scratch(p->draft, k->n + 1, sizeof *p->by_end);
    if (!start || !p->by_end) return mica_draft_fail_memory(p->draft, "the packing", err);
    for (size_t i = 0; i < k->n; i++) start[k->blocks[i].end + 1]++;
    for (uint32_t t = 0; t < k->n_times; t++) start[t + 1] += start[t];
    for (size_t i = 0; i < k->n; i++) p->by_end[start[k->blocks[i].end]++] = (uint32_t)i;
    return MICA_STATUS_OK;
}

/* Also finds the floor. */
static mica_status pack_by_time(packer *p, mica_error *err) {
    mica_packing *k = p->packing;
    uint64_t alive = 0;
    size_t n_freed = 0;
    p->gaps[0] = (gap){0, PACK_END};
    p->n_gaps = 1;
    for (size_t i = 0; i < k->n; i++) {
        mica_block *b = &k->blocks[i];
        for (; k->blocks[p->by_end[n_freed]].end < b->begin; n_freed++) {
            const mica_block *dead = &k->blocks[p->by_end[n_freed]];
            if (dead->bytes) give_bytes(p, dead->offset, dead->bytes);
            alive -= dead->bytes;
        }
        b->offset = 0;
        if (!b->bytes) continue;
        mica_status st = take_bytes(p, b->bytes, &b->offset, err);
        if (st != MICA_STATUS_OK) return st;
        alive += b->bytes;
        if (alive > k->floor_bytes) k->floor_bytes = alive;
        if (b->offset + b->bytes > k->peak_bytes) k->peak_bytes = b->offset + b->bytes;
    }
    return MICA_STATUS_OK;
}

/* ---- by size ---- */

static bool do_meet(const mica_block *a, const mica_block *b) {
    return a->begin <= b->end && b->begin <= a->end;
}

/* Larger, then longer, then earlier ones first. */
static bool comes_before(const mica_packing *k, uint32_t a, uint32_t b) {
    const mica_block *x = &k->blocks[a], *y = &k->blocks[b];
    if (x->bytes != y->bytes) return x->bytes > y->bytes;
    if (x->end - x->begin != y->end - y->begin) return x->end - x->begin > y->end - y->begin;
    return a < b;
}

/* Merges runs of doubling length; room holds n items as well. */
static void sort_by_size(const mica_packing *k, uint32_t *items, uint32_t *room) {
    for (size_t run = 1; run < k->n; run *= 2) {
        for (size_t from = 0; from < k->n; from += 2 * run) {
            size_t middle = from + run < k->n ? from + run : k->n;
            size_t end = from + 2 * run < k->n ? from + 2 * run : k->n;
            size_t a = from, b = middle;
            for (size_t to = from; to < end; to++)
                room[to] = b == end || (a < middle && comes_before(k, items[a], items[b]))
                               ? items[a++]
                               : items[b++];
        }
        memcpy(items, room, k->n * sizeof *items);
    }
}

/* The smallest gap between those of `placed` (by offset) that are alive with the block. */
static uint64_t find_gap(const mica_packing *k, const uint64_t *offsets, const uint32_t *placed,
                         size_t n_placed, const mica_block *b) {
    uint64_t best = UINT64_MAX, best_bytes = UINT64_MAX, free_from = 0;
    for (size_t i = 0; i < n_placed; i++) {
        uint64_t offset = offsets[placed[i]];
        if (!do_meet(&k->blocks[placed[i]], b)) continue;
        if (offset > free_from && offset - free_from >= b->bytes &&
            offset - free_from < best_bytes) {
            best = free_from;
            best_bytes = offset - free_from;
        }
        uint64_t end = offset + k->blocks[placed[i]].bytes;
        if (end > free_from) free_from = end;
    }
    return best == UINT64_MAX ? free_from : best;
}

/* Keeps the offsets only where they are better. */
static mica_status pack_by_size(packer *p, mica_error *err) {
    mica_packing *k = p->packing;
    uint64_t *offsets = mica_draft_scratch(p->draft, k->n, sizeof *offsets), peak = 0;
    uint32_t *order = mica_draft_scratch(p->draft, k->n, sizeof *order);
    uint32_t *placed = mica_draft_scratch(p->draft, k->n, sizeof *placed);
    if (!offsets || !order || !placed) return mica_draft_fail_memory(p->draft, "the packing", err);
    for (size_t i = 0; i < k->n; i++) order[i] = (uint32_t)i;
    sort_by_size(k, order, placed);
    for (size_t i = 0; i < k->n && k->blocks[order[i]].bytes; i++) {
        const mica_block *b = &k->blocks[order[i]];
        uint64_t offset = find_gap(k, offsets, placed, i, b);
        if (offset + b->bytes >= k->peak_bytes) return MICA_STATUS_OK;
        if (offset + b->bytes > peak) peak = offset + b->bytes;
        offsets[order[i]] = offset;
        size_t at = i;
        for (; at && offsets[placed[at - 1]] > offset; at--) placed[at] = placed[at - 1];
        placed[at] = order[i];
    }
    for (size_t i = 0; i < k->n; i++) k->blocks[i].offset = offsets[i];
    k->peak_bytes = peak;
    return MICA_STATUS_OK;
}

mica_status mica_pack(mica_draft *d, mica_packing *packing, mica_error *err) {
    packer p = {.draft = d, .packing = packing};
    mica_status st = MICA_STATUS_OK;
    packing->peak_bytes = packing->floor_bytes = 0;
    p.gaps = mica_draft_scratch(d, packing->n + 2, sizeof *p.gaps);
    if (!p.gaps) return mica_draft_fail_memory(d, "the packing", err);
    MICA_TRY(sort_by_end(&p, err));
    MICA_TRY(pack_by_time(&p, err));
    if (packing->peak_bytes > packing->floor_bytes && packing->n <= PACK_BY_SIZE_MAX)
        MICA_TRY(pack_by_size(&p, err));
done:
    return st;
}
