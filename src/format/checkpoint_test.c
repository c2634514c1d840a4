/* Checkpoints: folders of shards as users have them, and as an attacker would make them. */
#include "format/checkpoint.h"
#include <sys/stat.h>
#include "format/safetensors_writer.h"
#include "test.h"
#include "test_folder.h"

#define INDEX MICA_CHECKPOINT_INDEX_NAME

static const mica_shape three = {1, {3}};
static const uint8_t data_a[3] = {1, 2, 3}, data_b[3] = {4, 5, 6};
static const mica_safetensors_dtype u8[] = {MICA_SAFETENSORS_U8};

static void write_shard(const test_folder *f, const char *file, const char *tensor,
                        const uint8_t *data) {
    mica_error err;
    mica_safetensors_item item = {tensor, MICA_SAFETENSORS_U8, three, data};
    assert_ok(
        mica_safetensors_write_file(mica_host_default(), test_folder_at(f, file), &item, 1, &err));
}

/* Tensor "a" in model-1, "b" in model-2, and their index. */
static void make_model(test_folder *f) {
    mica_error err;
    test_folder_make(f);
    write_shard(f, "model-1.safetensors", "a", data_a);
    write_shard(f, "model-2.safetensors", "b", data_b);
    mica_safetensors_place places[] = {{"b", "model-2.safetensors"}, {"a", "model-1.safetensors"}};
    assert_ok(mica_safetensors_write_index(mica_host_default(), f->path, places, 2, 6, &err));
}

static void write_index(const test_folder *f, const char *map) {
    char text[2048];
    snprintf(text, sizeof text, "{\"weight_map\":{%s}}", map);
    test_folder_write_text(f, INDEX, text);
}

/* The folder must be refused with a message that holds `text`. */
static void refuse(const test_folder *f, mica_status status, const char *text) {
    mica_error err = {0};
    mica_checkpoint *c;
    mica_status st = mica_checkpoint_open(mica_host_default(), f->path, NULL, &c, &err);
    if (st != status || !strstr(err.message, text))
        fail_msg("%s: %s, expected %s: %s", mica_status_name(st), err.message,
                 mica_status_name(status), text);
    assert_null(c);
}

typedef struct log_text {
    char text[4096];
} log_text;

static void keep_log(void *context, mica_log_level level, const char *text) {
    log_text *log = context;
    (void)level;
    strncat(log->text, text, sizeof log->text - strlen(log->text) - 1);
    strncat(log->text, "\n", sizeof log->text - strlen(log->text) - 1);
}

/* ---- good folders ---- */

static void test_shards(void **state) {
    /* Tensors of two shards are listed by name, and their bytes are those that were written. */
    (void)state;
    test_folder f;
    mica_error err;
    make_model(&f);
    for (int use_pread = 0; use_pread < 2; use_pread++) {
        mica_checkpoint *c;
        mica_checkpoint_options options = {.use_pread = use_pread};
        assert_ok(mica_checkpoint_open(mica_host_default(), f.path, &options, &c, &err));
        assert_int_equal(mica_checkpoint_count(c), 2);
        assert_int_equal(mica_checkpoint_bytes(c), 6);
        assert_int_equal(mica_checkpoint_shard_count(c), 2);
        assert_string_equal(mica_checkpoint_at(c, 0)->name, "a");
        assert_null(mica_checkpoint_find(c, "c"));
        const mica_checkpoint_tensor *b = mica_checkpoint_find(c, "b");
        assert_ptr_equal(b, mica_checkpoint_at(c, 1));
        assert_string_equal(mica_checkpoint_shard_name(c, b->shard), "model-2.safetensors");
        const uint8_t *data, *again;
        assert_ok(mica_checkpoint_map_tensor(c, b, &data, &err));
        assert_memory_equal(data, data_b, 3);
        assert_ok(mica_checkpoint_map_tensor(c, b, &again, &err));
        assert_ptr_equal(again, data);
        uint8_t read[2];
        assert_ok(mica_checkpoint_read_tensor(c, b, 1, read, 2, &err));
        assert_memory_equal(read, data_b + 1, 2);
        assert_int_equal(mica_checkpoint_read_tensor(c, b, 2, read, 2, &err), MICA_STATUS_INVALID);
        assert_int_equal(mica_checkpoint_read_tensor(c, b, UINT64_MAX, read, 2, &err),
                         MICA_STATUS_INVALID);
        mica_checkpoint_data taken;
        assert_ok(mica_checkpoint_take(c, "a", u8, 1, &three, &taken, &err));
        assert_memory_equal(taken.data, data_a, 3);
        assert_int_equal(taken.is_mapped, !use_pread);
        assert_ok(mica_checkpoint_check_unchanged(c, &err));
        mica_checkpoint_close(&c);
        assert_null(c);
    }
    test_folder_remove(&f);
}

