/* The names of quantised types. */
#include "format/quant_spec.h"
#include "test.h"

static void test_every_form(void **state) {
    /* Every mode with all its bits and groups is read, and written as it was. */
    (void)state;
    static const int widths[] = {2, 3, 4, 5, 6, 8}, groups[] = {32, 64, 128};
    mica_error err = {0};
    mica_quant_spec spec;
    char text[32], back[32];
    for (size_t b = 0; b < 6; b++)
        for (size_t g = 0; g < 3; g++) {
            snprintf(text, sizeof text, "affine:%d:%d", widths[b], groups[g]);
            assert_ok(mica_quant_spec_parse(mica_slice_from(text), &spec, &err));
            assert_int_equal(spec.mode, MICA_QUANT_AFFINE);
            assert_int_equal(spec.bits, widths[b]);
            assert_int_equal(spec.group, groups[g]);
            assert_string_equal(mica_quant_spec_format(spec, back), text);
            assert_true(mica_quant_is_valid(mica_quant_spec_type(spec, MICA_DTYPE_F16)));
        }
    static const char *const fixed[] = {"mxfp4", "mxfp8", "nvfp4", "none"};
    for (size_t i = 0; i < 4; i++) {
        assert_ok(mica_quant_spec_parse(mica_slice_from(fixed[i]), &spec, &err));
        assert_string_equal(mica_quant_spec_format(spec, back), fixed[i]);
        assert_string_equal(mica_quant_mode_name(spec.mode), fixed[i]);
        bool is_none = spec.mode == MICA_QUANT_NONE;
        assert_true(is_none || mica_quant_is_valid(mica_quant_spec_type(spec, MICA_DTYPE_F32)));
    }
}

static void test_short_forms(void **state) {
    /* affine has defaults; the only form of the other modes may be said in full. */
    (void)state;
    static const struct {
        const char *text, *means;
    } cases[] = {{"affine", "affine:4:64"},
                 {"affine:8", "affine:8:64"},
                 {"mxfp4:4:32", "mxfp4"},
                 {"mxfp8:8", "mxfp8"},
                 {"nvfp4:4:16", "nvfp4"}};
    mica_error err = {0};
    mica_quant_spec spec, meant;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_ok(mica_quant_spec_parse(mica_slice_from(cases[i].text), &spec, &err));
        assert_ok(mica_quant_spec_parse(mica_slice_from(cases[i].means), &meant, &err));
        assert_true(mica_quant_spec_equal(spec, meant));
    }
}

static void test_refused(void **state) {
    /* Anything else is refused, and the message shows it and says what is possible. */
    (void)state;
    static const char *const texts[] = {"",
                                        "q4",
                                        "affine:",
                                        "affine:7",
                                        "affine:1:64",
                                        "affine:9",
                                        "affine:4:16",
                                        "affine:4:63",
                                        "affine:4:64:1",
                                        "affine:4:064",
                                        "affine:+4",
                                        "affine: 4",
                                        "affine::64",
                                        "Affine",
                                        "affine4",
                                        "mxfp4:4:64",
                                        "mxfp4:8",
                                        "nvfp4:4:32",
                                        "none:4",
                                        "affine:4:64 ",
                                        "mxfp8:8:",
                                        "affine:99999999999999999999"};
    mica_error err = {0};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        mica_quant_spec spec = {9, 9, 9};
        if (mica_quant_spec_parse(mica_slice_from(texts[i]), &spec, &err) != MICA_STATUS_INVALID)
            fail_msg("\"%s\" was read", texts[i]);
        assert_int_equal(spec.mode, 9); /* untouched */
        assert_non_null(strstr(err.message, texts[i]));
        assert_non_null(strstr(err.message, "nvfp4"));
    }
    assert_int_equal(mica_quant_spec_parse(mica_slice_of("affine\0:4", 9), NULL, &err),
                     MICA_STATUS_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_form),
        cmocka_unit_test(test_short_forms),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
