/* Messages are kept as jansson values; the template gets them as JSON text. */
#include "messages.h"
#include <stdlib.h>
#include <string.h>
#include "base/error.h"
#include "base/file.h"

static mica_status fail_memory(mica_error *err) {
    return mica_fail(err, MICA_STATUS_OUT_OF_MEMORY, "out of memory: messages");
}

mica_status cli_messages_init(cli_messages *m, const char *system, mica_error *err) {
    m->list = json_array();
    if (!m->list) return fail_memory(err);
    if (!system) return MICA_STATUS_OK;
    return cli_messages_add(m, "system", system, strlen(system), NULL, 0, err);
}

void cli_messages_deinit(cli_messages *m) {
    json_decref(m->list);
    m->list = NULL;
}

mica_status cli_messages_add(cli_messages *m, const char *role, const char *text, size_t bytes,
                             const char *thinking, size_t thinking_bytes, mica_error *err) {
    json_t *message = json_object();
    int failed = json_object_set_new(message, "role", json_string(role)) |
                 json_object_set_new(message, "content", json_stringn(text, bytes));
    if (thinking && thinking_bytes > 0)
        failed |= json_object_set_new(message, "thinking", json_stringn(thinking, thinking_bytes));
    if (failed) json_decref(message);
    if (failed || json_array_append_new(m->list, message) != 0) return fail_memory(err);
    return MICA_STATUS_OK;
}

void cli_messages_drop_last(cli_messages *m) {
    size_t n = json_array_size(m->list);
    if (n > 0) json_array_remove(m->list, n - 1);
}

/* {"messages": ..., "reasoning_effort": ...} as text; free() it. */
static char *variables_text(const cli_messages *m, const cli_options *o) {
    json_t *variables = json_object();
    int failed = json_object_set(variables, "messages", m->list);
    if (o->reasoning_effort)
        failed |=
            json_object_set_new(variables, "reasoning_effort", json_string(o->reasoning_effort));
    char *text = failed ? NULL : json_dumps(variables, JSON_COMPACT);
    json_decref(variables);
    return text;
}

mica_status cli_messages_encode(const cli_messages *m, const cli_session *s, mica_tokens *out,
                                mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_render_options options = {.struct_bytes = sizeof options, .add_generation_prompt = true};
    mica_rendered rendered = {0};
    char *variables = variables_text(m, s->options);
    if (!variables) return fail_memory(err);
    MICA_TRY(mica_chat_template_render(s->chat_template, variables, strlen(variables), &options,
                                       &rendered, err));
    MICA_TRY(mica_tokenizer_encode_rendered(s->tokenizer, &rendered, out, err));
done:
    mica_rendered_free(s->chat_template, &rendered);
    free(variables);
    return st;
}

mica_status cli_messages_save(const cli_messages *m, const char *path, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_file_writer *writer = NULL;
    json_t *object = json_pack("{s:O}", "messages", m->list);
    char *text = object ? json_dumps(object, JSON_INDENT(2)) : NULL;
    if (!text) st = fail_memory(err);
    MICA_TRY(st);
    MICA_TRY(mica_file_writer_open(mica_host_default(), path, &writer, err));
    MICA_TRY(mica_file_writer_append(writer, text, strlen(text), err));
    MICA_TRY(mica_file_writer_append(writer, "\n", 1, err));
    MICA_TRY(mica_file_writer_commit(writer, err));
done:
    mica_file_writer_close(&writer);
    free(text);
    json_decref(object);
    return st;
}