static void test_single_file(void **state) {
    /* model.safetensors of a folder, and a file by its own name. */
    (void)state;
    test_folder f;
    mica_error err;
    mica_checkpoint *c;
    test_folder_make(&f);
    write_shard(&f, "model.safetensors", "a", data_a);
    write_shard(&f, "other.safetensors", "b", data_b);
    assert_ok(mica_checkpoint_open(mica_host_default(), f.path, NULL, &c, &err));
    assert_non_null(mica_checkpoint_find(c, "a"));
    assert_string_equal(mica_checkpoint_shard_name(c, 0), "model.safetensors");
    mica_checkpoint_close(&c);
    assert_ok(mica_checkpoint_open(mica_host_default(), test_folder_at(&f, "other.safetensors"),
                                   NULL, &c, &err));
    assert_non_null(mica_checkpoint_find(c, "b"));
    assert_string_equal(mica_checkpoint_shard_name(c, 0), "other.safetensors");
    mica_checkpoint_close(&c);
    test_folder_remove(&f);
}

static void test_log(void **state) {
    /* A stray shard, a single file beside the index and a wrong total_size are said in the log. */
    (void)state;
    test_folder f;
    mica_error err;
    mica_checkpoint *c;
    log_text log = {{0}};
    mica_host host = {mica_allocator_default(), keep_log, &log, MICA_LOG_INFO, NULL};
    make_model(&f);
    write_shard(&f, "other.safetensors", "x", data_a);
    assert_ok(mica_checkpoint_open(&host, f.path, NULL, &c, &err));
    mica_checkpoint_close(&c);
    assert_string_equal(log.text, "");
    write_shard(&f, "model.safetensors", "x", data_a);
    write_shard(&f, "model-3.safetensors", "x", data_a);
    test_folder_write_text(&f, INDEX,
                           "{\"metadata\":{\"total_size\":7},\"weight_map\":{"
                           "\"a\":\"model-1.safetensors\",\"b\":\"model-2.safetensors\"}}");
    assert_ok(mica_checkpoint_open(&host, f.path, NULL, &c, &err));
    mica_checkpoint_close(&c);
    assert_non_null(strstr(log.text, "both there"));
    assert_non_null(strstr(log.text, "model-3.safetensors is not used"));
    assert_non_null(strstr(log.text, "total_size is 7, the tensors have 6"));
    assert_null(strstr(log.text, "other.safetensors"));
    test_folder_remove(&f);
}

static void test_alignment(void **state) {
    /* A tensor at an odd place of its file comes back aligned, and unchanged. */
    (void)state;
    mica_error err;
    mica_checkpoint *c;
    const uint8_t *data;
    const char *path = MICA_SOURCE_DIR "/tests/data/safetensors/odd_offset.safetensors";
    assert_ok(mica_checkpoint_open(mica_host_default(), path, NULL, &c, &err));
    const mica_checkpoint_tensor *b = mica_checkpoint_find(c, "b");
    assert_ok(mica_checkpoint_map_tensor(c, b, &data, &err));
    assert_int_equal((uintptr_t)data % 4, 0);
    assert_memory_equal(data, "\1\0\1\0", 4);
    mica_checkpoint_close(&c);
    mica_checkpoint_options options = {.alignment = 4096};
    assert_ok(mica_checkpoint_open(mica_host_default(), path, &options, &c, &err));
    assert_ok(mica_checkpoint_map_tensor(c, mica_checkpoint_find(c, "a"), &data, &err));
    assert_int_equal((uintptr_t)data % 4096, 0);
    mica_checkpoint_close(&c);
    options.alignment = 24;
    assert_int_equal(mica_checkpoint_open(mica_host_default(), path, &options, &c, &err),
                     MICA_STATUS_INVALID);
}

