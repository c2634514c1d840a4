/* The safetensors reader: the accept/reject vectors of tests/data/safetensors, truncation, damage,
 * limits, time and memory. */
#include "format/safetensors.h"
#include <sys/stat.h>
#include <time.h>
#include "test.h"
#include "test_folder.h"

#define VECTORS MICA_SOURCE_DIR "/tests/data/safetensors"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLOWER 10
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define SLOWER 10
#endif
#endif
#ifndef SLOWER
#define SLOWER 1
#endif

static const char small_header[] =
    "{\"__metadata__\":{\"format\":\"pt\"},"
    "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]},"
    "\"a\":{\"dtype\":\"U8\",\"shape\":[2,2],\"data_offsets\":[0,4]},"
    "\"z\":{\"dtype\":\"BF16\",\"shape\":[3,0],\"data_offsets\":[12,12]}}";
enum { SMALL_DATA_BYTES = 12 };

/* A whole file in memory; free it. */
static unsigned char *make_file(const char *header, size_t header_bytes, size_t data_bytes,
                                size_t *bytes) {
    *bytes = 8 + header_bytes + data_bytes;
    unsigned char *file = calloc(1, *bytes);
    assert_non_null(file);
    for (int i = 0; i < 8; i++) file[i] = (unsigned char)(header_bytes >> 8 * i);
    memcpy(file + 8, header, header_bytes);
    return file;
}

static mica_status parse(const void *file, size_t bytes, mica_error *err) {
    mica_safetensors *s;
    mica_status st =
        mica_safetensors_parse(mica_host_default(), "t.safetensors", file, bytes, bytes, &s, err);
    mica_safetensors_close(&s);
    return st;
}

/* ---- vectors ---- */

static void check_verdict(const char *name, const char *status, int rule, mica_status st,
                          const mica_error *err) {
    char cited[32];
    if (rule == 2)
        snprintf(cited, sizeof cited, "rules 2 to 5:");
    else
        snprintf(cited, sizeof cited, "rule %d:", rule);
    mica_status wanted = !strcmp(status, "ok")       ? MICA_STATUS_OK
                         : !strcmp(status, "format") ? MICA_STATUS_FORMAT
                         : !strcmp(status, "limit")  ? MICA_STATUS_LIMIT
                                                     : MICA_STATUS_INTERNAL;
    if (st != wanted)
        fail_msg("%s: %s, expected %s: %s", name, mica_status_name(st), status, err->message);
    if (rule > 0 && !strstr(err->message, cited))
        fail_msg("%s: does not cite \"%s\": %s", name, cited, err->message);
}

static void test_vectors(void **state) {
    /* Every vector of the manifest has its verdict, and a refusal cites the broken rule. */
    (void)state;
    char line[512], name[128], verdict[16], status[16], path[512];
    int rule, count = 0, accepted = 0;
    FILE *manifest = fopen(VECTORS "/MANIFEST", "r");
    assert_non_null(manifest);
    while (fgets(line, sizeof line, manifest)) {
        if (line[0] == '#') continue;
        assert_int_equal(sscanf(line, "%127s %15s %15s %d", name, verdict, status, &rule), 4);
        assert_int_equal(!strcmp(verdict, "accept"), !strcmp(status, "ok"));
        mica_error err = {0};
        mica_safetensors *s;
        snprintf(path, sizeof path, VECTORS "/%s", name);
        mica_status st = mica_safetensors_open(mica_host_default(), path, &s, &err);
        check_verdict(name, status, rule, st, &err);
        if (st == MICA_STATUS_OK) assert_non_null(s);
        mica_safetensors_close(&s);
        size_t bytes;
        char *data = test_file_read(path, &bytes);
        check_verdict(name, status, rule, parse(data, bytes, &err), &err);
        free(data);
        count++;
        accepted += st == MICA_STATUS_OK;
    }
    fclose(manifest);
    assert_true(count >= 100 && accepted >= 15);
}

static void test_lfs_pointer(void **state) {
    /* A Git LFS pointer gets a message that says so. */
    (void)state;
    mica_error err;
    mica_safetensors *s;
    assert_int_equal(
        mica_safetensors_open(mica_host_default(), VECTORS "/lfs_pointer.safetensors", &s, &err),
        MICA_STATUS_FORMAT);
    assert_non_null(strstr(err.message, "Git LFS pointer"));
    assert_null(s);
}

/* ---- what is read ---- */

