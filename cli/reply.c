/* Streams a reply to stdout and keeps a copy of its parts. */
#include "reply.h"
#include <stdio.h>
#include <string.h>
#include "base/alloc.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "environment.h"
#include "report.h"

#define DIM "\x1b[2m"
#define PLAIN "\x1b[0m"

/* ---- text ---- */

static void print_text(cli_reply *r, const char *text, size_t bytes) {
    cli_output(text, bytes);
    if (bytes == 0) return;
    r->has_printed = true;
    r->ends_line = text[bytes - 1] == '\n';
}

/* Between parts of different kinds: colours, and an empty line. */
static void begin_part(cli_reply *r, mica_text_kind kind) {
    if (r->has_printed && kind == r->last_kind) return;
    if (r->has_colour && r->last_kind == MICA_TEXT_REASONING && r->has_printed)
        cli_output(PLAIN, strlen(PLAIN));
    if (r->has_printed && kind != MICA_TEXT_TOOL_ARGUMENTS)
        print_text(r, "\n\n", r->ends_line ? 1 : 2);
    if (r->has_colour && kind == MICA_TEXT_REASONING) cli_output(DIM, strlen(DIM));
    r->last_kind = kind;
}

static void print_part(cli_reply *r, mica_text_kind kind, const char *text, size_t bytes) {
    if (r->is_quiet) return;
    if (kind == MICA_TEXT_REASONING && !r->session->options->show_reasoning) return;
    if (bytes == 0 && kind != MICA_TEXT_TOOL_CALL) return;
    cli_progress_clear(&r->session->progress);
    begin_part(r, kind);
    print_text(r, text, bytes);
    if (kind == MICA_TEXT_TOOL_CALL) print_text(r, " ", 1);
}

static void begin_call(cli_reply *r, const char *name, size_t bytes) {
    if (r->n_calls == CLI_LIST_MAX) return;
    mica_str_append(&r->tool_text, name, bytes);
    r->calls[r->n_calls++] =
        (cli_tool_call){.name_end = r->tool_text.bytes, .arguments_end = r->tool_text.bytes};
}

static void extend_call(cli_reply *r, const char *text, size_t bytes) {
    if (r->n_calls == 0) return;
    mica_str_append(&r->tool_text, text, bytes);
    r->calls[r->n_calls - 1].arguments_end = r->tool_text.bytes;
}

static void take_text(void *context, mica_text_kind kind, const char *text, size_t bytes) {
    cli_reply *r = context;
    switch (kind) {
    case MICA_TEXT_REASONING:
        mica_str_append(&r->reasoning, text, bytes);
        break;
    case MICA_TEXT_CONTENT:
        mica_str_append(&r->content, text, bytes);
        break;
    case MICA_TEXT_TOOL_CALL:
        begin_call(r, text, bytes);
        break;
    case MICA_TEXT_TOOL_ARGUMENTS:
        extend_call(r, text, bytes);
        break;
    case MICA_TEXT_TOOL_CALL_END:
    case MICA_TEXT_MESSAGE_END:
        return;
    }
    print_part(r, kind, text, bytes);
}

/* ---- events ---- */

static bool is_stop_id(const cli_reply *r, int32_t id) {
    for (size_t i = 0; i < r->n_stop_ids; i++)
        if (r->stop_ids[i] == id) return true;
    return false;
}

static bool take_event(void *context, const mica_event *event) {
    cli_reply *r = context;
    bool goes_on = true;
    r->n_prompt = event->n_prompt;
    r->n_cached = event->n_cached;
    r->n_generated = event->n_generated;
    r->prefill_seconds = event->prefill_seconds;
    r->decode_seconds = event->decode_seconds;
    if (event->finish != MICA_FINISH_NONE) r->finish = event->finish;
    if (event->error) r->error = *event->error;
    if (event->id < 0) return true;
    if (r->first_token_seconds == 0)
        r->first_token_seconds = mica_clock_seconds() - r->submit_seconds;
    /* In raw text a stop id is not text; the parser of a format wants to see it. */
    if (!(r->session->options->raw && is_stop_id(r, event->id)))
        goes_on = mica_text_stream_push(r->stream, event->id, take_text, r);
    if (!r->is_quiet) cli_output_flush();
    return goes_on;
}

/* ---- a reply ---- */

static void add_stop_ids(cli_reply *r, const int32_t *ids, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (r->n_stop_ids < sizeof r->stop_ids / sizeof *r->stop_ids && !is_stop_id(r, ids[i]))
            r->stop_ids[r->n_stop_ids++] = ids[i];
}

