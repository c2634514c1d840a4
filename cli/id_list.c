/* Strict reading of token ids. */
#include "id_list.h"
#include <stdlib.h>
#include "base/error.h"
#include "base/json.h"

#define IDS_MAX (size_t)(1 << 24)

void cli_ids_deinit(cli_ids *list) {
    free(list->ids);
    *list = (cli_ids){0};
}

static mica_status append(cli_ids *list, int64_t id, mica_error *err) {
    if (id < 0 || id > INT32_MAX)
        return mica_fail(err, MICA_STATUS_FORMAT, "id %lld, wanted 0 to %d", (long long)id,
                         INT32_MAX);
    if (list->count == IDS_MAX)
        return mica_fail(err, MICA_STATUS_LIMIT, "more than %zu ids", IDS_MAX);
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 256;
        int32_t *ids = realloc(list->ids, capacity * sizeof *ids);
        if (!ids) return mica_fail_memory(err, capacity * sizeof *ids, "token ids");
        list->ids = ids;
        list->capacity = capacity;
    }
    list->ids[list->count++] = (int32_t)id;
    return MICA_STATUS_OK;
}

mica_status cli_ids_parse_json(cli_ids *out, const char *name, int64_t line, mica_slice text,
                               mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_json *j = NULL;
    char place[256];
    out->count = 0;
    mica_format(place, sizeof place, "%.200s line %lld", name, (long long)line);
    MICA_TRY(mica_json_open(mica_host_default(), place, text.data, text.bytes, 1, &j, err));
    MICA_TRY(mica_json_begin_array(j, err));
    while (mica_json_next_item(j)) {
        int64_t id = 0;
        MICA_TRY(mica_json_read_i64(j, &id, err));
        st = append(out, id, err);
        if (st != MICA_STATUS_OK) st = mica_fail_prefix(err, st, "%s", place);
        MICA_TRY(st);
    }
    MICA_TRY(mica_json_check(j, err));
    MICA_TRY(mica_json_end(j, err));
done:
    mica_json_close(&j);
    return st;
}

static bool is_separator(char c) {
    return c == ' ' || c == ',' || c == '\n' || c == '\t' || c == '\r' || c == '[' || c == ']';
}

mica_status cli_ids_parse_words(cli_ids *out, mica_slice text, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    out->count = 0;
    for (size_t i = 0; i < text.bytes;) {
        if (is_separator(text.data[i])) {
            i++;
            continue;
        }
        size_t end = i;
        while (end < text.bytes && !is_separator(text.data[end])) end++;
        mica_slice word = mica_slice_of(text.data + i, end - i);
        int64_t id = 0;
        MICA_REQUIRE(mica_parse_i64(word, &id), MICA_STATUS_FORMAT, "\"%.*s\" is not a token id",
                     (int)(word.bytes < 40 ? word.bytes : 40), word.data);
        MICA_TRY(append(out, id, err));
        i = end;
    }
done:
    return st;
}