static void test_copies(void **state) {
    /* Copies of many tensors, small ones and one that is larger than a block of memory for copies:
     * each is whole and aligned after all others were made, and the same again when asked twice. */
    (void)state;
    enum { N = 40, LARGE_BYTES = 33 << 20 };
    mica_error err;
    mica_checkpoint *c;
    mica_checkpoint_options options = {.use_pread = true, .alignment = 256};
    mica_safetensors_item items[N];
    const uint8_t *first[N], *again;
    char names[N][8];
    test_folder f;
    uint8_t *bytes = malloc(LARGE_BYTES);
    assert_non_null(bytes);
    for (int i = 0; i < LARGE_BYTES; i++) bytes[i] = (uint8_t)(i + i / 251);
    for (int i = 0; i < N; i++) {
        mica_shape shape = {1, {i == 20 ? LARGE_BYTES : 1000 * i + 1}};
        snprintf(names[i], sizeof names[i], "t%02d", i);
        items[i] = (mica_safetensors_item){names[i], MICA_SAFETENSORS_U8, shape, bytes + i};
        if (i == 20) items[i].data = bytes;
    }
    test_folder_make(&f);
    assert_ok(mica_safetensors_write_file(mica_host_default(),
                                          test_folder_at(&f, "model.safetensors"), items, N, &err));
    assert_ok(mica_checkpoint_open(mica_host_default(), f.path, &options, &c, &err));
    for (int i = 0; i < N; i++)
        assert_ok(
            mica_checkpoint_map_tensor(c, mica_checkpoint_find(c, names[i]), &first[i], &err));
    for (int i = 0; i < N; i++) {
        const mica_checkpoint_tensor *t = mica_checkpoint_find(c, names[i]);
        assert_ok(mica_checkpoint_map_tensor(c, t, &again, &err));
        assert_ptr_equal(again, first[i]);
        assert_int_equal((uintptr_t)again % 256, 0);
        assert_memory_equal(again, items[i].data, t->bytes);
    }
    mica_checkpoint_close(&c);
    free(bytes);
    test_folder_remove(&f);
}

static void test_unsupported_type(void **state) {
    /* A type that cannot be loaded is listed, and refused only when its data are wanted. */
    (void)state;
    mica_error err;
    mica_checkpoint *c;
    const uint8_t *data;
    const char *path = MICA_SOURCE_DIR "/tests/data/safetensors/all_dtypes.safetensors";
    assert_ok(mica_checkpoint_open(mica_host_default(), path, NULL, &c, &err));
    assert_int_equal(mica_checkpoint_count(c), 22);
    const mica_checkpoint_tensor *t = mica_checkpoint_find(c, "t.C64");
    assert_int_equal(mica_checkpoint_map_tensor(c, t, &data, &err), MICA_STATUS_UNSUPPORTED);
    assert_non_null(strstr(err.message, "C64"));
    assert_ok(mica_checkpoint_map_tensor(c, mica_checkpoint_find(c, "t.F8_E8M0"), &data, &err));
    mica_checkpoint_close(&c);
}

/* ---- what the model expects ---- */

static bool ignore_b(void *context, const char *name) {
    (void)context;
    return strcmp(name, "b") == 0;
}

