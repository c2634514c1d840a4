/* mica run: one prompt, one answer. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/error.h"
#include "base/thread_pool.h"
#include "commands.h"
#include "input.h"
#include "messages.h"
#include "reply.h"
#include "report.h"

/* The prompt: argument, file or standard input. */
static mica_status read_prompt(const cli_options *o, mica_str *out, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_str_init(out, mica_allocator_default());
    if (o->n_arguments > 1) {
        size_t bytes = strlen(o->arguments[1]);
        MICA_REQUIRE(mica_utf8_is_valid(o->arguments[1], bytes), MICA_STATUS_FORMAT,
                     "the prompt is not UTF-8");
        mica_str_append(out, o->arguments[1], bytes);
        MICA_REQUIRE(!out->failed, MICA_STATUS_OUT_OF_MEMORY, "out of memory: the prompt");
        return st;
    }
    if (!o->file && isatty(STDIN_FILENO))
        cli_note("the prompt comes from standard input; end it with Ctrl-D");
    MICA_TRY(cli_input_read(o->file, out, err));
    if (!o->raw && out->bytes > 0 && out->data[out->bytes - 1] == '\n') out->bytes--;
done:
    return st;
}

static mica_status encode_prompt(const cli_session *s, const mica_str *prompt, mica_tokens *out,
                                 mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    cli_messages messages = {0};
    const char *text = prompt->data ? prompt->data : "";
    if (s->options->raw) {
        mica_encode_options options = {.struct_bytes = sizeof options, .add_special_tokens = true};
        return mica_tokenizer_encode(s->tokenizer, text, prompt->bytes, &options, out, err);
    }
    MICA_TRY(cli_messages_init(&messages, s->options->system, err));
    MICA_TRY(cli_messages_add(&messages, "user", text, prompt->bytes, NULL, 0, err));
    MICA_TRY(cli_messages_encode(&messages, s, out, err));
done:
    cli_messages_deinit(&messages);
    return st;
}

/* ---- the JSON object ---- */

static json_t *tool_calls_json(const cli_reply *r) {
    json_t *list = json_array();
    size_t start = 0;
    for (size_t i = 0; i < r->n_calls; i++) {
        const cli_tool_call *call = &r->calls[i];
        const char *text = r->tool_text.data ? r->tool_text.data : "";
        json_array_append_new(list,
                              json_pack("{s:s%,s:s%}", "name", text + start, call->name_end - start,
                                        "arguments", text + call->name_end,
                                        call->arguments_end - call->name_end));
        start = call->arguments_end;
    }
    return list;
}

static json_t *timings_json(const cli_reply *r) {
    return json_pack("{s:f,s:f,s:f,s:f,s:I}", "load_seconds", r->session->load_seconds,
                     "first_token_seconds", r->first_token_seconds, "prefill_seconds",
                     r->prefill_seconds, "decode_seconds", r->decode_seconds, "peak_memory_bytes",
                     (json_int_t)mica_memory_resident_peak());
}

static mica_status print_json(const cli_reply *r, const mica_sampling *sampling, mica_error *err) {
    json_t *usage =
        json_pack("{s:I,s:I,s:I}", "prompt_tokens", (json_int_t)r->n_prompt, "cached_tokens",
                  (json_int_t)r->n_cached, "completion_tokens", (json_int_t)r->n_generated);
    json_t *object =
        json_pack("{s:s%,s:s%,s:o,s:s,s:I,s:o,s:o}", "text", r->content.data ? r->content.data : "",
                  r->content.bytes, "reasoning", r->reasoning.data ? r->reasoning.data : "",
                  r->reasoning.bytes, "tool_calls", tool_calls_json(r), "finish_reason",
                  cli_reply_finish_name(r), "seed", (json_int_t)sampling->seed, "usage", usage,
                  "timings", timings_json(r));
    char *text = object ? json_dumps(object, 0) : NULL;
    if (text) cli_output_format("%s\n", text);
    json_decref(object);
    mica_status st =
        text ? MICA_STATUS_OK : mica_fail(err, MICA_STATUS_OUT_OF_MEMORY, "out of memory: JSON");
    free(text);
    return st;
}

/* ---- the job ---- */

static void say_how_it_ended(const cli_reply *r) {
    if (r->finish == MICA_FINISH_CONTEXT)
        cli_note("the context is full: %lld tokens",
                 (long long)mica_engine_context(r->session->engine));
    if (r->finish == MICA_FINISH_CANCELLED) cli_note("interrupted");
}

static mica_status open_all(cli_session *s, const cli_options *o, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    MICA_TRY(cli_session_open(s, o, err));
    MICA_TRY(cli_session_open_model(s, false, err));
    MICA_TRY(cli_session_open_tokenizer(s, err));
    if (!o->raw) {
        st = cli_session_open_template(s, false, err);
        if (st == MICA_STATUS_NOT_FOUND)
            st = mica_fail_prefix(err, st, "the model has no chat template, try --raw");
        MICA_TRY(st);
    }
    MICA_TRY(cli_session_open_engine(s, 0, err));
    if (!o->json) cli_note("context %lld tokens", (long long)mica_engine_context(s->engine));
done:
    return st;
}

static mica_status generate(cli_session *s, const mica_str *prompt, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    cli_reply reply = {0};
    mica_tokens ids = {0};
    mica_sampling sampling = cli_session_sampling(s);
    MICA_TRY(encode_prompt(s, prompt, &ids, err));
    MICA_TRY(cli_reply_create(&reply, s, err));
    MICA_TRY(cli_reply_run(&reply, &ids, &sampling, false, err));
    if (s->options->json) MICA_TRY(print_json(&reply, &sampling, err));
    say_how_it_ended(&reply);
    if (s->options->show_timings) cli_reply_print_timings(&reply);
done:
    cli_reply_destroy(&reply);
    mica_tokens_free(s->tokenizer, &ids);
    return st;
}

int cmd_run(const cli_options *o) {
    mica_status st = MICA_STATUS_OK;
    mica_error err = {0};
    cli_session session = {0};
    mica_str prompt = {0};
    if (o->n_arguments > 1 && o->file)
        return cli_fail_usage("run: a prompt and --file are given, wanted one of them");
    if (o->raw && (o->system || o->reasoning_effort || o->chat_template))
        return cli_fail_usage("run: --raw has no chat template that could take --system, "
                              "--reasoning-effort or --chat-template");
    MICA_TRY(read_prompt(o, &prompt, &err));
    MICA_TRY(open_all(&session, o, &err));
    MICA_TRY(generate(&session, &prompt, &err));
done:
    cli_session_close(&session);
    mica_str_deinit(&prompt);
    int written = cli_output_close();
    return st == MICA_STATUS_OK ? written : cli_fail_error(&err);
}
