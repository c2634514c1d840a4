/* Reference counts of device memory; the backend frees it. */
#include "core/buffer.h"
#include "core/backend.h"

mica_buffer *mica_buffer_retain(mica_buffer *b) {
    if (b) atomic_fetch_add_explicit(&b->references, 1, memory_order_relaxed);
    return b;
}

void mica_buffer_release(mica_buffer **b) {
    mica_buffer *buffer = *b;
    *b = NULL;
    if (!buffer) return;
    if (atomic_fetch_sub_explicit(&buffer->references, 1, memory_order_acq_rel) > 1) return;
    buffer->device->backend->buffer_destroy(buffer->device, buffer);
}

void mica_buffer_keep(void *context, const void *host) {
    (void)context;
    (void)host;
}
