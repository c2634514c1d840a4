/* The weight store: names, limits, and who owns the buffers when something fails. */
#include "test.h"
#include "core/backend.h"
#include "base/alloc.h"
#include "core/runtime.h"
#include "core/weights.h"
#include "mica/mica.h"

typedef struct store_case {
    mica_alloc_counter counter;
    mica_runtime *runtime;
    mica_weights *weights;
} store_case;

static void open_store(store_case *c, size_t capacity) {
    mica_error err = {0};
    mica_alloc_counter_init(&c->counter, mica_allocator_default());
    mica_runtime_options o = {.struct_bytes = sizeof o, .n_threads = 1};
    o.allocator = &c->counter.allocator;
    assert_ok(mica_runtime_open(&o, &c->runtime, &err));
    assert_ok(mica_weights_create(&c->runtime->host, capacity, &c->weights, &err));
}

static void close_store(store_case *c) {
    mica_weights_destroy(&c->weights);
    assert_null(c->weights);
    mica_runtime_close(&c->runtime);
    assert_int_equal(c->counter.n_live, 0);
}

/* A weight of 8 floats with a buffer of its own. */
static mica_status add(store_case *c, const char *name, mica_error *err) {
    mica_weight w = {.name = name, .dtype = MICA_DTYPE_F32, .bytes = 32};
    mica_device *device = c->runtime->device;
    assert_true(mica_shape_make(1, (int64_t[]){8}, &w.shape));
    mica_status st = device->backend->buffer_create(device, 32, &w.parts[0].buffer, err);
    return st ? st : mica_weights_add(c->weights, &w, err);
}

/* Proves: what was added is found by name and by place, names are copies, absent ones are NULL. */
static void add_and_find(void **state) {
    (void)state;
    enum { N = 3000 };
    mica_error err = {0};
    store_case c;
    char name[32];
    open_store(&c, N);
    assert_null(mica_weights_find(c.weights, "w0"));
    assert_null(mica_weights_at(c.weights, 0));
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "model.layers.%d.w", i);
        assert_ok(add(&c, name, &err));
    }
    memset(name, 'x', sizeof name);
    assert_int_equal(mica_weights_count(c.weights), N);
    assert_int_equal(mica_weights_bytes(c.weights), N * 32);
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "model.layers.%d.w", i);
        const mica_weight *w = mica_weights_find(c.weights, name);
        assert_non_null(w);
        assert_ptr_equal(w, mica_weights_at(c.weights, (size_t)i));
        assert_string_equal(w->name, name);
    }
    assert_null(mica_weights_find(c.weights, "model.layers.3000.w"));
    assert_null(mica_weights_find(c.weights, ""));
    assert_null(mica_weights_at(c.weights, N));
    assert_null(mica_weights_at(c.weights, SIZE_MAX));
    close_store(&c);
}

/* Proves: a name that is there already and one past the capacity are refused, and the buffer that
 * came with them is freed; so is that of an entry whose name finds no memory. */
static void refused_entries(void **state) {
    (void)state;
    mica_error err = {0};
    store_case c;
    open_store(&c, 2);
    assert_ok(add(&c, "a", &err));
    assert_int_equal(add(&c, "a", &err), MICA_STATUS_INVALID);
    assert_non_null(strstr(err.message, "twice"));
    assert_ok(add(&c, "b", &err));
    assert_int_equal(add(&c, "c", &err), MICA_STATUS_LIMIT);
    assert_int_equal(mica_weights_count(c.weights), 2);
    assert_int_equal(mica_weights_bytes(c.weights), 64);
    close_store(&c);
    open_store(&c, 2);
    char *long_name = calloc(1, 1 << 20); /* needs a block of its own in the arena */
    memset(long_name, 'n', (1 << 20) - 1);
    c.counter.fail_at = c.counter.n_calls + 3; /* behind the buffer and its header */
    assert_int_equal(add(&c, long_name, &err), MICA_STATUS_OUT_OF_MEMORY);
    free(long_name);
    close_store(&c);
}

/* Proves: a capacity that is too large is LIMIT, and no memory at any call leaks nothing. */
static void create_fails(void **state) {
    (void)state;
    mica_error err = {0};
    mica_weights *w = NULL;
    assert_int_equal(mica_weights_create(mica_host_default(), SIZE_MAX, &w, &err),
                     MICA_STATUS_LIMIT);
    assert_null(w);
    for (int64_t n = 1;; n++) {
        mica_alloc_counter c;
        mica_alloc_counter_init(&c, mica_allocator_default());
        c.fail_at = n;
        mica_host host = {.allocator = &c.allocator};
        mica_status st = mica_weights_create(&host, 100000, &w, &err);
        mica_weights_destroy(&w);
        assert_int_equal(c.n_live, 0);
        if (st == MICA_STATUS_OK) break;
        assert_int_equal(st, MICA_STATUS_OUT_OF_MEMORY);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(add_and_find),
        cmocka_unit_test(refused_entries),
        cmocka_unit_test(create_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
