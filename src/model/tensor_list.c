/* Listing and writing tensor files without a model: the public wrappers over format/. */
#include <string.h>
#include "base/error.h"
#include "format/safetensors_writer.h"
#include "model/model.h"

struct mica_tensor_list {
    const mica_host *host;
    mica_checkpoint *checkpoint;
};

mica_status mica_tensor_list_open(mica_runtime *runtime, const char *path, mica_tensor_list **out,
                                  mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_tensor_list *list = NULL;
    MICA_REQUIRE(runtime && path && out, MICA_STATUS_INVALID,
                 "mica_tensor_list_open: an argument is NULL");
    list = MICA_NEW(runtime->host.allocator, mica_tensor_list);
    MICA_REQUIRE(list, MICA_STATUS_OUT_OF_MEMORY, "out of memory: tensor list");
    list->host = &runtime->host;
    MICA_TRY(mica_checkpoint_open(list->host, path, NULL, &list->checkpoint, err));
    *out = list;
    list = NULL;
done:
    mica_tensor_list_close(&list);
    return st;
}

void mica_tensor_list_close(mica_tensor_list **list) {
    mica_tensor_list *l = list ? *list : NULL;
    if (!l) return;
    *list = NULL;
    mica_checkpoint_close(&l->checkpoint);
    mica_free(l->host->allocator, l);
}

size_t mica_tensor_list_count(const mica_tensor_list *list) {
    return list ? mica_checkpoint_count(list->checkpoint) : 0;
}

bool mica_tensor_list_get(const mica_tensor_list *list, size_t index, mica_tensor_info *out) {
    if (!list || !out || index >= mica_checkpoint_count(list->checkpoint)) return false;
    mica_tensor_info_fill(list->checkpoint, mica_checkpoint_at(list->checkpoint, index), out);
    return true;
}

mica_status mica_safetensors_write(mica_runtime *runtime, const char *path,
                                   const mica_tensor_data *tensors, size_t n_tensors,
                                   mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_safetensors_item *items = NULL;
    MICA_REQUIRE(runtime && path && (tensors || !n_tensors), MICA_STATUS_INVALID,
                 "mica_safetensors_write: an argument is NULL");
    MICA_REQUIRE(n_tensors <= MICA_SAFETENSORS_TENSORS_MAX, MICA_STATUS_LIMIT,
                 "%zu tensors, at most %d", n_tensors, (int)MICA_SAFETENSORS_TENSORS_MAX);
    items = MICA_NEW_ARRAY(runtime->host.allocator, mica_safetensors_item, n_tensors + 1);
    MICA_REQUIRE(items, MICA_STATUS_OUT_OF_MEMORY, "out of memory: %zu tensors", n_tensors);
    for (size_t i = 0; i < n_tensors; i++) {
        MICA_REQUIRE(tensors[i].name, MICA_STATUS_INVALID, "tensor %zu has no name", i);
        items[i] = (mica_safetensors_item){.name = tensors[i].name,
                                           .dtype = mica_safetensors_dtype_of(tensors[i].dtype),
                                           .data = tensors[i].data};
        MICA_REQUIRE(mica_shape_make(tensors[i].rank, tensors[i].dims, &items[i].shape),
                     MICA_STATUS_INVALID, "%s: a dim is out of range", tensors[i].name);
        MICA_REQUIRE(mica_dtype_bytes(tensors[i].dtype) &&
                         (tensors[i].data || !mica_shape_count(&items[i].shape)),
                     MICA_STATUS_INVALID, "%s: a tensor needs a dtype and data", tensors[i].name);
    }
    st = mica_safetensors_write_file(&runtime->host, path, items, n_tensors, err);
done:
    if (runtime) mica_free(runtime->host.allocator, items);
    return st;
}
