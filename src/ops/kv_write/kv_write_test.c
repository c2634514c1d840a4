/* kv_write: every slot of the pool after a batch, computed by hand; rings; both pool dtypes. */
#include "ops/attention_paged/paged_test.h"

static void read_slot(const paged_world *w, int64_t offset, float *out) {
    for (int64_t d = 0; d < w->dim; d++) {
        uint32_t bits = 0;
        if (w->pool_dtype == MICA_DTYPE_BF16) {
            memcpy((uint8_t *)&bits + 2, w->pool + 2 * (offset + d), 2);
        } else {
            memcpy(&bits, w->pool + 4 * (offset + d), 4);
        }
        memcpy(&out[d], &bits, 4);
    }
}

/* The position of sequence s that slot (column, slot) holds after positions 0 .. length - 1 were
 * written in order, or -1. */
static int64_t find_owner(const paged_world *w, int64_t column, int64_t slot, int64_t length) {
    int64_t owner = -1;
    for (int64_t p = 0; p < length; p++)
        if (p / 64 % w->table_width == column && p % 64 == slot) owner = p;
    return owner;
}

/* Every slot of every page and layer holds its token's row, or still the NaN it began with. */
static void expect_pool(const paged_world *w, const int64_t *lengths) {
    uint8_t *is_used = calloc((size_t)w->n_pages, 1);
    float row[256];
    for (int64_t s = 0; s < w->n_sequences; s++)
        for (int64_t column = 0; column < w->table_width; column++)
            for (int64_t i = 0; i < w->n_layers * 2 * w->kv_heads * 64; i++) {
                int64_t page = w->page_table[s * w->table_width + column];
                int64_t slot = i % 64, head = i / 64 % w->kv_heads;
                int64_t which = i / 64 / w->kv_heads % 2, layer = i / 64 / w->kv_heads / 2;
                int64_t p = find_owner(w, column, slot, lengths[s]);
                is_used[page] = 1;
                read_slot(w, (page * w->n_layers * 2 * w->kv_heads * 64 + i) * w->dim, row);
                for (int64_t d = 0; d < w->dim; d++) {
                    const float *from = which ? w->v[s] : w->k[s];
                    if (p < 0 || layer != w->layer) {
                        assert_true(isnan(row[d]));
                    } else {
                        double want = paged_stored(w, from[(p * w->kv_heads + head) * w->dim + d]);
                        if ((double)row[d] != want)
                            fail_msg("sequence %lld position %lld: %g, want %g", (long long)s,
                                     (long long)p, (double)row[d], want);
                    }
                }
            }
    for (int64_t page = 0; page < w->n_pages; page++) {
        if (is_used[page]) continue;
        size_t bytes = paged_pool_bytes(w) / (size_t)w->n_pages;
        for (size_t i = 0; i < bytes; i++)
            assert_int_equal(w->pool[(size_t)page * bytes + i], 0xFF);
    }
    free(is_used);
}

static void tokens_land_in_their_slots(void **state) {
    /* Proves: batches of several sequences, cut anywhere, put each token's K and V in its slot of
     * its layer, rounded to the pool's dtype, and nothing else changes. */
    (void)state;
    uint64_t seed = test_seed();
    for (size_t i = 0; i < mica_op_kv_write.n_kernels; i++)
        for (int c = 0; c < 4; c++) {
            const mica_kernel *k = &mica_op_kv_write.kernels[i];
            if (!paged_has(k)) continue;
            paged_world w = {.heads = 2,
                             .kv_heads = 2,
                             .dim = c < 2 ? 16 : 21,
                             .length = 200,
                             .n_sequences = 3,
                             .pool_dtype = c % 2 ? MICA_DTYPE_F32 : MICA_DTYPE_BF16};
            paged_world_create(&w, 0, false, &seed);
            w.k[0][5] = INFINITY;
            w.v[0][6] = 1.00390625f; /* halfway between two bf16: to even */
            paged_part first[2] = {{2, 0, 70}, {0, 0, 3}},
                       second[3] = {{0, 3, 100}, {1, 0, 1}, {2, 70, 64}};
            paged_batch b;
            paged_batch_create(&b, &w, first, 2);
            paged_write(k, &w, &b, 3);
            expect_pool(&w, (int64_t[]){3, 0, 70});
            paged_batch_destroy(&b);
            paged_batch_create(&b, &w, second, 3);
            paged_write(k, &w, &b, 2);
            expect_pool(&w, (int64_t[]){103, 1, 134});
            paged_batch_destroy(&b);
            paged_world_destroy(&w);
        }
}

static void rings_keep_the_latest(void **state) {
    /* Proves: in a ring the last token of a slot wins, also when a batch is longer than the ring,
     * on any number of threads. */
    (void)state;
    uint64_t seed = test_seed();
    for (size_t i = 0; i < mica_op_kv_write.n_kernels; i++)
        for (int threads = 1; threads <= 3; threads++) {
            const mica_kernel *k = &mica_op_kv_write.kernels[i];
            if (!paged_has(k)) continue;
            paged_world w = {.heads = 1,
                             .kv_heads = 1,
                             .dim = 8,
                             .length = 900,
                             .n_sequences = 2,
                             .pool_dtype = MICA_DTYPE_BF16};
            paged_world_create(&w, 3, false, &seed);
            paged_part parts[][2] = {{{0, 0, 500}, {1, 0, 1}},
                                     {{0, 500, 1}, {1, 1, 193}},
                                     {{0, 501, 100}, {1, 194, 700}}};
            int64_t lengths[2] = {0, 0};
            for (int p = 0; p < 3; p++) {
                paged_batch b;
                paged_batch_create(&b, &w, parts[p], 2);
                paged_write(k, &w, &b, threads);
                for (int s = 0; s < 2; s++) lengths[s] += parts[p][s].count;
                expect_pool(&w, lengths);
                paged_batch_destroy(&b);
            }
            paged_world_destroy(&w);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_land_in_their_slots),
        cmocka_unit_test(rings_keep_the_latest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
