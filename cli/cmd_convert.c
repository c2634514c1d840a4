/* mica convert: from any checkpoint to a folder in MLX's layout. */
#include "base/error.h"
#include "base/file.h"
#include "base/str.h"
#include "commands.h"
#include "report.h"
#include "session.h"
#include "sigbus.h"

/* "model.layers.0.mlp.up_proj [256, 64]: BF16 -> affine:4:64, error max 0.003 rms 0.001" */
static void print_tensor(void *context, const mica_convert_tensor *t) {
    char dims[MICA_RANK_MAX * 24] = "", change[160] = "";
    size_t used = 0;
    (void)context;
    for (int i = 0; i < t->rank && used < sizeof dims; i++)
        used += mica_format(dims + used, sizeof dims - used, "%s%lld", i ? ", " : "",
                            (long long)t->dims[i]);
    if (t->is_copied)
        mica_format(change, sizeof change, "%s, as it was", t->to);
    else if (t->error_max == 0)
        mica_format(change, sizeof change, "%s -> %s, lossless", t->from, t->to);
    else
        mica_format(change, sizeof change, "%s -> %s, error max %.3g rms %.3g of values up to %.3g",
                    t->from, t->to, t->error_max, t->error_rms, t->value_max);
    cli_note("%s [%s]: %s%s%s%s", t->name, dims, change, t->note ? " (" : "",
             t->note ? t->note : "", t->note ? ")" : "");
}

static void print_report(const mica_convert_report *r) {
    cli_output_format("%zu tensors in %zu %s: %llu bytes -> %llu bytes, %.3f bits per weight\n",
                      r->n_tensors, r->n_shards, r->n_shards == 1 ? "file" : "files",
                      (unsigned long long)r->bytes_in, (unsigned long long)r->bytes_out,
                      r->bits_per_weight);
    if (r->n_changed == 0)
        cli_output_format("no weight was changed\n");
    else
        cli_output_format("%llu of %llu weights changed: error max %.4g rms %.4g\n",
                          (unsigned long long)r->n_changed, (unsigned long long)r->n_parameters,
                          r->error_max, r->error_rms);
    if (r->n_rounded > 0)
        cli_output_format("%zu matrices were rounded when they were read: --verbose says how\n",
                          r->n_rounded);
}

static void print_json(const mica_convert_report *r) {
    cli_output_format(
        "{\"tensors\": %zu, \"files\": %zu, \"bytes_in\": %llu, \"bytes_out\": %llu, "
        "\"parameters\": %llu, \"rounded\": %zu, \"bits_per_weight\": %.6f, \"changed\": %llu, "
        "\"error_max\": %.9g, \"error_rms\": %.9g}\n",
        r->n_tensors, r->n_shards, (unsigned long long)r->bytes_in,
        (unsigned long long)r->bytes_out, (unsigned long long)r->n_parameters, r->n_rounded,
        r->bits_per_weight, (unsigned long long)r->n_changed, r->error_max, r->error_rms);
}

int cmd_convert(const cli_options *o) {
    mica_status st = MICA_STATUS_OK;
    mica_error err = {0};
    cli_session session = {0};
    mica_convert_report report = {0};
    mica_convert_options options = {
        .struct_bytes = sizeof options,
        .quantize = o->quantize,
        .dtype = o->dtype,
        .recipe = o->recipe,
        .overrides = o->overrides.values,
        .n_overrides = o->overrides.n,
        .n_threads = (int)o->threads.value,
        .progress = cli_progress_take,
        .progress_context = &session.progress,
        .on_tensor = o->verbose ? print_tensor : NULL,
    };
    if (mica_convert_check_options(&options, &err) != MICA_STATUS_OK)
        return cli_fail_usage("%s", err.message);
    MICA_TRY(cli_session_open(&session, o, &err));
    st = mica_convert(session.runtime, session.path, o->arguments[1], &options, &report, &err);
    cli_progress_clear(&session.progress);
    MICA_TRY(st);
    MICA_TRY(cli_sigbus_check(&err));
    if (o->json)
        print_json(&report);
    else
        print_report(&report);
done:
    cli_session_close(&session);
    int written = cli_output_close();
    return st == MICA_STATUS_OK ? written : cli_fail_error(&err);
}
