/* The commands, one file each; command_table.c lists them. Each returns the exit code. */
#pragma once
#include "options.h"

int cmd_run(const cli_options *o);
int cmd_chat(const cli_options *o);
int cmd_show(const cli_options *o);
int cmd_tokenize(const cli_options *o);
int cmd_render(const cli_options *o);
int cmd_logits(const cli_options *o);
int cmd_bench(const cli_options *o);
int cmd_profile(const cli_options *o);
int cmd_eval(const cli_options *o);
int cmd_convert(const cli_options *o);
int cmd_doctor(const cli_options *o);
int cmd_version(const cli_options *o);
int cmd_help(const cli_options *o);
int cmd_completion(const cli_options *o);