static void test_contents(void **state) {
    /* Names, types, shapes, absolute offsets and metadata come out as they stand in the file. */
    (void)state;
    mica_error err;
    mica_safetensors *s;
    size_t bytes;
    unsigned char *file =
        make_file(small_header, sizeof small_header - 1, SMALL_DATA_BYTES, &bytes);
    assert_ok(mica_safetensors_parse(mica_host_default(), "dir/t.safetensors", file, bytes, bytes,
                                     &s, &err));
    uint64_t begin = 8 + sizeof small_header - 1;
    assert_int_equal(mica_safetensors_data_begin(s), begin);
    assert_string_equal(mica_safetensors_name(s), "t.safetensors");
    assert_null(mica_safetensors_file(s));
    assert_int_equal(mica_safetensors_count(s), 3);
    const mica_safetensors_tensor *t = mica_safetensors_at(s, 1);
    assert_string_equal(t->name, "b");
    assert_int_equal(t->dtype, MICA_SAFETENSORS_F32);
    assert_int_equal(t->shape.rank, 1);
    assert_int_equal(t->shape.dims[0], 2);
    assert_int_equal(t->begin, begin + 4);
    assert_int_equal(t->end, begin + 12);
    assert_ptr_equal(mica_safetensors_find(s, mica_slice_from("a")), mica_safetensors_at(s, 0));
    assert_ptr_equal(mica_safetensors_find(s, mica_slice_from("z")), mica_safetensors_at(s, 2));
    assert_null(mica_safetensors_find(s, mica_slice_from("")));
    assert_null(mica_safetensors_find(s, mica_slice_from("aa")));
    assert_null(mica_safetensors_find(s, mica_slice_from("__metadata__")));
    mica_slice value;
    assert_int_equal(mica_safetensors_metadata_count(s), 1);
    assert_true(mica_safetensors_metadata_find(s, "format", &value));
    assert_true(mica_slice_is(value, "pt"));
    assert_false(mica_safetensors_metadata_find(s, "a", &value));
    mica_safetensors_close(&s);
    assert_null(s);
    free(file);
}

static void test_dtypes(void **state) {
    /* The 22 names of the format and their sizes; names go to types and back. */
    (void)state;
    int bits = 0;
    for (int i = 1; i < MICA_SAFETENSORS_DTYPE_COUNT_; i++) {
        const char *name = mica_safetensors_dtype_name((mica_safetensors_dtype)i);
        assert_int_equal(mica_safetensors_dtype_from_name(mica_slice_from(name)), i);
        bits += mica_safetensors_dtype_bits((mica_safetensors_dtype)i);
        mica_dtype plain = mica_safetensors_dtype_plain((mica_safetensors_dtype)i);
        if (plain != MICA_DTYPE_NONE)
            assert_int_equal(mica_dtype_bytes(plain) * 8,
                             mica_safetensors_dtype_bits((mica_safetensors_dtype)i));
    }
    assert_int_equal(MICA_SAFETENSORS_DTYPE_COUNT_, 23);
    assert_int_equal(bits, 4 + 2 * 6 + 8 * 8 + 4 * 16 + 3 * 32 + 4 * 64);
    for (int i = 1; i < MICA_DTYPE_COUNT_; i++)
        assert_int_equal(mica_safetensors_dtype_plain(mica_safetensors_dtype_of((mica_dtype)i)), i);
    assert_int_equal(mica_safetensors_dtype_from_name(mica_slice_from("none")), 0);
}

/* ---- damage ---- */

static void test_truncation(void **state) {
    /* A file that is cut at any byte is refused, and so is one whose length field says less. */
    (void)state;
    mica_error err;
    size_t bytes;
    unsigned char *file =
        make_file(small_header, sizeof small_header - 1, SMALL_DATA_BYTES, &bytes);
    assert_ok(parse(file, bytes, &err));
    for (size_t cut = 0; cut < bytes; cut++) {
        unsigned char *copy = malloc(cut ? cut : 1); /* so that a read past it is seen */
        assert_non_null(copy);
        memcpy(copy, file, cut);
        assert_int_equal(parse(copy, cut, &err), MICA_STATUS_FORMAT);
        free(copy);
    }
    for (size_t length = 0; length < sizeof small_header - 1; length++) {
        for (int i = 0; i < 8; i++) file[i] = (unsigned char)(length >> 8 * i);
        assert_int_equal(parse(file, bytes, &err), MICA_STATUS_FORMAT);
    }
    free(file);
}

