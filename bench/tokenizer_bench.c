/* Speed of loading a tokenizer and of encoding and decoding whole files on one core. Medians; the
 * first encoding of each file is not counted. tools/tokenizer_bench.py runs it beside the
 * reference. Usage: tokenizer_bench TOKENIZER.json [TEXT_FILE...] Output, one line each: "load
 * SECONDS", "encode FILE BYTES TOKENS SECONDS", "decode FILE ...". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/file.h"
#include "text/tokenizer.h"

enum { LOADS = 7, RUNS = 5, TEXT_BYTES_MAX = 1 << 28 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *times, int n) {
    qsort(times, (size_t)n, sizeof(*times), compare);
    return times[n / 2];
}

static void check(mica_status st, const mica_error *err) {
    if (st == MICA_STATUS_OK) return;
    fprintf(stderr, "tokenizer_bench: %s\n", err->message);
    exit(1);
}

static mica_tokenizer *time_load(const char *path) {
    double times[LOADS];
    mica_tokenizer *t = NULL;
    mica_error err = {0};
    for (int i = 0; i < LOADS; i++) {
        mica_tokenizer_close(&t);
        double start = now();
        check(mica_tokenizer_load(mica_host_default(), path, &t, &err), &err);
        times[i] = now() - start;
    }
    printf("load %.6f\n", median(times, LOADS));
    return t;
}

static void time_text(const mica_tokenizer *t, const char *path) {
    const mica_host *host = mica_host_default();
    double encode[RUNS + 1], decode[RUNS + 1];
    char *text = NULL, *back = NULL;
    size_t bytes = 0, back_bytes = 0;
    mica_tokens tokens = {0};
    mica_error err = {0};
    check(mica_file_read_all(host, path, TEXT_BYTES_MAX, &text, &bytes, &err), &err);
    for (int i = 0; i <= RUNS; i++) {
        mica_tokens_free(t, &tokens);
        double start = now();
        check(mica_tokenizer_encode(t, text, bytes, NULL, &tokens, &err), &err);
        encode[i] = now() - start;
        start = now();
        check(mica_tokenizer_decode(t, tokens.ids, tokens.count, true, &back, &back_bytes, &err),
              &err);
        decode[i] = now() - start;
        mica_text_free(t, back);
    }
    printf("encode %s %zu %zu %.6f\n", path, bytes, tokens.count, median(encode + 1, RUNS));
    printf("decode %s %zu %zu %.6f\n", path, back_bytes, tokens.count, median(decode + 1, RUNS));
    mica_tokens_free(t, &tokens);
    mica_free(host->allocator, text);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: tokenizer_bench TOKENIZER.json [TEXT_FILE...]\n");
        return 2;
    }
    mica_tokenizer *t = time_load(argv[1]);
    for (int i = 2; i < argc; i++) time_text(t, argv[i]);
    mica_tokenizer_close(&t);
    return 0;
}
