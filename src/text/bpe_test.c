/* Byte-pair merging: the queue and the short path against the definition, and the bounds. */
#include <pthread.h>
#include <time.h>
#include "test.h"
#include "text/bpe.h"
#include "text/tokenizer_sample.h"

/* The definition: the lowest rank, the leftmost, one at a time. */
static size_t merge_by_definition(const mica_bpe *bpe, uint32_t *ids, size_t n) {
    for (;;) {
        const mica_merge *best = NULL;
        size_t at = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            const mica_merge *m = mica_bpe_find_merge(bpe, ids[i], ids[i + 1]);
            if (m && (!best || m->rank < best->rank)) {
                best = m;
                at = i;
            }
        }
        if (!best) return n;
        ids[at] = (uint32_t)best->id;
        memmove(ids + at + 1, ids + at + 2, (--n - at - 1) * sizeof(*ids));
    }
}

/* A vocabulary over a few letters with random merges in random order, so that a merge can lead to
 * pairs of lower rank as well. */
static void make_random(mica_vocab *v, mica_bpe *bpe, uint64_t *seed, int n_letters, int n_merges) {
    const mica_allocator *a = mica_allocator_default();
    char text[256];
    mica_vocab_init(v, a);
    mica_bpe_init(bpe, a, v);
    for (int i = 0; i < n_letters; i++) {
        text[0] = (char)('a' + i);
        assert_int_equal(mica_vocab_add(v, mica_slice_of(text, 1), i, true), MICA_VOCAB_ADDED);
    }
    for (int i = 0; i < n_merges; i++) {
        int32_t left = (int32_t)(test_random(seed) % (uint64_t)v->size);
        int32_t right = (int32_t)(test_random(seed) % (uint64_t)v->size);
        mica_slice l = mica_vocab_text(v, left), r = mica_vocab_text(v, right);
        if (l.bytes + r.bytes > 24) continue;
        memcpy(text, l.data, l.bytes);
        memcpy(text + l.bytes, r.data, r.bytes);
        (void)mica_vocab_add(v, mica_slice_of(text, l.bytes + r.bytes), v->size, true);
    }
    /* All splits of all tokens, from a random place on: ranks have nothing to do with lengths. */
    int32_t first = (int32_t)(test_random(seed) % (uint64_t)v->size);
    for (int32_t i = 0; i < v->size; i++) {
        int32_t id = (int32_t)((i * 7 + first) % v->size);
        mica_slice whole = mica_vocab_text(v, id);
        for (size_t cut = 1; cut < whole.bytes; cut++) {
            int32_t left = mica_vocab_find(v, mica_slice_of(whole.data, cut));
            int32_t right = mica_vocab_find(v, mica_slice_of(whole.data + cut, whole.bytes - cut));
            if (left >= 0 && right >= 0) assert_true(mica_bpe_add_merge(bpe, left, right, id));
        }
    }
}

static void check_merge(mica_bpe_run *run, const uint32_t *symbols, size_t n) {
    uint32_t want[512];
    memcpy(want, symbols, n * sizeof(*want));
    size_t count = merge_by_definition(run->bpe, want, n);
    run->ids->count = 0;
    assert_true(mica_bpe_merge_long(run, symbols, n));
    assert_int_equal(run->ids->count, count);
    assert_memory_equal(run->ids->data, want, count * sizeof(*want));
}

static void the_queue_equals_the_definition(void **state) {
    /* Random vocabularies and strings, up to 300 symbols. */
    (void)state;
    uint64_t seed = test_seed();
    for (int round = 0; round < 60; round++) {
        mica_vocab v;
        mica_bpe bpe;
        mica_bpe_run run;
        mica_vec ids;
        int n_letters = 1 + (int)(test_random(&seed) % 4);
        make_random(&v, &bpe, &seed, n_letters, 60);
        mica_vec_init(&ids, mica_allocator_default(), sizeof(int32_t));
        mica_bpe_run_init(&run, &bpe, &ids);
        for (int i = 0; i < 60; i++) {
            uint32_t symbols[300];
            size_t n = 2 + test_random(&seed) % 299;
            for (size_t k = 0; k < n; k++)
                symbols[k] = (uint32_t)(test_random(&seed) % (uint64_t)n_letters);
            check_merge(&run, symbols, n);
        }
        mica_bpe_run_deinit(&run);
        mica_vec_deinit(&ids);
        mica_bpe_deinit(&bpe);
        mica_vocab_deinit(&v);
    }
}

