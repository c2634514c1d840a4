/* mica chat: a conversation. Each turn sends the whole conversation as the template renders it; the
 * engine finds what it has computed before in the KV pages of the last turn. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/alloc.h"
#include "base/error.h"
#include "commands.h"
#include "interrupt.h"
#include "line_editor.h"
#include "messages.h"
#include "reply.h"
#include "report.h"

typedef struct chat {
    cli_session session;
    cli_messages messages;
    cli_reply reply;
    mica_sampling sampling;
    char *system; /* NULL = none */
    bool is_over;
} chat;

static void print_commands(void) {
    cli_note("/reset        start anew");
    cli_note("/system TEXT  set the system message (none without TEXT) and start anew");
    cli_note("/save FILE    write the messages as JSON");
    cli_note("/exit         leave (also: end of input)");
}

/* Forgets the conversation, not the system message. */
static mica_status start_anew(chat *c, mica_error *err) {
    if (c->reply.ticket) mica_engine_forget(c->session.engine, c->reply.ticket);
    c->reply.ticket = 0;
    cli_messages_deinit(&c->messages);
    return cli_messages_init(&c->messages, c->system, err);
}

static mica_status set_system(chat *c, mica_slice text, mica_error *err) {
    mica_free(mica_allocator_default(), c->system);
    c->system =
        text.bytes > 0 ? mica_alloc_string(mica_allocator_default(), text.data, text.bytes) : NULL;
    if (text.bytes > 0 && !c->system)
        return mica_fail(err, MICA_STATUS_OUT_OF_MEMORY, "out of memory: system message");
    return start_anew(c, err);
}

static void save(const chat *c, mica_slice path) {
    char name[CLI_PATH_BYTES_MAX];
    mica_error err = {0};
    if (path.bytes == 0 || path.bytes >= sizeof name) {
        cli_note("/save needs the name of a file");
        return;
    }
    mica_format(name, sizeof name, "%.*s", (int)path.bytes, path.data);
    if (cli_messages_save(&c->messages, name, &err) != MICA_STATUS_OK)
        cli_fail_error(&err);
    else
        cli_note("saved %zu messages to %s", json_array_size(c->messages.list), name);
}

/* Splits "/word rest". */
static mica_slice split_word(mica_slice line, mica_slice *rest) {
    const char *space = memchr(line.data, ' ', line.bytes);
    size_t word = space ? (size_t)(space - line.data) : line.bytes;
    size_t skip = word;
    while (skip < line.bytes && line.data[skip] == ' ') skip++;
    *rest = mica_slice_of(line.data + skip, line.bytes - skip);
    return mica_slice_of(line.data, word);
}

static mica_status run_command(chat *c, mica_slice line, mica_error *err) {
    mica_slice rest;
    mica_slice word = split_word(line, &rest);
    if (mica_slice_is(word, "/exit"))
        c->is_over = true;
    else if (mica_slice_is(word, "/reset"))
        return start_anew(c, err);
    else if (mica_slice_is(word, "/system"))
        return set_system(c, rest, err);
    else if (mica_slice_is(word, "/save"))
        save(c, rest);
    else if (mica_slice_is(word, "/help"))
        print_commands();
    else
        cli_note("unknown command %.*s; /help lists them", (int)word.bytes, word.data);
    return MICA_STATUS_OK;
}

/* The end of a turn: the answer joins the conversation, also one that was cut short. */
static mica_status keep_answer(chat *c, mica_error *err) {
    const cli_reply *r = &c->reply;
    if (r->finish == MICA_FINISH_CONTEXT)
        cli_note("the context is full: %lld tokens; /reset starts anew",
                 (long long)mica_engine_context(c->session.engine));
    if (r->finish == MICA_FINISH_CANCELLED) cli_note("interrupted");
    cli_interrupt_clear();
    if (c->session.options->show_timings) cli_reply_print_timings(r);
    return cli_messages_add(&c->messages, "assistant", r->content.data ? r->content.data : "",
                            r->content.bytes, r->reasoning.data, r->reasoning.bytes, err);
}

