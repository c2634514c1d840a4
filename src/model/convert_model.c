/* Converting a model that was held against its configuration first: the public entry. */
#include <string.h>
#include "base/error.h"
#include "format/convert.h"
#include "model/model.h"

/* Options of an older caller are shorter: what is missing is zero. */
static mica_convert_options read_options(const mica_convert_options *options) {
    mica_convert_options o = {0};
    if (!options) return o;
    size_t bytes = options->struct_bytes;
    memcpy(&o, options, bytes && bytes < sizeof o ? bytes : sizeof o);
    return o;
}

mica_status mica_convert_check_options(const mica_convert_options *options, mica_error *err) {
    mica_convert_options o = read_options(options);
    return mica_convert_check(&o, err);
}

/* Every tensor is there, with the shape that the configuration predicts, and none is left over. */
static mica_status check_model(mica_runtime *runtime, const char *path, mica_error *err) {
    mica_model *model = NULL;
    mica_model_options options = {.struct_bytes = sizeof options, .check_only = true};
    mica_status st = mica_model_open(runtime, path, &options, &model, err);
    mica_model_close(&model);
    return st;
}

mica_status mica_convert(mica_runtime *runtime, const char *in, const char *out,
                         const mica_convert_options *options, mica_convert_report *report,
                         mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_convert_options o = read_options(options);
    MICA_REQUIRE(runtime && in && out, MICA_STATUS_INVALID, "mica_convert: an argument is NULL");
    MICA_TRY(mica_convert_check(&o, err));
    MICA_TRY(check_model(runtime, in, err));
    MICA_TRY(mica_convert_folder(&runtime->host, in, out, &o, report, err));
done:
    return st;
}
