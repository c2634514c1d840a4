/* The weight store: one per model. Plans own no weights; a WEIGHT node points at an entry here.
 * Filled by the checkpoint loader (format/), then immutable. */
#pragma once
#include "core/ir.h"

typedef enum mica_layout {
    MICA_LAYOUT_ROWS = 0, /* row-major as in the file */
} mica_layout;

typedef struct mica_weight {
    const char *name;
    uint8_t dtype; /* plain: of the elements; quantised: BF16, what codes decode to */
    mica_quant quant;
    uint8_t layout; /* mica_layout */
    mica_shape shape;
    mica_storage parts[MICA_PARTS_MAX]; /* codes or elements, scales, biases */
    uint64_t bytes;                     /* of all parts */
} mica_weight;

typedef struct mica_weights mica_weights;

mica_status mica_weights_create(const mica_host *host, size_t capacity, mica_weights **out,
                                mica_error *err);
void mica_weights_destroy(mica_weights **w); /* releases the buffers */
/* Copies the entry (the name too) and takes over the storage references, also on failure.
 * Errors: INVALID for a name that is there already, LIMIT past the capacity. */
mica_status mica_weights_add(mica_weights *w, const mica_weight *weight, mica_error *err);
/* NULL when there is none of that name. Stable until destroy. */
const mica_weight *mica_weights_find(const mica_weights *w, const char *name);
size_t mica_weights_count(const mica_weights *w);
const mica_weight *mica_weights_at(const mica_weights *w, size_t i);
uint64_t mica_weights_bytes(const mica_weights *w);
