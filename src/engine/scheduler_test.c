/* The scheduler's decisions, as plain data: who is next, and how much of it. */
#include "engine/scheduler.h"
#include "test.h"

static void want_logits(void *context, int64_t position, const float *logits) {
    (void)context, (void)position, (void)logits;
}

/* Proves: the running request goes on; else the oldest that waits, by ticket and not by slot; kept
 * and free slots are never picked. */
static void pick(void **state) {
    (void)state;
    mica_request_slot slots[4] = {{.state = MICA_REQUEST_FREE}};
    assert_int_equal(mica_scheduler_pick(slots, 4), -1);
    assert_int_equal(mica_scheduler_pick(slots, 0), -1);
    slots[0] = (mica_request_slot){.state = MICA_REQUEST_KEPT, .ticket = 1};
    assert_int_equal(mica_scheduler_pick(slots, 4), -1);
    slots[1] = (mica_request_slot){.state = MICA_REQUEST_WAITING, .ticket = UINT64_MAX};
    slots[3] = (mica_request_slot){.state = MICA_REQUEST_WAITING, .ticket = UINT64_MAX - 1};
    assert_int_equal(mica_scheduler_pick(slots, 4), 3);
    assert_int_equal(mica_scheduler_pick(slots, 3), 1);
    slots[2] = (mica_request_slot){.state = MICA_REQUEST_RUNNING, .ticket = UINT64_MAX};
    assert_int_equal(mica_scheduler_pick(slots, 4), 2);
}

/* Runs a sequence of n_ids tokens to its end: counts passes and rows, checks each pass. */
static void run_chunks(mica_request_slot *slot, int64_t n_ids, int64_t n_cached, int32_t chunk,
                       int32_t rows, int64_t *n_passes, int64_t *n_rows) {
    *n_passes = *n_rows = 0;
    while (n_cached < n_ids) {
        mica_schedule s = mica_scheduler_chunk(slot, n_ids, n_cached, chunk, rows);
        bool is_last = n_cached + s.n_tokens == n_ids;
        assert_true(s.n_tokens >= 1 && s.n_tokens <= chunk && s.n_tokens <= n_ids - n_cached);
        if (slot->request.on_prompt_logits && n_cached < slot->n_prompt) {
            assert_int_equal(s.n_rows, s.n_tokens);
            assert_true(s.n_rows <= rows);
        } else {
            assert_int_equal(s.n_rows, is_last ? 1 : 0);
        }
        n_cached += s.n_tokens;
        *n_rows += s.n_rows;
        ++*n_passes;
    }
    assert_int_equal(n_cached, n_ids);
}

/* Proves: a prompt is cut into full chunks with one row at its end; with prompt logits into passes
 * no longer than the rows, one row a token; decoding takes one token and one row. */
static void chunks(void **state) {
    (void)state;
    int64_t passes, rows;
    mica_request_slot slot = {.n_prompt = 300};
    run_chunks(&slot, 300, 0, 512, 64, &passes, &rows);
    assert_int_equal(passes, 1);
    run_chunks(&slot, 300, 0, 128, 64, &passes, &rows);
    assert_int_equal(passes, 3);
    assert_int_equal(rows, 1);
    run_chunks(&slot, 300, 299, 128, 64, &passes, &rows);
    assert_int_equal(passes, 1);
    run_chunks(&slot, 300, 0, 1, 1, &passes, &rows);
    assert_int_equal(passes, 300);
    slot.request.on_prompt_logits = want_logits;
    run_chunks(&slot, 300, 0, 512, 64, &passes, &rows);
    assert_int_equal(passes, 5);
    assert_int_equal(rows, 300);
    run_chunks(&slot, 300, 0, 16, 64, &passes, &rows);
    assert_int_equal(passes, 19);
    run_chunks(&slot, 301, 300, 512, 64, &passes, &rows); /* past the prompt */
    assert_int_equal(rows, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pick),
        cmocka_unit_test(chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
