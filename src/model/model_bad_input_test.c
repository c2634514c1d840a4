/* Broken model folders: every fault is a clear error at open, names what is wrong, and leaks
 * nothing. Each case is a copy of the demo model with one thing changed. */
#include "test.h"
#include "test_folder.h"
#include "base/alloc.h"
#include "mica/mica.h"

#define DEMO MICA_SOURCE_DIR "/models/demo"
#define SHARD_1 "model-00001-of-00002.safetensors"
#define SHARD_2 "model-00002-of-00002.safetensors"
#define INDEX "model.safetensors.index.json"

/* A folder like the demo's: shards are copied, since a link may not leave the folder. */
static void make_model(test_folder *f) {
    static const char *const names[] = {
        "config.json", "generation_config.json", "tokenizer.json", INDEX, SHARD_1, SHARD_2};
    test_folder_make(f);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char from[512];
        size_t bytes;
        snprintf(from, sizeof from, DEMO "/%s", names[i]);
        char *data = test_file_read(from, &bytes);
        test_folder_write(f, names[i], data, bytes);
        free(data);
    }
}

/* Replaces the first occurrence of a text in a file by another. */
static void edit(const test_folder *f, const char *name, const char *from, const char *to) {
    size_t bytes;
    char *data = test_file_read(test_folder_at(f, name), &bytes);
    data = realloc(data, bytes + 1);
    data[bytes] = 0;
    size_t n = strlen(from), m = strlen(to), at = bytes;
    for (size_t i = 0; i + n <= bytes && at == bytes; i++)
        if (memcmp(data + i, from, n) == 0) at = i;
    if (at == bytes) fail_msg("%s does not hold %s", name, from);
    char *changed = malloc(bytes + m + 1);
    memcpy(changed, data, at);
    memcpy(changed + at, to, m);
    memcpy(changed + at + m, data + at + n, bytes - at - n);
    test_folder_write(f, name, changed, bytes - n + m);
    free(changed);
    free(data);
}

/* Opens; wants this status and these words in the message, and no memory left. */
static void expect_refused(const test_folder *f, mica_status want, const char *words) {
    mica_error err = {0};
    mica_runtime *rt = NULL;
    mica_model *model = NULL;
    mica_alloc_counter c;
    mica_alloc_counter_init(&c, mica_allocator_default());
    mica_runtime_options o = {.struct_bytes = sizeof o, .allocator = &c.allocator, .n_threads = 1};
    assert_ok(mica_runtime_open(&o, &rt, &err));
    mica_status st = mica_model_open(rt, f->path, NULL, &model, &err);
    mica_runtime_close(&rt);
    if (st != want || !strstr(err.message, words))
        fail_msg("got %s: %s; wanted %s with \"%s\"", mica_status_name(st), err.message,
                 mica_status_name(want), words);
    assert_null(strchr(err.message, '\n'));
    assert_null(model);
    assert_int_equal(c.n_live, 0);
}

typedef struct edit_case {
    const char *file, *from, *to;
    mica_status status;
    const char *words;
} edit_case;

static const edit_case edits[] = {
    /* The configuration predicts other shapes than the files have. */
    {"config.json", "\"hidden_size\": 320", "\"hidden_size\": 352", MICA_STATUS_FORMAT,
     "[8192, 320], expected [8192, 352]"},
    {"config.json", "\"num_local_experts\": 8", "\"num_local_experts\": 16", MICA_STATUS_FORMAT,
     "mlp.router.weight"},
    {"config.json", "\"intermediate_size\": 320", "\"intermediate_size\": 300", MICA_STATUS_FORMAT,
     "[8, 640, 10, 16], expected [8, 600, 10, 16]"},
    {"config.json", "\"intermediate_size\": 320", "\"intermediate_size\": 301", MICA_STATUS_FORMAT,
     "odd"},
    {"config.json", "\"attention_bias\": true", "\"attention_bias\": false", MICA_STATUS_FORMAT,
     "bias"},
    {"config.json", "\"vocab_size\": 8192", "\"vocab_size\": 8193", MICA_STATUS_FORMAT, "8193"},
    /* Values out of range, of another type, or not known. */
    {"config.json", "\"vocab_size\": 8192", "\"vocab_size\": 99999999", MICA_STATUS_FORMAT,
     "vocab_size"},
    {"config.json", "\"hidden_size\": 320", "\"hidden_size\": \"320\"", MICA_STATUS_FORMAT,
     "hidden_size"},
    {"config.json", "\"gpt_oss\"", "\"gpt_oss_next\"", MICA_STATUS_UNSUPPORTED, "gpt_oss_next"},
    {"config.json", "\"yarn\"", "\"spiral\"", MICA_STATUS_UNSUPPORTED, "spiral"},
    {"config.json", "\"num_experts_per_tok\": 2", "\"num_experts_per_tok\": 9", MICA_STATUS_FORMAT,
     "num_experts_per_tok"},
    {"config.json", "\"swiglu_limit\": 7.0", "\"swiglu_limit\": 0", MICA_STATUS_FORMAT,
     "swiglu_limit"},
    {"config.json", "\"rms_norm_eps\"", "\"rms_norm_eps\": 1e-5, \"rms_norm_eps\"",
     MICA_STATUS_FORMAT, "rms_norm_eps"},
    /* The index and the shards disagree. */
    {INDEX, SHARD_2, "model-00003-of-00002.safetensors", MICA_STATUS_NOT_FOUND, "model-00003"},
    {INDEX, SHARD_2, "../" SHARD_2, MICA_STATUS_FORMAT, ".."},
    {INDEX, "\"model.norm.weight\"", "\"model.norm.other\"", MICA_STATUS_NOT_FOUND,
     "model.norm.other"},
    /* Headers of the shards; texts keep their length, so that offsets stay right. */
    {SHARD_1, "\"dtype\":\"BF16\"", "\"dtype\":\"F16X\"", MICA_STATUS_FORMAT, "rule 8"},
    {SHARD_1, "\"dtype\":\"BF16\"", "\"dtype\":\"I16\" ", MICA_STATUS_FORMAT, "I16"},
    {SHARD_1, "[8192,320]", "[320,8192]", MICA_STATUS_FORMAT, "expected [8192, 320]"},
    /* Text that is no JSON. */
    {"generation_config.json", "{", "[", MICA_STATUS_FORMAT, "generation_config.json"},
};

