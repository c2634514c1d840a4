/* What can be said of a model: facts of the demo, the tensors that a configuration predicts,
 * sampling values; and gpt-oss with plain experts against transformers in float32. */
#include "model/model.h"
#include "model_test.h"
#include "test_folder.h"
#include "base/error.h"
#include "base/host.h"
#include "format/safetensors.h"

#define LOGIT_TOLERANCE 1e-4
#define N_GREEDY 24

static mica_runtime *open_runtime(void) {
    mica_error err = {0};
    mica_runtime *rt = NULL;
    mica_runtime_options o = {.struct_bytes = sizeof o, .n_threads = 2};
    assert_ok(mica_runtime_open(&o, &rt, &err));
    return rt;
}

/* ---- the demo ---- */

static void check_info(const mica_model_info *info) {
    assert_string_equal(info->family, "gpt_oss");
    assert_string_equal(info->architecture, "GptOssForCausalLM");
    assert_int_equal(info->n_layers, 8);
    assert_int_equal(info->hidden_size, 320);
    assert_int_equal(info->n_heads, 8);
    assert_int_equal(info->n_kv_heads, 2);
    assert_int_equal(info->head_dim, 64);
    assert_int_equal(info->vocab_size, 8192);
    assert_int_equal(info->n_experts, 8);
    assert_int_equal(info->n_experts_per_token, 2);
    assert_int_equal(info->sliding_window, 64);
    assert_int_equal(info->context_max, 2048);
    assert_int_equal(info->n_parameters, 28276672);
    assert_int_equal(info->weight_bytes, 27676544);
    assert_int_equal(info->n_shards, 2);
    /* A layer has 13 plain tensors and 2 experts of blocks, scales and bias. */
    assert_int_equal(info->n_tensors, 8 * (13 + 6) + 3);
    /* All but the embedding, and 6 of 8 experts: gate_up [8, 640, 320] and down [8, 320, 320] with
     * their biases. */
    uint64_t unused = 8192 * 320 + 8 * 6 * (640 * 320 + 640 + 320 * 320 + 320);
    assert_int_equal(info->n_parameters_active, info->n_parameters - unused);
    assert_true(info->weight_bytes_active < info->weight_bytes);
}

static bool count_stage(void *context, const char *stage, uint64_t done, uint64_t total) {
    uint64_t *last = context;
    assert_true(strcmp(stage, "check") == 0 || strcmp(stage, "weights") == 0);
    assert_true(done > *last && done <= total);
    *last = done;
    return true;
}

/* Proves: the demo's facts, tensors and sampling values, the same by a check alone, which counts no
 * weights as loaded; progress runs to the last byte. */
static void facts_of_the_demo(void **state) {
    (void)state;
    mica_runtime *rt = open_runtime();
    for (int check_only = 0; check_only < 2; check_only++) {
        mica_error err = {0};
        mica_model *m = NULL;
        mica_model_info info;
        mica_model_sampling sampling;
        mica_runtime_stats stats;
        mica_tensor_info t;
        uint64_t last = 0, bytes = 0;
        mica_model_options o = {.struct_bytes = sizeof o, .check_only = check_only};
        o.progress = count_stage;
        o.progress_context = &last;
        assert_ok(mica_model_open(rt, DEMO_FOLDER, &o, &m, &err));
        assert_int_equal(last, 27676544);
        mica_model_get_info(m, &info);
        check_info(&info);
        mica_runtime_get_stats(rt, &stats);
        if (check_only)
            assert_int_equal(stats.weight_bytes, 0);
        else
            assert_int_equal(stats.weight_bytes, 27676544 + 32 * sizeof(float)); /* and rope */
        for (size_t i = 0; i < info.n_tensors; i++) {
            assert_true(mica_model_get_tensor(m, i, &t));
            assert_true(strstr(t.shard, "-of-00002.safetensors") && t.rank >= 1);
            bytes += t.bytes;
        }
        assert_int_equal(bytes, info.weight_bytes);
        assert_false(mica_model_get_tensor(m, info.n_tensors, &t));
        assert_false(mica_model_get_tensor(m, SIZE_MAX, &t));
        mica_model_get_sampling(m, &sampling);
        assert_int_equal(sampling.n_stop_ids, 3);
        const int32_t want[] = {8185, 8184, 8191};
        for (int i = 0; i < 3; i++) {
            bool is_there = false;
            for (int j = 0; j < 3; j++) is_there |= sampling.stop_ids[j] == want[i];
            assert_true(is_there);
        }
        mica_model_close(&m);
        assert_null(m);
    }
    mica_runtime_close(&rt);
}

static bool stop_at_once(void *context, const char *stage, uint64_t done, uint64_t total) {
    (void)stage, (void)done, (void)total;
    return --*(int *)context > 0;
}

