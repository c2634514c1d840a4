/* Looks a model name up: an existing path, `demo`, or org/name[@revision] in the Hugging Face
 * cache. Names come from outside and become parts of paths, so they are matched against a small
 * alphabet first. Layout of the cache: models--org--name/refs/<revision> holds the commit, whose
 * files are in models--org--name/snapshots/<commit>. */
#include "hub/resolve.h"
#include <string.h>
#include "base/alloc.h"
#include "base/error.h"
#include "base/file.h"
#include "base/str.h"

#define COMMIT_DIGITS 40
#define REF_BYTES_MAX 128

/* org/name[@revision] taken apart. */
typedef struct hub_name {
    mica_slice organisation; /* empty for a name without one ("gpt2") */
    mica_slice model;
    mica_slice revision; /* "main" when none is given */
} hub_name;

static bool is_name_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

/* One part of a path: [A-Za-z0-9._-]+, not beginning with a dot, no "..", and no "--" in a part of
 * a repository id, where it would be taken for the border in models--org--name. */
static bool is_plain_part(mica_slice part, bool is_revision) {
    if (part.bytes == 0 || part.data[0] == '.') return false;
    for (size_t i = 0; i < part.bytes; i++) {
        if (!is_name_char(part.data[i])) return false;
        char next = i + 1 < part.bytes ? part.data[i + 1] : '\0';
        if (part.data[i] == '.' && next == '.') return false;
        if (!is_revision && part.data[i] == '-' && next == '-') return false;
    }
    return true;
}

/* Plain parts between slashes ("refs/pr/1"). */
static bool is_plain_revision(mica_slice revision) {
    size_t start = 0;
    for (size_t i = 0; i <= revision.bytes; i++) {
        if (i < revision.bytes && revision.data[i] != '/') continue;
        if (!is_plain_part(mica_slice_of(revision.data + start, i - start), true)) return false;
        start = i + 1;
    }
    return true;
}