static void test_expectations(void **state) {
    /* Missing, misshapen, mistyped and unused tensors are named, with their shard. */
    (void)state;
    test_folder f;
    mica_error err;
    mica_checkpoint *c;
    mica_checkpoint_data d;
    const mica_shape other = {2, {3, 1}};
    const mica_safetensors_dtype halves[] = {MICA_SAFETENSORS_BF16, MICA_SAFETENSORS_F16};
    make_model(&f);
    assert_ok(mica_checkpoint_open(mica_host_default(), f.path, NULL, &c, &err));
    assert_int_equal(mica_checkpoint_check_all_taken(c, NULL, NULL, &err), MICA_STATUS_FORMAT);
    assert_non_null(strstr(err.message, "a: the model has no use"));
    assert_int_equal(mica_checkpoint_take(c, "x.weight", u8, 1, &three, &d, &err),
                     MICA_STATUS_NOT_FOUND);
    assert_non_null(strstr(err.message, "x.weight: the tensor is missing"));
    assert_int_equal(mica_checkpoint_take(c, "a", u8, 1, &other, &d, &err), MICA_STATUS_FORMAT);
    assert_string_equal(err.message, "a: shape [3], expected [3, 1] (model-1.safetensors)");
    assert_int_equal(mica_checkpoint_take(c, "a", halves, 2, &three, &d, &err), MICA_STATUS_FORMAT);
    assert_string_equal(err.message,
                        "a: dtype U8, expected one of BF16, F16 (model-1.safetensors)");
    assert_null(d.data);
    assert_ok(mica_checkpoint_take(c, "a", u8, 1, &three, &d, &err));
    assert_int_equal(mica_checkpoint_check_all_taken(c, NULL, NULL, &err), MICA_STATUS_FORMAT);
    assert_non_null(strstr(err.message, "b: the model has no use"));
    assert_ok(mica_checkpoint_check_all_taken(c, ignore_b, NULL, &err));
    assert_ok(mica_checkpoint_expect(c, "b", u8, 1, &three, NULL, &err));
    assert_ok(mica_checkpoint_check_all_taken(c, NULL, NULL, &err));
    mica_checkpoint_close(&c);
    test_folder_remove(&f);
}

static void test_values(void **state) {
    /* Scale bytes of 255 and bools other than 0 and 1 are found wherever they stand. */
    (void)state;
    mica_error err;
    enum { N = 10000 };
    uint8_t *v = calloc(1, N);
    assert_non_null(v);
    assert_ok(mica_checkpoint_check_e8m0("s", v, N, &err));
    assert_ok(mica_checkpoint_check_bool("s", v, N, &err));
    assert_ok(mica_checkpoint_check_e8m0("s", NULL, 0, &err));
    for (size_t at = 0; at < N; at += at < 10 || at > N - 100 ? 1 : 97) {
        v[at] = 254;
        assert_ok(mica_checkpoint_check_e8m0("s", v, N, &err));
        v[at] = 255;
        assert_int_equal(mica_checkpoint_check_e8m0("s", v, N, &err), MICA_STATUS_FORMAT);
        v[at] = 1;
        assert_ok(mica_checkpoint_check_bool("s", v, N, &err));
        v[at] = 2;
        assert_int_equal(mica_checkpoint_check_bool("s", v, N, &err), MICA_STATUS_FORMAT);
        v[at] = 0;
    }
    free(v);
}

/* ---- bad folders ---- */

static void test_index_and_shards_differ(void **state) {
    /* A missing, an extra, a misplaced and a doubled tensor are each named. */
    (void)state;
    test_folder f;
    make_model(&f);
    write_index(&f, "\"a\":\"model-1.safetensors\",\"b\":\"model-2.safetensors\","
                    "\"c\":\"model-2.safetensors\"");
    refuse(&f, MICA_STATUS_NOT_FOUND, "c is missing: the index says it is in model-2.safetensors");
    write_index(&f, "\"a\":\"model-1.safetensors\",\"c\":\"model-2.safetensors\"");
    refuse(&f, MICA_STATUS_FORMAT, "b is in model-2.safetensors, but not in the index");
    write_index(&f, "\"a\":\"model-2.safetensors\",\"b\":\"model-1.safetensors\"");
    refuse(&f, MICA_STATUS_FORMAT,
           "a is in model-1.safetensors, but the index says model-2.safetensors");
    write_shard(&f, "model-3.safetensors", "b", data_a);
    write_index(&f, "\"a\":\"model-1.safetensors\",\"b\":\"model-2.safetensors\","
                    "\"c\":\"model-3.safetensors\"");
    refuse(&f, MICA_STATUS_FORMAT, "b is both in model-2.safetensors and in model-3.safetensors");
    test_folder_remove(&f);
}