static mica_status take_turn(chat *c, mica_slice line, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_tokens ids = {0};
    if (!mica_utf8_is_valid(line.data, line.bytes)) {
        cli_fail("the line is not UTF-8");
        return MICA_STATUS_OK;
    }
    MICA_TRY(cli_messages_add(&c->messages, "user", line.data, line.bytes, NULL, 0, err));
    MICA_TRY(cli_messages_encode(&c->messages, &c->session, &ids, err));
    st = cli_reply_run(&c->reply, &ids, &c->sampling, true, err);
    if (st == MICA_STATUS_CONTEXT_FULL) {
        cli_fail_error(err);
        cli_note("the message was not sent; /reset starts anew");
        cli_messages_drop_last(&c->messages);
        *err = (mica_error){0};
        st = MICA_STATUS_OK;
        goto done;
    }
    MICA_TRY(st);
    MICA_TRY(keep_answer(c, err));
done:
    mica_tokens_free(c->session.tokenizer, &ids);
    return st;
}

static mica_status open_chat(chat *c, const cli_options *o, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    MICA_TRY(cli_session_open(&c->session, o, err));
    MICA_TRY(cli_session_open_model(&c->session, false, err));
    MICA_TRY(cli_session_open_tokenizer(&c->session, err));
    MICA_TRY(cli_session_open_template(&c->session, false, err));
    MICA_TRY(cli_session_open_engine(&c->session, 0, err));
    MICA_TRY(cli_reply_create(&c->reply, &c->session, err));
    MICA_TRY(set_system(c, mica_slice_from(o->system), err));
    c->sampling = cli_session_sampling(&c->session);
    cli_note("context %lld tokens; /help lists commands",
             (long long)mica_engine_context(c->session.engine));
done:
    return st;
}

/* The next line. False when the chat is to end: at the end of input, and at the second Ctrl-C in a
 * row; the first one only drops the line. */
static bool read_line(cli_line_editor *editor, mica_slice *line, mica_error *err) {
    for (int n_interrupts = 0;; n_interrupts++) {
        if (cli_line_editor_read(editor, line)) return true;
        if (!cli_interrupt_is_requested()) return false;
        if (n_interrupts == 1) {
            mica_fail(err, MICA_STATUS_CANCELLED, "interrupted");
            return false;
        }
        cli_interrupt_clear();
        cli_note("Ctrl-C again leaves; so does /exit");
    }
}

static mica_status converse(chat *c, cli_line_editor *editor, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_slice line;
    while (!c->is_over && read_line(editor, &line, err)) {
        if (line.bytes == 0) continue;
        MICA_TRY(line.data[0] == '/' ? run_command(c, line, err) : take_turn(c, line, err));
    }
    if (isatty(STDIN_FILENO) && !c->is_over) fputc('\n', stderr);
    st = err->status;
done:
    return st;
}

int cmd_chat(const cli_options *o) {
    mica_status st = MICA_STATUS_OK;
    mica_error err = {0};
    chat c = {0};
    cli_line_editor *editor = NULL;
    MICA_TRY(open_chat(&c, o, &err));
    editor = cli_line_editor_create("> ");
    if (!editor) st = mica_fail(&err, MICA_STATUS_OUT_OF_MEMORY, "out of memory: line editor");
    MICA_TRY(st);
    MICA_TRY(converse(&c, editor, &err));
done:
    cli_line_editor_destroy(editor);
    cli_messages_deinit(&c.messages);
    cli_reply_destroy(&c.reply);
    mica_free(mica_allocator_default(), c.system);
    cli_session_close(&c.session);
    int written = cli_output_close();
    return st == MICA_STATUS_OK ? written : cli_fail_error(&err);
}
