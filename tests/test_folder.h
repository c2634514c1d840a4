/* A folder of its own for a test, and files in it. */
#pragma once
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>
#include "test.h"

typedef struct test_folder {
    char path[256];
} test_folder;

static inline void test_folder_make(test_folder *f) {
    const char *base = getenv("TMPDIR");
    snprintf(f->path, sizeof f->path, "%s/mica-test-XXXXXX", base && base[0] ? base : "/tmp");
    assert_non_null(mkdtemp(f->path));
}

static inline int test_folder_remove_one(const char *path, const struct stat *about, int kind,
                                         struct FTW *where) {
    (void)about, (void)kind, (void)where;
    return remove(path);
}

static inline void test_folder_remove(test_folder *f) {
    nftw(f->path, test_folder_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* "<folder>/<name>"; 4 of them may be in use at once. */
static inline const char *test_folder_at(const test_folder *f, const char *name) {
    static char paths[4][1024];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", f->path, name);
    return path;
}

static inline void test_folder_write(const test_folder *f, const char *name, const void *data,
                                     size_t bytes) {
    FILE *file = fopen(test_folder_at(f, name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static inline void test_folder_write_text(const test_folder *f, const char *name,
                                          const char *text) {
    test_folder_write(f, name, text, strlen(text));
}

/* The whole file; free it. */
static inline char *test_file_read(const char *path, size_t *bytes) {
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("cannot open %s", path);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long size = ftell(file);
    assert_true(size >= 0);
    rewind(file);
    char *data = malloc((size_t)size + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, (size_t)size, file), (size_t)size);
    data[size] = '\0';
    fclose(file);
    *bytes = (size_t)size;
    return data;
}