static void test_bad_shards(void **state) {
    /* A shard that is missing, cut, an LFS pointer, a pipe or a folder is named. */
    (void)state;
    test_folder f;
    make_model(&f);
    const char *path = test_folder_at(&f, "model-2.safetensors");
    char kept[1024];
    snprintf(kept, sizeof kept, "%s", path);
    struct stat about;
    assert_int_equal(stat(kept, &about), 0);
    assert_int_equal(truncate(kept, about.st_size - 1), 0);
    refuse(&f, MICA_STATUS_FORMAT, "model-2.safetensors: rule 13");
    test_folder_write_text(&f, "model-2.safetensors", "version https://git-lfs.github.com/spec/v1");
    refuse(&f, MICA_STATUS_FORMAT, "model-2.safetensors is a Git LFS pointer");
    assert_int_equal(unlink(kept), 0);
    refuse(&f, MICA_STATUS_NOT_FOUND, "model-2.safetensors is missing, but the index names it");
    assert_int_equal(mkfifo(kept, 0600), 0);
    refuse(&f, MICA_STATUS_INVALID, "a pipe");
    assert_int_equal(unlink(kept), 0);
    assert_int_equal(mkdir(kept, 0700), 0);
    refuse(&f, MICA_STATUS_INVALID, "a folder");
    test_folder_remove(&f);
}

static void test_shard_names(void **state) {
    /* A shard is a plain file name that ends in .safetensors: nothing leads out of the folder. */
    (void)state;
    static const char *const names[] = {"../model-1.safetensors",
                                        "/tmp/model-1.safetensors",
                                        "./model-1.safetensors",
                                        "sub/model-1.safetensors",
                                        "..\\\\model-1.safetensors",
                                        "C:model-1.safetensors",
                                        "model-1.safetensors\\u0000",
                                        "model-1\\u0000.safetensors",
                                        "model-1\\n.safetensors",
                                        "model-1.bin",
                                        "..",
                                        ""};
    test_folder f;
    make_model(&f);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char map[256];
        snprintf(map, sizeof map, "\"a\":\"%s\"", names[i]);
        write_index(&f, map);
        refuse(&f, MICA_STATUS_FORMAT, "plain file name");
    }
    test_folder_remove(&f);
}

static void test_bad_indexes(void **state) {
    /* Broken JSON, doubled keys, wrong types and an empty map are refused. */
    (void)state;
    static const struct {
        const char *text;
        const char *message;
    } cases[] = {
        {"", "the text ends"},
        {"{\"weight_map\":{\"a\":\"model-1.safetensors\",\"a\":\"model-1.safetensors\"}}", "\"a\""},
        {"{\"weight_map\":{\"a\":\"model-1.safetensors\",\"\\u0061\":\"model-1.safetensors\"}}",
         "\"a\""},
        {"{\"weight_map\":{\"a\":1}}", "expected a string"},
        {"{\"weight_map\":[]}", "expected an object"},
        {"{\"weight_map\":null}", "expected an object"},
        {"{\"weight_map\":{}}", "no tensor"},
        {"{\"metadata\":{\"total_size\":1}}", "no tensor"},
        {"{\"weight_map\":{\"\":\"model-1.safetensors\"}}", "name of a tensor"},
        {"{\"weight_map\":{\"a\":\"model-1.safetensors\"}}x", "line 1"},
        {"{\"metadata\":[[[[[[[[[]]]]]]]]],\"weight_map\":{}}", "deeper"},
        {"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"},
    };
    test_folder f;
    make_model(&f);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_folder_write_text(&f, INDEX, cases[i].text);
        refuse(&f, MICA_STATUS_FORMAT, cases[i].message);
    }
    assert_int_equal(unlink(test_folder_at(&f, INDEX)), 0);
    assert_int_equal(mkfifo(test_folder_at(&f, INDEX), 0600), 0);
    refuse(&f, MICA_STATUS_INVALID, "a pipe");
    test_folder_remove(&f);
}

