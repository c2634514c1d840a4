/* Tables and the short path of byte-pair encoding. A piece becomes symbols (ids of single bytes or
 * characters), is cut where no merge can reach across, and each cut is merged on its own. */
#include "text/bpe.h"
#include <string.h>
#include "base/checked.h"
#include "text/byte_alphabet.h"
#include "text/unicode.h"

enum {
    MERGES_MIN = 256,
    JOIN_BITS_LOG2 = 20,
    SHORT_SYMBOLS_MAX = 32, /* quadratic merging is faster than the queue up to about here */
    CUT_BYTES_MIN = 16,     /* shorter pieces are not worth looking for cuts */
    KIND_PART = 0x4000,     /* kinds of a cached text */
    KIND_WHOLE = 0x8000,
};
#define NO_RANK UINT32_MAX

void mica_bpe_init(mica_bpe *bpe, const mica_allocator *allocator, const mica_vocab *vocab) {
    *bpe = (mica_bpe){.allocator = allocator, .vocab = vocab, .unknown_id = -1};
    for (int i = 0; i < 256; i++) bpe->byte_ids[i] = bpe->fallback_ids[i] = -1;
}

void mica_bpe_deinit(mica_bpe *bpe) {
    mica_free(bpe->allocator, bpe->merges);
    mica_free(bpe->allocator, bpe->joins);
    bpe->merges = NULL;
    bpe->joins = NULL;
}

static mica_merge *merge_slot(mica_merge *merges, size_t mask, uint64_t key) {
    size_t at = (key * 0x9E3779B97F4A7C15u >> 32) & mask;
    while (merges[at].key && merges[at].key != key) at = (at + 1) & mask;
    return &merges[at];
}

bool mica_bpe_reserve(mica_bpe *bpe, size_t count) {
    size_t n = MERGES_MIN;
    while (n < count * 2) n *= 2;
    if (bpe->merges && n <= bpe->merge_mask + 1) return true;
    mica_merge *merges = mica_alloc_array_zero(bpe->allocator, n, sizeof(*merges));
    if (!merges) return false;
    for (size_t i = 0; bpe->merges && i <= bpe->merge_mask; i++)
        if (bpe->merges[i].key) *merge_slot(merges, n - 1, bpe->merges[i].key) = bpe->merges[i];
    mica_free(bpe->allocator, bpe->merges);
    bpe->merges = merges;
    bpe->merge_mask = n - 1;
    return true;
}

static inline uint32_t join_bit(uint32_t left, uint32_t right) {
    uint64_t h = ((uint64_t)left << 32 | right) * 0x9E3779B97F4A7C15u;
    return (uint32_t)(h >> (64 - JOIN_BITS_LOG2));
}

static inline bool can_join(const mica_bpe *bpe, uint32_t left, uint32_t right) {
    uint32_t bit = join_bit(left, right);
    return bpe->joins[bit / 64] >> (bit % 64) & 1;
}

static uint32_t first_character(mica_slice text) {
    size_t at = 0;
    return mica_unicode_next(text.data, &at);
}

static uint32_t last_character(mica_slice text) {
    size_t start;
    return mica_unicode_previous(text.data, text.bytes, &start);
}

/* The table follows the merges as they come, while their texts are still near. */
static void note_join(mica_bpe *bpe, int32_t left, int32_t right) {
    mica_slice a = mica_vocab_text(bpe->vocab, left), b = mica_vocab_text(bpe->vocab, right);
    if (a.bytes == 0 || b.bytes == 0) return;
    uint32_t bit = join_bit(last_character(a), first_character(b));
    bpe->joins[bit / 64] |= (uint64_t)1 << (bit % 64);
    if ((a.bytes == 6 && memcmp(a.data, "<0x", 3) == 0) ||
        (b.bytes == 6 && memcmp(b.data, "<0x", 3) == 0))
        bpe->merges_fallback = true;
}

