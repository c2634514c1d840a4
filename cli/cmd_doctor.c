/* mica doctor: what the machine has, and whether this build computes rightly on it. */
#include <math.h>
#include <string.h>
#include "base/thread_pool.h"
#include "commands.h"
#include "known_answers.h"
#include "report.h"

#define MIB 1048576.0

/* Prints one line a check; returns how many failed. */
static int run_answers(mica_runtime *runtime, const char *level) {
    int n_failed = 0;
    for (size_t i = 0; i < cli_known_answer_count; i++) {
        const cli_known_answer *k = &cli_known_answers[i];
        mica_error err = {0};
        double seen = 0;
        mica_status st = cli_known_answer_run(k, runtime, &seen, &err);
        bool is_right = st == MICA_STATUS_OK && fabs(seen - k->answer) <= k->tolerance;
        cli_output_format("%-8s %-14s %s", level, k->name, is_right ? "ok" : "FAILED");
        if (st != MICA_STATUS_OK)
            cli_output_format(": %s", err.message);
        else if (!is_right)
            cli_output_format(": %.9g, wanted %.9g", seen, k->answer);
        cli_output_format("\n");
        n_failed += !is_right;
    }
    return n_failed;
}

/* A level that the machine lacks is skipped: the runtime then opens a lower one, or none. */
static int check_level(const cli_options *o, const char *level) {
    mica_runtime_options options = {
        .struct_bytes = sizeof options, .n_threads = (int)o->threads.value, .cpu_level = level};
    mica_runtime *runtime = NULL;
    mica_runtime_info info = {0};
    if (mica_runtime_open(&options, &runtime, NULL) != MICA_STATUS_OK) return 0;
    mica_runtime_get_info(runtime, &info);
    int n_failed = strcmp(info.level, level) == 0 ? run_answers(runtime, level) : 0;
    mica_runtime_close(&runtime);
    return n_failed;
}

static int print_machine(const cli_options *o) {
    mica_error err = {0};
    mica_runtime *runtime = NULL;
    mica_runtime_info info = {0};
    mica_runtime_options options = {.struct_bytes = sizeof options,
                                    .n_threads = (int)o->threads.value};
    if (mica_runtime_open(&options, &runtime, &err) != MICA_STATUS_OK) return cli_fail_error(&err);
    mica_runtime_get_info(runtime, &info);
    cli_output_format("mica         %s\nbackend      %s\ndevice       %s\nlevel        %s\n"
                      "instructions %s\nthreads      %d of %d cores\n",
                      mica_version(), info.backend, info.device, info.level, info.features,
                      info.n_threads, mica_cores_available());
    cli_output_format("memory       %.1f MiB available, budget %.1f MiB\n\n",
                      (double)mica_memory_available() / MIB,
                      (double)info.memory_budget_bytes / MIB);
    mica_runtime_close(&runtime);
    return CLI_OK;
}

int cmd_doctor(const cli_options *o) {
    static const char *const levels[] = {"scalar", "avx2", "avx512", "amx", "neon"};
    int n_failed = 0;
    int code = print_machine(o);
    if (code != CLI_OK) return code;
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        n_failed += check_level(o, levels[i]);
    code = cli_output_close();
    if (n_failed > 0) return cli_fail("%d known answers came out wrong", n_failed);
    return code;
}
