/* Reading the merges of a BPE model. */
#pragma once
#include "base/json.h"
#include "text/bpe.h"

/* The list of merges; the vocabulary and the affixes are there already. name: of the file. A part,
 * or the join of both, that is not in the vocabulary is a FORMAT error. */
mica_status mica_bpe_read_merges(mica_bpe *bpe, mica_json *j, const char *name, mica_error *err);
