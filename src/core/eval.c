/* Lazy arrays from the outside: data in, mica_eval, data out. Evaluation is plan_build and run;
 * there is no other way to compute anything. */
#include <string.h>
#include "base/checked.h"
#include "base/error.h"
#include "core/graph.h"
#include "core/runtime.h"

#define EVAL_ARRAYS_MAX 4096

/* ---- data in ---- */

static mica_array add_data(mica_graph *g, mica_dtype dtype, mica_quant quant,
                           const mica_shape *shape, mica_storage storage[MICA_PARTS_MAX]) {
    return mica_array_of(g, mica_graph_data(g, dtype, quant, shape, storage));
}

static bool check_data(mica_graph *g, mica_dtype dtype, int rank, const int64_t *dims,
                       const void *data, mica_shape *shape) {
    if (!g || g->error.status != MICA_STATUS_OK) return false;
    if (!mica_shape_make(rank, dims, shape)) {
        mica_graph_fail(g, MICA_STATUS_INVALID, "an array of rank %d with bad or too large dims",
                        rank);
        return false;
    }
    if (!mica_dtype_bytes(dtype) || (!data && mica_shape_count(shape))) {
        mica_graph_fail(g, MICA_STATUS_INVALID, "an array needs a dtype and data");
        return false;
    }
    return true;
}

/* Kernels load whole elements. */
static bool is_aligned(const void *data, size_t bytes) { return (uintptr_t)data % bytes == 0; }

/* Bytes of the element that a part of a quantised array is made of. */
static size_t part_item_bytes(mica_quant quant, int part) {
    if (part == 2 && quant.mode == MICA_QUANT_NVFP4_SCALED) return sizeof(float);
    if (part) return mica_dtype_bytes((mica_dtype)quant.scale_dtype);
    return quant.mode == MICA_QUANT_AFFINE ? sizeof(uint32_t) : 1;
}

mica_array mica_array_from_data(mica_graph *g, mica_dtype dtype, int rank, const int64_t *dims,
                                const void *data) {
    mica_shape shape;
    if (!check_data(g, dtype, rank, dims, data, &shape)) return (mica_array){0};
    mica_device *device = g->runtime->device;
    uint64_t bytes = mica_part_bytes(dtype, (mica_quant){0}, &shape, 0);
    mica_storage storage[MICA_PARTS_MAX] = {{0}};
    void *host = NULL;
    mica_error err = {0};
    mica_status st = device->backend->buffer_create(device, bytes, &storage[0].buffer, &err);
    if (st == MICA_STATUS_OK)
        st = device->backend->buffer_map(device, storage[0].buffer, true, &host, &err);
    if (st != MICA_STATUS_OK) {
        mica_graph_fail(g, st, "%s", err.message);
        mica_buffer_release(&storage[0].buffer);
        return (mica_array){0};
    }
    if (bytes) memcpy(host, data, (size_t)bytes);
    return add_data(g, dtype, (mica_quant){0}, &shape, storage);
}

mica_array mica_array_view(mica_graph *g, mica_dtype dtype, int rank, const int64_t *dims,
                           const void *data, void (*release)(void *, const void *), void *context) {
    mica_shape shape;
    if (!check_data(g, dtype, rank, dims, data, &shape)) {
        if (release) release(context, data);
        return (mica_array){0};
    }
    uint64_t bytes = mica_part_bytes(dtype, (mica_quant){0}, &shape, 0);
    mica_storage storage[MICA_PARTS_MAX] = {{0}};
    mica_error err = {0};
    if (!is_aligned(data, mica_dtype_bytes(dtype))) {
        mica_array copy = mica_array_from_data(g, dtype, rank, dims, data);
        if (release) release(context, data);
        return copy;
    }
    mica_status st = g->runtime->device->backend->buffer_import(
        g->runtime->device, data, bytes, release, context, &storage[0].buffer, &err);
    if (st != MICA_STATUS_OK) {
        mica_graph_fail(g, st, "%s", err.message);
        return (mica_array){0};
    }
    return add_data(g, dtype, (mica_quant){0}, &shape, storage);
}