/* Proves: a progress callback that says no ends the load, wherever it is; NULL arguments and values
 * out of range are refused. */
static void refusals(void **state) {
    (void)state;
    mica_error err = {0};
    mica_runtime *rt = open_runtime();
    mica_model *m = NULL;
    mica_memory_estimate e;
    const int stops[] = {1, 2, 30, 100};
    for (int i = 0; i < 8; i++) {
        int left = stops[i / 2];
        mica_model_options o = {.struct_bytes = sizeof o, .progress = stop_at_once};
        o.progress_context = &left;
        o.check_only = i & 1;
        assert_int_equal(mica_model_open(rt, DEMO_FOLDER, &o, &m, &err), MICA_STATUS_CANCELLED);
        assert_null(m);
    }
    assert_int_equal(mica_model_open(NULL, DEMO_FOLDER, NULL, &m, &err), MICA_STATUS_INVALID);
    assert_int_equal(mica_model_open(rt, NULL, NULL, &m, &err), MICA_STATUS_INVALID);
    assert_int_equal(mica_model_open(rt, DEMO_FOLDER, NULL, NULL, &err), MICA_STATUS_INVALID);
    assert_int_equal(mica_model_open(rt, "", NULL, &m, &err) == MICA_STATUS_OK, 0);
    assert_int_equal(mica_model_open(rt, "/nowhere", NULL, &m, NULL), MICA_STATUS_NOT_FOUND);
    /* An older caller's options: check_only lies behind struct_bytes and is not read. */
    mica_model_options old = {.struct_bytes = offsetof(mica_model_options, check_only),
                              .check_only = true};
    assert_ok(mica_model_open(rt, DEMO_FOLDER, &old, &m, &err));
    assert_true(m->is_counted);
    const int64_t contexts[] = {0, -1, 2049, INT64_MAX, INT64_MIN};
    for (int i = 0; i < 5; i++)
        assert_int_equal(mica_model_estimate(m, contexts[i], MICA_FAST, &e, &err),
                         MICA_STATUS_INVALID);
    assert_int_equal(mica_model_estimate(m, 1, (mica_numeric_mode)2, &e, &err),
                     MICA_STATUS_INVALID);
    assert_int_equal(mica_model_estimate(NULL, 1, MICA_FAST, &e, &err), MICA_STATUS_INVALID);
    assert_int_equal(mica_model_estimate(m, 1, MICA_FAST, NULL, &err), MICA_STATUS_INVALID);
    assert_false(mica_model_get_tensor(m, 0, NULL));
    mica_model_get_info(m, NULL);
    mica_model_get_sampling(m, NULL);
    mica_model_close(&m);
    mica_model_close(&m);
    mica_model_close(NULL);
    mica_runtime_close(&rt);
}

/* Proves: a tensor list shows what the model shows, and its misuse is refused. */
static void tensor_lists(void **state) {
    (void)state;
    mica_error err = {0};
    mica_runtime *rt = open_runtime();
    mica_tensor_list *list = NULL;
    mica_tensor_info t;
    uint64_t bytes = 0;
    assert_ok(mica_tensor_list_open(rt, DEMO_FOLDER, &list, &err));
    assert_int_equal(mica_tensor_list_count(list), 155);
    for (size_t i = 0; mica_tensor_list_get(list, i, &t); i++) bytes += t.bytes;
    assert_int_equal(bytes, 27676544);
    assert_false(mica_tensor_list_get(list, SIZE_MAX, &t));
    assert_false(mica_tensor_list_get(list, 0, NULL));
    mica_tensor_list_close(&list);
    mica_tensor_list_close(NULL);
    assert_int_equal(mica_tensor_list_count(NULL), 0);
    assert_int_equal(mica_tensor_list_open(rt, NULL, &list, &err), MICA_STATUS_INVALID);
    mica_tensor_data wrong[] = {
        {.name = NULL, .dtype = MICA_DTYPE_F32, .data = "abcd"},
        {.name = "a", .dtype = MICA_DTYPE_NONE, .data = "abcd"},
        {.name = "a", .dtype = (mica_dtype)99, .data = "abcd"},
        {.name = "a", .dtype = MICA_DTYPE_F32, .data = NULL},
        {.name = "a", .dtype = MICA_DTYPE_F32, .rank = -1, .data = "abcd"},
        {.name = "a", .dtype = MICA_DTYPE_F32, .rank = 1, .dims = {-1}, .data = "abcd"},
    };
    test_folder f;
    test_folder_make(&f);
    const char *path = test_folder_at(&f, "a.safetensors");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(mica_safetensors_write(rt, path, &wrong[i], 1, &err), MICA_STATUS_INVALID);
    assert_int_equal(mica_safetensors_write(rt, path, wrong, SIZE_MAX, &err), MICA_STATUS_LIMIT);
    assert_int_equal(mica_safetensors_write(rt, path, NULL, 1, &err), MICA_STATUS_INVALID);
    assert_int_equal(mica_safetensors_write(NULL, path, wrong, 1, &err), MICA_STATUS_INVALID);
    assert_int_not_equal(access(path, F_OK), 0);
    test_folder_remove(&f);
    mica_runtime_close(&rt);
}

