/* Converted models compute what they should: the logits of the plain conversion are those of the
 * source, and a quantised model's are those of its own decoded weights. */
#include "mica/convert.h"
#include "test.h"
#include "test_folder.h"
#include "model_test.h"

#define GOLDEN MICA_SOURCE_DIR "/tests/data/golden/"
#define DECODED_TOLERANCE 2e-4 /* sums in another order; logits are of size 5 */

enum { N_IDS = 12 };

static const char *const families[] = {"llama", "mistral", "qwen2",   "qwen3",   "qwen3_moe",
                                       "phi3",  "olmo2",   "granite", "smollm3", "gemma3_text"};
static const char *const modes[] = {"affine:2:32", "affine:3:64",  "affine:4:64",
                                    "affine:5:32", "affine:6:128", "affine:8:32",
                                    "mxfp4",       "mxfp8",        "nvfp4"};

/* A copy of a golden model without its golden files. */
static void copy_model(test_folder *f, const char *family) {
    static const char *const names[] = {"model.safetensors", "config.json"};
    test_folder_make(f);
    for (size_t i = 0; i < 2; i++) {
        char from[512];
        size_t bytes;
        snprintf(from, sizeof from, GOLDEN "%s/%s", family, names[i]);
        char *data = test_file_read(from, &bytes);
        test_folder_write(f, names[i], data, bytes);
        free(data);
    }
}

/* Exact logits after N_IDS ids; free them. */
static float *compute_logits(const char *folder, int64_t *vocab) {
    fixture_options o = {.folder = folder, .n_threads = 1, .mode = MICA_EXACT, .context = 64};
    model_fixture f;
    int32_t ids[N_IDS];
    static generation g;
    fixture_open(&f, &o);
    float *logits = calloc((size_t)f.vocab, sizeof *logits);
    for (int i = 0; i < N_IDS; i++) ids[i] = (int32_t)(7 + 31 * i % (f.vocab - 8));
    memset(&g, 0, sizeof g);
    g.first_logits = logits;
    generate(&f, ids, N_IDS, 1, &g);
    *vocab = f.vocab;
    fixture_close(&f);
    return logits;
}

static void convert(const char *in, const char *out, const mica_convert_options *o,
                    mica_convert_report *report) {
    mica_error err = {0};
    mica_runtime *runtime = NULL;
    assert_ok(mica_runtime_open(NULL, &runtime, &err));
    assert_ok(mica_convert(runtime, in, out, o, report, &err));
    mica_runtime_close(&runtime);
}

static void test_plain(void **state) {
    /* Without options a model of every family computes the same bits as before. */
    (void)state;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        test_folder f;
        int64_t vocab = 0;
        mica_convert_report report;
        copy_model(&f, families[i]);
        const char *out = test_folder_at(&f, "out");
        convert(f.path, out, NULL, &report);
        assert_int_equal(report.n_changed, 0);
        float *before = compute_logits(f.path, &vocab);
        float *after = compute_logits(test_folder_at(&f, "out"), &vocab);
        if (memcmp(before, after, (size_t)vocab * sizeof *after) != 0)
            fail_msg("%s: other logits", families[i]);
        free(before);
        free(after);
        test_folder_remove(&f);
    }
}

static void compare_decoded(const char *family, const char *mode) {
    test_folder f;
    int64_t vocab = 0;
    mica_convert_options quantize = {.struct_bytes = sizeof quantize, .quantize = mode};
    mica_convert_options decode = {.struct_bytes = sizeof decode, .dtype = "f32"};
    mica_convert_report report;
    copy_model(&f, family);
    convert(f.path, test_folder_at(&f, "q"), &quantize, &report);
    if (report.n_changed == 0) fail_msg("%s %s: nothing was quantised", family, mode);
    convert(test_folder_at(&f, "q"), test_folder_at(&f, "f"), &decode, NULL);
    float *quantized = compute_logits(test_folder_at(&f, "q"), &vocab);
    float *decoded = compute_logits(test_folder_at(&f, "f"), &vocab);
    double error = 0;
    for (int64_t i = 0; i < vocab; i++)
        error = fmax(error, fabs((double)(quantized[i] - decoded[i])));
    if (!(error <= DECODED_TOLERANCE)) fail_msg("%s %s: logits differ by %g", family, mode, error);
    free(quantized);
    free(decoded);
    test_folder_remove(&f);
}

