/* top_k in plain C: a heap of the k best so far with the worst of them on top. Elements come in the
 * order of their index, so an equal one never displaces an earlier one. */
#include "ops/top_k/top_k.h"
#include "ops/common/element.h"
#include "ops/common/strided.h"

static bool is_worse(const mica_top_k_entry *a, const mica_top_k_entry *b) {
    return a->order != b->order ? a->order < b->order : a->index > b->index;
}

/* Restores the heap below entry i of n. */
static void sink(mica_top_k_entry *heap, int64_t n, int64_t i) {
    mica_top_k_entry moved = heap[i];
    for (;;) {
        int64_t child = 2 * i + 1;
        if (child >= n) break;
        if (child + 1 < n && is_worse(&heap[child + 1], &heap[child])) child++;
        if (!is_worse(&heap[child], &moved)) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = moved;
}

static void search_row(const mica_top_k_args *a, int64_t first, mica_top_k_entry *heap) {
    const void *x = mica_cpu_at(a->x.address);
    int64_t length = a->x.dims[a->x.rank - 1], stride = a->x.strides[a->x.rank - 1];
    for (int64_t i = 0; i < length; i++) {
        mica_top_k_entry entry = {mica_element_order(a->x.dtype, x, first + i * stride), i};
        if (i < a->k) {
            heap[i] = entry;
            if (i == a->k - 1)
                for (int64_t j = a->k / 2; j-- > 0;) sink(heap, a->k, j);
        } else if (entry.order > heap[0].order) {
            heap[0] = entry;
            sink(heap, a->k, 0);
        }
    }
}

/* Empties the heap, the worst first, into the row from its end. */
static void write_row(mica_top_k_entry *heap, int64_t k, int32_t *out) {
    for (int64_t n = k; n > 0; n--) {
        out[n - 1] = (int32_t)heap[0].index;
        heap[0] = heap[n - 1];
        sink(heap, n - 1, 0);
    }
}

void mica_top_k_ref(const void *args, const mica_cpu_worker *worker) {
    const mica_top_k_args *a = args;
    mica_top_k_entry *heap = worker->scratch;
    int64_t begin, end, rows = mica_cpu_live(a->live, a->rows) * a->row;
    while (mica_cpu_take(worker, rows, 1, &begin, &end)) {
        search_row(a, mica_tensor_row(&a->x, begin), heap);
        write_row(heap, a->k, (int32_t *)mica_cpu_at(a->out) + begin * a->k);
    }
}
