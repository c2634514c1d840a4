/* Puts messages into the shape that templates expect. Lists and dictionaries are those that the
 * JSON reader has just made, so they may be changed. */
#include "text/chat_messages.h"
#include <string.h>

static bool is_text(const jinja_value *v) { return v && v->kind == JINJA_STRING; }

/* Text that does not hold a JSON object stays a text. */
static bool parse_arguments(jinja_run *run, jinja_dict *function) {
    jinja_value *arguments = mica_jinja_dict_get(function, "arguments"), parsed;
    if (!is_text(arguments)) return true;
    const jinja_string *s = arguments->as.string;
    size_t at = 0;
    while (at < s->bytes && strchr(" \t\r\n", s->data[at]) && s->data[at]) at++;
    if (at >= s->bytes || s->data[at] != '{') return true;
    mica_error ignored, *err = run->err;
    run->err = &ignored;
    bool ok = mica_jinja_read_json(run, "arguments", s->data, s->bytes, true, &parsed);
    run->err = err;
    if (ok) *arguments = parsed;
    bool is_fatal = !ok && run->status != MICA_STATUS_FORMAT;
    if (is_fatal && err) *err = ignored;
    if (!ok && !is_fatal) run->status = MICA_STATUS_OK;
    return !is_fatal;
}

static bool parse_tool_calls(jinja_run *run, jinja_dict *message) {
    const jinja_value *calls = mica_jinja_dict_get(message, "tool_calls");
    if (!calls || calls->kind != JINJA_LIST) return true;
    for (size_t i = 0; i < calls->as.list->count; i++) {
        const jinja_value *call = &calls->as.list->items[i];
        if (call->kind != JINJA_DICT) continue;
        const jinja_value *function = mica_jinja_dict_get(call->as.dict, "function");
        bool is_nested = function && function->kind == JINJA_DICT;
        if (!parse_arguments(run, is_nested ? function->as.dict : call->as.dict)) return false;
    }
    return true;
}

/* {"type": "text", "text": ...} and its two names in the Responses API. */
static const jinja_value *part_text(const jinja_value *part) {
    if (part->kind == JINJA_STRING) return part;
    if (part->kind != JINJA_DICT) return NULL;
    const jinja_value *type = mica_jinja_dict_get(part->as.dict, "type");
    const jinja_value *text = mica_jinja_dict_get(part->as.dict, "text");
    bool is_known = is_text(type) && (mica_slice_is(mica_jinja_slice(type), "text") ||
                                      mica_slice_is(mica_jinja_slice(type), "input_text") ||
                                      mica_slice_is(mica_jinja_slice(type), "output_text"));
    return is_known && is_text(text) ? text : NULL;
}

static bool join_content(jinja_run *run, size_t message, jinja_value *content) {
    jinja_builder b;
    mica_jinja_builder_init(&b, run);
    const jinja_list *parts = content->as.list;
    for (size_t i = 0; i < parts->count; i++) {
        const jinja_value *text = part_text(&parts->items[i]);
        if (!text)
            return mica_jinja_fail(
                run, MICA_STATUS_UNSUPPORTED,
                "messages[%zu].content[%zu] is no text part, and the chat template "
                "takes text only",
                message, i);
        if ((i > 0 && !mica_jinja_append(&b, "\n", 1, true)) ||
            !mica_jinja_append_string(&b, text->as.string))
            return false;
    }
    return mica_jinja_builder_take(&b, content);
}

static bool spread_reasoning(jinja_run *run, jinja_dict *message) {
    static const char *const names[] = {"reasoning_content", "reasoning", "thinking"};
    const jinja_value *source = NULL;
    for (size_t i = 0; i < 3 && !source; i++) {
        const jinja_value *v = mica_jinja_dict_get(message, names[i]);
        if (is_text(v)) source = v;
    }
    if (!source) return true;
    jinja_value text = *source;
    for (size_t i = 0; i < 3; i++) {
        jinja_value *v = mica_jinja_dict_get(message, names[i]), key;
        if (v && v->kind == JINJA_NONE) *v = text;
        if (v) continue;
        if (!mica_jinja_string(run, names[i], strlen(names[i]), true, &key) ||
            !mica_jinja_dict_set(run, message, key, text))
            return false;
    }
    return true;
}

bool mica_chat_messages_normalize(jinja_run *run, const jinja_program *program,
                                  jinja_value *messages) {
    if (messages->kind != JINJA_LIST) return true;
    for (size_t i = 0; i < messages->as.list->count; i++) {
        const jinja_value *message = &messages->as.list->items[i];
        if (message->kind != JINJA_DICT) continue;
        jinja_value *content = mica_jinja_dict_get(message->as.dict, "content");
        bool joins = content && content->kind == JINJA_LIST && !program->iterates_over_content;
        if (joins && !join_content(run, i, content)) return false;
        if (program->takes_objects && !parse_tool_calls(run, message->as.dict)) return false;
        if (!spread_reasoning(run, message->as.dict)) return false;
    }
    return true;
}
