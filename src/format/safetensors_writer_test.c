/* The safetensors writer, read back by the strict reader. */
#include "format/safetensors_writer.h"
#include "base/thread_pool.h"
#include "test.h"
#include "test_folder.h"

static const mica_shape matrix = {2, {3, 5}};
static const mica_shape empty = {2, {0, 5}};
static const mica_shape scalar = {0, {0}};

static void test_round_trip(void **state) {
    /* What is written comes back, each tensor aligned to its elements and the data to 64 bytes. */
    (void)state;
    test_folder folder;
    mica_error err;
    mica_safetensors *s;
    uint8_t bytes[15], read[15];
    float floats[15];
    uint16_t one = 0x3F80;
    for (int i = 0; i < 15; i++) {
        bytes[i] = (uint8_t)i;
        floats[i] = (float)i / 3;
    }
    mica_safetensors_item items[] = {
        {"x.bytes", MICA_SAFETENSORS_U8, matrix, bytes},
        {"h\xC3\xA4 \"quoted\" \\", MICA_SAFETENSORS_F32, matrix, floats},
        {"none", MICA_SAFETENSORS_F32, empty, NULL},
        {"one", MICA_SAFETENSORS_BF16, scalar, &one},
    };
    test_folder_make(&folder);
    const char *path = test_folder_at(&folder, "a.safetensors");
    assert_ok(mica_safetensors_write_file(mica_host_default(), path, items, 4, &err));
    assert_ok(mica_safetensors_open(mica_host_default(), path, &s, &err));
    assert_int_equal(mica_safetensors_count(s), 4);
    assert_int_equal(mica_safetensors_data_begin(s) % 64, 0);
    for (size_t i = 0; i < 4; i++) {
        const mica_safetensors_tensor *t = mica_safetensors_find(s, mica_slice_from(items[i].name));
        assert_non_null(t);
        assert_int_equal(t->dtype, items[i].dtype);
        assert_true(mica_shape_equal(&t->shape, &items[i].shape));
        assert_int_equal(t->begin % ((uint64_t)mica_safetensors_dtype_bits(t->dtype) / 8), 0);
    }
    const mica_safetensors_tensor *t = mica_safetensors_find(s, mica_slice_from("x.bytes"));
    assert_ok(mica_file_read(mica_safetensors_file(s), t->begin, read, sizeof read, &err));
    assert_memory_equal(read, bytes, sizeof read);
    mica_slice format;
    assert_true(mica_safetensors_metadata_find(s, "format", &format));
    assert_true(mica_slice_is(format, "pt"));
    mica_safetensors_close(&s);
    test_folder_remove(&folder);
}

static void test_same_bytes(void **state) {
    /* The order of the calls does not show in the file. */
    (void)state;
    test_folder folder;
    mica_error err;
    uint8_t data[15] = {1, 2, 3};
    mica_safetensors_item items[] = {{"b", MICA_SAFETENSORS_U8, matrix, data},
                                     {"a", MICA_SAFETENSORS_U8, matrix, data},
                                     {"c", MICA_SAFETENSORS_U8, scalar, data}};
    mica_safetensors_item turned[] = {items[2], items[0], items[1]};
    test_folder_make(&folder);
    const char *x = test_folder_at(&folder, "x.safetensors");
    const char *y = test_folder_at(&folder, "y.safetensors");
    assert_ok(mica_safetensors_write_file(mica_host_default(), x, items, 3, &err));
    assert_ok(mica_safetensors_write_file(mica_host_default(), y, turned, 3, &err));
    size_t x_bytes, y_bytes;
    char *a = test_file_read(x, &x_bytes), *b = test_file_read(y, &y_bytes);
    assert_int_equal(x_bytes, y_bytes);
    assert_memory_equal(a, b, x_bytes);
    free(a);
    free(b);
    test_folder_remove(&folder);
}

enum { PARTS = 64, PART_BYTES = 1000 };

typedef struct parallel_write {
    mica_safetensors_writer *writer;
    mica_status status[8];
} parallel_write;

static void write_parts(void *context, int worker, int n_workers) {
    parallel_write *p = context;
    uint8_t part[PART_BYTES];
    for (int i = worker; i < PARTS; i += n_workers) {
        memset(part, i, sizeof part);
        mica_status st = mica_safetensors_writer_write(p->writer, "big", (uint64_t)i * PART_BYTES,
                                                       part, sizeof part, NULL);
        if (st != MICA_STATUS_OK) p->status[worker] = st;
    }
}

static void test_threads(void **state) {
    /* Parts of a tensor may be written by several threads in any order. */
    (void)state;
    test_folder folder;
    mica_error err;
    mica_thread_pool *pool;
    parallel_write p = {0};
    mica_shape shape = {2, {PARTS, PART_BYTES}};
    test_folder_make(&folder);
    const char *path = test_folder_at(&folder, "a.safetensors");
    assert_ok(mica_thread_pool_create(mica_host_default(), 8, &pool, &err));
    assert_ok(mica_safetensors_writer_create(mica_host_default(), &p.writer, &err));
    assert_ok(mica_safetensors_writer_add(p.writer, "big", MICA_SAFETENSORS_I8, &shape, &err));
    assert_ok(mica_safetensors_writer_open(p.writer, path, &err));
    mica_thread_pool_run(pool, write_parts, &p);
    for (int i = 0; i < 8; i++) assert_int_equal(p.status[i], MICA_STATUS_OK);
    assert_int_not_equal(access(path, F_OK), 0); /* not before commit */
    uint64_t file_bytes = mica_safetensors_writer_file_bytes(p.writer);
    assert_ok(mica_safetensors_writer_commit(p.writer, &err));
    mica_safetensors_writer_close(&p.writer);
    mica_thread_pool_destroy(&pool);
    size_t bytes;
    char *data = test_file_read(path, &bytes);
    assert_int_equal(bytes, file_bytes);
    for (size_t i = 0; i < (size_t)PARTS * PART_BYTES; i++)
        assert_int_equal(data[bytes - (size_t)PARTS * PART_BYTES + i], i / PART_BYTES);
    free(data);
    test_folder_remove(&folder);
}

