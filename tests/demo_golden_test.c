/* The demo model against Hugging Face transformers in float32: logits, log-probabilities, greedy
 * texts, chats, and the likelihood of held-out text. Tolerances: models/demo/README.md. */
#include "model_test.h"
#include "base/host.h"
#include "format/safetensors.h"

#define LOGIT_TOLERANCE 1e-4
#define SUM_LOGPROB_TOLERANCE 1e-3
#define NLL_TOLERANCE_EXACT 1e-5
#define NLL_TOLERANCE_FAST 0.003
#define FAST_LOGIT_ERROR                                                                           \
    0.31 /* bf16 arithmetic: largest error on a logit that the README states                       \
          */

/* A tensor of golden.safetensors, copied out. */
static void *read_golden(const char *prefix, const char *name, size_t *bytes) {
    mica_error err = {0};
    mica_safetensors *s = NULL;
    char full[64];
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    assert_ok(
        mica_safetensors_open(mica_host_default(), DEMO_FOLDER "/golden.safetensors", &s, &err));
    const mica_safetensors_tensor *t = mica_safetensors_find(s, mica_slice_from(full));
    if (!t) fail_msg("golden.safetensors has no %s", full);
    *bytes = (size_t)(t->end - t->begin);
    void *data = malloc(*bytes + 1);
    assert_ok(mica_file_read(mica_safetensors_file(s), t->begin, data, *bytes, &err));
    mica_safetensors_close(&s);
    return data;
}

static double largest_difference(const float *a, const float *b, int64_t n) {
    double worst = 0;
    for (int64_t i = 0; i < n; i++) worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
    return worst;
}

/* Proves: exact mode gives transformers' last logits within 1e-4 for all prompts, on every level.
 */
static void last_logits(void **state) {
    (void)state;
    json_t *golden = load_json(DEMO_FOLDER "/golden.json");
    const char *const levels[] = {"scalar", "avx2", "avx512", "neon"};
    for (size_t l = 0; l < 4; l++) {
        model_fixture f;
        mica_error err = {0};
        fixture_options o = {.level = levels[l], .mode = MICA_EXACT};
        mica_status st = fixture_try_open(&f, &o, &err);
        if (st == MICA_STATUS_UNAVAILABLE) continue;
        assert_ok(st);
        float *logits = malloc((size_t)f.vocab * sizeof *logits);
        size_t i;
        json_t *p;
        json_array_foreach(json_object_get(golden, "prompts"), i, p) {
            int32_t ids[2048];
            size_t bytes, n = json_ids(json_object_get(p, "ids"), ids, 2048);
            if (l == 0 && n > 200) continue; /* scalar: slow, and the rule is the same */
            const char *name = json_string_value(json_object_get(p, "name"));
            generation g = {.first_logits = logits};
            generate(&f, ids, n, 1, &g);
            float *want = read_golden("logits", name, &bytes);
            double worst = largest_difference(logits, want, f.vocab);
            printf("%s %s: largest error %.2g\n", levels[l], name, worst);
            if (!(worst <= LOGIT_TOLERANCE)) fail_msg("%s %s: error %g", levels[l], name, worst);
            free(want);
        }
        free(logits);
        fixture_close(&f);
    }
    json_decref(golden);
}

typedef struct logprob_check {
    const int32_t *ids;
    int64_t n;
    int64_t vocab;
    const float *want; /* token_logprobs [n - 1], or NULL */
    double sum;
    double sum_f32; /* by row_logprob_f32 */
    double worst;
    bool wants_f32;
} logprob_check;

/* log p(id) with the softmax's sum run in f32 from the first logit to the last. The likelihood of
 * held-out text in golden.json was made so: its rounding adds a constant 1.8e-5 to each token's log
 * p against the exact sum (the goldens of single tokens have none). Checked by
 * tools/golden/gpt_oss_numpy.py, an f64 forward pass of its own: 3.39742455 for the first chunk
 * with an exact sum, 3.39740635 with this one, 3.39740626 in golden.json. */