mica_status cli_reply_create(cli_reply *r, cli_session *s, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const cli_options *o = s->options;
    mica_text_stream_options options = {
        .struct_bytes = sizeof options,
        .raw = o->raw,
        .keep_special = o->raw,
        .stops = o->stops.values,
        .n_stops = o->stops.n,
    };
    *r = (cli_reply){.session = s, .is_quiet = o->json, .has_colour = cli_environment_has_colour()};
    mica_str_init(&r->content, mica_allocator_default());
    mica_str_init(&r->reasoning, mica_allocator_default());
    mica_str_init(&r->tool_text, mica_allocator_default());
    MICA_TRY(mica_text_stream_create(s->tokenizer, s->chat_template, &options, &r->stream, err));
    mica_model_sampling model = {0};
    int32_t ids[8];
    mica_model_get_sampling(s->model, &model);
    add_stop_ids(r, model.stop_ids, model.n_stop_ids);
    add_stop_ids(r, ids, mica_text_stream_stop_ids(r->stream, ids));
done:
    return st;
}

void cli_reply_destroy(cli_reply *r) {
    mica_text_stream_destroy(&r->stream);
    mica_str_deinit(&r->content);
    mica_str_deinit(&r->reasoning);
    mica_str_deinit(&r->tool_text);
}

static void reset(cli_reply *r) {
    mica_text_stream_reset(r->stream);
    mica_str_clear(&r->content);
    mica_str_clear(&r->reasoning);
    mica_str_clear(&r->tool_text);
    r->n_calls = 0;
    r->finish = MICA_FINISH_NONE;
    r->error = (mica_error){0};
    r->n_prompt = r->n_cached = r->n_generated = 0;
    r->prefill_seconds = r->decode_seconds = r->first_token_seconds = 0;
    r->has_printed = r->ends_line = false;
}

/* Held-back text, colours off, and a line feed where the text has none. */
static void finish_text(cli_reply *r) {
    mica_text_stream_finish(r->stream, take_text, r);
    if (r->is_quiet || !r->has_printed) return;
    if (r->has_colour && r->last_kind == MICA_TEXT_REASONING) cli_output(PLAIN, strlen(PLAIN));
    if (!r->ends_line) print_text(r, "\n", 1);
    cli_output_flush();
}

mica_status cli_reply_run(cli_reply *r, const mica_tokens *ids, const mica_sampling *sampling,
                          bool keep, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    cli_session *s = r->session;
    mica_ticket ticket = 0;
    reset(r);
    r->submit_seconds = mica_clock_seconds();
    mica_request request = {
        .struct_bytes = sizeof request,
        .ids = ids->ids,
        .n_ids = ids->count,
        .sampling = *sampling,
        .max_tokens = s->options->max_tokens.value,
        .stop_ids = r->stop_ids,
        .n_stop_ids = r->n_stop_ids,
        .vocab_limit = mica_tokenizer_size(s->tokenizer),
        .continue_from = r->ticket,
        .keep = keep,
        .on_event = take_event,
        .context = r,
    };
    MICA_TRY(mica_engine_submit(s->engine, &request, &ticket, err));
    r->ticket = keep ? ticket : 0;
    st = cli_session_run_engine(s, ticket, err);
    finish_text(r);
    if (st == MICA_STATUS_OK && r->finish == MICA_FINISH_ERROR) {
        if (err) *err = r->error;
        st = r->error.status ? r->error.status : MICA_STATUS_INTERNAL;
    }
    MICA_TRY(st);
    MICA_REQUIRE(!r->content.failed && !r->reasoning.failed && !r->tool_text.failed,
                 MICA_STATUS_OUT_OF_MEMORY, "out of memory: text of the reply");
done:
    return st;
}

const char *cli_reply_finish_name(const cli_reply *r) {
    switch (r->finish) {
    case MICA_FINISH_STOP:
        return "stop";
    case MICA_FINISH_LENGTH:
        return "length";
    case MICA_FINISH_CONTEXT:
        return "context";
    case MICA_FINISH_CANCELLED:
        return "cancelled";
    case MICA_FINISH_NONE:
    case MICA_FINISH_ERROR:
        break;
    }
    return "error";
}

static double per_second(int64_t n, double seconds) {
    return n > 0 && seconds > 0 ? (double)n / seconds : 0;
}

void cli_reply_print_timings(const cli_reply *r) {
    cli_note("load %.3f s, first token after %.3f s", r->session->load_seconds,
             r->first_token_seconds);
    cli_note("prompt %lld tokens (%lld cached), %.1f tok/s", (long long)r->n_prompt,
             (long long)r->n_cached, per_second(r->n_prompt - r->n_cached, r->prefill_seconds));
    /* The first token comes out of the prefill. */
    cli_note("answer %lld tokens, %.1f tok/s", (long long)r->n_generated,
             per_second(r->n_generated - 1, r->decode_seconds));
    cli_note("peak memory %.1f MiB", (double)mica_memory_resident_peak() / 1048576.0);
}
