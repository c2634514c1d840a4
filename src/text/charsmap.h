/* sentencepiece's precompiled character map (the normalizer "Precompiled"): a double-array trie
 * from short texts to their replacements. The blob is a u32 (bytes of the trie), the trie's u32
 * units, and the replacements, each closed by a NUL; a trie value is a place in them. It comes from
 * outside: a unit that leads out of the array, or a value that is no place, finds nothing. */
#pragma once
#include "base/host.h"
#include "base/str.h"

#define MICA_CHARSMAP_BYTES_MAX (16u << 20) /* of the blob */

/* Threads: any, once created. */
typedef struct mica_charsmap mica_charsmap;

/* base64: standard alphabet with padding, as it stands in tokenizer.json.
 * Errors: FORMAT, LIMIT, OUT_OF_MEMORY. */
mica_status mica_charsmap_create(const mica_allocator *allocator, mica_slice base64,
                                 mica_charsmap **out, mica_error *err);
void mica_charsmap_destroy(mica_charsmap **map);

/* The replacement of the shortest beginning of text that has one; false: none has. */
bool mica_charsmap_find(const mica_charsmap *map, mica_slice text, mica_slice *out);
/* Whether an ASCII character stays as it is, as a table look-up. */
bool mica_charsmap_keeps_ascii(const mica_charsmap *map, uint8_t c);