static double row_logprob_f32(const float *logits, int64_t vocab, int32_t id) {
    float max = -INFINITY, sum = 0;
    for (int64_t i = 0; i < vocab; i++) max = logits[i] > max ? logits[i] : max;
    for (int64_t i = 0; i < vocab; i++) sum += expf(logits[i] - max);
    return (double)logits[id] - (double)max - log((double)sum);
}

static void add_logprob(void *context, int64_t position, const float *logits) {
    logprob_check *c = context;
    if (position + 1 >= c->n) return;
    double p = row_logprob(logits, c->vocab, c->ids[position + 1]);
    c->sum += p;
    if (c->wants_f32) c->sum_f32 += row_logprob_f32(logits, c->vocab, c->ids[position + 1]);
    if (c->want) c->worst = fmax(c->worst, fabs(p - (double)c->want[position]));
}

/* Proves: the log-probability of every token of the prompts, and their sums, are transformers'. */
static void token_logprobs(void **state) {
    (void)state;
    json_t *golden = load_json(DEMO_FOLDER "/golden.json");
    model_fixture f;
    fixture_open(&f, &(fixture_options){.mode = MICA_EXACT});
    size_t i;
    json_t *p;
    json_array_foreach(json_object_get(golden, "prompts"), i, p) {
        int32_t ids[2048];
        size_t bytes, n = json_ids(json_object_get(p, "ids"), ids, 2048);
        float *want =
            read_golden("token_logprobs", json_string_value(json_object_get(p, "name")), &bytes);
        logprob_check c = {.ids = ids, .n = (int64_t)n, .vocab = f.vocab, .want = want};
        generation g = {.on_logits = add_logprob, .logits_context = &c};
        generate(&f, ids, n, 1, &g);
        double sum = json_number_value(json_object_get(p, "sum_logprob"));
        printf("%zu tokens: sum %.6f (want %.6f), largest error of a token %.2g\n", n, c.sum, sum,
               c.worst);
        assert_true(fabs(c.sum - sum) <= SUM_LOGPROB_TOLERANCE);
        assert_true(c.worst <= LOGIT_TOLERANCE);
        free(want);
    }
    fixture_close(&f);
    json_decref(golden);
}

/* Runs the greedy goldens of one list. In fast mode ids must agree up to the first step whose
 * margin is within twice the error that 16-bit arithmetic may make on a logit. */
static void check_greedy(model_fixture *f, const json_t *list, bool is_exact) {
    size_t i;
    json_t *p;
    json_array_foreach(list, i, p) {
        int32_t ids[2048], want[256];
        size_t n = json_ids(json_object_get(p, "prompt_ids"), ids, 2048);
        size_t n_want = json_ids(json_object_get(p, "ids"), want, 256);
        const json_t *margins = json_object_get(p, "margins");
        generation g = {0};
        generate(f, ids, n, (int64_t)n_want, &g);
        for (size_t t = 0; t < n_want; t++) {
            double margin = json_number_value(json_array_get(margins, t));
            if (!is_exact && margin < 2 * FAST_LOGIT_ERROR && g.ids[t] != want[t]) break;
            if (g.ids[t] != want[t])
                fail_msg("%s: id %zu is %d, wanted %d (margin %g)",
                         json_string_value(json_object_get(p, "name")), t, g.ids[t], want[t],
                         margin);
        }
    }
}

/* Proves: all greedy texts and harmony chats come out id by id, in exact mode. */
static void greedy_exact(void **state) {
    (void)state;
    json_t *golden = load_json(DEMO_FOLDER "/golden.json");
    model_fixture f;
    fixture_open(&f, &(fixture_options){.mode = MICA_EXACT});
    check_greedy(&f, json_object_get(golden, "greedy"), true);
    check_greedy(&f, json_object_get(golden, "chats"), true);
    fixture_close(&f);
    json_decref(golden);
}

