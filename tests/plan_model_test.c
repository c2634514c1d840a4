/* The passes of the planner on whole models: switched on or off, all or one alone, in both modes,
 * the logits are the same; the activations are packed well; every dump reads back. */
#include "model_test.h"
#include "core/graph.h"

#define GOLDEN MICA_SOURCE_DIR "/tests/data/golden/"
#define N_PROMPT 45 /* more than a tile of rows, and no multiple of one */
#define N_REPLY 6
#define ALL_OFF "simplify,fuse,order,replicate,place"
/* Of the largest logit: what other orders of sums may give in f32. */
#define ROUNDING 1e-5

/* Sparse and dense families, with every kind of norm, bias and window that there is. */
static const char *const folders[] = {
    DEMO_FOLDER,   GOLDEN "llama",       GOLDEN "qwen2",   GOLDEN "qwen3", GOLDEN "qwen3_moe",
    GOLDEN "phi3", GOLDEN "gemma3_text", GOLDEN "granite", GOLDEN "olmo2",
};

/* The size of the activations of the plans of one engine, as the log states them. */
typedef struct plan_sizes {
    unsigned long long bytes[2], alive[2]; /* decode, prefill */
} plan_sizes;

static void read_sizes(void *context, mica_log_level level, const char *text) {
    plan_sizes *s = context;
    const char *at = strstr(text, "activations of ");
    (void)level;
    if (!at) return;
    int i = strncmp(text, "plan decode", 11) != 0;
    assert_int_equal(
        sscanf(at, "activations of %llu bytes (%llu in use", &s->bytes[i], &s->alive[i]), 2);
}

typedef struct logits_rows {
    float *at; /* of the prompt's tokens, then of the reply's */
    int64_t vocab;
} logits_rows;

static void keep_row(void *context, int64_t position, const float *logits) {
    logits_rows *rows = context;
    memcpy(rows->at + position * rows->vocab, logits, (size_t)rows->vocab * sizeof *logits);
}

static bool keep_event(void *context, const mica_event *e) {
    if (e->error) fail_msg("generation: %s", e->error->message);
    if (e->id >= 0) keep_row(context, N_PROMPT + e->n_generated - 1, e->logits);
    return true;
}

/* The logits behind every token of a prompt and a reply; the caller frees them. */
static logits_rows run(const char *folder, mica_numeric_mode mode, const char *no_pass,
                       plan_sizes *sizes) {
    mica_error err = {0};
    mica_runtime *rt = NULL;
    mica_model *model = NULL;
    mica_engine *engine = NULL;
    mica_model_info info;
    mica_runtime_options ro = {.struct_bytes = sizeof ro, .n_threads = 2, .no_pass = no_pass};
    mica_engine_options eo = {.struct_bytes = sizeof eo, .mode = mode, .context = 128};
    ro.log = read_sizes;
    ro.log_context = sizes;
    ro.log_level = MICA_LOG_INFO;
    assert_ok(mica_runtime_open(&ro, &rt, &err));
    assert_ok(mica_model_open(rt, folder, NULL, &model, &err));
    assert_ok(mica_engine_create(model, &eo, &engine, &err));
    mica_model_get_info(model, &info);
    logits_rows rows = {.vocab = info.vocab_size};
    rows.at = calloc((size_t)(N_PROMPT + N_REPLY) * (size_t)rows.vocab, sizeof *rows.at);
    int32_t ids[N_PROMPT];
    for (int i = 0; i < N_PROMPT; i++) ids[i] = (int32_t)((i * 7919 + 13) % rows.vocab);
    mica_request r = {.struct_bytes = sizeof r, .ids = ids, .n_ids = N_PROMPT};
    r.max_tokens = N_REPLY;
    r.on_event = keep_event;
    r.on_prompt_logits = keep_row;
    r.context = &rows;
    mica_ticket ticket;
    assert_ok(mica_engine_submit(engine, &r, &ticket, &err));
    while (mica_engine_is_busy(engine)) assert_ok(mica_engine_step(engine, &err));
    mica_engine_destroy(&engine);
    mica_model_close(&model);
    mica_runtime_close(&rt);
    return rows;
}

static double find_difference(const logits_rows *a, const logits_rows *b) {
    int64_t n = (N_PROMPT + N_REPLY) * a->vocab;
    double worst = 0, largest = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs((double)a->at[i] - (double)b->at[i]);
        largest = fmax(largest, fabs((double)a->at[i]));
        worst = d <= worst ? worst : d; /* NaN stays */
    }
    assert_true(largest > 0);
    return worst / largest;
}

static void compare(const char *folder, mica_numeric_mode mode, const char *no_pass) {
    plan_sizes ignored = {0};
    const char *name = strrchr(folder, '/') + 1;
    logits_rows on = run(folder, mode, NULL, &ignored);
    logits_rows off = run(folder, mode, no_pass, &ignored);
    double worst = find_difference(&on, &off);
    printf("%s %s without %s: largest difference %.2g of the largest logit\n", name,
           mode == MICA_EXACT ? "exact" : "fast", no_pass, worst);
    if (!(worst <= ROUNDING)) fail_msg("%s without %s: %g", name, no_pass, worst);
    free(on.at), free(off.at);
}

/* Proves: with all passes off every family gives the same logits, in both modes. */
static void all_off(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        compare(folders[i], MICA_EXACT, ALL_OFF);
        compare(folders[i], MICA_FAST, ALL_OFF);
    }
}

/* Proves: so it does with one pass off, or all that `mica bench --graph=off` switches off. */
static void one_off(void **state) {
    (void)state;
    static const char *const names[] = {"simplify",
                                        "fuse",
                                        "order",
                                        "replicate",
                                        "place",
                                        "donation",
                                        "fuse,simplify,order,donation"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        compare(DEMO_FOLDER, MICA_FAST, names[i]);
        compare(GOLDEN "llama", MICA_EXACT, names[i]);
    }
}

