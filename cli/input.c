/* Reading by stdio, with limits and UTF-8 checks. */
#include "input.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/error.h"
#include "base/file.h"
#include "interrupt.h"

static bool is_standard(const char *path) { return !path || strcmp(path, "-") == 0; }

static mica_status open_stream(const char *path, FILE **out, mica_error *err) {
    if (is_standard(path)) {
        *out = stdin;
        return MICA_STATUS_OK;
    }
    if (mica_path_kind_of(path) == MICA_PATH_FOLDER)
        return mica_fail(err, MICA_STATUS_INVALID, "%s: a folder, wanted a file", path);
    *out = fopen(path, "rbe");
    return *out ? MICA_STATUS_OK : mica_fail_errno(err, errno, "opening", path);
}

static mica_status read_all(FILE *file, const char *name, mica_str *out, mica_error *err) {
    char chunk[65536];
    for (;;) {
        errno = 0;
        size_t n = fread(chunk, 1, sizeof chunk, file);
        mica_str_append(out, chunk, n);
        if (n < sizeof chunk && ferror(file)) {
            if (errno == EINTR && cli_interrupt_is_requested())
                return mica_fail(err, MICA_STATUS_CANCELLED, "interrupted");
            return mica_fail_errno(err, errno ? errno : EIO, "reading", name);
        }
        if (out->failed)
            return mica_fail(err, MICA_STATUS_LIMIT, "%s: more than %zu bytes, or no memory", name,
                             CLI_INPUT_BYTES_MAX);
        if (n < sizeof chunk && feof(file)) return MICA_STATUS_OK;
    }
}

static mica_status check_utf8(const mica_str *text, const char *name, mica_error *err) {
    bool is_cut = false;
    size_t valid = mica_utf8_valid_prefix(text->data ? text->data : "", text->bytes, &is_cut);
    if (valid == text->bytes) return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_FORMAT, "%s: byte %zu is not UTF-8", name, valid);
}

mica_status cli_input_read(const char *path, mica_str *out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    FILE *file = NULL;
    const char *name = is_standard(path) ? "standard input" : path;
    mica_str_init(out, mica_allocator_default());
    out->limit_bytes = CLI_INPUT_BYTES_MAX;
    MICA_TRY(open_stream(path, &file, err));
    MICA_TRY(read_all(file, name, out, err));
    MICA_TRY(check_utf8(out, name, err));
done:
    if (file && file != stdin) fclose(file);
    return st;
}

mica_status cli_lines_open(cli_lines *l, const char *path, mica_error *err) {
    *l = (cli_lines){.name = is_standard(path) ? "standard input" : path, .number = -1};
    mica_status st = open_stream(path, &l->file, err);
    l->is_stdin = l->file == stdin;
    return st;
}

bool cli_lines_next(cli_lines *l, mica_slice *out, mica_error *err) {
    if (cli_interrupt_is_requested()) {
        mica_fail(err, MICA_STATUS_CANCELLED, "interrupted");
        return false;
    }
    errno = 0;
    ssize_t n = getline(&l->line, &l->capacity, l->file);
    if (n < 0) {
        if (ferror(l->file)) mica_fail_errno(err, errno ? errno : EIO, "reading", l->name);
        return false;
    }
    l->number++;
    if (l->line[n - 1] == '\n') n--;
    *out = mica_slice_of(l->line, (size_t)n);
    if ((size_t)n <= CLI_INPUT_BYTES_MAX) return true;
    mica_fail(err, MICA_STATUS_LIMIT, "%s: line %lld has more than %zu bytes", l->name,
              (long long)l->number, CLI_INPUT_BYTES_MAX);
    return false;
}

void cli_lines_close(cli_lines *l) {
    if (l->file && !l->is_stdin) fclose(l->file);
    free(l->line);
    *l = (cli_lines){0};
}
