/* Host memory as device memory. */
#include "core/host_buffer.h"
#include <string.h>
#include "base/alloc.h"
#include "base/error.h"
#include "base/thread_pool.h"

#define BUFFER_ALIGNMENT 64
#define LARGE_BYTES (8u << 20) /* buffers of that size get large pages */

static mica_buffer *create_header(mica_device *device, mica_error *err) {
    mica_buffer *b = MICA_NEW(device->host->allocator, mica_buffer);
    if (!b) {
        mica_fail_memory(err, sizeof *b, "a buffer");
        return NULL;
    }
    atomic_store(&b->references, 1);
    b->device = device;
    return b;
}

mica_status mica_host_buffer_create(mica_device *device, uint64_t bytes, mica_buffer **out,
                                    mica_error *err) {
    if (bytes > SIZE_MAX / 2)
        return mica_fail(err, MICA_STATUS_LIMIT, "a buffer of %llu bytes",
                         (unsigned long long)bytes);
    mica_buffer *b = create_header(device, err);
    if (!b) return MICA_STATUS_OUT_OF_MEMORY;
    b->host = mica_alloc_aligned(device->host->allocator, (size_t)bytes, BUFFER_ALIGNMENT);
    if (!b->host) {
        mica_free(device->host->allocator, b);
        return mica_fail_memory(err, (size_t)bytes, "a buffer");
    }
    if (bytes >= LARGE_BYTES) mica_memory_advise_large(b->host, (size_t)bytes);
    b->handle = (uint64_t)(uintptr_t)b->host;
    b->bytes = bytes;
    *out = b;
    return MICA_STATUS_OK;
}

mica_status mica_host_buffer_import(mica_device *device, const void *host, uint64_t bytes,
                                    void (*release)(void *, const void *), void *context,
                                    mica_buffer **out, mica_error *err) {
    mica_buffer *b = create_header(device, err);
    if (!b) {
        if (release) release(context, host);
        return MICA_STATUS_OUT_OF_MEMORY;
    }
    b->host = (void *)(uintptr_t)host;
    b->handle = (uint64_t)(uintptr_t)host;
    b->bytes = bytes;
    b->release_memory = release ? release : mica_buffer_keep;
    b->release_context = context;
    *out = b;
    return MICA_STATUS_OK;
}

mica_status mica_host_buffer_map(mica_device *device, mica_buffer *buffer, bool will_write,
                                 void **out, mica_error *err) {
    (void)device;
    (void)will_write;
    (void)err;
    *out = buffer->host;
    return MICA_STATUS_OK;
}

void mica_host_buffer_destroy(mica_device *device, mica_buffer *buffer) {
    if (buffer->release_memory)
        buffer->release_memory(buffer->release_context, buffer->host);
    else
        mica_free(device->host->allocator, buffer->host);
    mica_free(device->host->allocator, buffer);
}

mica_status mica_host_buffer_copy(mica_device *device, mica_storage to, mica_storage from,
                                  uint64_t bytes, mica_error *err) {
    (void)device;
    if (to.offset > to.buffer->bytes || bytes > to.buffer->bytes - to.offset ||
        from.offset > from.buffer->bytes || bytes > from.buffer->bytes - from.offset)
        return mica_fail(err, MICA_STATUS_INVALID, "a copy of %llu bytes past a buffer's end",
                         (unsigned long long)bytes);
    memmove((uint8_t *)to.buffer->host + to.offset, (uint8_t *)from.buffer->host + from.offset,
            (size_t)bytes);
    return MICA_STATUS_OK;
}

/* Work is done when run returns, so an event is always signalled. */
mica_status mica_host_event_signal(mica_device *device, mica_event **out, mica_error *err) {
    (void)device;
    (void)err;
    *out = NULL;
    return MICA_STATUS_OK;
}

mica_status mica_host_event_wait(mica_device *device, mica_event *event, mica_error *err) {
    (void)device;
    (void)event;
    (void)err;
    return MICA_STATUS_OK;
}
