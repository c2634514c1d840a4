/* What mica eval scores: one text as token ids, or lines of token ids, each a document. */
#pragma once
#include "eval_chunks.h"
#include "session.h"

typedef struct cli_eval_input {
    const char *name; /* of the file */
    int32_t *ids;     /* all documents, one after another */
    size_t count, capacity;
    size_t *ends; /* [n_documents] end of each document in ids */
    size_t n_documents, documents_capacity;
} cli_eval_input;

/* Encodes the file with the session's tokenizer. Special tokens in the text are plain text. Also
 * fills the rule's prefix: what the post-processor puts in front of a text. */
mica_status cli_eval_input_read_text(cli_eval_input *in, const cli_session *s, const char *path,
                                     cli_chunk_rule *rule, mica_error *err);
/* One JSON array of ids a line. */
mica_status cli_eval_input_read_ids(cli_eval_input *in, const char *path, mica_error *err);
void cli_eval_input_deinit(cli_eval_input *in);

/* Document number i; the ids are borrowed. */
const int32_t *cli_eval_input_document(const cli_eval_input *in, size_t i, int64_t *n_ids);
/* Every id is a row of the logits. Errors: INVALID with the place. */
mica_status cli_eval_input_check(const cli_eval_input *in, int64_t vocab, mica_error *err);