/* Proves: in fast mode they agree as far as the margins say. */
static void greedy_fast(void **state) {
    (void)state;
    json_t *golden = load_json(DEMO_FOLDER "/golden.json");
    model_fixture f;
    fixture_open(&f, &(fixture_options){.mode = MICA_FAST});
    check_greedy(&f, json_object_get(golden, "greedy"), false);
    check_greedy(&f, json_object_get(golden, "chats"), false);
    fixture_close(&f);
    json_decref(golden);
}

#define CHUNK 512
#define CHUNK_0_NLL 3.3974245474 /* tools/golden/gpt_oss_numpy.py, f64 throughout */

/* Mean NLL over chunks of 512 ids, each from an empty cache; is_exact also checks single chunks. */
static double chunked_nll(model_fixture *f, const int32_t *ids, size_t n, const json_t *first,
                          bool is_exact) {
    double sum = 0;
    size_t count = 0;
    for (size_t start = 0; start + CHUNK <= n; start += CHUNK, count++) {
        logprob_check c = {.ids = ids + start, .n = CHUNK, .vocab = f->vocab, .wants_f32 = true};
        generation g = {.on_logits = add_logprob, .logits_context = &c};
        generate(f, ids + start, CHUNK, 1, &g);
        double nll = -c.sum_f32 / (CHUNK - 1);
        double want = json_number_value(json_array_get(first, count));
        if (is_exact && count == 0) assert_true(fabs(-c.sum / (CHUNK - 1) - CHUNK_0_NLL) <= 1e-6);
        if (is_exact && count < json_array_size(first) &&
            !(fabs(nll - want) <= NLL_TOLERANCE_EXACT))
            fail_msg("chunk %zu: NLL %.7f, wanted %.7f", count, nll, want);
        sum += nll;
    }
    return sum / (double)count;
}

/* Proves: the NLL of the held-out text is the reference's, within 1e-5 exact and 0.003 fast. */
static void held_out_text(void **state) {
    (void)state;
    const char *folder = test_data_folder();
    if (!folder) skip();
    char path[4096];
    snprintf(path, sizeof path, "%s/models/gpt-oss-tiny/valid.txt", folder);
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("cannot open %s", path);
    char *text = malloc(1 << 20);
    size_t bytes = fread(text, 1, 1 << 20, file);
    fclose(file);
    json_t *golden = load_json(DEMO_FOLDER "/golden.json");
    const json_t *valid = json_object_get(golden, "valid");
    const json_t *first = json_object_get(valid, "first_chunks_nll");
    double reference = json_number_value(json_object_get(valid, "nll_mxfp4"));
    model_fixture f;
    mica_error err = {0};
    mica_tokenizer *tokenizer = NULL;
    mica_tokens tokens = {0};
    fixture_open(&f, &(fixture_options){.mode = MICA_EXACT});
    assert_ok(mica_tokenizer_open(f.runtime, DEMO_FOLDER, &tokenizer, &err));
    assert_ok(mica_tokenizer_encode(tokenizer, text, bytes, NULL, &tokens, &err));
    assert_int_equal(tokens.count, 52941);
    double exact = chunked_nll(&f, tokens.ids, tokens.count, first, true);
    model_fixture fast;
    fixture_open(&fast, &(fixture_options){.mode = MICA_FAST});
    double rounded = chunked_nll(&fast, tokens.ids, tokens.count, first, false);
    fixture_close(&fast);
    printf("NLL exact %.7f, fast %.7f, reference %.7f\n", exact, rounded, reference);
    assert_true(fabs(exact - reference) <= NLL_TOLERANCE_EXACT);
    assert_true(fabs(rounded - reference) <= NLL_TOLERANCE_FAST);
    json_decref(golden);
    mica_tokens_free(tokenizer, &tokens);
    mica_tokenizer_close(&tokenizer);
    fixture_close(&f); /* last: the tokenizer was opened from its runtime */
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(last_logits),   cmocka_unit_test(token_logprobs),
        cmocka_unit_test(greedy_exact),  cmocka_unit_test(greedy_fast),
        cmocka_unit_test(held_out_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
