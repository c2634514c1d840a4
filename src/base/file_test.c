/* Files: only regular ones open, every system call may fail or be shortened, writes are atomic. */
#include "base/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "test.h"

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/mica-file-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static void remove_tree(const char *path) {
    DIR *listing = opendir(path);
    for (struct dirent *entry; listing && (entry = readdir(listing));) {
        char below[MICA_PATH_BYTES_MAX];
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        snprintf(below, sizeof below, "%s/%s", path, entry->d_name);
        if (unlink(below) != 0) remove_tree(below);
    }
    if (listing) closedir(listing);
    rmdir(path);
}

static int remove_folder(void **state) {
    (void)state;
    remove_tree(folder);
    return 0;
}

static const char *in_folder(const char *name) {
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static const char *write_plain(const char *name, const void *data, size_t bytes) {
    const char *path = in_folder(name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_true(fwrite(data, 1, bytes, f) == bytes);
    assert_int_equal(fclose(f), 0);
    return path;
}

/* A hook that fails the n-th call, and lets reads and writes have few bytes only. */
typedef struct fault {
    int fail_at; /* 1-based; 0 = never */
    int n_calls;
    int error;
    mica_io_call failed_call;
    size_t bytes_max; /* 0 = no limit */
} fault;

static int before_call(void *context, mica_io_call call, size_t *bytes) {
    fault *f = context;
    if (f->bytes_max && (call == MICA_IO_READ || call == MICA_IO_WRITE) && *bytes > f->bytes_max)
        *bytes = f->bytes_max;
    if (++f->n_calls != f->fail_at) return 0;
    f->failed_call = call;
    return f->error;
}

/* A file gives its size, path and bytes, by read and by map, and no byte past its end. */
static void reads_and_maps(void **state) {
    (void)state;
    char data[10000], back[10000];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (char)(i * 7);
    const char *path = write_plain("data", data, sizeof data);
    mica_error err = {0};
    mica_file *file = NULL;
    int lowest = open("/dev/null", O_RDONLY); /* the number that the next open takes */
    close(lowest);
    assert_ok(mica_file_open(mica_host_default(), path, &file, &err));
    assert_true((fcntl(lowest, F_GETFD) & FD_CLOEXEC) != 0);
    assert_true(mica_file_bytes(file) == sizeof data);
    assert_string_equal(mica_file_path(file), path);
    assert_ok(mica_file_read(file, 0, back, sizeof back, &err));
    assert_memory_equal(back, data, sizeof data);
    assert_ok(mica_file_read(file, 9990, back, 10, &err));
    assert_memory_equal(back, data + 9990, 10);
    assert_ok(mica_file_read(file, 10000, back, 0, &err));
    assert_int_equal(mica_file_read(file, 9995, back, 10, &err), MICA_STATUS_IO);
    assert_non_null(strstr(err.message, "5 bytes at offset 9995, expected 10"));
    assert_int_equal(mica_file_read(file, UINT64_MAX, back, 10, &err), MICA_STATUS_INVALID);
    assert_int_equal(mica_file_read(file, (uint64_t)INT64_MAX, back, 10, &err),
                     MICA_STATUS_INVALID);
    const uint8_t *view = NULL, *again = NULL;
    mica_file_advise_willneed(file, 0, 10000); /* not mapped: nothing to do */
    assert_ok(mica_file_map(file, &view, &err));
    assert_memory_equal(view, data, sizeof data);
    assert_ok(mica_file_map(file, &again, &err));
    assert_ptr_equal(view, again);
    mica_file_advise_willneed(file, 5000, UINT64_MAX);
    mica_file_advise_dontneed(file, 0, 10000);
    mica_file_advise_dontneed(file, 20000, 1);
    mica_file_advise_dontneed(file, 100, 200);
    assert_memory_equal(view, data, sizeof data);
    assert_true(mica_file_is_local(file));
    mica_file_close(&file);
    mica_file_close(&file);
    assert_null(file);
}

/* An empty file maps to a pointer of no bytes. */
static void empty_file_maps(void **state) {
    (void)state;
    mica_error err = {0};
    mica_file *file = NULL;
    const uint8_t *view = NULL;
    assert_ok(mica_file_open(mica_host_default(), write_plain("empty", "", 0), &file, &err));
    assert_ok(mica_file_map(file, &view, &err));
    assert_non_null(view);
    mica_file_close(&file);
    char *text = NULL;
    size_t bytes = 1;
    assert_ok(mica_file_read_all(mica_host_default(), in_folder("empty"), 0, &text, &bytes, &err));
    assert_true(bytes == 0 && text[0] == '\0');
    mica_free(mica_allocator_default(), text);
}

/* Pipes, folders, devices, sockets and missing files are errors that say which, without hanging;
 * links to files are followed. */
static void only_regular_files(void **state) {
    (void)state;
    mica_error err = {0};
    mica_file *file = NULL;
    const mica_host *host = mica_host_default();
    assert_int_equal(mkfifo(in_folder("pipe"), 0600), 0);
    assert_int_equal(mica_file_open(host, in_folder("pipe"), &file, &err), MICA_STATUS_INVALID);
    assert_non_null(strstr(err.message, "is a pipe, expected a regular file"));
    assert_int_equal(mica_file_open(host, folder, &file, &err), MICA_STATUS_INVALID);
    assert_non_null(strstr(err.message, "is a folder"));
    assert_int_equal(mica_file_open(host, "/dev/null", &file, &err), MICA_STATUS_INVALID);
    assert_non_null(strstr(err.message, "is a device"));
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", folder);
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(s, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(mica_file_open(host, in_folder("socket"), &file, &err), MICA_STATUS_IO);
    close(s);
    assert_int_equal(mica_file_open(host, in_folder("none"), &file, &err), MICA_STATUS_NOT_FOUND);
    assert_non_null(strstr(err.message, "none: No such file"));
    assert_int_equal(mica_file_open(host, "", &file, &err), MICA_STATUS_NOT_FOUND);
    write_plain("target", "abc", 3);
    assert_int_equal(symlink("target", in_folder("link")), 0);
    assert_ok(mica_file_open(host, in_folder("link"), &file, &err));
    assert_true(mica_file_bytes(file) == 3);
    mica_file_close(&file);
    assert_int_equal(symlink("loop", in_folder("loop")), 0);
    assert_int_equal(mica_file_open(host, in_folder("loop"), &file, &err), MICA_STATUS_IO);
    assert_null(file);
}

/* A file that is cut or rewritten while it is open is noticed, also before it is mapped. */
static void changes_are_noticed(void **state) {
    (void)state;
    mica_error err = {0};
    mica_file *file = NULL;
    const uint8_t *view = NULL;
    const char *path = write_plain("changing", "0123456789", 10);
    assert_ok(mica_file_open(mica_host_default(), path, &file, &err));
    assert_ok(mica_file_check_unchanged(file, &err));
    assert_int_equal(truncate(path, 5), 0);
    assert_int_equal(mica_file_check_unchanged(file, &err), MICA_STATUS_IO);
    assert_non_null(strstr(err.message, "5 bytes, expected 10"));
    assert_int_equal(mica_file_map(file, &view, &err), MICA_STATUS_IO);
    assert_int_equal(truncate(path, 10), 0);
    struct timespec times[2] = {{1000, 0}, {1000, 0}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    assert_int_equal(mica_file_check_unchanged(file, &err), MICA_STATUS_IO);
    assert_non_null(strstr(err.message, "written to"));
    mica_file_close(&file);
}

/* read_all keeps its limit and names Git LFS pointers. */
static void read_all_checks(void **state) {
    (void)state;
    mica_error err = {0};
    char *text = NULL;
    size_t bytes = 0;
    const mica_host *host = mica_host_default();
    const char *path = write_plain("ten", "0123456789", 10);
    assert_ok(mica_file_read_all(host, path, 10, &text, &bytes, &err));
    assert_string_equal(text, "0123456789");
    assert_true(bytes == 10);
    mica_free(host->allocator, text);
    assert_int_equal(mica_file_read_all(host, path, 9, &text, &bytes, &err), MICA_STATUS_LIMIT);
    assert_null(text);
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:00\n";
    path = write_plain("lfs.json", pointer, sizeof pointer - 1);
    assert_int_equal(mica_file_read_all(host, path, 1000, &text, &bytes, &err), MICA_STATUS_FORMAT);
    assert_non_null(
        strstr(err.message, "lfs.json is a Git LFS pointer, not the data: run git lfs pull"));
    assert_true(mica_is_lfs_pointer(pointer, 23));
    assert_false(mica_is_lfs_pointer(pointer, 22));
    assert_false(mica_is_lfs_pointer("{}", 2));
}

static mica_status read_everything(const mica_host *host, const char *path, mica_error *err) {
    mica_file *file = NULL;
    char *text = NULL;
    size_t bytes;
    const uint8_t *view = NULL;
    mica_status st = mica_file_read_all(host, path, 100, &text, &bytes, err);
    if (st == MICA_STATUS_OK && strcmp(text, "0123456789abcdef") != 0) st = MICA_STATUS_INTERNAL;
    mica_free(host->allocator, text);
    if (st == MICA_STATUS_OK) st = mica_file_open(host, path, &file, err);
    if (st == MICA_STATUS_OK) st = mica_file_map(file, &view, err);
    if (st == MICA_STATUS_OK && memcmp(view, "0123456789abcdef", 16) != 0)
        st = MICA_STATUS_INTERNAL;
    mica_file_close(&file);
    char *names = NULL;
    size_t count;
    if (st == MICA_STATUS_OK) st = mica_path_list(host, folder, &names, &count, err);
    mica_free(host->allocator, names);
    return st;
}

/* Each system call of reading may fail: the error comes back with its text and nothing leaks.
 * EINTR is retried, shortened reads are continued. */
static void reading_survives_faults(void **state) {
    (void)state;
    const char *path = write_plain("faulty", "0123456789abcdef", 16);
    for (int interrupted = 0; interrupted < 2; interrupted++) {
        unsigned kinds = 0;
        for (int n = 1;; n++) {
            mica_alloc_counter c;
            mica_alloc_counter_init(&c, mica_allocator_default());
            fault f = {.fail_at = n, .error = interrupted ? EINTR : EIO, .bytes_max = 3};
            mica_io_hook hook = {&f, before_call};
            mica_host host = {.allocator = &c.allocator, .io = &hook};
            mica_error err = {0};
            mica_status st = read_everything(&host, path, &err);
            assert_true(c.n_live == 0);
            if (f.n_calls < n) {
                assert_ok(st);
                break;
            }
            kinds |= 1u << f.failed_call;
            bool is_retried = interrupted && f.failed_call != MICA_IO_STAT &&
                              f.failed_call != MICA_IO_MAP && n > 0;
            if (interrupted && f.failed_call == MICA_IO_LIST) continue; /* opendir is not retried */
            assert_int_equal(st, is_retried ? MICA_STATUS_OK : MICA_STATUS_IO);
            if (!is_retried) assert_true(strlen(err.message) > 20);
        }
        assert_int_equal(kinds, 1u << MICA_IO_OPEN | 1u << MICA_IO_STAT | 1u << MICA_IO_READ |
                                    1u << MICA_IO_MAP | 1u << MICA_IO_LIST);
    }
}

/* Each allocation of reading may fail as well. */
static void reading_survives_no_memory(void **state) {
    (void)state;
    const char *path = write_plain("memory", "0123456789abcdef", 16);
    for (int64_t n = 1;; n++) {
        mica_alloc_counter c;
        mica_alloc_counter_init(&c, mica_allocator_default());
        c.fail_at = n;
        mica_host host = {.allocator = &c.allocator};
        mica_error err = {0};
        mica_status st = read_everything(&host, path, &err);
        assert_true(c.n_live == 0);
        if (c.n_calls < n) {
            assert_ok(st);
            break;
        }
        assert_int_equal(st, MICA_STATUS_OUT_OF_MEMORY);
    }
}

static size_t entries_in_folder(const char *with) {
    mica_error err = {0};
    char *names = NULL;
    size_t count = 0, found = 0;
    assert_ok(mica_path_list(mica_host_default(), folder, &names, &count, &err));
    const char *name = names;
    for (size_t i = 0; i < count; i++, name += strlen(name) + 1)
        found += strstr(name, with) != NULL;
    mica_free(mica_allocator_default(), names);
    return found;
}

static void assert_content(const char *path, const char *expected) {
    mica_error err = {0};
    char *text = NULL;
    size_t bytes;
    assert_ok(mica_file_read_all(mica_host_default(), path, 1000, &text, &bytes, &err));
    assert_string_equal(text, expected);
    mica_free(mica_allocator_default(), text);
}

static mica_status write_new(const mica_host *host, const char *path, mica_error *err) {
    mica_file_writer *w = NULL;
    mica_status st = mica_file_writer_open(host, path, &w, err);
    if (st == MICA_STATUS_OK) st = mica_file_writer_append(w, "new ", 4, err);
    if (st == MICA_STATUS_OK) st = mica_file_writer_write_at(w, 8, "tail", 4, err);
    if (st == MICA_STATUS_OK) st = mica_file_writer_append(w, "text", 4, err);
    if (st == MICA_STATUS_OK) st = mica_file_writer_commit(w, err);
    mica_file_writer_close(&w);
    return st;
}

/* Until commit the old file stands; after it the new one; without it nothing is left. */
static void writer_is_atomic(void **state) {
    (void)state;
    mica_error err = {0};
    const char *path = write_plain("out", "old", 3);
    mica_file_writer *w = NULL, *other = NULL;
    assert_ok(mica_file_writer_open(mica_host_default(), path, &w, &err));
    assert_ok(mica_file_writer_append(w, "half", 4, &err));
    assert_content(path, "old");
    assert_true(entries_in_folder("out.tmp-") == 1);
    /* A second writer, or the left-over of a crash, does not stand in the way. */
    assert_ok(mica_file_writer_open(mica_host_default(), path, &other, &err));
    assert_true(entries_in_folder("out.tmp-") == 2);
    mica_file_writer_close(&other);
    mica_file_writer_close(&w);
    mica_file_writer_close(&w);
    assert_content(path, "old");
    assert_true(entries_in_folder("out.tmp-") == 0);
    assert_ok(write_new(mica_host_default(), path, &err));
    assert_content(path, "new texttail");
    assert_true(entries_in_folder("out.tmp-") == 0);
    assert_ok(mica_file_writer_open(mica_host_default(), path, &w, &err));
    assert_ok(mica_file_writer_commit(w, &err));
    assert_int_equal(mica_file_writer_commit(w, &err), MICA_STATUS_INVALID);
    assert_int_equal(mica_file_writer_append(w, "x", 1, &err), MICA_STATUS_INVALID);
    mica_file_writer_close(&w);
    assert_content(path, "");
    assert_int_equal(write_new(mica_host_default(), in_folder("no/such"), &err),
                     MICA_STATUS_NOT_FOUND);
    assert_int_equal(write_new(mica_host_default(), folder, &err), MICA_STATUS_IO);
    char longer[MICA_PATH_BYTES_MAX + 10];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(write_new(mica_host_default(), longer, &err), MICA_STATUS_IO);
    longer[MICA_PATH_BYTES_MAX - 3] = '\0';
    assert_int_equal(write_new(mica_host_default(), longer, &err), MICA_STATUS_IO);
}

/* A link at the place of the temporary file is not followed. */
static void writer_follows_no_link(void **state) {
    (void)state;
    mica_error err = {0};
    char name[64];
    const char *victim = write_plain("victim", "safe", 4);
    snprintf(name, sizeof name, "linked.tmp-%ld", (long)getpid());
    assert_int_equal(symlink("victim", in_folder(name)), 0);
    assert_ok(write_new(mica_host_default(), in_folder("linked"), &err));
    assert_content(victim, "safe");
    assert_content(in_folder("linked"), "new texttail");
}

/* Each system call of writing may fail: before the rename the old file stands, after it the new
 * one, and no temporary file stays. Shortened writes are continued, EINTR is retried. */
static void writing_survives_faults(void **state) {
    (void)state;
    const int errors[] = {ENOSPC, EINTR};
    for (int e = 0; e < 2; e++) {
        unsigned kinds = 0;
        for (int n = 1;; n++) {
            const char *path = write_plain("safe", "old", 3);
            mica_alloc_counter c;
            mica_alloc_counter_init(&c, mica_allocator_default());
            fault f = {.fail_at = n, .error = errors[e], .bytes_max = 3};
            mica_io_hook hook = {&f, before_call};
            mica_host host = {.allocator = &c.allocator, .io = &hook};
            mica_error err = {0};
            mica_status st = write_new(&host, path, &err);
            assert_true(c.n_live == 0);
            assert_true(entries_in_folder("safe.tmp-") == 0);
            char content[16] = "";
            FILE *file = fopen(path, "rb");
            assert_true(fread(content, 1, 15, file) > 0);
            fclose(file);
            bool is_new = strcmp(content, "new texttail") == 0;
            assert_true(is_new || strcmp(content, "old") == 0);
            if (st == MICA_STATUS_OK) assert_true(is_new);
            if (f.n_calls < n) {
                assert_ok(st);
                break;
            }
            kinds |= 1u << f.failed_call;
            bool is_retried = errors[e] == EINTR && f.failed_call != MICA_IO_RENAME;
            assert_int_equal(st, is_retried ? MICA_STATUS_OK : MICA_STATUS_IO);
        }
        assert_int_equal(kinds, 1u << MICA_IO_OPEN | 1u << MICA_IO_WRITE | 1u << MICA_IO_SYNC |
                                    1u << MICA_IO_RENAME);
    }
}

/* A failed write forbids the commit, even when the caller overlooks it. */
static void failed_write_stays_failed(void **state) {
    (void)state;
    mica_error err = {0};
    fault f = {.fail_at = 2, .error = EIO};
    mica_io_hook hook = {&f, before_call};
    mica_host host = {.allocator = mica_allocator_default(), .io = &hook};
    mica_file_writer *w = NULL;
    const char *path = write_plain("kept", "old", 3);
    assert_ok(mica_file_writer_open(&host, path, &w, &err));
    assert_int_equal(mica_file_writer_append(w, "a", 1, &err), MICA_STATUS_IO);
    assert_ok(mica_file_writer_append(w, "b", 1, &err));
    assert_int_equal(mica_file_writer_commit(w, &err), MICA_STATUS_IO);
    mica_file_writer_close(&w);
    assert_content(path, "old");
}

typedef struct part {
    mica_file_writer *w;
    int number;
} part;

static void *write_part(void *argument) {
    const part *p = argument;
    char data[1000];
    memset(data, 'a' + p->number, sizeof data);
    for (uint64_t i = 0; i < 20; i++)
        if (mica_file_writer_write_at(p->w, (i * 4 + (uint64_t)p->number) * 1000, data, 1000, NULL))
            return argument;
    return NULL;
}

/* Threads may write different places at once. */
static void threads_write_at_once(void **state) {
    (void)state;
    mica_error err = {0};
    mica_file_writer *w = NULL;
    const char *path = in_folder("parallel");
    assert_ok(mica_file_writer_open(mica_host_default(), path, &w, &err));
    pthread_t threads[4];
    part parts[4];
    for (int i = 0; i < 4; i++) {
        parts[i] = (part){w, i};
        assert_int_equal(pthread_create(&threads[i], NULL, write_part, &parts[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *failed = w;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_ok(mica_file_writer_commit(w, &err));
    mica_file_writer_close(&w);
    char *text = NULL;
    size_t bytes = 0;
    assert_ok(mica_file_read_all(mica_host_default(), path, 100000, &text, &bytes, &err));
    assert_true(bytes == 80000);
    for (size_t i = 0; i < bytes; i++) assert_true(text[i] == (char)('a' + i / 1000 % 4));
    mica_free(mica_allocator_default(), text);
}

/* Kinds, joining and making folders. */
static void paths(void **state) {
    (void)state;
    mica_error err = {0};
    char path[MICA_PATH_BYTES_MAX];
    assert_ok(mica_path_join("a", "b", path, &err));
    assert_string_equal(path, "a/b");
    assert_ok(mica_path_join("a/", "b", path, &err));
    assert_string_equal(path, "a/b");
    assert_ok(mica_path_join("", "b", path, &err));
    assert_string_equal(path, "b");
    static char longer[MICA_PATH_BYTES_MAX];
    memset(longer, 'x', sizeof longer - 1);
    assert_int_equal(mica_path_join("a", longer, path, &err), MICA_STATUS_LIMIT);
    assert_int_equal(mica_path_make_folder(in_folder("p/q//r/"), &err), MICA_STATUS_OK);
    assert_ok(mica_path_make_folder(in_folder("p/q/r"), &err));
    assert_int_equal(mica_path_kind_of(in_folder("p/q/r")), MICA_PATH_FOLDER);
    write_plain("p/file", "x", 1);
    assert_int_equal(mica_path_kind_of(in_folder("p/file")), MICA_PATH_FILE);
    assert_int_equal(mica_path_kind_of(in_folder("p/none")), MICA_PATH_NONE);
    assert_int_equal(mica_path_kind_of("/dev/null"), MICA_PATH_OTHER);
    assert_int_equal(mica_path_make_folder(in_folder("p/file/x"), &err), MICA_STATUS_IO);
    assert_int_equal(mica_path_make_folder(in_folder("p/file"), &err), MICA_STATUS_IO);
    assert_non_null(strstr(err.message, "Not a directory"));
}

/* A listing is sorted by bytes, without "." and "..", and empty for an empty folder. */
static void listing_is_sorted(void **state) {
    (void)state;
    mica_error err = {0};
    char *names = NULL;
    size_t count = 9;
    assert_ok(mica_path_make_folder(in_folder("list/z"), &err));
    assert_ok(mica_path_list(mica_host_default(), in_folder("list/z"), &names, &count, &err));
    assert_true(count == 0 && names);
    mica_free(mica_allocator_default(), names);
    write_plain("list/b", "", 0);
    write_plain("list/a10", "", 0);
    write_plain("list/a9", "", 0);
    write_plain("list/B", "", 0);
    assert_ok(mica_path_list(mica_host_default(), in_folder("list"), &names, &count, &err));
    assert_true(count == 5);
    assert_memory_equal(names, "B\0a10\0a9\0b\0z", 13);
    mica_free(mica_allocator_default(), names);
    assert_int_equal(mica_path_list(mica_host_default(), in_folder("list/b"), &names, &count, &err),
                     MICA_STATUS_IO);
    assert_int_equal(mica_path_list(mica_host_default(), in_folder("no"), &names, &count, &err),
                     MICA_STATUS_NOT_FOUND);
    assert_null(names);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_and_maps),
        cmocka_unit_test(empty_file_maps),
        cmocka_unit_test(only_regular_files),
        cmocka_unit_test(changes_are_noticed),
        cmocka_unit_test(read_all_checks),
        cmocka_unit_test(reading_survives_faults),
        cmocka_unit_test(reading_survives_no_memory),
        cmocka_unit_test(writer_is_atomic),
        cmocka_unit_test(writer_follows_no_link),
        cmocka_unit_test(writing_survives_faults),
        cmocka_unit_test(failed_write_stays_failed),
        cmocka_unit_test(threads_write_at_once),
        cmocka_unit_test(paths),
        cmocka_unit_test(listing_is_sorted),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
