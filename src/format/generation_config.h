/* generation_config.json: how a model's authors want it sampled. Values are defaults that hold only
 * where the user gave none; the file may be missing. */
#pragma once
#include "format/config.h"

#define MICA_GENERATION_CONFIG_NAME "generation_config.json"
#define MICA_GENERATION_CONFIG_BYTES_MAX ((size_t)1 << 20)

/* Plain data. A value counts only where its has is true.
 * temperature  0..100     top_k  0..2^21, 0 = off (-1 in the file too)   top_p  0..1, min_p 0..1
 * bos, pad_token_id       -1 when absent */
typedef struct mica_generation_config {
    bool is_present; /* the file was there */
    bool do_sample;
    double temperature;
    int64_t top_k;
    double top_p;
    double min_p;
    double repetition_penalty;
    int64_t max_new_tokens;
    int64_t bos_token_id;
    int64_t pad_token_id;
    mica_token_ids eos_token_ids;
    struct {
        bool do_sample;
        bool temperature;
        bool top_k;
        bool top_p;
        bool min_p;
        bool repetition_penalty;
        bool max_new_tokens;
        bool bos_token_id;
        bool pad_token_id;
    } has;
} mica_generation_config;

/* Reads <folder>/generation_config.json, or the keys of a GGUF file; a missing file gives OK and
 * is_present false.
 * Errors: FORMAT (naming the field), LIMIT. */
mica_status mica_generation_config_load(const mica_host *host, const char *folder,
                                        mica_generation_config *out, mica_error *err);
mica_status mica_generation_config_parse(const mica_host *host, const char *name, const char *text,
                                         size_t bytes, mica_generation_config *out,
                                         mica_error *err);
/* The ids that end a reply: those of both files. LIMIT past MICA_TOKEN_IDS_MAX. */
mica_status mica_generation_config_merge_eos(const mica_generation_config *generation,
                                             const mica_config *config, mica_token_ids *out,
                                             mica_error *err);