bool mica_bpe_add_merge(mica_bpe *bpe, int32_t left, int32_t right, int32_t id) {
    if (((size_t)bpe->n_merges + 1) * 2 > bpe->merge_mask + 1 || !bpe->merges)
        if (!mica_bpe_reserve(bpe, ((size_t)bpe->n_merges + 1) * 2)) return false;
    if (!bpe->joins) bpe->joins = mica_alloc_zero(bpe->allocator, (1u << JOIN_BITS_LOG2) / 8);
    if (!bpe->joins) return false;
    note_join(bpe, left, right);
    uint64_t key = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) + 1;
    *merge_slot(bpe->merges, bpe->merge_mask, key) = (mica_merge){key, bpe->n_merges++, id};
    return true;
}

/* Cutting is exact when every character becomes symbols of its own text: no affixes, nothing
 * dropped or fused, and no merge with a fallback token (whose text is not its character's). */
static bool can_cut(const mica_bpe *bpe, int n_missing) {
    if (bpe->prefix.bytes || bpe->suffix.bytes || n_missing) return false;
    return bpe->is_byte_level || (bpe->byte_fallback && !bpe->merges_fallback);
}

void mica_bpe_finish(mica_bpe *bpe, int *n_missing) {
    static const char hex[] = "0123456789ABCDEF";
    *n_missing = 0;
    for (int b = 0; b < 256; b++) {
        char text[8];
        mica_slice letter = {text, mica_byte_alphabet_write((uint8_t)b, text)};
        bpe->byte_ids[b] = mica_vocab_find_model(bpe->vocab, letter);
        char spelled[6] = {'<', '0', 'x', hex[b >> 4], hex[b & 15], '>'};
        bpe->fallback_ids[b] = mica_vocab_find_model(bpe->vocab, mica_slice_of(spelled, 6));
        *n_missing += (bpe->is_byte_level ? bpe->byte_ids[b] : bpe->fallback_ids[b]) < 0;
    }
    if (can_cut(bpe, *n_missing)) return;
    mica_free(bpe->allocator, bpe->joins);
    bpe->joins = NULL;
}

void mica_bpe_run_init(mica_bpe_run *run, const mica_bpe *bpe, mica_vec *ids) {
    const mica_allocator *allocator = ids->allocator;
    *run = (mica_bpe_run){.bpe = bpe, .ids = ids};
    mica_vec_init(&run->symbols, allocator, sizeof(uint32_t));
    mica_vec_init(&run->queue, allocator, 1);
    mica_vec_init(&run->text, allocator, 1);
}

void mica_bpe_run_deinit(mica_bpe_run *run) {
    if (!run->ids) return;
    mica_free(run->ids->allocator, run->cache.slots);
    run->cache.slots = NULL;
    mica_vec_deinit(&run->symbols);
    mica_vec_deinit(&run->queue);
    mica_vec_deinit(&run->text);
}

static inline bool append_ids(mica_bpe_run *run, const uint32_t *ids, size_t n) {
    mica_vec *v = run->ids;
    if (v->count + n > v->capacity && !mica_vec_reserve(v, v->count + n)) return false;
    memcpy((int32_t *)v->data + v->count, ids, n * sizeof(*ids));
    v->count += n;
    return true;
}

static inline bool push_symbol(mica_bpe_run *run, int32_t id) {
    mica_vec *v = &run->symbols;
    if (v->count == v->capacity && !mica_vec_reserve(v, v->count + 64)) return false;
    ((uint32_t *)v->data)[v->count++] = (uint32_t)id;
    return true;
}

