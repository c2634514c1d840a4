/* Measured choices of kernels: which of those that give the same bits was fastest, remembered per
 * processor, op and shapes in a text file that may be deleted at any time. Pass select asks. */
#pragma once
#include "plan/draft.h"

#define MICA_TUNING_KEY_BYTES 512 /* with the closing zero; longer keys are not remembered */

typedef struct mica_tuning mica_tuning;

/* What the file at `path` holds, as far as it makes sense: it may be missing or full of anything.
 * Errors: OUT_OF_MEMORY. Threads: one at a time. */
mica_status mica_tuning_open(const mica_host *host, const char *path, mica_tuning **out,
                             mica_error *err);
void mica_tuning_close(mica_tuning **tuning); /* accepts NULL */

/* The kernel remembered for the key; NULL when there is none. Valid until the next add. */
const char *mica_tuning_find(const mica_tuning *t, const char *key);
/* Remembers one; does nothing past the limit, without memory, or for names that no line can hold.
 */
void mica_tuning_add(mica_tuning *t, const char *key, const char *kernel);
/* Writes the file anew if anything was added; a failure is logged. */
void mica_tuning_save(mica_tuning *t);

/* What is remembered about a node: the processor, the op with its types, and the kernel that the
 * tables would choose. False when it does not fit. */
bool mica_tuning_key(const mica_draft *d, const mica_node *n, const mica_kernel *by_table,
                     char out[MICA_TUNING_KEY_BYTES]);

/* The fastest of those kernels that give the bits of by_table for the node, which has its place in
 * the plan; by_table itself where there is no choice, where it does not pay, or where it cannot be
 * measured. Reads and updates the runtime's tuning. */
const mica_kernel *mica_tuning_choose(const mica_draft *d, const mica_node *n,
                                      const mica_kernel *by_table);