/* Proves: pass place makes the activations at least three times smaller than they are without it,
 * and comes within a tenth of what is alive at once. */
static void activations_are_packed(void **state) {
    (void)state;
    static const char *const phases[] = {"decode", "prefill"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        const char *name = strrchr(folders[i], '/') + 1;
        plan_sizes on = {0}, off = {0};
        logits_rows a = run(folders[i], MICA_FAST, NULL, &on);
        logits_rows b = run(folders[i], MICA_FAST, "place", &off);
        for (int p = 0; p < 2; p++) {
            printf("%s %s: activations of %llu bytes, %llu alive at once, %llu without place\n",
                   name, phases[p], on.bytes[p], on.alive[p], off.bytes[p]);
            assert_true(on.bytes[p] > 0);
            assert_true(on.bytes[p] * 10 <= on.alive[p] * 11);
            if (i == 0) assert_true(on.bytes[p] * 3 <= off.bytes[p]);
        }
        free(a.at), free(b.at);
    }
}

/* ---- dumps ---- */

typedef struct dump_check {
    mica_runtime *runtime; /* of its own: the one that dumps is at work */
    int n;
} dump_check;

/* Without comments, which a graph that was read has none of. */
static char *strip(const char *text) {
    char *out = malloc(strlen(text) + 1), *to = out;
    for (const char *line = text; *line;) {
        size_t bytes = strcspn(line, "\n") + 1, keep = bytes - 1;
        const char *note = strstr(line, " #");
        if (note && (size_t)(note - line) < keep) keep = (size_t)(note - line);
        if (*line != '#') {
            memcpy(to, line, keep);
            to += keep;
            *to++ = '\n';
        }
        line += bytes;
    }
    *to = '\0';
    return out;
}

static void check_dump(void *context, const char *pass, const char *text) {
    dump_check *c = context;
    mica_error err = {0};
    mica_graph *g = NULL;
    mica_ref outputs[64];
    size_t n_outputs;
    mica_str printed;
    mica_str_init(&printed, mica_allocator_default());
    assert_ok(mica_graph_create_internal(c->runtime, true, &g, &err));
    if (mica_graph_parse(g, text, strlen(text), outputs, 64, &n_outputs, &err) != MICA_STATUS_OK)
        fail_msg("pass %s: %s", pass, err.message);
    mica_graph_print(g, outputs, n_outputs, &printed);
    char *want = strip(text);
    assert_string_equal(printed.data, want);
    free(want);
    mica_str_deinit(&printed);
    mica_graph_destroy(&g);
    c->n++;
}

/* Proves: what every pass leaves of the demo model's plans is text that reads back as it was. */
static void dumps_read_back(void **state) {
    (void)state;
    mica_error err = {0};
    mica_runtime *rt = NULL;
    mica_model *model = NULL;
    mica_engine *engine = NULL;
    dump_check check = {0};
    mica_runtime_options ro = {.struct_bytes = sizeof ro, .n_threads = 2};
    mica_engine_options eo = {.struct_bytes = sizeof eo, .context = 128};
    assert_ok(mica_runtime_open(&ro, &check.runtime, &err));
    ro.dump = "all";
    ro.dump_callback = check_dump;
    ro.dump_context = &check;
    assert_ok(mica_runtime_open(&ro, &rt, &err));
    assert_ok(mica_model_open(rt, DEMO_FOLDER, NULL, &model, &err));
    assert_ok(mica_engine_create(model, &eo, &engine, &err));
    int32_t ids[N_PROMPT] = {1, 2, 3};
    mica_request r = {.struct_bytes = sizeof r, .ids = ids, .n_ids = N_PROMPT, .max_tokens = 1};
    r.on_event = generation_event;
    generation g = {0};
    r.context = &g;
    mica_ticket ticket;
    assert_ok(mica_engine_submit(engine, &r, &ticket, &err));
    while (mica_engine_is_busy(engine)) assert_ok(mica_engine_step(engine, &err));
    assert_true(check.n >= 24); /* decode and prefill, twelve passes */
    mica_engine_destroy(&engine);
    mica_model_close(&model);
    mica_runtime_close(&rt);
    mica_runtime_close(&check.runtime);
}

/* Proves: a name that no pass has is refused, with the names that there are. */
static void unknown_names(void **state) {
    (void)state;
    mica_error err = {0};
    mica_runtime *rt = NULL;
    mica_runtime_options o = {.struct_bytes = sizeof o, .no_pass = "order,fues"};
    assert_int_equal(mica_runtime_open(&o, &rt, &err), MICA_STATUS_INVALID);
    assert_string_equal(err.message, "no-pass \"fues\": wanted simplify, fuse, order, replicate, "
                                     "place, donation");
    o.no_pass = "lower"; /* there is no doing without it */
    assert_int_equal(mica_runtime_open(&o, &rt, &err), MICA_STATUS_INVALID);
    o.no_pass = "donation,place,";
    o.dump = "seal,donation";
    assert_int_equal(mica_runtime_open(&o, &rt, &err), MICA_STATUS_INVALID);
    assert_non_null(strstr(err.message, "collect"));
    assert_non_null(strstr(err.message, "or all"));
    o.dump = "seal,all";
    assert_ok(mica_runtime_open(&o, &rt, &err));
    mica_runtime_close(&rt);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_off),         cmocka_unit_test(one_off),
        cmocka_unit_test(dumps_read_back), cmocka_unit_test(activations_are_packed),
        cmocka_unit_test(unknown_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