/* The quadratic path: ranks of all pairs side by side, the smallest (leftmost) merged each time. */
static bool merge_short(mica_bpe_run *run, const uint32_t *symbols, size_t n) {
    uint32_t ids[SHORT_SYMBOLS_MAX], ranks[SHORT_SYMBOLS_MAX];
    int32_t joined[SHORT_SYMBOLS_MAX];
    memcpy(ids, symbols, n * sizeof(*ids));
    for (size_t i = 0; i + 1 < n; i++) {
        const mica_merge *m = mica_bpe_find_merge(run->bpe, ids[i], ids[i + 1]);
        ranks[i] = m ? m->rank : NO_RANK;
        joined[i] = m ? m->id : 0;
    }
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (ranks[i] < ranks[best]) best = i;
        if (ranks[best] == NO_RANK) break;
        ids[best] = (uint32_t)joined[best];
        n--;
        memmove(ids + best + 1, ids + best + 2, (n - best - 1) * sizeof(*ids));
        if (best + 1 < n) {
            memmove(ranks + best + 1, ranks + best + 2, (n - best - 2) * sizeof(*ranks));
            memmove(joined + best + 1, joined + best + 2, (n - best - 2) * sizeof(*joined));
        }
        for (size_t i = best ? best - 1 : 0; i <= best && i + 1 < n; i++) {
            const mica_merge *m = mica_bpe_find_merge(run->bpe, ids[i], ids[i + 1]);
            ranks[i] = m ? m->rank : NO_RANK;
            joined[i] = m ? m->id : 0;
        }
    }
    return append_ids(run, ids, n);
}

static bool merge_symbols(mica_bpe_run *run) {
    const uint32_t *symbols = run->symbols.data;
    size_t n = run->symbols.count;
    if (n == 0) return true;
    if (n == 1 || !run->bpe->merges) return append_ids(run, symbols, n);
    return n <= SHORT_SYMBOLS_MAX ? merge_short(run, symbols, n)
                                  : mica_bpe_merge_long(run, symbols, n);
}

static bool encode_bytes(mica_bpe_run *run, const char *piece, size_t bytes) {
    const mica_bpe *bpe = run->bpe;
    run->symbols.count = 0;
    if (!mica_vec_reserve(&run->symbols, bytes)) return false;
    uint32_t *symbols = run->symbols.data;
    bool in_unknown = false;
    for (size_t i = 0; i < bytes; i++) {
        int32_t id = bpe->byte_ids[(uint8_t)piece[i]];
        bool is_unknown = id < 0;
        if (is_unknown && (bpe->unknown_id < 0 || (in_unknown && bpe->fuse_unknown))) continue;
        in_unknown = is_unknown;
        symbols[run->symbols.count++] = (uint32_t)(is_unknown ? bpe->unknown_id : id);
    }
    return merge_symbols(run);
}

/* One character as the vocabulary spells it, with its affixes; text has room for them. */
static mica_slice spell(const mica_bpe *bpe, mica_slice c, bool is_first, bool is_last,
                        char *text) {
    size_t n = 0;
    if ((is_first || !bpe->prefix.bytes) && (!is_last || !bpe->suffix.bytes)) return c;
    if (!is_first && bpe->prefix.bytes) {
        memcpy(text, bpe->prefix.data, bpe->prefix.bytes);
        n = bpe->prefix.bytes;
    }
    memcpy(text + n, c.data, c.bytes);
    n += c.bytes;
    if (is_last && bpe->suffix.bytes) {
        memcpy(text + n, bpe->suffix.data, bpe->suffix.bytes);
        n += bpe->suffix.bytes;
    }
    return mica_slice_of(text, n);
}

static bool push_fallback(mica_bpe_run *run, mica_slice c) {
    for (size_t i = 0; i < c.bytes; i++)
        if (!push_symbol(run, run->bpe->fallback_ids[(uint8_t)c.data[i]])) return false;
    return true;
}

/* A known character ends a run of unknown ones; with fuse_unknown such a run is one symbol. */
static bool encode_characters(mica_bpe_run *run, const char *piece, size_t bytes) {
    const mica_bpe *bpe = run->bpe;
    char text[2 * MICA_BPE_AFFIX_BYTES_MAX + 4];
    run->symbols.count = 0;
    bool in_unknown = false;
    for (size_t at = 0, next; at < bytes; at = next) {
        next = at;
        (void)mica_unicode_next(piece, &next);
        mica_slice c =
            spell(bpe, mica_slice_of(piece + at, next - at), at == 0, next == bytes, text);
        int32_t id = mica_vocab_find_model(bpe->vocab, c);
        if (id < 0 && bpe->byte_fallback) {
            if (!push_fallback(run, c)) return false;
            continue;
        }
        bool is_unknown = id < 0;
        if (is_unknown && (bpe->unknown_id < 0 || (in_unknown && bpe->fuse_unknown))) continue;
        in_unknown = is_unknown;
        if (!push_symbol(run, is_unknown ? bpe->unknown_id : id)) return false;
    }
    return merge_symbols(run);
}

