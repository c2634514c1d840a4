/* A conversation as the template wants it: a JSON array of messages. */
#pragma once
#include <jansson.h>
#include "session.h"

typedef struct cli_messages {
    json_t *list;
} cli_messages;

/* Begins with the system message when it is not NULL. OUT_OF_MEMORY otherwise. */
mica_status cli_messages_init(cli_messages *m, const char *system, mica_error *err);
void cli_messages_deinit(cli_messages *m);
/* role: "user" or "assistant"; thinking: NULL or empty = none. */
mica_status cli_messages_add(cli_messages *m, const char *role, const char *text, size_t bytes,
                             const char *thinking, size_t thinking_bytes, mica_error *err);
void cli_messages_drop_last(cli_messages *m);
/* The ids of the prompt by the session's template. Freed by mica_tokens_free. */
mica_status cli_messages_encode(const cli_messages *m, const cli_session *s, mica_tokens *out,
                                mica_error *err);
/* {"messages": [...]} to a file. */
mica_status cli_messages_save(const cli_messages *m, const char *path, mica_error *err);
