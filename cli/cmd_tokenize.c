/* mica tokenize: text to ids and back. Needs the tokenizer only. */
#include <string.h>
#include "base/error.h"
#include "base/json.h"
#include "commands.h"
#include "id_list.h"
#include "input.h"
#include "report.h"
#include "session.h"

static mica_encode_options encode_options(const cli_options *o) {
    return (mica_encode_options){.struct_bytes = sizeof(mica_encode_options),
                                 .plain_special = o->no_special};
}

/* ---- one text ---- */

static void print_token(const cli_session *s, int32_t id, mica_str *line) {
    size_t bytes = 0;
    const char *text = mica_tokenizer_token(s->tokenizer, id, &bytes);
    mica_str_clear(line);
    mica_json_append_string(line, mica_slice_of(text ? text : "", bytes));
    cli_output_format("%d\t%s\n", (int)id, line->data ? line->data : "");
}

static mica_status encode_text(const cli_session *s, mica_slice text, mica_error *err) {
    mica_tokens ids = {0};
    mica_str line;
    mica_encode_options options = encode_options(s->options);
    mica_str_init(&line, mica_allocator_default());
    mica_status st =
        mica_tokenizer_encode(s->tokenizer, text.data, text.bytes, &options, &ids, err);
    for (size_t i = 0; st == MICA_STATUS_OK && i < ids.count; i++)
        print_token(s, ids.ids[i], &line);
    mica_str_deinit(&line);
    mica_tokens_free(s->tokenizer, &ids);
    return st;
}

static mica_status decode_text(const cli_session *s, mica_slice text, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    cli_ids ids = {0};
    char *decoded = NULL;
    size_t bytes = 0;
    MICA_TRY(cli_ids_parse_words(&ids, text, err));
    MICA_TRY(mica_tokenizer_decode(s->tokenizer, ids.ids, ids.count, !s->options->no_special,
                                   &decoded, &bytes, err));
    cli_output(decoded, bytes);
    cli_output("\n", 1);
done:
    mica_text_free(s->tokenizer, decoded);
    cli_ids_deinit(&ids);
    return st;
}

static mica_status take_text(const cli_session *s, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const cli_options *o = s->options;
    mica_str input;
    mica_slice text;
    mica_str_init(&input, mica_allocator_default());
    if (o->n_arguments > 1) {
        text = mica_slice_from(o->arguments[1]);
    } else {
        MICA_TRY(cli_input_read(o->file, &input, err));
        text = mica_slice_of(input.data ? input.data : "", input.bytes);
    }
    MICA_TRY(o->decode ? decode_text(s, text, err) : encode_text(s, text, err));
done:
    mica_str_deinit(&input);
    return st;
}

/* ---- lines of JSON ---- */

static mica_status encode_line(const cli_session *s, const cli_lines *lines, mica_slice line,
                               mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_json *j = NULL;
    mica_slice text;
    mica_tokens ids = {0};
    char place[256];
    mica_encode_options options = encode_options(s->options);
    mica_format(place, sizeof place, "%.200s line %lld", lines->name, (long long)lines->number);
    MICA_TRY(mica_json_open(mica_host_default(), place, line.data, line.bytes, 1, &j, err));
    MICA_TRY(mica_json_read_string(j, &text, err));
    MICA_TRY(mica_json_end(j, err));
    MICA_TRY(mica_tokenizer_encode(s->tokenizer, text.data, text.bytes, &options, &ids, err));
    cli_output("[", 1);
    for (size_t i = 0; i < ids.count; i++)
        cli_output_format("%s%d", i ? ", " : "", (int)ids.ids[i]);
    cli_output("]\n", 2);
done:
    mica_tokens_free(s->tokenizer, &ids);
    mica_json_close(&j);
    return st;
}

static mica_status decode_line(const cli_session *s, const cli_lines *lines, mica_slice line,
                               mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    cli_ids ids = {0};
    char *decoded = NULL;
    size_t bytes = 0;
    mica_str out;
    mica_str_init(&out, mica_allocator_default());
    MICA_TRY(cli_ids_parse_json(&ids, lines->name, lines->number, line, err));
    st = mica_tokenizer_decode(s->tokenizer, ids.ids, ids.count, !s->options->no_special, &decoded,
                               &bytes, err);
    if (st != MICA_STATUS_OK)
        st = mica_fail_prefix(err, st, "%s line %lld", lines->name, (long long)lines->number);
    MICA_TRY(st);
    mica_json_append_string(&out, mica_slice_of(decoded, bytes));
    mica_str_append_char(&out, '\n');
    MICA_REQUIRE(!out.failed, MICA_STATUS_OUT_OF_MEMORY, "out of memory: decoded text");
    cli_output(out.data, out.bytes);
done:
    mica_str_deinit(&out);
    mica_text_free(s->tokenizer, decoded);
    cli_ids_deinit(&ids);
    return st;
}

static mica_status take_lines(const cli_session *s, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    cli_lines lines;
    mica_slice line;
    mica_error end = {0};
    MICA_TRY(cli_lines_open(&lines, s->options->file, err));
    while (cli_lines_next(&lines, &line, &end))
        MICA_TRY(s->options->decode ? decode_line(s, &lines, line, err)
                                    : encode_line(s, &lines, line, err));
    if (end.status != MICA_STATUS_OK) *err = end;
    st = end.status;
done:
    cli_lines_close(&lines);
    return st;
}

int cmd_tokenize(const cli_options *o) {
    mica_status st = MICA_STATUS_OK;
    mica_error err = {0};
    cli_session session = {0};
    if (o->n_arguments > 1 && (o->file || o->jsonl))
        return cli_fail_usage("tokenize: a text and %s are given, wanted one of them",
                              o->file ? "--file" : "--jsonl");
    MICA_TRY(cli_session_open(&session, o, &err));
    MICA_TRY(cli_session_open_tokenizer(&session, &err));
    MICA_TRY(o->jsonl ? take_lines(&session, &err) : take_text(&session, &err));
done:
    cli_session_close(&session);
    int written = cli_output_close();
    return st == MICA_STATUS_OK ? written : cli_fail_error(&err);
}
