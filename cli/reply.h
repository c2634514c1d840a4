/* One reply of a model: ids in, text out as it is made. Shared by run and chat. */
#pragma once
#include "base/str.h"
#include "session.h"

typedef struct cli_tool_call {
    size_t name_end;      /* in cli_reply.tool_text */
    size_t arguments_end; /* the name begins where the call before ends */
} cli_tool_call;

/* The collected reply. Texts grow as needed. */
typedef struct cli_reply {
    cli_session *session;
    bool is_quiet; /* collect only, print nothing */
    bool has_colour;
    mica_text_stream *stream;
    mica_str content, reasoning, tool_text;
    cli_tool_call calls[CLI_LIST_MAX];
    size_t n_calls;

    mica_ticket ticket; /* of the last request; its KV pages are kept when wanted */
    mica_finish finish;
    int64_t n_prompt, n_cached, n_generated;
    double prefill_seconds, decode_seconds, first_token_seconds; /* since submit */
    mica_error error;                                            /* finish ERROR */

    double submit_seconds;
    mica_text_kind last_kind; /* of what was printed last */
    bool has_printed;
    bool ends_line; /* the last printed byte is a line feed */
    int32_t stop_ids[64];
    size_t n_stop_ids;
} cli_reply;

/* Opens the text stream by the session's options. */
mica_status cli_reply_create(cli_reply *r, cli_session *s, mica_error *err);
void cli_reply_destroy(cli_reply *r);
/* Generates after ids. keep: leave the KV pages for the next call, which then continues from
 * them. Errors: CONTEXT_FULL before any work; errors of the engine. */
mica_status cli_reply_run(cli_reply *r, const mica_tokens *ids, const mica_sampling *sampling,
                          bool keep, mica_error *err);
/* "stop", "length", "context", "cancelled" or "error". */
const char *cli_reply_finish_name(const cli_reply *r);
/* Speeds, times and memory on stderr. */
void cli_reply_print_timings(const cli_reply *r);
