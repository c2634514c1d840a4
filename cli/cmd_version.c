/* mica version: what this program is and where it runs. */
#include "commands.h"
#include "mica/mica.h"
#include "report.h"

int cmd_version(const cli_options *o) {
    (void)o;
    mica_error err = {0};
    mica_runtime *runtime = NULL;
    mica_runtime_options options = {.struct_bytes = sizeof options, .n_threads = 1};
    cli_output_format("mica %s\n", mica_version());
    if (mica_runtime_open(&options, &runtime, &err) != MICA_STATUS_OK) return cli_fail_error(&err);
    mica_runtime_info info = {0};
    mica_runtime_get_info(runtime, &info);
    cli_output_format("backend %s, level %s\ndevice %s\n", info.backend, info.level, info.device);
    mica_runtime_close(&runtime);
    return cli_output_close();
}
