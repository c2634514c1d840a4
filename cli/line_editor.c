/* libedit when the build has it (MICA_HAVE_LIBEDIT) and both ends are terminals. */
#include "line_editor.h"
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef MICA_HAVE_LIBEDIT
#include <histedit.h>
#endif
#include "interrupt.h"

#define HISTORY_LINES 500

struct cli_line_editor {
    const char *prompt;
    bool is_terminal;
    char *line; /* of getline */
    size_t capacity;
#ifdef MICA_HAVE_LIBEDIT
    EditLine *edit;
    History *history;
#endif
};

#ifdef MICA_HAVE_LIBEDIT

static char *give_prompt(EditLine *edit) {
    void *data = NULL;
    el_get(edit, EL_CLIENTDATA, &data);
    const cli_line_editor *e = data;
    return (char *)(uintptr_t)e->prompt;
}

static void open_edit(cli_line_editor *e) {
    HistEvent event;
    setlocale(LC_CTYPE, ""); /* libedit counts the columns of UTF-8 by it */
    e->edit = el_init("mica", stdin, stderr, stderr);
    if (!e->edit) return;
    el_set(e->edit, EL_CLIENTDATA, e);
    el_set(e->edit, EL_PROMPT, give_prompt);
    el_set(e->edit, EL_EDITOR, "emacs");
    el_set(e->edit, EL_SIGNAL, 1);
    e->history = history_init();
    if (!e->history) return;
    history(e->history, &event, H_SETSIZE, HISTORY_LINES);
    el_set(e->edit, EL_HIST, history, e->history);
}

static void close_edit(cli_line_editor *e) {
    if (e->history) history_end(e->history);
    if (e->edit) el_end(e->edit);
}

static bool has_edit(const cli_line_editor *e) { return e->edit != NULL; }

static const char *edit_line(cli_line_editor *e, size_t *bytes) {
    int n = 0;
    HistEvent event;
    cli_interrupt_set_editing(true);
    const char *line = el_gets(e->edit, &n);
    cli_interrupt_set_editing(false);
    if (!line || n <= 0) return NULL;
    if (e->history && n > 1) history(e->history, &event, H_ENTER, line);
    *bytes = (size_t)n;
    return line;
}

#else

static void open_edit(cli_line_editor *e) { (void)e; }
static void close_edit(cli_line_editor *e) { (void)e; }
static bool has_edit(const cli_line_editor *e) {
    (void)e;
    return false;
}
static const char *edit_line(cli_line_editor *e, size_t *bytes) {
    (void)e;
    (void)bytes;
    return NULL;
}

#endif

cli_line_editor *cli_line_editor_create(const char *prompt) {
    cli_line_editor *e = calloc(1, sizeof *e);
    if (!e) return NULL;
    e->prompt = prompt;
    e->is_terminal = isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
    if (e->is_terminal) open_edit(e);
    return e;
}

void cli_line_editor_destroy(cli_line_editor *e) {
    if (!e) return;
    close_edit(e);
    free(e->line);
    free(e);
}

static const char *read_plain(cli_line_editor *e, size_t *bytes) {
    if (e->is_terminal) fputs(e->prompt, stderr);
    ssize_t n = getline(&e->line, &e->capacity, stdin);
    if (n < 0 && errno == EINTR) clearerr(stdin);
    if (n < 0) return NULL;
    *bytes = (size_t)n;
    return e->line;
}

bool cli_line_editor_read(cli_line_editor *e, mica_slice *out) {
    size_t bytes = 0;
    const char *line = has_edit(e) ? edit_line(e, &bytes) : read_plain(e, &bytes);
    if (!line || cli_interrupt_is_requested()) return false;
    if (bytes > 0 && line[bytes - 1] == '\n') bytes--;
    *out = mica_slice_of(line, bytes);
    return true;
}
