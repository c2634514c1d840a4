#include "ops/expert_list/expert_list.h"
#include "test.h"

enum { TOKENS = 6, SLOTS = 3, EXPERTS = 5, ENTRIES = TOKENS * SLOTS };

static void make_list(const int32_t *ids, const int32_t *live, int32_t *out) {
    mica_expert_list_args a = {(uintptr_t)ids, (uintptr_t)out, (uintptr_t)live,
                               TOKENS,         SLOTS,          EXPERTS};
    for (int i = 0; i < 2; i++) {
        mica_cpu_worker worker = {i, 2, NULL, NULL};
        mica_expert_list_ref(&a, &worker);
    }
}

static void check_list(const int32_t *ids, int live_tokens, const int32_t *list) {
    const int32_t *entries = list + EXPERTS + 1;
    int at = 0;
    for (int e = 0; e < EXPERTS; e++) {
        assert_int_equal(list[e], at);
        for (int i = 0; i < live_tokens * SLOTS; i++)
            if (ids[i] == e) assert_int_equal(entries[at++], i);
    }
    assert_int_equal(list[EXPERTS], at);
    for (; at < ENTRIES; at++) assert_int_equal(entries[at], -1);
}

static void groups_entries_by_expert_in_order(void **state) {
    /* Proves: every valid id is listed once, by expert, in order; others are dropped. */
    (void)state;
    uint64_t seed = test_seed();
    for (int round = 0; round < 200; round++) {
        int32_t ids[ENTRIES], list[EXPERTS + 1 + ENTRIES];
        for (int i = 0; i < ENTRIES; i++) ids[i] = (int32_t)(test_random(&seed) % 8) - 1;
        if (round % 10 == 0) ids[round % ENTRIES] = round % 20 ? INT32_MAX : INT32_MIN;
        int32_t live = round % (TOKENS + 1);
        make_list(ids, round % 2 ? NULL : &live, list);
        check_list(ids, round % 2 ? TOKENS : live, list);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(groups_entries_by_expert_in_order)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
