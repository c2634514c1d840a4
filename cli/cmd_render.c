/* mica render: what the chat template makes of messages. */
#include "base/error.h"
#include "base/json.h"
#include "commands.h"
#include "input.h"
#include "report.h"
#include "session.h"

/* Whether the object has tools, so that a template made for tools is chosen where there is one.
 * Checks the form of the whole text on the way. */
static mica_status look_for_tools(const char *name, const mica_str *text, bool *has_tools,
                                  mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_json *j = NULL;
    mica_slice key;
    MICA_TRY(mica_json_open(mica_host_default(), name, text->data ? text->data : "", text->bytes,
                            MICA_JSON_DEPTH_MAX, &j, err));
    MICA_TRY(mica_json_begin_object(j, err));
    while (mica_json_next_key(j, &key)) {
        if (mica_slice_is(key, "tools")) *has_tools = mica_json_peek(j) == MICA_JSON_ARRAY;
        MICA_TRY(mica_json_skip(j, err));
    }
    MICA_TRY(mica_json_check(j, err));
    MICA_TRY(mica_json_end(j, err));
done:
    mica_json_close(&j);
    return st;
}

int cmd_render(const cli_options *o) {
    mica_status st = MICA_STATUS_OK;
    mica_error err = {0};
    cli_session session = {0};
    mica_str text = {0};
    mica_rendered rendered = {0};
    bool has_tools = false;
    mica_render_options options = {.struct_bytes = sizeof options,
                                   .add_generation_prompt = o->add_generation_prompt};
    MICA_TRY(cli_input_read(o->arguments[1], &text, &err));
    MICA_TRY(look_for_tools(o->arguments[1], &text, &has_tools, &err));
    MICA_TRY(cli_session_open(&session, o, &err));
    MICA_TRY(cli_session_open_template(&session, has_tools, &err));
    MICA_TRY(mica_chat_template_render(session.chat_template, text.data, text.bytes, &options,
                                       &rendered, &err));
    cli_output(rendered.text, rendered.bytes);
done:
    if (session.chat_template) mica_rendered_free(session.chat_template, &rendered);
    cli_session_close(&session);
    mica_str_deinit(&text);
    int written = cli_output_close();
    return st == MICA_STATUS_OK ? written : cli_fail_error(&err);
}