static void test_damage(void **state) {
    /* Random bytes in a header never break the promises on offsets, and nothing crashes. */
    (void)state;
    uint64_t seed = test_seed();
    size_t bytes;
    mica_error err;
    unsigned char *file =
        make_file(small_header, sizeof small_header - 1, SMALL_DATA_BYTES, &bytes);
    unsigned char *copy = malloc(bytes);
    assert_non_null(copy);
    for (int round = 0; round < 20000; round++) {
        mica_safetensors *s;
        memcpy(copy, file, bytes);
        for (uint64_t n = 1 + test_random(&seed) % 3; n > 0; n--)
            copy[8 + test_random(&seed) % (bytes - 8)] = (unsigned char)test_random(&seed);
        if (mica_safetensors_parse(mica_host_default(), "t", copy, bytes, bytes, &s, &err))
            continue;
        uint64_t at = mica_safetensors_data_begin(s);
        for (size_t i = 0; i < mica_safetensors_count(s); i++) {
            assert_int_equal(mica_safetensors_at(s, i)->begin, at);
            at = mica_safetensors_at(s, i)->end;
        }
        assert_int_equal(at, bytes);
        mica_safetensors_close(&s);
    }
    free(copy);
    free(file);
}

static void test_wrong_files(void **state) {
    /* Rule 19: a pipe does not hang, and folders, devices and missing files are named as such. */
    (void)state;
    test_folder folder;
    mica_error err;
    mica_safetensors *s;
    test_folder_make(&folder);
    const char *pipe = test_folder_at(&folder, "pipe.safetensors");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_int_equal(mica_safetensors_open(mica_host_default(), pipe, &s, &err),
                     MICA_STATUS_INVALID);
    assert_non_null(strstr(err.message, "a pipe"));
    assert_int_equal(mica_safetensors_open(mica_host_default(), folder.path, &s, &err),
                     MICA_STATUS_INVALID);
    assert_non_null(strstr(err.message, "a folder"));
    assert_int_equal(mica_safetensors_open(mica_host_default(), "/dev/zero", &s, &err),
                     MICA_STATUS_INVALID);
    assert_int_equal(mica_safetensors_open(mica_host_default(),
                                           test_folder_at(&folder, "none.safetensors"), &s, &err),
                     MICA_STATUS_NOT_FOUND);
    test_folder_remove(&folder);
}

static void test_prefix(void **state) {
    /* parse wants the whole header, and no more than the file has. */
    (void)state;
    mica_error err;
    mica_safetensors *s;
    size_t bytes;
    unsigned char *file =
        make_file(small_header, sizeof small_header - 1, SMALL_DATA_BYTES, &bytes);
    const mica_host *host = mica_host_default();
    size_t header = bytes - SMALL_DATA_BYTES;
    assert_ok(mica_safetensors_parse(host, "t", file, header, bytes, &s, &err));
    mica_safetensors_close(&s);
    assert_int_equal(mica_safetensors_parse(host, "t", file, header - 1, bytes, &s, &err),
                     MICA_STATUS_INVALID);
    assert_int_equal(mica_safetensors_parse(host, "t", file, 7, bytes, &s, &err),
                     MICA_STATUS_INVALID);
    assert_int_equal(mica_safetensors_parse(host, "t", file, bytes, bytes - 1, &s, &err),
                     MICA_STATUS_INVALID);
    free(file);
}

/* ---- limits ---- */

/* Of the processor: other programs of the machine do not count. */
static double cpu_seconds(void) { return (double)clock() / CLOCKS_PER_SEC; }

static void test_metadata_limit(void **state) {
    /* Rule 6: 1 MiB of metadata is read, a byte more is not. */
    (void)state;
    mica_error err;
    for (size_t extra = 0; extra < 2; extra++) {
        size_t value = MICA_SAFETENSORS_METADATA_BYTES_MAX - 3 + extra, bytes; /* "a", two NULs */
        char *header = malloc(value + 64);
        assert_non_null(header);
        int n = sprintf(header, "{\"__metadata__\":{\"a\":\"");
        memset(header + n, 'x', value);
        strcpy(header + n + value, "\"}}");
        unsigned char *file = make_file(header, strlen(header), 0, &bytes);
        mica_status st = parse(file, bytes, &err);
        assert_int_equal(st, extra ? MICA_STATUS_LIMIT : MICA_STATUS_OK);
        if (extra) assert_non_null(strstr(err.message, "rule 6"));
        free(file);
        free(header);
    }
}

