/* generation_config.json by a table, as config.c. */
#include "format/generation_config.h"
#include "base/error.h"
#include "format/gguf_config.h"
#include "format/model_folder.h"

enum { TOKEN_ID_MAX = (1 << 21) - 1 };

/* clang-format off */
#define PLACE(member) offsetof(mica_generation_config, member), \
                      offsetof(mica_generation_config, has.member)
static const mica_field fields[] = {
    {"do_sample", MICA_FIELD_BOOLEAN, PLACE(do_sample), 0, 0},
    {"temperature", MICA_FIELD_NUMBER, PLACE(temperature), 0, 100},
    {"top_k", MICA_FIELD_INTEGER, PLACE(top_k), -1, TOKEN_ID_MAX + 1},
    {"top_p", MICA_FIELD_NUMBER, PLACE(top_p), 0, 1},
    {"min_p", MICA_FIELD_NUMBER, PLACE(min_p), 0, 1},
    {"repetition_penalty", MICA_FIELD_NUMBER, PLACE(repetition_penalty), 0.01, 100},
    {"max_new_tokens", MICA_FIELD_INTEGER, PLACE(max_new_tokens), 1, 1 << 24},
    {"bos_token_id", MICA_FIELD_INTEGER, PLACE(bos_token_id), -1, TOKEN_ID_MAX},
    {"pad_token_id", MICA_FIELD_INTEGER, PLACE(pad_token_id), -1, TOKEN_ID_MAX},
};
/* clang-format on */

static mica_status read_fields(mica_json *j, const char *name, mica_generation_config *out,
                               mica_error *err) {
    mica_slice key;
    bool is_known;
    mica_status st = mica_json_begin_object(j, err);
    while (st == MICA_STATUS_OK && mica_json_next_key(j, &key)) {
        if (mica_slice_is(key, "eos_token_id")) {
            st = mica_token_ids_read(j, name, "eos_token_id", &out->eos_token_ids, err);
            continue;
        }
        st = mica_fields_read(j, name, key, fields, sizeof fields / sizeof *fields, out, &is_known,
                              err);
        if (st == MICA_STATUS_OK && !is_known) st = mica_json_skip(j, err);
    }
    if (st == MICA_STATUS_OK) st = mica_json_check(j, err);
    return st == MICA_STATUS_OK ? mica_json_end(j, err) : st;
}

static void finish(mica_generation_config *out) {
    if (!out->has.bos_token_id || out->bos_token_id < 0) {
        out->bos_token_id = -1;
        out->has.bos_token_id = false;
    }
    if (!out->has.pad_token_id || out->pad_token_id < 0) {
        out->pad_token_id = -1;
        out->has.pad_token_id = false;
    }
    if (out->top_k < 0) out->top_k = 0;
}

mica_status mica_generation_config_parse(const mica_host *host, const char *name, const char *text,
                                         size_t bytes, mica_generation_config *out,
                                         mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_json *j = NULL;
    mica_generation_config read = {.is_present = true};
    *out = (mica_generation_config){.bos_token_id = -1, .pad_token_id = -1};
    MICA_REQUIRE(bytes <= MICA_GENERATION_CONFIG_BYTES_MAX, MICA_STATUS_LIMIT,
                 "%s: %zu bytes, expected at most %zu", name, bytes,
                 MICA_GENERATION_CONFIG_BYTES_MAX);
    MICA_REQUIRE(!mica_is_lfs_pointer(text, bytes), MICA_STATUS_FORMAT,
                 "%s is a Git LFS pointer, not the data: run git lfs pull", name);
    MICA_TRY(mica_json_open(host, name, text, bytes, MICA_JSON_DEPTH_MAX, &j, err));
    MICA_TRY(read_fields(j, name, &read, err));
    finish(&read);
    *out = read;
done:
    mica_json_close(&j);
    return st;
}

mica_status mica_generation_config_load(const mica_host *host, const char *folder,
                                        mica_generation_config *out, mica_error *err) {
    mica_model_folder place;
    char *text = NULL;
    size_t bytes;
    *out = (mica_generation_config){.bos_token_id = -1, .pad_token_id = -1};
    bool is_gguf;
    mica_status st = mica_gguf_is_file(host, folder, &is_gguf, err);
    if (st != MICA_STATUS_OK) return st;
    if (is_gguf) return mica_gguf_generation_config_load(host, folder, out, err);
    st = mica_model_folder_open(folder, &place, err);
    if (st != MICA_STATUS_OK) return st;
    if (!mica_model_folder_has(&place, MICA_GENERATION_CONFIG_NAME)) return MICA_STATUS_OK;
    st = mica_model_folder_read(host, &place, MICA_GENERATION_CONFIG_NAME,
                                MICA_GENERATION_CONFIG_BYTES_MAX, &text, &bytes, err);
    if (st == MICA_STATUS_OK)
        st = mica_generation_config_parse(host, MICA_GENERATION_CONFIG_NAME, text, bytes, out, err);
    mica_free(host->allocator, text);
    return st;
}

mica_status mica_generation_config_merge_eos(const mica_generation_config *generation,
                                             const mica_config *config, mica_token_ids *out,
                                             mica_error *err) {
    *out = generation->eos_token_ids;
    for (int32_t i = 0; i < config->eos_token_ids.count; i++)
        if (!mica_token_ids_add(out, config->eos_token_ids.ids[i]))
            return mica_fail(err, MICA_STATUS_LIMIT, "more than %d ids end a reply",
                             MICA_TOKEN_IDS_MAX);
    return MICA_STATUS_OK;
}
