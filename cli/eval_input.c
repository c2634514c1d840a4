/* Texts and lines of ids, read whole. */
#include "eval_input.h"
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "base/error.h"
#include "id_list.h"
#include "input.h"

void cli_eval_input_deinit(cli_eval_input *in) {
    free(in->ids);
    free(in->ends);
    *in = (cli_eval_input){0};
}

/* Makes room for n more items of a growing array. */
static mica_status grow(void **array, size_t *capacity, size_t count, size_t n, size_t item,
                        mica_error *err) {
    size_t wanted = 0, bytes = 0;
    if (!mica_add_size(count, n, &wanted) || wanted > SIZE_MAX / 2)
        return mica_fail(err, MICA_STATUS_LIMIT, "too many token ids");
    if (wanted <= *capacity) return MICA_STATUS_OK;
    size_t more = wanted > *capacity * 2 ? wanted : *capacity * 2;
    if (!mica_mul_size(more, item, &bytes))
        return mica_fail(err, MICA_STATUS_LIMIT, "too many token ids");
    void *grown = realloc(*array, bytes);
    if (!grown) return mica_fail_memory(err, bytes, "token ids");
    *array = grown;
    *capacity = more;
    return MICA_STATUS_OK;
}

static mica_status add_document(cli_eval_input *in, const int32_t *ids, size_t n, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    void *all = in->ids, *ends = in->ends;
    st = grow(&all, &in->capacity, in->count, n, sizeof *in->ids, err);
    in->ids = all;
    MICA_TRY(st);
    st = grow(&ends, &in->documents_capacity, in->n_documents, 1, sizeof *in->ends, err);
    in->ends = ends;
    MICA_TRY(st);
    if (n > 0) memcpy(in->ids + in->count, ids, n * sizeof *ids);
    in->count += n;
    in->ends[in->n_documents++] = in->count;
done:
    return st;
}

/* ---- text ---- */

/* The ids in front of a text: those of "a" with special tokens, up to where "a" alone begins. */
static mica_status find_prefix(const mica_tokenizer *t, cli_chunk_rule *rule, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_tokens plain = {0}, full = {0};
    mica_encode_options options = {.struct_bytes = sizeof options};
    MICA_TRY(mica_tokenizer_encode(t, "a", 1, &options, &plain, err));
    options.add_special_tokens = true;
    MICA_TRY(mica_tokenizer_encode(t, "a", 1, &options, &full, err));
    size_t n = 0, bytes = plain.count * sizeof *plain.ids;
    while (n + plain.count <= full.count && memcmp(full.ids + n, plain.ids, bytes) != 0) n++;
    MICA_REQUIRE(n + plain.count <= full.count && n <= CLI_PREFIX_MAX, MICA_STATUS_UNSUPPORTED,
                 "the tokenizer's post-processor changes a text or puts more than %d ids in front",
                 CLI_PREFIX_MAX);
    if (n > 0) memcpy(rule->prefix, full.ids, n * sizeof *full.ids);
    rule->n_prefix = (int64_t)n;
done:
    mica_tokens_free(t, &plain);
    mica_tokens_free(t, &full);
    return st;
}

mica_status cli_eval_input_read_text(cli_eval_input *in, const cli_session *s, const char *path,
                                     cli_chunk_rule *rule, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_str text;
    mica_tokens ids = {0};
    mica_encode_options options = {.struct_bytes = sizeof options, .plain_special = true};
    in->name = strcmp(path, "-") == 0 ? "standard input" : path;
    mica_str_init(&text, mica_allocator_default());
    MICA_TRY(find_prefix(s->tokenizer, rule, err));
    MICA_TRY(cli_input_read(path, &text, err));
    MICA_TRY(mica_tokenizer_encode(s->tokenizer, text.data ? text.data : "", text.bytes, &options,
                                   &ids, err));
    MICA_TRY(add_document(in, ids.ids, ids.count, err));
done:
    mica_tokens_free(s->tokenizer, &ids);
    mica_str_deinit(&text);
    return st;
}

/* ---- ids ---- */

mica_status cli_eval_input_read_ids(cli_eval_input *in, const char *path, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    cli_lines lines = {0};
    cli_ids ids = {0};
    mica_slice line;
    mica_error end = {0};
    MICA_TRY(cli_lines_open(&lines, path, err));
    in->name = lines.name;
    while (cli_lines_next(&lines, &line, &end)) {
        MICA_TRY(cli_ids_parse_json(&ids, lines.name, lines.number, line, err));
        MICA_TRY(add_document(in, ids.ids, ids.count, err));
    }
    if (end.status != MICA_STATUS_OK) *err = end;
    MICA_TRY(end.status);
done:
    cli_ids_deinit(&ids);
    cli_lines_close(&lines);
    return st;
}

/* ---- documents ---- */

const int32_t *cli_eval_input_document(const cli_eval_input *in, size_t i, int64_t *n_ids) {
    size_t begin = i > 0 ? in->ends[i - 1] : 0;
    *n_ids = (int64_t)(in->ends[i] - begin);
    return in->ids + begin;
}

mica_status cli_eval_input_check(const cli_eval_input *in, int64_t vocab, mica_error *err) {
    for (size_t i = 0; i < in->n_documents; i++) {
        int64_t n = 0;
        const int32_t *ids = cli_eval_input_document(in, i, &n);
        for (int64_t k = 0; k < n; k++)
            if (ids[k] < 0 || ids[k] >= vocab)
                return mica_fail(err, MICA_STATUS_INVALID,
                                 "%s: token id %d at position %lld of line %zu, the model has %lld",
                                 in->name, (int)ids[k], (long long)k, i, (long long)vocab);
    }
    return MICA_STATUS_OK;
}