/* {"00000000": {...}, ...}: zero-size tensors. */
static unsigned char *make_many(size_t count, size_t *bytes) {
    static const char one[] = "\"%zx\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},";
    char *header = malloc(count * 80 + 2);
    assert_non_null(header);
    char *at = header;
    *at++ = '{';
    for (size_t i = 0; i < count; i++) at += sprintf(at, one, i * 2654435761u % 4294967296u);
    at[-1] = '}';
    unsigned char *file = make_file(header, (size_t)(at - header), 0, bytes);
    free(header);
    return file;
}

static void test_many_tensors(void **state) {
    /* Rule 17: 100,000 tensors take less than half a second and ten times the header's memory. */
    (void)state;
    mica_error err;
    mica_safetensors *s;
    size_t bytes;
    mica_alloc_counter counter;
    mica_alloc_counter_init(&counter, mica_allocator_default());
    mica_host host = {.allocator = &counter.allocator};
    unsigned char *file = make_many(MICA_SAFETENSORS_TENSORS_MAX, &bytes);
    double begin = cpu_seconds();
    assert_ok(mica_safetensors_parse(&host, "t", file, bytes, bytes, &s, &err));
    double seconds = cpu_seconds() - begin;
    printf("100000 tensors: %.3f s, header %.1f MB, peak %.1f MB, %lld allocator calls\n", seconds,
           (double)bytes / 1e6, (double)counter.peak_bytes / 1e6, (long long)counter.n_calls);
    assert_int_equal(mica_safetensors_count(s), MICA_SAFETENSORS_TENSORS_MAX);
    assert_true(seconds < 0.5 * SLOWER);
    for (size_t i = 0; i < mica_safetensors_count(s); i++) { /* their order is none of names */
        const mica_safetensors_tensor *t = mica_safetensors_at(s, i);
        assert_ptr_equal(mica_safetensors_find(s, mica_slice_of(t->name, t->name_bytes)), t);
    }
    assert_true((uint64_t)counter.peak_bytes + bytes <= 10 * bytes);
    assert_true(counter.n_calls < 200);
    mica_safetensors_close(&s);
    assert_int_equal(counter.n_live, 0);
    free(file);
}

static void test_too_many_tensors(void **state) {
    /* Rule 17: a million tensors are refused at the first one past the limit. */
    (void)state;
    mica_error err;
    size_t bytes;
    unsigned char *file = make_many(1000000, &bytes);
    double begin = cpu_seconds();
    assert_int_equal(parse(file, bytes, &err), MICA_STATUS_LIMIT);
    double seconds = cpu_seconds() - begin;
    printf("1000000 tensors: refused in %.3f s: %s\n", seconds, err.message);
    assert_non_null(strstr(err.message, "rule 17"));
    assert_true(seconds < 0.5 * SLOWER);
    free(file);
}

static void test_no_memory(void **state) {
    /* Whichever allocation fails: a status, no leak, no crash. */
    (void)state;
    test_folder folder;
    size_t bytes;
    test_folder_make(&folder);
    unsigned char *file =
        make_file(small_header, sizeof small_header - 1, SMALL_DATA_BYTES, &bytes);
    test_folder_write(&folder, "a.safetensors", file, bytes);
    free(file);
    for (int64_t fail_at = 1;; fail_at++) {
        mica_error err = {0};
        mica_safetensors *s;
        mica_alloc_counter counter;
        mica_alloc_counter_init(&counter, mica_allocator_default());
        counter.fail_at = fail_at;
        mica_host host = {.allocator = &counter.allocator};
        mica_status st =
            mica_safetensors_open(&host, test_folder_at(&folder, "a.safetensors"), &s, &err);
        bool is_through = counter.n_calls < fail_at;
        assert_int_equal(st, is_through ? MICA_STATUS_OK : MICA_STATUS_OUT_OF_MEMORY);
        mica_safetensors_close(&s);
        assert_int_equal(counter.n_live, 0);
        if (is_through) break;
        assert_true(fail_at < 1000);
    }
    test_folder_remove(&folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),          cmocka_unit_test(test_lfs_pointer),
        cmocka_unit_test(test_contents),         cmocka_unit_test(test_dtypes),
        cmocka_unit_test(test_truncation),       cmocka_unit_test(test_damage),
        cmocka_unit_test(test_wrong_files),      cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_metadata_limit),   cmocka_unit_test(test_many_tensors),
        cmocka_unit_test(test_too_many_tensors), cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