/* Proves: each single edit of a good folder is refused with its reason. */
static void edited_folders(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        test_folder f;
        make_model(&f);
        edit(&f, edits[i].file, edits[i].from, edits[i].to);
        expect_refused(&f, edits[i].status, edits[i].words);
        test_folder_remove(&f);
    }
}

/* Proves: shards that are cut, grown, missing, a pipe, a folder or a Git LFS pointer are refused.
 */
static void broken_shards(void **state) {
    (void)state;
    test_folder f;
    size_t bytes;
    make_model(&f);
    char *data = test_file_read(test_folder_at(&f, SHARD_2), &bytes);
    test_folder_write(&f, SHARD_2, data, bytes - 1);
    expect_refused(&f, MICA_STATUS_FORMAT, "rule 13");
    test_folder_write(&f, SHARD_2, data, 5);
    expect_refused(&f, MICA_STATUS_FORMAT, "rule 1");
    data = realloc(data, bytes + 8);
    memset(data + bytes, 0, 8);
    test_folder_write(&f, SHARD_2, data, bytes + 8);
    expect_refused(&f, MICA_STATUS_FORMAT, "rule 13");
    remove(test_folder_at(&f, SHARD_2));
    expect_refused(&f, MICA_STATUS_NOT_FOUND, SHARD_2);
    assert_int_equal(mkfifo(test_folder_at(&f, SHARD_2), 0600), 0);
    expect_refused(&f, MICA_STATUS_INVALID, "pipe");
    remove(test_folder_at(&f, SHARD_2));
    test_folder_write_text(&f, SHARD_2,
                           "version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
    expect_refused(&f, MICA_STATUS_FORMAT, "LFS");
    free(data);
    test_folder_remove(&f);
}

/* Proves: an E8M0 scale of 255 (NaN) in the experts is found at load. */
static void nan_scales(void **state) {
    (void)state;
    test_folder f;
    size_t bytes;
    make_model(&f);
    char *data = test_file_read(test_folder_at(&f, SHARD_1), &bytes);
    const char *key = "\"model.layers.0.mlp.experts.down_proj_scales\":";
    uint64_t header;
    memcpy(&header, data, 8);
    char *entry = NULL;
    for (size_t i = 8; i + strlen(key) < 8 + header && !entry; i++)
        if (memcmp(data + i, key, strlen(key)) == 0) entry = data + i;
    assert_non_null(entry);
    char *offsets = strstr(entry, "\"data_offsets\":[");
    assert_non_null(offsets);
    uint64_t begin = strtoull(offsets + strlen("\"data_offsets\":["), NULL, 10);
    data[8 + header + begin + 1000] = (char)255;
    test_folder_write(&f, SHARD_1, data, bytes);
    free(data);
    expect_refused(&f, MICA_STATUS_FORMAT, "down_proj_scales");
    test_folder_remove(&f);
}

/* Proves: a memory budget smaller than the weights is an error with both numbers. */
static void small_budget(void **state) {
    (void)state;
    mica_error err = {0};
    mica_runtime *rt = NULL;
    mica_model *model = NULL;
    mica_engine *engine = NULL;
    mica_runtime_options o = {.struct_bytes = sizeof o, .memory_budget_bytes = 1000000};
    assert_ok(mica_runtime_open(&o, &rt, &err));
    assert_int_equal(mica_model_open(rt, DEMO, NULL, &model, &err), MICA_STATUS_LIMIT);
    assert_non_null(strstr(err.message, "27676544"));
    assert_non_null(strstr(err.message, "1000000"));
    mica_runtime_close(&rt);
    /* Room for the weights and a little more: the context shrinks to what fits. */
    o.memory_budget_bytes = 27676544 + 2000000;
    assert_ok(mica_runtime_open(&o, &rt, &err));
    assert_ok(mica_model_open(rt, DEMO, NULL, &model, &err));
    assert_ok(mica_engine_create(model, NULL, &engine, &err));
    assert_true(mica_engine_context(engine) < 2048);
    assert_true(mica_engine_kv_bytes(engine) <= 2000000);
    mica_engine_destroy(&engine);
    mica_engine_options e = {.struct_bytes = sizeof e, .context = 2048};
    assert_int_equal(mica_engine_create(model, &e, &engine, &err), MICA_STATUS_LIMIT);
    assert_non_null(strstr(err.message, "2048"));
    mica_model_close(&model);
    mica_runtime_close(&rt);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edited_folders),
        cmocka_unit_test(broken_shards),
        cmocka_unit_test(nan_scales),
        cmocka_unit_test(small_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
