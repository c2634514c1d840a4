/* The seam between a tokenizer and its model (BPE, Unigram, WordPiece, WordLevel): what reads the
 * `model` object of tokenizer.json and turns one piece of text into ids. A new kind is one file
 * with a mica_token_model_type and one line in the table of token_model.c. */
#pragma once
#include "base/arena.h"
#include "base/host.h"
#include "base/json.h"
#include "base/vec.h"
#include "text/vocab.h"

typedef struct mica_token_model mica_token_model;
typedef struct mica_token_run mica_token_run;

typedef struct mica_token_model_type {
    const char *name;                  /* `type` in the file */
    size_t model_bytes, run_bytes;     /* of the structs that begin with those below */
    void (*init)(mica_token_model *m); /* all zero but the shared fields */
    /* Reads the value of one field. *is_later: the value was skipped and must be offered again when
     * all the others are read. Errors: FORMAT, UNSUPPORTED (a field that is not known), LIMIT. */
    mica_status (*read_field)(mica_token_model *m, mica_json *j, mica_slice key, bool *is_later,
                              mica_error *err);
    /* NULL: never. Whether pieces may stay raw bytes: see takes_bytes. */
    bool (*can_take_bytes)(const mica_token_model *m);
    /* After the file and the added tokens; takes_bytes is decided. */
    mica_status (*finish)(mica_token_model *m, mica_error *err);
    void (*deinit)(mica_token_model *m);
    /* text_bytes: of all that will be encoded, as a hint. */
    void (*run_init)(mica_token_run *run, size_t text_bytes);
    /* Appends the ids of one piece to run->ids. piece: valid UTF-8 (any bytes where takes_bytes),
     * never empty. Time is at most O(n log n), stack constant. Errors: OUT_OF_MEMORY, INVALID. */
    mica_status (*encode)(mica_token_run *run, const char *piece, size_t bytes, mica_error *err);
    void (*run_deinit)(mica_token_run *run);
} mica_token_model_type;

/* The shared head of every model. Threads: any, once loaded. */
struct mica_token_model {
    const mica_token_model_type *type;
    const mica_host *host;
    const char *name;  /* of the file, for errors; only while it is loaded */
    mica_vocab *vocab; /* the tokenizer's; filled by the model's `vocab` field */
    mica_arena *arena; /* the tokenizer's */
    bool has_vocab;
    /* The pre-tokenizer ends with the map to the byte alphabet and the model does it itself: its
     * pieces are raw bytes, its vocabulary is in the byte alphabet. */
    bool takes_bytes;
};

/* The working memory of one encode call. Threads: one at a time. */
struct mica_token_run {
    const mica_token_model *model;
    mica_vec *ids; /* int32_t: the output, borrowed */
};

/* NULL when the name is not known. */
const mica_token_model_type *mica_token_model_find(mica_slice name);
/* vocab and arena stay the caller's. */
mica_status mica_token_model_create(const mica_token_model_type *type, const mica_host *host,
                                    const char *name, mica_vocab *vocab, mica_arena *arena,
                                    mica_token_model **out, mica_error *err);
void mica_token_model_destroy(mica_token_model **model);

mica_status mica_token_run_create(const mica_token_model *model, mica_vec *ids, size_t text_bytes,
                                  mica_token_run **out, mica_error *err);
void mica_token_run_destroy(mica_token_run **run);

/* ---- for the models' own files ---- */

/* Reads a token id, 0 <= id < MICA_VOCAB_IDS_MAX. */
mica_status mica_token_model_read_id(mica_json *j, int32_t *out, mica_error *err);
/* A string copied to the arena, or null: then out->data is NULL. */
mica_status mica_token_model_read_text(mica_token_model *m, mica_json *j, mica_slice *out,
                                       mica_error *err);
/* {"token": id, ...} */
mica_status mica_token_model_read_vocab(mica_token_model *m, mica_json *j, mica_error *err);
/* Enters a token; a text with two ids, or an id with two texts, is a FORMAT error. name: of the
 * file. */
mica_status mica_token_model_add(mica_vocab *vocab, const char *name, mica_slice text, int32_t id,
                                 bool is_model, mica_error *err);
/* The id of the token that stands for unknown text; it must be one of the model's own. */
mica_status mica_token_model_find_unknown(const mica_token_model *m, mica_slice text, int32_t *id,
                                          mica_error *err);
/* Ids of "<0x00>" to "<0xFF>", -1 where there is none. Returns how many are missing. */
int mica_token_model_find_fallback(const mica_token_model *m, int32_t ids[256]);
/* UNSUPPORTED for a field that the type does not have. */
mica_status mica_token_model_refuse(const mica_token_model *m, mica_slice key, mica_error *err);
