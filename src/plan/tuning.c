/* The file of measured choices. Its first line names the format; every other line is a key, a space
 * and the name of a kernel. Lines that are not of that form are dropped, so that a damaged file
 * costs measurements and nothing else. */
#include "plan/tuning.h"
#include <string.h>
#include "base/error.h"
#include "base/file.h"

#define TUNING_HEADER "mica kernels 1\n"
#define TUNING_FILE_BYTES_MAX (1u << 20)
#define TUNING_ENTRIES_MAX 4096
#define TUNING_NAME_BYTES 64

typedef struct tuning_entry {
    char *key; /* one allocation with the name behind it */
    const char *kernel;
} tuning_entry;

struct mica_tuning {
    const mica_host *host;
    char *path;
    mica_vec entries; /* tuning_entry, in the order in which they came */
    bool has_changed;
};

static tuning_entry *entry_at(const mica_tuning *t, size_t i) {
    return (tuning_entry *)t->entries.data + i;
}

/* ---- entries ---- */

/* Printable ASCII without spaces. */
static bool is_word(const char *text, size_t bytes, size_t bytes_max) {
    for (size_t i = 0; i < bytes; i++)
        if (text[i] < '!' || text[i] > '~') return false;
    return bytes > 0 && bytes < bytes_max;
}

static tuning_entry *find_entry(const mica_tuning *t, const char *key, size_t bytes) {
    for (size_t i = 0; i < t->entries.count; i++) {
        tuning_entry *e = entry_at(t, i);
        if (strlen(e->key) == bytes && memcmp(e->key, key, bytes) == 0) return e;
    }
    return NULL;
}

/* The last of equal keys counts. */
static void enter(mica_tuning *t, mica_slice key, mica_slice kernel) {
    if (!is_word(key.data, key.bytes, MICA_TUNING_KEY_BYTES) ||
        !is_word(kernel.data, kernel.bytes, TUNING_NAME_BYTES))
        return;
    tuning_entry *e = find_entry(t, key.data, key.bytes);
    if (!e && t->entries.count == TUNING_ENTRIES_MAX) return;
    char *text = mica_alloc_zero(t->host->allocator, key.bytes + kernel.bytes + 2);
    if (text && !e) e = mica_vec_push(&t->entries);
    if (!text || !e) {
        mica_free(t->host->allocator, text);
        return;
    }
    memcpy(text, key.data, key.bytes);
    memcpy(text + key.bytes + 1, kernel.data, kernel.bytes);
    mica_free(t->host->allocator, e->key);
    *e = (tuning_entry){text, text + key.bytes + 1};
}

const char *mica_tuning_find(const mica_tuning *t, const char *key) {
    const tuning_entry *e = find_entry(t, key, strlen(key));
    return e ? e->kernel : NULL;
}

void mica_tuning_add(mica_tuning *t, const char *key, const char *kernel) {
    enter(t, mica_slice_from(key), mica_slice_from(kernel));
    t->has_changed = true;
}

/* ---- the file ---- */

static void read_line(mica_tuning *t, const char *line, size_t bytes) {
    const char *space = memchr(line, ' ', bytes);
    if (!space) return;
    size_t key_bytes = (size_t)(space - line);
    enter(t, mica_slice_of(line, key_bytes), mica_slice_of(space + 1, bytes - key_bytes - 1));
}

static void read_text(mica_tuning *t, const char *text, size_t bytes) {
    const size_t head = sizeof TUNING_HEADER - 1;
    if (bytes < head || memcmp(text, TUNING_HEADER, head) != 0) return;
    for (size_t at = head; at < bytes;) {
        const char *end = memchr(text + at, '\n', bytes - at);
        if (!end) return; /* cut off */
        read_line(t, text + at, (size_t)(end - (text + at)));
        at = (size_t)(end - text) + 1;
    }
}

static void read_file(mica_tuning *t) {
    mica_error err = {0};
    char *text = NULL;
    size_t bytes;
    if (mica_path_kind_of(t->path) == MICA_PATH_NONE) return; /* the first time */
    if (mica_file_read_all(t->host, t->path, TUNING_FILE_BYTES_MAX, &text, &bytes, &err) ==
        MICA_STATUS_OK)
        read_text(t, text, bytes);
    else
        mica_host_log(t->host, MICA_LOG_WARNING, "kernels are measured anew: %s", err.message);
    mica_free(t->host->allocator, text);
}

mica_status mica_tuning_open(const mica_host *host, const char *path, mica_tuning **out,
                             mica_error *err) {
    mica_tuning *t = MICA_NEW(host->allocator, mica_tuning);
    if (!t) return mica_fail_memory(err, sizeof *t, "measured kernels");
    t->host = host;
    mica_vec_init(&t->entries, host->allocator, sizeof(tuning_entry));
    t->path = mica_alloc_string(host->allocator, path, strlen(path));
    if (!t->path) {
        mica_tuning_close(&t);
        return mica_fail_memory(err, strlen(path) + 1, "measured kernels");
    }
    read_file(t);
    *out = t;
    return MICA_STATUS_OK;
}

void mica_tuning_close(mica_tuning **tuning) {
    mica_tuning *t = *tuning;
    *tuning = NULL;
    if (!t) return;
    for (size_t i = 0; i < t->entries.count; i++)
        mica_free(t->host->allocator, entry_at(t, i)->key);
    mica_vec_deinit(&t->entries);
    mica_free(t->host->allocator, t->path);
    mica_free(t->host->allocator, t);
}

static mica_status write_file(const mica_tuning *t, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_file_writer *w = NULL;
    mica_str text;
    mica_str_init(&text, t->host->allocator);
    mica_str_append_text(&text, TUNING_HEADER);
    for (size_t i = 0; i < t->entries.count; i++)
        mica_str_append_format(&text, "%s %s\n", entry_at(t, i)->key, entry_at(t, i)->kernel);
    MICA_REQUIRE(!text.failed, MICA_STATUS_OUT_OF_MEMORY, "out of memory: measured kernels");
    MICA_TRY(mica_file_writer_open(t->host, t->path, &w, err));
    MICA_TRY(mica_file_writer_append(w, text.data, text.bytes, err));
    MICA_TRY(mica_file_writer_commit(w, err));
done:
    mica_file_writer_close(&w);
    mica_str_deinit(&text);
    return st;
}

void mica_tuning_save(mica_tuning *t) {
    mica_error err = {0};
    if (!t->has_changed) return;
    t->has_changed = false; /* one complaint is enough */
    if (write_file(t, &err) != MICA_STATUS_OK)
        mica_host_log(t->host, MICA_LOG_WARNING, "measured kernels are not kept: %s", err.message);
}
