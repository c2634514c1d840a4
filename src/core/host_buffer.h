/* Buffers of a device whose memory is host memory, and events of one whose work is done when run
 * returns: rows of mica_backend that such backends share. */
#pragma once
#include "core/backend.h"

/* Aligned to 64 bytes, not zeroed. */
mica_status mica_host_buffer_create(mica_device *device, uint64_t bytes, mica_buffer **out,
                                    mica_error *err);
mica_status mica_host_buffer_import(mica_device *device, const void *host, uint64_t bytes,
                                    void (*release)(void *context, const void *host), void *context,
                                    mica_buffer **out, mica_error *err);
mica_status mica_host_buffer_map(mica_device *device, mica_buffer *buffer, bool will_write,
                                 void **out, mica_error *err);
void mica_host_buffer_destroy(mica_device *device, mica_buffer *buffer);
/* INVALID past the end of either buffer; they may overlap. */
mica_status mica_host_buffer_copy(mica_device *device, mica_storage to, mica_storage from,
                                  uint64_t bytes, mica_error *err);
mica_status mica_host_event_signal(mica_device *device, mica_event **out, mica_error *err);
mica_status mica_host_event_wait(mica_device *device, mica_event *event, mica_error *err);
