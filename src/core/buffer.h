/* Counted memory of a device. Where its bytes live is the backend's matter. */
#pragma once
#include <stdatomic.h>
#include "base/host.h"

typedef struct mica_device mica_device;

/* Threads: retain and release any; contents as the user orders. */
typedef struct mica_buffer {
    _Atomic int32_t references;
    mica_device *device;
    void *host;      /* host address of the bytes, or NULL where the device has its own memory */
    uint64_t handle; /* device address; on the CPU equal to host */
    uint64_t bytes;
    /* Imported memory: called at the end instead of freeing. */
    void (*release_memory)(void *context, const void *host);
    void *release_context;
} mica_buffer;

/* Retain returns its argument; release accepts NULL, frees at the last reference, sets NULL. */
mica_buffer *mica_buffer_retain(mica_buffer *b);
void mica_buffer_release(mica_buffer **b);

/* A release function for memory that somebody else frees: does nothing. */
void mica_buffer_keep(void *context, const void *host);

/* A place inside a buffer. */
typedef struct mica_storage {
    mica_buffer *buffer; /* NULL = none */
    uint64_t offset;     /* bytes */
} mica_storage;