static void test_decoded(void **state) {
    /* Every family in every mode that its rows have whole groups for. */
    (void)state;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        for (size_t m = i % 3; m < sizeof modes / sizeof *modes; m += 3)
            if (!strstr(modes[m], ":128") && !strstr(modes[m], ":64"))
                compare_decoded(families[i], modes[m]);
    static const char *const wide[] = {"affine:3:64", "affine:4:64", "affine:6:64"};
    for (size_t m = 0; m < 3; m++) compare_decoded("qwen3_moe", wide[m]);
}

static void test_demo(void **state) {
    /* The shipped model, HF blocks: the same bits as MLX triples, and within reason with 8 bits. */
    (void)state;
    test_folder f;
    int64_t vocab = 0;
    mica_convert_report report;
    mica_convert_options o = {.struct_bytes = sizeof o, .quantize = "affine:8:64"};
    test_folder_make(&f);
    convert(DEMO_FOLDER, test_folder_at(&f, "plain"), NULL, &report);
    assert_int_equal(report.n_changed, 0);
    convert(DEMO_FOLDER, test_folder_at(&f, "q8"), &o, &report);
    assert_true(report.bits_per_weight < 6 && report.n_changed > 8000000);
    float *before = compute_logits(DEMO_FOLDER, &vocab);
    float *plain = compute_logits(test_folder_at(&f, "plain"), &vocab);
    float *q8 = compute_logits(test_folder_at(&f, "q8"), &vocab);
    double same = 0, near = 0;
    for (int64_t i = 0; i < vocab; i++) {
        same = fmax(same, fabs((double)(before[i] - plain[i])));
        near = fmax(near, fabs((double)(before[i] - q8[i])));
    }
    printf("demo: layouts differ by %g, 8 bits by %g\n", same, near);
    assert_true(same <= 1e-4 && near > 0 && near < 0.5);
    free(before);
    free(plain);
    free(q8);
    test_folder_remove(&f);
}

static void test_refused(void **state) {
    /* What the loader refuses is not converted, and wrong arguments are no crash. */
    (void)state;
    test_folder f;
    mica_error err = {0};
    mica_runtime *runtime = NULL;
    size_t bytes;
    copy_model(&f, "llama");
    assert_ok(mica_runtime_open(NULL, &runtime, &err));
    char *config = test_file_read(test_folder_at(&f, "config.json"), &bytes);
    char *at = strstr(config, "\"intermediate_size\": ");
    assert_non_null(at);
    at[strlen("\"intermediate_size\": ")] = '3';
    test_folder_write(&f, "config.json", config, bytes);
    free(config);
    assert_int_equal(mica_convert(runtime, f.path, test_folder_at(&f, "out"), NULL, NULL, &err),
                     MICA_STATUS_FORMAT);
    assert_non_null(strstr(err.message, "shape"));
    assert_int_not_equal(access(test_folder_at(&f, "out"), F_OK), 0);
    assert_int_equal(mica_convert(NULL, f.path, "x", NULL, NULL, &err), MICA_STATUS_INVALID);
    assert_int_equal(mica_convert(runtime, NULL, "x", NULL, NULL, &err), MICA_STATUS_INVALID);
    assert_int_equal(mica_convert(runtime, f.path, NULL, NULL, NULL, NULL), MICA_STATUS_INVALID);
    assert_int_equal(mica_convert_check_options(NULL, &err), MICA_STATUS_OK);
    mica_runtime_close(&runtime);
    test_folder_remove(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_decoded),
        cmocka_unit_test(test_demo),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
