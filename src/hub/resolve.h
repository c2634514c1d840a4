/* From a model name to a folder on this machine. Public face: mica/hub.h. No network. */
#pragma once
#include "base/host.h"
#include "mica/hub.h"

#define MICA_HUB_NAME_BYTES_MAX 256 /* of org/name@revision */

/* As mica_hub_resolve, without a runtime. */
mica_status mica_hub_find(const mica_host *host, const char *name, const mica_hub_options *options,
                          char *out, size_t capacity, mica_error *err);