/* ---- what a configuration predicts ---- */

typedef struct prediction {
    const mica_checkpoint *checkpoint;  /* compare with these tensors, or */
    const mica_checkpoint_index *index; /* with these names */
    size_t n;
    size_t stop_at;
    uint64_t bytes;
} prediction;

static mica_status take_prediction(void *context, const char *name, mica_safetensors_dtype dtype,
                                   const mica_shape *shape, mica_error *err) {
    prediction *p = context;
    uint64_t bytes = 0;
    assert_int_equal(mica_safetensors_tensor_bytes(dtype, shape, &bytes), 0);
    p->bytes += bytes;
    if (++p->n == p->stop_at) return mica_fail(err, MICA_STATUS_CANCELLED, "enough");
    if (p->checkpoint) {
        const mica_checkpoint_tensor *t = mica_checkpoint_find(p->checkpoint, name);
        if (!t) fail_msg("the checkpoint has no %s", name);
        assert_int_equal(t->dtype, dtype);
        assert_true(mica_shape_equal(&t->shape, shape));
    }
    bool is_there = !p->index;
    for (size_t i = 0; !is_there && i < p->index->n_entries; i++)
        is_there = strcmp(p->index->entries[i].tensor, name) == 0;
    if (!is_there) fail_msg("the index has no %s", name);
    return MICA_STATUS_OK;
}

/* Proves: the demo's configuration predicts exactly its tensors; the callback may end the list. */
static void predicts_the_demo(void **state) {
    (void)state;
    mica_error err = {0};
    mica_config *config = NULL;
    mica_checkpoint *checkpoint = NULL;
    const mica_host *host = mica_host_default();
    assert_ok(mica_config_load(host, DEMO_FOLDER, &config, &err));
    assert_ok(mica_checkpoint_open(host, DEMO_FOLDER, NULL, &checkpoint, &err));
    prediction p = {.checkpoint = checkpoint};
    assert_ok(mica_model_predict(config, take_prediction, &p, &err));
    assert_int_equal(p.n, mica_checkpoint_count(checkpoint));
    assert_int_equal(p.bytes, mica_checkpoint_bytes(checkpoint));
    prediction cut = {.stop_at = 7};
    assert_int_equal(mica_model_predict(config, take_prediction, &cut, &err),
                     MICA_STATUS_CANCELLED);
    assert_int_equal(cut.n, 7);
    mica_checkpoint_close(&checkpoint);
    mica_config_destroy(&config);
}

/* Proves: the configuration of gpt-oss-20b predicts the tensors of its published index: 459 names,
 * 13,761,264,768 bytes. */
static void predicts_gpt_oss_20b(void **state) {
    (void)state;
    const char *data = test_data_folder();
    if (!data) skip();
    mica_error err = {0};
    mica_config *config = NULL;
    mica_checkpoint_index index = {0};
    char path[1024];
    size_t bytes;
    snprintf(path, sizeof path, "%s/gpt-oss-20b", data);
    assert_ok(mica_config_load(mica_host_default(), path, &config, &err));
    snprintf(path, sizeof path, "%s/gpt-oss-20b/model.safetensors.index.json", data);
    char *text = test_file_read(path, &bytes);
    assert_ok(mica_checkpoint_index_parse(mica_host_default(), "index", text, bytes, &index, &err));
    free(text);
    prediction p = {.index = &index};
    assert_ok(mica_model_predict(config, take_prediction, &p, &err));
    assert_int_equal(p.n, 459);
    assert_int_equal(index.n_entries, 459);
    assert_int_equal(p.bytes, 13761264768);
    assert_true(!index.has_total || index.total_bytes == p.bytes);
    mica_checkpoint_index_deinit(&index);
    mica_config_destroy(&config);
}

/* ---- plain experts ---- */

/* A tensor of golden.safetensors, copied out. */
static void *read_golden(const char *folder, const char *name, size_t bytes) {
    mica_error err = {0};
    mica_safetensors *s = NULL;
    char path[1024];
    snprintf(path, sizeof path, "%s/golden.safetensors", folder);
    assert_ok(mica_safetensors_open(mica_host_default(), path, &s, &err));
    const mica_safetensors_tensor *t = mica_safetensors_find(s, mica_slice_from(name));
    if (!t || t->end - t->begin != bytes) fail_msg("%s: no %s of %zu bytes", path, name, bytes);
    void *data = malloc(bytes);
    assert_ok(mica_file_read(mica_safetensors_file(s), t->begin, data, bytes, &err));
    mica_safetensors_close(&s);
    return data;
}

