/* What the commands open: the runtime, a model by name, its tokenizer and template, an engine.
 * Everything starts as zero; cli_session_close closes what is open. */
#pragma once
#include "mica/mica.h"
#include "options.h"
#include "progress.h"

#define CLI_PATH_BYTES_MAX 4096

typedef struct cli_session {
    const cli_options *options;
    mica_runtime *runtime;
    mica_model *model;
    mica_tokenizer *tokenizer;
    mica_chat_template *chat_template;
    mica_engine *engine;
    cli_progress progress;
    char path[CLI_PATH_BYTES_MAX]; /* of the model: a folder or a file */
    double load_seconds;           /* opening of model, tokenizer and template */
} cli_session;

/* Opens the runtime and finds the model (the first argument). */
mica_status cli_session_open(cli_session *s, const cli_options *o, mica_error *err);
void cli_session_close(cli_session *s);
/* The path of a model by its name, as for the first argument. */
mica_status cli_session_find_model(const cli_session *s, const char *name,
                                   char out[CLI_PATH_BYTES_MAX], mica_error *err);
/* Loads configuration and weights; with check_only nothing is mapped. */
mica_status cli_session_open_model(cli_session *s, bool check_only, mica_error *err);
mica_status cli_session_open_tokenizer(cli_session *s, mica_error *err);
/* --chat-template, or the model's own. */
mica_status cli_session_open_template(cli_session *s, bool for_tools, mica_error *err);
/* context: 0 = --ctx, or else the default of the engine. */
mica_status cli_session_open_engine(cli_session *s, int64_t context, mica_error *err);

/* What the library is asked for, given the command line. */
mica_numeric_mode cli_session_mode(const cli_options *o);
/* Sampling: options before generation_config.json before defaults (described in `mica help run`).
 */
mica_sampling cli_session_sampling(const cli_session *s);
/* Runs the engine until it is idle. Ctrl-C cancels ticket. Errors: of the engine; IO when a model
 * file was lost under way. */
mica_status cli_session_run_engine(cli_session *s, mica_ticket ticket, mica_error *err);