static void test_nothing_there(void **state) {
    /* Without index and model.safetensors the error lists what the folder has. */
    (void)state;
    test_folder f;
    test_folder_make(&f);
    refuse(&f, MICA_STATUS_NOT_FOUND, "it has: nothing");
    test_folder_write_text(&f, "model.gguf", "GGUF");
    test_folder_write_text(&f, "pytorch_model.bin", "PK");
    refuse(&f, MICA_STATUS_NOT_FOUND, "it has: model.gguf, pytorch_model.bin");
    for (int i = 0; i < 100; i++) {
        char name[32];
        snprintf(name, sizeof name, "file-%03d.bin", i);
        test_folder_write_text(&f, name, "");
    }
    refuse(&f, MICA_STATUS_NOT_FOUND, "...");
    test_folder_remove(&f);
    refuse(&f, MICA_STATUS_NOT_FOUND, f.path);
}

static void test_links(void **state) {
    /* Links of a cache's snapshot to its blobs are followed; any other way out is refused. */
    (void)state;
    test_folder f, model;
    mica_error err;
    mica_checkpoint *c;
    char path[1024], to[1024];
    test_folder_make(&f);
    static const char *const folders[] = {"models--o--n", "models--o--n/blobs",
                                          "models--o--n/snapshots", "models--o--n/snapshots/c0",
                                          "plain"};
    for (int i = 0; i < 5; i++) assert_int_equal(mkdir(test_folder_at(&f, folders[i]), 0700), 0);
    write_shard(&f, "models--o--n/blobs/0123", "a", data_a);
    write_shard(&f, "outside.safetensors", "a", data_a);
    snprintf(model.path, sizeof model.path, "%.200s/models--o--n/snapshots/c0", f.path);
    assert_int_equal(symlink("../../blobs/0123", test_folder_at(&model, "model-1.safetensors")), 0);
    write_index(&model, "\"a\":\"model-1.safetensors\"");
    assert_ok(mica_checkpoint_open(mica_host_default(), model.path, NULL, &c, &err));
    assert_string_equal(mica_checkpoint_shard_name(c, 0), "model-1.safetensors");
    mica_checkpoint_close(&c);
    /* The name of the model, not that of the blob, is in errors. */
    test_folder_write_text(&f, "models--o--n/blobs/0123", "{}");
    refuse(&model, MICA_STATUS_FORMAT, "model-1.safetensors: 0123: rule 1");
    assert_int_equal(unlink(test_folder_at(&model, "model-1.safetensors")), 0);
    assert_int_equal(
        symlink("../../../outside.safetensors", test_folder_at(&model, "model-1.safetensors")), 0);
    refuse(&model, MICA_STATUS_FORMAT, "model-1.safetensors is a link that leaves");
    /* Outside of a cache the border is the folder itself. */
    snprintf(model.path, sizeof model.path, "%.200s/plain", f.path);
    snprintf(to, sizeof to, "%s", test_folder_at(&f, "outside.safetensors"));
    snprintf(path, sizeof path, "%s", test_folder_at(&model, "model.safetensors"));
    assert_int_equal(symlink(to, path), 0);
    refuse(&model, MICA_STATUS_FORMAT, "model.safetensors is a link that leaves");
    assert_int_equal(unlink(path), 0);
    /* A neighbour whose name begins alike is not inside. */
    assert_int_equal(mkdir(test_folder_at(&f, "plain-2"), 0700), 0);
    write_shard(&f, "plain-2/x.safetensors", "a", data_a);
    assert_int_equal(symlink("../plain-2/x.safetensors", path), 0);
    refuse(&model, MICA_STATUS_FORMAT, "model.safetensors is a link that leaves");
    assert_int_equal(unlink(path), 0);
    /* A folder called snapshots is no cache without the repository's name above it. */
    assert_int_equal(mkdir(test_folder_at(&model, "snapshots"), 0700), 0);
    assert_int_equal(mkdir(test_folder_at(&model, "snapshots/c0"), 0700), 0);
    write_shard(&model, "x.safetensors", "a", data_a);
    test_folder snapshot;
    snprintf(snapshot.path, sizeof snapshot.path, "%.200s/plain/snapshots/c0", f.path);
    assert_int_equal(symlink("../../x.safetensors", test_folder_at(&snapshot, "model.safetensors")),
                     0);
    refuse(&snapshot, MICA_STATUS_FORMAT, "model.safetensors is a link that leaves");
    write_shard(&model, "real.safetensors", "a", data_a);
    assert_int_equal(symlink("real.safetensors", path), 0);
    assert_ok(mica_checkpoint_open(mica_host_default(), model.path, NULL, &c, &err));
    mica_checkpoint_close(&c);
    test_folder_remove(&f);
}