static void all_paths_give_the_same_ids(void **state) {
    /* Pieces of every length through short path, queue, cuts and cache equal the definition. */
    (void)state;
    uint64_t seed = test_seed();
    mica_error err = {0};
    for (int kind = 0; kind <= SAMPLE_FALLBACK;
         kind += SAMPLE_FALLBACK) { /* bytes, then characters */
        mica_tokenizer *t = sample_open(mica_host_default(), kind, &err);
        assert_non_null(t);
        mica_str text;
        mica_str_init(&text, mica_allocator_default());
        for (int i = 0; i < 4000; i++) {
            static const char *const parts[] = {"a",  "hello", " ", "aaa", "12",
                                                "he", "lo",    "q", "xy"};
            mica_str_append_text(&text, parts[test_random(&seed) % 9]);
        }
        /* One text with the cache, the same in pieces too short for it. */
        mica_tokens whole = {0}, part = {0};
        assert_ok(mica_tokenizer_encode(t, text.data, text.bytes, NULL, &whole, &err));
        char *back = NULL;
        size_t bytes = 0;
        assert_ok(mica_tokenizer_decode(t, whole.ids, whole.count, true, &back, &bytes, &err));
        assert_int_equal(bytes, text.bytes);
        assert_memory_equal(back, text.data, bytes);
        mica_text_free(t, back);
        size_t at = 0;
        /* "xy" takes part in no merge: the text can be cut before it by hand. */
        for (char *p = text.data, *next; p < text.data + text.bytes; p = next) {
            next = strstr(p + 1, "xy");
            if (!next || kind == 0) next = text.data + text.bytes;
            assert_ok(mica_tokenizer_encode(t, p, (size_t)(next - p), NULL, &part, &err));
            assert_true(at + part.count <= whole.count);
            assert_memory_equal(part.ids, whole.ids + at, part.count * sizeof(int32_t));
            at += part.count;
            mica_tokens_free(t, &part);
        }
        assert_int_equal(at, whole.count);
        mica_tokens_free(t, &whole);
        mica_str_deinit(&text);
        mica_tokenizer_close(&t);
    }
}

typedef struct long_job {
    mica_tokenizer *tokenizer;
    const char *text;
    size_t bytes;
    mica_tokens tokens;
    mica_status status;
    double seconds;
} long_job;

/* Processor time of this thread: the machine may be busy with other things. */
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

enum { LONG_BYTES = 8 << 20 };
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
#define LONG_SECONDS_MAX 30.0
enum { OTHER_BYTES = 1 << 20 };
#else
#define LONG_SECONDS_MAX 2.0 /* 0.5 s on the machine this was written on */
enum { OTHER_BYTES = 8 << 20 };
#endif

static void *encode_job(void *context) {
    long_job *job = context;
    double start = now();
    job->status =
        mica_tokenizer_encode(job->tokenizer, job->text, job->bytes, NULL, &job->tokens, NULL);
    job->seconds = now() - start;
    return NULL;
}

/* On a thread with 256 KiB of stack. */
static void run_long(mica_tokenizer *t, const char *text, size_t bytes, size_t want_count) {
    long_job job = {.tokenizer = t, .text = text, .bytes = bytes};
    pthread_attr_t attributes;
    pthread_t thread;
    assert_int_equal(pthread_attr_init(&attributes), 0);
    assert_int_equal(pthread_attr_setstacksize(&attributes, 256 * 1024), 0);
    assert_int_equal(pthread_create(&thread, &attributes, encode_job, &job), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(job.status, MICA_STATUS_OK);
    printf("%zu bytes, %zu tokens: %.2f s\n", bytes, job.tokens.count, job.seconds);
    if (want_count) assert_int_equal(job.tokens.count, want_count);
    if (bytes == LONG_BYTES) assert_true(job.seconds < LONG_SECONDS_MAX);
    mica_tokens_free(t, &job.tokens);
    pthread_attr_destroy(&attributes);
}

static void long_runs_take_linear_time_and_little_stack(void **state) {
    /* 8 MiB of one letter, and runs of spaces, newlines, digits, marks, an unknown character. */
    (void)state;
    mica_error err = {0};
    static const char *const units[] = {"a", "A", " ",        "\n",           "1",
                                        ".", "q", "\xCC\x81", "\xE4\xBD\xA0", "\xCC\x81\xCC\xA3"};
    char *text = malloc(LONG_BYTES);
    assert_non_null(text);
    for (int kind = 0; kind < SAMPLES; kind++) {
        mica_tokenizer *t = sample_open(mica_host_default(), kind, &err);
        assert_non_null(t);
        for (size_t u = 0; u < sizeof(units) / sizeof(*units); u++) {
            size_t n = strlen(units[u]), bytes = (u ? OTHER_BYTES : LONG_BYTES) / n * n;
            for (size_t i = 0; i < bytes; i += n) memcpy(text + i, units[u], n);
            run_long(t, text, bytes, u == 0 && kind == 0 ? LONG_BYTES / 8 : 0);
        }
        mica_tokenizer_close(&t);
    }
    free(text);
}

static void long_varied_pieces_take_linear_time(void **state) {
    /* One piece of 2 MiB that cannot be cut: random letters that all take part in merges. */
    (void)state;
    uint64_t seed = test_seed();
    enum { BYTES = 2 << 20 };
    mica_vocab v;
    mica_bpe bpe;
    mica_bpe_run run;
    mica_vec ids;
    make_random(&v, &bpe, &seed, 4, 3000);
    mica_vec_init(&ids, mica_allocator_default(), sizeof(int32_t));
    mica_bpe_run_init(&run, &bpe, &ids);
    uint32_t *symbols = malloc(BYTES * sizeof(*symbols));
    assert_non_null(symbols);
    for (size_t i = 0; i < BYTES; i++) symbols[i] = (uint32_t)(test_random(&seed) % 4);
    double start = now();
    assert_true(mica_bpe_merge_long(&run, symbols, BYTES));
    printf("%d symbols, %u merges: %.2f s\n", BYTES, bpe.n_merges, now() - start);
    assert_true(now() - start < 30);
    free(symbols);
    mica_bpe_run_deinit(&run);
    mica_vec_deinit(&ids);
    mica_bpe_deinit(&bpe);
    mica_vocab_deinit(&v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_queue_equals_the_definition),
        cmocka_unit_test(all_paths_give_the_same_ids),
        cmocka_unit_test(long_runs_take_linear_time_and_little_stack),
        cmocka_unit_test(long_varied_pieces_take_linear_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