static void copy_file(const char *from_folder, const char *from, const test_folder *f,
                      const char *to) {
    char path[1024];
    size_t bytes;
    snprintf(path, sizeof path, "%s/%s", from_folder, from);
    char *data = test_file_read(path, &bytes);
    test_folder_write(f, to, data, bytes);
    free(data);
}

typedef struct row_check {
    const float *want; /* [n, vocab] */
    int64_t vocab;
    double worst;
} row_check;

static void compare_row(void *context, int64_t position, const float *logits) {
    row_check *c = context;
    for (int64_t i = 0; i < c->vocab; i++) {
        double d = fabs((double)logits[i] - (double)c->want[position * c->vocab + i]);
        c->worst = d <= c->worst ? c->worst : d; /* NaN stays */
    }
}

/* One prompt: its last logits and the greedy reply. The goldens do not stop at stop ids. */
static void compare_prompt(model_fixture *f, const char *folder, size_t n) {
    char name[32];
    snprintf(name, sizeof name, "input_ids_%zu", n);
    int32_t *ids = read_golden(folder, name, n * sizeof *ids);
    snprintf(name, sizeof name, "logits_%zu", n);
    float *want = read_golden(folder, name, (size_t)f->vocab * sizeof *want);
    snprintf(name, sizeof name, "greedy_%zu", n);
    int32_t *greedy = read_golden(folder, name, N_GREEDY * sizeof *greedy);
    float *got = malloc((size_t)f->vocab * sizeof *got);
    static generation g;
    g = (generation){.first_logits = got};
    generate(f, ids, n, N_GREEDY, &g);
    row_check last = {.want = want, .vocab = f->vocab};
    compare_row(&last, 0, got);
    printf("%zu tokens: largest error %.2g\n", n, last.worst);
    if (!(last.worst <= LOGIT_TOLERANCE)) fail_msg("%zu tokens: error %g", n, last.worst);
    assert_int_equal(g.n, N_GREEDY);
    for (int i = 0; i < N_GREEDY; i++)
        if (g.ids[i] != greedy[i])
            fail_msg("%zu tokens: id %d is %d, wanted %d", n, i, g.ids[i], greedy[i]);
    if (n == 17) {
        float *rows = read_golden(folder, "logits_all_17", 17 * (size_t)f->vocab * sizeof *rows);
        row_check all = {.want = rows, .vocab = f->vocab};
        g = (generation){.on_logits = compare_row, .logits_context = &all};
        generate(f, ids, n, 1, &g);
        if (!(all.worst <= LOGIT_TOLERANCE)) fail_msg("all rows: error %g", all.worst);
        free(rows);
    }
    free(got);
    free(greedy);
    free(want);
    free(ids);
}

/* Proves: experts stored as bf16 [experts, k, n] give transformers' logits and greedy ids, on every
 * level, whichever way config.json is spelled; and as written by another chunking of the prompt. */
static void plain_experts(void **state) {
    (void)state;
    const char *data = test_data_folder();
    if (!data) skip();
    static const char *const configs[] = {"config.json", "config.v5.json"};
    static const char *const levels[] = {"scalar", "avx2", "avx512", "neon"};
    char golden[1024];
    snprintf(golden, sizeof golden, "%s/golden/gpt_oss", data);
    for (int i = 0; i < 8; i++) {
        mica_error err = {0};
        test_folder f;
        model_fixture m;
        test_folder_make(&f);
        copy_file(golden, configs[i % 2], &f, "config.json");
        copy_file(golden, "model.safetensors", &f, "model.safetensors");
        fixture_options o = {.folder = f.path, .level = levels[i / 2], .mode = MICA_EXACT};
        o.chunk_tokens = i % 2 ? 16 : 0;
        mica_status st = fixture_try_open(&m, &o, &err);
        if (st != MICA_STATUS_UNAVAILABLE) {
            assert_ok(st);
            assert_int_equal(m.vocab, 512);
            const size_t prompts[] = {1, 17, 200};
            for (int p = 0; p < 3; p++) compare_prompt(&m, golden, prompts[p]);
        }
        fixture_close(&m);
        test_folder_remove(&f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(facts_of_the_demo),    cmocka_unit_test(refusals),
        cmocka_unit_test(tensor_lists),         cmocka_unit_test(predicts_the_demo),
        cmocka_unit_test(predicts_gpt_oss_20b), cmocka_unit_test(plain_experts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
