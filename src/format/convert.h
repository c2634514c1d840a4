/* Converting checkpoints to MLX's layout. Public face: mica/convert.h. The parts:
 *     mlx_layout        names and shapes that MLX has
 *     convert_rules     which module is stored how
 *     convert_units     what is read and written for each module
 *     convert_stream    the work itself
 *     convert_config    the new config.json
 *     convert_texts     the other small files */
#pragma once
#include "base/host.h"
#include "mica/convert.h"

/* As mica_convert_check_options. options->struct_bytes is not looked at, here and below. */
mica_status mica_convert_check(const mica_convert_options *options, mica_error *err);
/* As mica_convert, on a model that the caller has checked. options->struct_bytes is not looked at.
 */
mica_status mica_convert_folder(const mica_host *host, const char *in, const char *out,
                                const mica_convert_options *options, mica_convert_report *report,
                                mica_error *err);
