/* Products of bf16 tiles on AMX registers alone: two tiles of rows times two of columns into four
 * sums, as the kernels use them. Linux lends the tiles only to a process that asks. */
#include <stdint.h>
#include <string.h>
#include "base/alloc.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "ceiling.h"

#if defined(__x86_64__) && defined(__linux__)
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    ROUNDS = 5,
    N_LOOPS = 1 << 16,
    ARCH_REQUEST_PERMISSION = 0x1023, /* arch_prctl: ARCH_REQ_XCOMP_PERM */
    STATE_TILE_DATA = 18,
    LOOP_FLOPS = 4 * 2 * 16 * 16 * 32, /* four products of [16, 32] by [32, 16] */
};

/* As LDTILECFG reads it. */
typedef struct tile_config {
    uint8_t palette;
    uint8_t start_row;
    uint8_t reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

static bool is_named(const char *features, const char *name) {
    size_t n = strlen(name);
    for (const char *at = strstr(features, name); at; at = strstr(at + 1, name))
        if ((at == features || at[-1] == ' ') && (at[n] == 0 || at[n] == ' ')) return true;
    return false;
}

__attribute__((target("amx-tile,amx-bf16"))) static void work(void *context, int worker,
                                                              int n_workers) {
    _Alignas(64) tile_config config = {.palette = 1};
    (void)context;
    (void)worker;
    (void)n_workers;
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.rows[i] = 16;
    }
    /* Some compilers take the instruction to read 8 of the 64 bytes. */
    __asm__ __volatile__("" ::"m"(config) : "memory");
    _tile_loadconfig(&config);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
    for (int i = 0; i < N_LOOPS; i++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_release();
}

mica_status cli_ceiling_tiles(const mica_runtime_info *machine, double *out, mica_error *err) {
    mica_thread_pool *pool = NULL;
    *out = 0;
    if (!is_named(machine->features, "amx")) return MICA_STATUS_OK;
    if (syscall(SYS_arch_prctl, ARCH_REQUEST_PERMISSION, STATE_TILE_DATA) != 0)
        return MICA_STATUS_OK;
    mica_status st = mica_thread_pool_create(mica_host_default(), machine->n_threads, &pool, err);
    if (st != MICA_STATUS_OK) return st;
    mica_thread_pool_run(pool, work, NULL); /* cores that slept come up to speed */
    for (int i = 0; i < ROUNDS; i++) {
        double start = mica_clock_seconds();
        mica_thread_pool_run(pool, work, NULL);
        double seconds = mica_clock_seconds() - start;
        double rate = (double)N_LOOPS * LOOP_FLOPS * machine->n_threads / seconds;
        if (rate > *out) *out = rate;
    }
    mica_thread_pool_destroy(&pool);
    return MICA_STATUS_OK;
}

#else

mica_status cli_ceiling_tiles(const mica_runtime_info *machine, double *out, mica_error *err) {
    (void)machine;
    (void)err;
    *out = 0;
    return MICA_STATUS_OK;
}

#endif