static void test_refusals(void **state) {
    /* Nothing is declared, written or committed that the reader would not take. */
    (void)state;
    test_folder folder;
    mica_error err;
    mica_safetensors_writer *w;
    uint8_t data[16] = {0};
    mica_shape negative = {1, {-1}}, deep = {9, {0}}, odd = {1, {3}};
    test_folder_make(&folder);
    const char *path = test_folder_at(&folder, "a.safetensors");
    assert_ok(mica_safetensors_writer_create(mica_host_default(), &w, &err));
    const mica_status invalid = MICA_STATUS_INVALID;
    assert_int_equal(mica_safetensors_writer_add(w, "", MICA_SAFETENSORS_U8, &matrix, &err),
                     invalid);
    assert_int_equal(mica_safetensors_writer_add(w, "a\n", MICA_SAFETENSORS_U8, &matrix, &err),
                     invalid);
    assert_int_equal(mica_safetensors_writer_add(w, "\xFF", MICA_SAFETENSORS_U8, &matrix, &err),
                     invalid);
    assert_int_equal(
        mica_safetensors_writer_add(w, "__metadata__", MICA_SAFETENSORS_U8, &matrix, &err),
        invalid);
    assert_int_equal(mica_safetensors_writer_add(w, "a", MICA_SAFETENSORS_NONE, &matrix, &err),
                     invalid);
    assert_int_equal(mica_safetensors_writer_add(w, "a", MICA_SAFETENSORS_U8, &negative, &err),
                     invalid);
    assert_int_equal(mica_safetensors_writer_add(w, "a", MICA_SAFETENSORS_U8, &deep, &err),
                     invalid);
    assert_int_equal(mica_safetensors_writer_add(w, "a", MICA_SAFETENSORS_F4, &odd, &err), invalid);
    assert_ok(mica_safetensors_writer_add(w, "a", MICA_SAFETENSORS_U8, &matrix, &err));
    assert_int_equal(mica_safetensors_writer_write(w, "a", 0, data, 15, &err), invalid);
    assert_ok(mica_safetensors_writer_open(w, path, &err));
    assert_int_equal(mica_safetensors_writer_write(w, "b", 0, data, 15, &err),
                     MICA_STATUS_NOT_FOUND);
    assert_int_equal(mica_safetensors_writer_write(w, "a", 0, data, 16, &err), invalid);
    assert_int_equal(mica_safetensors_writer_write(w, "a", UINT64_MAX, data, 1, &err), invalid);
    assert_int_equal(mica_safetensors_writer_commit(w, &err), invalid); /* nothing is written yet */
    mica_safetensors_writer_close(&w);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_ok(mica_safetensors_writer_create(mica_host_default(), &w, &err));
    assert_ok(mica_safetensors_writer_add(w, "a", MICA_SAFETENSORS_U8, &matrix, &err));
    assert_ok(mica_safetensors_writer_add(w, "a", MICA_SAFETENSORS_U8, &matrix, &err));
    assert_int_equal(mica_safetensors_writer_open(w, path, &err), invalid);
    mica_safetensors_writer_close(&w);
    assert_ok(mica_safetensors_writer_create(mica_host_default(), &w, &err));
    assert_ok(mica_safetensors_writer_add_metadata(w, "k", "1", &err));
    assert_ok(mica_safetensors_writer_add_metadata(w, "k", "2", &err));
    assert_int_equal(mica_safetensors_writer_open(w, path, &err), MICA_STATUS_FORMAT);
    mica_safetensors_writer_close(&w);
    rmdir(folder.path); /* succeeds only when no file was left */
    assert_int_not_equal(access(folder.path, F_OK), 0);
}

static void test_no_memory(void **state) {
    /* Whichever allocation fails: a status, no leak, no file. */
    (void)state;
    uint8_t data[15] = {0};
    mica_safetensors_item items[] = {{"b", MICA_SAFETENSORS_U8, matrix, data},
                                     {"a", MICA_SAFETENSORS_U8, matrix, data}};
    for (int64_t fail_at = 1;; fail_at++) {
        test_folder folder;
        mica_error err = {0};
        mica_alloc_counter counter;
        test_folder_make(&folder);
        mica_alloc_counter_init(&counter, mica_allocator_default());
        counter.fail_at = fail_at;
        mica_host host = {.allocator = &counter.allocator};
        const char *path = test_folder_at(&folder, "a.safetensors");
        mica_status st = mica_safetensors_write_file(&host, path, items, 2, &err);
        bool is_through = counter.n_calls < fail_at;
        assert_int_equal(st, is_through ? MICA_STATUS_OK : MICA_STATUS_OUT_OF_MEMORY);
        assert_int_equal(access(path, F_OK) == 0, is_through);
        assert_int_equal(counter.n_live, 0);
        test_folder_remove(&folder);
        if (is_through) break;
        assert_true(fail_at < 1000);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_threads),    cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