static void test_changed_file(void **state) {
    /* Rule 19: a shard that grows or shrinks after open is reported. */
    (void)state;
    test_folder f;
    mica_error err;
    mica_checkpoint *c;
    make_model(&f);
    assert_ok(mica_checkpoint_open(mica_host_default(), f.path, NULL, &c, &err));
    assert_ok(mica_checkpoint_check_unchanged(c, &err));
    FILE *file = fopen(test_folder_at(&f, "model-2.safetensors"), "ab");
    assert_non_null(file);
    fputc(0, file);
    fclose(file);
    assert_int_equal(mica_checkpoint_check_unchanged(c, &err), MICA_STATUS_IO);
    const uint8_t *data;
    assert_int_equal(mica_checkpoint_map_tensor(c, mica_checkpoint_find(c, "b"), &data, &err),
                     MICA_STATUS_IO);
    mica_checkpoint_close(&c);
    test_folder_remove(&f);
}

/* ---- faults ---- */

static mica_status open_and_take(const mica_host *host, const char *path, bool use_pread) {
    mica_error err;
    mica_checkpoint *c;
    mica_checkpoint_data d;
    mica_checkpoint_options options = {.use_pread = use_pread};
    mica_status st = mica_checkpoint_open(host, path, &options, &c, &err);
    if (st == MICA_STATUS_OK) st = mica_checkpoint_take(c, "a", u8, 1, &three, &d, &err);
    mica_checkpoint_close(&c);
    return st;
}

static void test_no_memory(void **state) {
    /* Whichever allocation fails: a status, no leak, no crash. */
    (void)state;
    test_folder f;
    make_model(&f);
    for (int64_t fail_at = 1;; fail_at++) {
        mica_alloc_counter counter;
        mica_alloc_counter_init(&counter, mica_allocator_default());
        counter.fail_at = fail_at;
        mica_host host = {.allocator = &counter.allocator};
        mica_status st = open_and_take(&host, f.path, true);
        bool is_through = counter.n_calls < fail_at;
        assert_int_equal(st, is_through ? MICA_STATUS_OK : MICA_STATUS_OUT_OF_MEMORY);
        assert_int_equal(counter.n_live, 0);
        if (is_through) break;
        assert_true(fail_at < 1000);
    }
    test_folder_remove(&f);
}

typedef struct fault {
    int64_t calls;
    int64_t fail_at;
} fault;

static int fail_call(void *context, mica_io_call call, size_t *bytes) {
    fault *f = context;
    (void)call, (void)bytes;
    return ++f->calls == f->fail_at ? 5 /* EIO */ : 0;
}

static void test_io_errors(void **state) {
    /* Whichever system call fails: a status or a result, no leak, no crash. */
    (void)state;
    test_folder f;
    make_model(&f);
    for (int use_pread = 0; use_pread < 2; use_pread++)
        for (int64_t fail_at = 1;; fail_at++) {
            fault context = {0, fail_at};
            mica_io_hook hook = {&context, fail_call};
            mica_alloc_counter counter;
            mica_alloc_counter_init(&counter, mica_allocator_default());
            mica_host host = {.allocator = &counter.allocator, .io = &hook};
            mica_status st = open_and_take(&host, f.path, use_pread);
            assert_true(st == MICA_STATUS_IO || st == MICA_STATUS_OK);
            assert_int_equal(counter.n_live, 0);
            if (context.calls < fail_at) {
                assert_int_equal(st, MICA_STATUS_OK);
                break;
            }
            assert_true(fail_at < 1000);
        }
    test_folder_remove(&f);
}