static bool encode_part(mica_bpe_run *run, const char *piece, size_t bytes) {
    return run->bpe->is_byte_level ? encode_bytes(run, piece, bytes)
                                   : encode_characters(run, piece, bytes);
}

typedef bool encode_function(mica_bpe_run *run, const char *piece, size_t bytes);

/* Looks the text up among those of this call, else encodes it by miss and remembers it. kind keeps
 * results of different functions apart. */
static bool encode_cached(mica_bpe_run *run, const char *piece, size_t bytes, uint16_t kind,
                          encode_function *miss) {
    if (!mica_piece_cache_takes(&run->cache, bytes)) return miss(run, piece, bytes);
    mica_piece_cached key = mica_piece_cache_key(piece, bytes, kind);
    mica_piece_cached *slot = mica_piece_cache_slot(&run->cache, &key);
    if (mica_piece_cache_is(slot, &key)) return mica_piece_cache_repeat(slot, run->ids);
    size_t start = run->ids->count;
    if (!miss(run, piece, bytes)) return false;
    mica_piece_cache_keep(slot, key, start, run->ids->count);
    return true;
}

static inline uint32_t next_character(const mica_bpe *bpe, const char *piece, size_t *at) {
    if (bpe->is_byte_level) return mica_byte_alphabet_codepoint((uint8_t)piece[(*at)++]);
    return mica_unicode_next(piece, at);
}

/* Cuts the piece at borders that no merge crosses. */
static bool encode_cuts(mica_bpe_run *run, const char *piece, size_t bytes) {
    size_t start = 0, at = 0;
    uint32_t left = next_character(run->bpe, piece, &at);
    while (at < bytes) {
        size_t border = at;
        uint32_t right = next_character(run->bpe, piece, &at);
        if (!can_join(run->bpe, left, right)) {
            if (!encode_cached(run, piece + start, border - start, KIND_PART, encode_part))
                return false;
            start = border;
        }
        left = right;
    }
    return encode_cached(run, piece + start, bytes - start, KIND_PART, encode_part);
}

/* The id of the whole piece as the vocabulary spells it; -1: none, -2: no memory. */
static int32_t find_whole(mica_bpe_run *run, const char *piece, size_t bytes) {
    const mica_vocab *vocab = run->bpe->vocab;
    if (bytes > vocab->token_bytes_max) return -1;
    if (!run->bpe->is_byte_level) return mica_vocab_find_model(vocab, mica_slice_of(piece, bytes));
    if (!mica_vec_reserve(&run->text, 2 * vocab->token_bytes_max)) return -2;
    char *text = run->text.data;
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++) n += mica_byte_alphabet_write((uint8_t)piece[i], text + n);
    return mica_vocab_find_model(vocab, mica_slice_of(text, n));
}

static bool encode_whole(mica_bpe_run *run, const char *piece, size_t bytes) {
    if (run->bpe->ignore_merges) {
        int32_t id = find_whole(run, piece, bytes);
        if (id < -1) return false;
        if (id >= 0) return append_ids(run, (const uint32_t *)&id, 1);
    }
    return run->bpe->joins && bytes >= CUT_BYTES_MIN ? encode_cuts(run, piece, bytes)
                                                     : encode_part(run, piece, bytes);
}

bool mica_bpe_encode(mica_bpe_run *run, const char *piece, size_t bytes) {
    if (bytes == 0) return true;
    return encode_cached(run, piece, bytes, KIND_WHOLE, encode_whole);
}