static bool is_commit(mica_slice text) {
    if (text.bytes != COMMIT_DIGITS) return false;
    for (size_t i = 0; i < text.bytes; i++) {
        char c = text.data[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
    }
    return true;
}

static bool parse_name(const char *name, hub_name *out) {
    const char *at = strchr(name, '@');
    mica_slice repository = mica_slice_of(name, at ? (size_t)(at - name) : strlen(name));
    const char *slash = memchr(name, '/', repository.bytes);
    size_t skip = slash ? (size_t)(slash - name) + 1 : 0;
    *out = (hub_name){
        .organisation = mica_slice_of(name, slash ? skip - 1 : 0),
        .model = mica_slice_of(name + skip, repository.bytes - skip),
        .revision = mica_slice_from(at ? at + 1 : "main"),
    };
    return (!slash || is_plain_part(out->organisation, false)) &&
           is_plain_part(out->model, false) && is_plain_revision(out->revision);
}

/* "/x", "./x", "../x": meant as a path, whatever the cache holds. */
static bool looks_like_path(const char *name) {
    mica_slice slice = mica_slice_from(name);
    return mica_slice_starts_with(slice, "/") || mica_slice_starts_with(slice, "./") ||
           mica_slice_starts_with(slice, "../");
}

static mica_status find_repository(const hub_name *name, const char *cache,
                                   char out[MICA_PATH_BYTES_MAX], mica_error *err) {
    char folder[MICA_HUB_NAME_BYTES_MAX + 32];
    bool has_organisation = name->organisation.bytes > 0;
    mica_format(folder, sizeof folder, "models--%.*s%s%.*s", (int)name->organisation.bytes,
                name->organisation.data, has_organisation ? "--" : "", (int)name->model.bytes,
                name->model.data);
    return mica_path_join(cache, folder, out, err);
}

/* The commit in refs/<revision>; a final newline is forgiven. */
static mica_status read_ref(const mica_host *host, const char *repository, mica_slice revision,
                            char commit[COMMIT_DIGITS + 1], mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    char name[MICA_HUB_NAME_BYTES_MAX + 32], path[MICA_PATH_BYTES_MAX];
    char *text = NULL;
    size_t bytes = 0;
    mica_format(name, sizeof name, "refs/%.*s", (int)revision.bytes, revision.data);
    MICA_TRY(mica_path_join(repository, name, path, err));
    MICA_TRY(mica_file_read_all(host, path, REF_BYTES_MAX, &text, &bytes, err));
    if (bytes > 0 && text[bytes - 1] == '\n') bytes--;
    MICA_REQUIRE(is_commit(mica_slice_of(text, bytes)), MICA_STATUS_FORMAT,
                 "%s: %zu bytes that are not the %d hex digits of a commit", path, bytes,
                 COMMIT_DIGITS);
    memcpy(commit, text, COMMIT_DIGITS);
    commit[COMMIT_DIGITS] = '\0';
done:
    mica_free(host->allocator, text);
    return st;
}

static mica_status find_snapshot(const mica_host *host, const char *repository, mica_slice revision,
                                 char out[MICA_PATH_BYTES_MAX], mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    char commit[COMMIT_DIGITS + 1], snapshots[MICA_PATH_BYTES_MAX];
    if (is_commit(revision))
        mica_format(commit, sizeof commit, "%.*s", COMMIT_DIGITS, revision.data);
    else
        MICA_TRY(read_ref(host, repository, revision, commit, err));
    MICA_TRY(mica_path_join(repository, "snapshots", snapshots, err));
    MICA_TRY(mica_path_join(snapshots, commit, out, err));
    MICA_REQUIRE(mica_path_kind_of(out) == MICA_PATH_FOLDER, MICA_STATUS_NOT_FOUND,
                 "%s: no such folder, but the revision asks for it", out);
done:
    return st;
}

static mica_status find_in_cache(const mica_host *host, const char *name, const char *cache,
                                 char out[MICA_PATH_BYTES_MAX], mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    hub_name parts = {0};
    char repository[MICA_PATH_BYTES_MAX];
    MICA_REQUIRE(!looks_like_path(name), MICA_STATUS_NOT_FOUND,
                 "model %.400s: no such file or folder", name);
    MICA_REQUIRE(strlen(name) <= MICA_HUB_NAME_BYTES_MAX && parse_name(name, &parts),
                 MICA_STATUS_FORMAT,
                 "model %.64s: neither an existing path nor a name like org/name or "
                 "org/name@revision (letters, digits, '.', '_', '-')",
                 name);
    MICA_REQUIRE(cache, MICA_STATUS_NOT_FOUND, "model %s: no such folder, and no cache is known",
                 name);
    MICA_TRY(find_repository(&parts, cache, repository, err));
    MICA_REQUIRE(mica_path_kind_of(repository) == MICA_PATH_FOLDER, MICA_STATUS_NOT_FOUND,
                 "model %s: no such folder, and nothing at %s", name, repository);
    st = find_snapshot(host, repository, parts.revision, out, err);
    if (st != MICA_STATUS_OK) st = mica_fail_prefix(err, st, "model %s", name);
done:
    return st;
}

static mica_status find_demo(const mica_hub_options *options, char out[MICA_PATH_BYTES_MAX],
                             mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    MICA_REQUIRE(options && options->demo_folder, MICA_STATUS_NOT_FOUND,
                 "model demo: the place of the demo model is not known");
    MICA_REQUIRE(mica_path_kind_of(options->demo_folder) == MICA_PATH_FOLDER, MICA_STATUS_NOT_FOUND,
                 "model demo: nothing at %s", options->demo_folder);
    MICA_REQUIRE(strlen(options->demo_folder) < MICA_PATH_BYTES_MAX, MICA_STATUS_LIMIT,
                 "model demo: its path has more than %d bytes", MICA_PATH_BYTES_MAX - 1);
    strcpy(out, options->demo_folder);
done:
    return st;
}

mica_status mica_hub_find(const mica_host *host, const char *name, const mica_hub_options *options,
                          char *out, size_t capacity, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    char path[MICA_PATH_BYTES_MAX] = "";
    MICA_REQUIRE(name && out && capacity > 0, MICA_STATUS_INVALID,
                 "mica_hub_resolve: an argument is NULL");
    out[0] = '\0';
    MICA_REQUIRE(name[0], MICA_STATUS_FORMAT, "the model's name is empty");
    size_t bytes = strlen(name);
    if (bytes < MICA_PATH_BYTES_MAX && mica_path_kind_of(name) != MICA_PATH_NONE)
        memcpy(path, name, bytes + 1);
    else if (strcmp(name, "demo") == 0)
        MICA_TRY(find_demo(options, path, err));
    else
        MICA_TRY(find_in_cache(host, name, options ? options->cache_folder : NULL, path, err));
    MICA_REQUIRE(strlen(path) < capacity, MICA_STATUS_LIMIT,
                 "model %.64s: its path has %zu bytes, there is room for %zu", name, strlen(path),
                 capacity - 1);
    strcpy(out, path);
done:
    return st;
}