mica_array mica_array_view_quantized(mica_graph *g, mica_quant quant, int rank, const int64_t *dims,
                                     const void *codes, const void *scales, const void *biases) {
    mica_shape shape;
    const void *parts[MICA_PARTS_MAX] = {codes, scales, biases};
    if (!check_data(g, MICA_DTYPE_BF16, rank, dims, codes, &shape)) return (mica_array){0};
    if (!mica_quant_is_valid(quant) || !quant.mode || rank < 1 || dims[rank - 1] % quant.group) {
        mica_graph_fail(g, MICA_STATUS_INVALID,
                        "a quantised array: mode, bits, group and the last dim must fit");
        return (mica_array){0};
    }
    mica_storage storage[MICA_PARTS_MAX] = {{0}};
    mica_device *device = g->runtime->device;
    for (int p = 0; p < mica_quant_parts(quant); p++) {
        uint64_t bytes = mica_part_bytes(MICA_DTYPE_BF16, quant, &shape, p);
        mica_error err = {0};
        mica_status st = MICA_STATUS_OK;
        if (!parts[p] && bytes)
            st = mica_fail(&err, MICA_STATUS_INVALID, "part %d of a quantised array is missing", p);
        else if (!is_aligned(parts[p], part_item_bytes(quant, p)))
            st = mica_fail(&err, MICA_STATUS_INVALID,
                           "part %d of a quantised array: its address is no multiple of %zu", p,
                           part_item_bytes(quant, p));
        else
            st = device->backend->buffer_import(device, parts[p], bytes, NULL, NULL,
                                                &storage[p].buffer, &err);
        if (st == MICA_STATUS_OK) continue;
        mica_graph_fail(g, st, "%s", err.message);
        for (int q = 0; q < p; q++) mica_buffer_release(&storage[q].buffer);
        return (mica_array){0};
    }
    return add_data(g, MICA_DTYPE_BF16, quant, &shape, storage);
}

mica_array mica_scalar(mica_graph *g, float value) {
    mica_array a = mica_array_from_data(g, MICA_DTYPE_F32, 0, NULL, &value);
    if (a.node) mica_graph_node(g, a.node)->is_scalar = 1;
    return a;
}

/* ---- eval ---- */

/* Buffers of the outputs; result[i] holds the parts of root i, nothing for leaves. */
typedef struct eval_job {
    mica_graph *graph;
    mica_ref *roots; /* distinct nodes to compute */
    size_t n;
    mica_storage (*results)[MICA_PARTS_MAX];
} eval_job;

static void add_root(eval_job *job, mica_ref ref) {
    mica_ref root = mica_node_root(job->graph, ref);
    const mica_node *n = mica_graph_node(job->graph, root);
    if (n->op == MICA_OP_DATA || n->op == MICA_OP_WEIGHT) return;
    for (size_t i = 0; i < job->n; i++)
        if (job->roots[i] == root) return;
    job->roots[job->n++] = root;
}

/* One buffer for all parts, each 64-byte aligned, as pass `place` lays them out. */
static mica_status create_result(eval_job *job, size_t i, mica_error *err) {
    const mica_node *n = mica_graph_node(job->graph, job->roots[i]);
    mica_device *device = job->graph->runtime->device;
    uint64_t bytes = 0, offsets[MICA_PARTS_MAX];
    int n_parts = mica_quant_parts(n->quant);
    for (int p = 0; p < n_parts; p++) {
        offsets[p] = bytes;
        bytes += (mica_part_bytes((mica_dtype)n->dtype, n->quant, &n->shape, p) + 63) & ~63ull;
    }
    mica_buffer *buffer = NULL;
    mica_status st = device->backend->buffer_create(device, bytes, &buffer, err);
    if (st != MICA_STATUS_OK) return st;
    for (int p = 0; p < n_parts; p++)
        job->results[i][p] = (mica_storage){p ? mica_buffer_retain(buffer) : buffer, offsets[p]};
    return MICA_STATUS_OK;
}

static mica_status run_job(eval_job *job, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_runtime *rt = job->graph->runtime;
    mica_plan *plan = NULL;
    mica_executable *executable = NULL;
    mica_plan_options options = {.label = "eval"};
    MICA_TRY(rt->plan_build(rt, job->graph, job->roots, job->n, &options, &plan, err));
    MICA_TRY(mica_executable_create(rt, plan, &executable, err));
    for (size_t i = 0; i < job->n; i++) {
        MICA_TRY(create_result(job, i, err));
        MICA_TRY(mica_executable_bind_output(executable, i, job->results[i][0], err));
    }
    MICA_TRY(mica_executable_run(executable, err));
    for (size_t i = 0; i < job->n; i++) {
        mica_graph_detach(job->graph, job->roots[i], job->results[i]);
        memset(job->results[i], 0, sizeof job->results[i]);
    }
done:
    mica_executable_destroy(&executable);
    for (size_t i = 0; i < job->n; i++)
        for (int p = 0; p < MICA_PARTS_MAX; p++) mica_buffer_release(&job->results[i][p].buffer);
    return st;
}