static void test_demo_model(void **state) {
    /* The shipped model opens with few allocator calls, and its index holds. */
    (void)state;
    mica_error err;
    mica_checkpoint *c;
    mica_alloc_counter counter;
    mica_alloc_counter_init(&counter, mica_allocator_default());
    mica_host host = {.allocator = &counter.allocator};
    assert_ok(mica_checkpoint_open(&host, MICA_SOURCE_DIR "/models/demo", NULL, &c, &err));
    assert_int_equal(mica_checkpoint_count(c), 8 * 19 + 3);
    assert_int_equal(mica_checkpoint_bytes(c), 27676544);
    const mica_checkpoint_tensor *t = mica_checkpoint_find(c, "lm_head.weight");
    assert_non_null(t);
    assert_int_equal(t->dtype, MICA_SAFETENSORS_BF16);
    assert_int_equal(t->shape.dims[0], 8192);
    printf("demo: %lld allocator calls\n", (long long)counter.n_calls);
    assert_true(counter.n_calls < 500);
    mica_checkpoint_close(&c);
    assert_int_equal(counter.n_live, 0);
}

static void test_real_index(void **state) {
    /* The index of gpt-oss-20b: 459 tensors in three shards. */
    (void)state;
    mica_error err;
    mica_checkpoint_index index;
    char path[1024];
    if (!test_data_folder()) skip();
    snprintf(path, sizeof path, "%s/gpt-oss-20b/" INDEX, test_data_folder());
    size_t bytes;
    char *text = test_file_read(path, &bytes);
    assert_ok(mica_checkpoint_index_parse(mica_host_default(), INDEX, text, bytes, &index, &err));
    assert_int_equal(index.n_entries, 459);
    assert_int_equal(index.n_shards, 3);
    assert_true(index.has_total);
    assert_int_equal(index.total_bytes, 13761264768);
    size_t counts[3] = {0};
    for (size_t i = 0; i < index.n_entries; i++) counts[index.entries[i].shard]++;
    assert_int_equal(counts[0], 196);
    assert_int_equal(counts[1], 197);
    assert_int_equal(counts[2], 66);
    mica_checkpoint_index_deinit(&index);
    free(text);
}

static void test_golden_models(void **state) {
    /* Files of another writer open, and every tensor can be mapped. */
    (void)state;
    static const char *const names[] = {"gemma3_text", "gpt_oss", "llama",    "mistral",
                                        "qwen2",       "qwen3",   "qwen3_moe"};
    mica_error err;
    mica_checkpoint *c;
    char path[1024];
    if (!test_data_folder()) skip();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/golden/%s", test_data_folder(), names[i]);
        assert_ok(mica_checkpoint_open(mica_host_default(), path, NULL, &c, &err));
        assert_true(mica_checkpoint_count(c) > 20);
        for (size_t k = 0; k < mica_checkpoint_count(c); k++) {
            const mica_checkpoint_tensor *t = mica_checkpoint_at(c, k);
            const uint8_t *data;
            assert_ok(mica_checkpoint_map_tensor(c, t, &data, &err));
            uint8_t last;
            assert_ok(mica_checkpoint_read_tensor(c, t, t->bytes - 1, &last, 1, &err));
            assert_int_equal(data[t->bytes - 1], last);
        }
        mica_checkpoint_close(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shards),
        cmocka_unit_test(test_single_file),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_unsupported_type),
        cmocka_unit_test(test_expectations),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_index_and_shards_differ),
        cmocka_unit_test(test_bad_shards),
        cmocka_unit_test(test_shard_names),
        cmocka_unit_test(test_bad_indexes),
        cmocka_unit_test(test_nothing_there),
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_changed_file),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_io_errors),
        cmocka_unit_test(test_demo_model),
        cmocka_unit_test(test_real_index),
        cmocka_unit_test(test_golden_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