mica_status mica_eval(mica_graph *g, const mica_array *arrays, size_t n, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    eval_job job = {.graph = g};
    if (!g || (n && !arrays))
        return mica_fail(err, MICA_STATUS_INVALID, "mica_eval: an argument is NULL");
    const mica_allocator *a = g->runtime->host.allocator;
    MICA_REQUIRE(n <= EVAL_ARRAYS_MAX, MICA_STATUS_LIMIT, "%zu arrays in one eval, at most %d", n,
                 EVAL_ARRAYS_MAX);
    job.roots = MICA_NEW_ARRAY(a, mica_ref, n + 1);
    job.results = mica_alloc_array_zero(a, n + 1, sizeof *job.results);
    MICA_REQUIRE(job.roots && job.results, MICA_STATUS_OUT_OF_MEMORY, "out of memory: eval");
    for (size_t i = 0; i < n; i++) {
        mica_ref ref = mica_array_ref(g, arrays[i], false);
        if (ref) add_root(&job, ref);
    }
    MICA_TRY(mica_graph_check(g, err));
    if (job.n) MICA_TRY(run_job(&job, err));
done:
    mica_free(a, job.results);
    mica_free(a, job.roots);
    return st;
}

/* ---- data out ---- */

/* Copies a strided view out, row-major, by an odometer over all axes but the last. */
static void copy_strided(const mica_node *n, const uint8_t *from, uint8_t *to) {
    size_t item = mica_dtype_bytes((mica_dtype)n->dtype);
    int rank = n->shape.rank;
    int64_t inner = rank ? n->shape.dims[rank - 1] : 1;
    int64_t inner_stride = rank ? n->strides[rank - 1] : 1;
    int64_t index[MICA_RANK_MAX] = {0};
    int64_t rows = inner ? mica_shape_count(&n->shape) / inner : 0;
    for (int64_t row = 0; row < rows; row++) {
        int64_t at = n->view_offset;
        for (int i = 0; i < rank - 1; i++) at += index[i] * n->strides[i];
        for (int64_t j = 0; j < inner; j++, to += item)
            memcpy(to, from + (at + j * inner_stride) * (int64_t)item, item);
        for (int i = rank - 2; i >= 0 && ++index[i] == n->shape.dims[i]; i--) index[i] = 0;
    }
}

mica_status mica_array_read(mica_graph *g, mica_array a, void *out, size_t bytes, mica_error *err) {
    if (!g || (!out && bytes))
        return mica_fail(err, MICA_STATUS_INVALID, "mica_array_read: an argument is NULL");
    mica_status st = mica_eval(g, &a, 1, err);
    if (st != MICA_STATUS_OK) return st;
    const mica_node *n = mica_graph_node(g, a.node);
    const mica_node *root = mica_graph_node(g, mica_node_root(g, a.node));
    if (n->quant.mode)
        return mica_fail(err, MICA_STATUS_INVALID, "a quantised array is read after dequantize");
    uint64_t want = mica_part_bytes((mica_dtype)n->dtype, n->quant, &n->shape, 0);
    if (bytes != want)
        return mica_fail(err, MICA_STATUS_INVALID, "read of %zu bytes from an array of %llu", bytes,
                         (unsigned long long)want);
    mica_storage storage = root->storage[0];
    if (!storage.buffer)
        return mica_fail(err, MICA_STATUS_INVALID, "%s is a weight, it cannot be read as it lies",
                         root->name ? root->name : "the array");
    void *host = NULL;
    mica_device *device = g->runtime->device;
    st = device->backend->buffer_map(device, storage.buffer, false, &host, err);
    if (st != MICA_STATUS_OK) return st;
    const uint8_t *from = (const uint8_t *)host + storage.offset;
    if (!n->is_view) {
        if (bytes) memcpy(out, from, bytes);
    } else {
        copy_strided(n, from, out);
    }
    return MICA_STATUS_OK;
}
