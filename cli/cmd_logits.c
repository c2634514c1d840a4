/* mica logits: the numbers themselves, for comparison with other implementations. */
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "base/error.h"
#include "base/str.h"
#include "commands.h"
#include "id_list.h"
#include "input.h"
#include "report.h"
#include "session.h"

#define LINES_MAX 100000
#define NAME_BYTES 32

/* One line of the input and what comes of it. */
typedef struct job {
    cli_ids ids;
    float *logits; /* [n_rows, vocab] */
    size_t n_rows; /* 1, or all positions */
    int32_t *greedy;
    size_t n_greedy;
} job;

typedef struct job_list {
    job *jobs;
    size_t count;
    size_t vocab;
    size_t greedy_wanted;
    job *running;
    mica_finish finish;
    mica_error error;
} job_list;

static void free_jobs(job_list *l) {
    for (size_t i = 0; i < l->count; i++) {
        cli_ids_deinit(&l->jobs[i].ids);
        free(l->jobs[i].logits);
        free(l->jobs[i].greedy);
    }
    free(l->jobs);
}

/* ---- input ---- */

static mica_status append_job(job_list *l, job **out, mica_error *err) {
    if (l->count == LINES_MAX)
        return mica_fail(err, MICA_STATUS_LIMIT, "more than %d lines of ids", LINES_MAX);
    if (l->count % 64 == 0) {
        job *jobs = realloc(l->jobs, (l->count + 64) * sizeof *jobs);
        if (!jobs) return mica_fail_memory(err, (l->count + 64) * sizeof *jobs, "lines");
        l->jobs = jobs;
    }
    l->jobs[l->count] = (job){0};
    *out = &l->jobs[l->count++];
    return MICA_STATUS_OK;
}

static mica_status read_jobs(job_list *l, const char *path, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    cli_lines lines;
    mica_slice line;
    mica_error end = {0};
    MICA_TRY(cli_lines_open(&lines, path, err));
    while (cli_lines_next(&lines, &line, &end)) {
        job *next = NULL;
        MICA_TRY(append_job(l, &next, err));
        MICA_TRY(cli_ids_parse_json(&next->ids, lines.name, lines.number, line, err));
        MICA_REQUIRE(next->ids.count > 0, MICA_STATUS_FORMAT, "%s line %lld: no ids", lines.name,
                     (long long)lines.number);
    }
    if (end.status != MICA_STATUS_OK) *err = end;
    MICA_TRY(end.status);
    MICA_REQUIRE(l->count > 0, MICA_STATUS_FORMAT, "%s: no lines", lines.name);
done:
    cli_lines_close(&lines);
    return st;
}

/* The context that the longest job needs. */
static int64_t needed_context(const job_list *l) {
    size_t longest = 0;
    for (size_t i = 0; i < l->count; i++)
        if (l->jobs[i].ids.count > longest) longest = l->jobs[i].ids.count;
    return (int64_t)(longest + (l->greedy_wanted > 1 ? l->greedy_wanted : 1));
}

/* ---- running ---- */

static mica_status allocate_job(const job_list *l, job *j, bool all, mica_error *err) {
    size_t count = 0, bytes = 0;
    j->n_rows = all ? j->ids.count : 1;
    if (!mica_mul_size(j->n_rows, l->vocab, &count) || !mica_mul_size(count, sizeof(float), &bytes))
        return mica_fail(err, MICA_STATUS_LIMIT, "the logits of %zu positions", j->n_rows);
    j->logits = malloc(bytes);
    if (!j->logits) return mica_fail_memory(err, bytes, "logits");
    if (l->greedy_wanted == 0) return MICA_STATUS_OK;
    j->greedy = calloc(l->greedy_wanted, sizeof *j->greedy);
    return j->greedy ? MICA_STATUS_OK
                     : mica_fail_memory(err, l->greedy_wanted * sizeof *j->greedy, "greedy ids");
}

static void take_prompt_logits(void *context, int64_t position, const float *logits) {
    job_list *l = context;
    if (position >= 0 && (size_t)position < l->running->n_rows)
        memcpy(l->running->logits + (size_t)position * l->vocab, logits, l->vocab * sizeof(float));
}

static bool take_event(void *context, const mica_event *event) {
    job_list *l = context;
    job *j = l->running;
    if (event->finish != MICA_FINISH_NONE) l->finish = event->finish;
    if (event->error) l->error = *event->error;
    if (event->id < 0) return true;
    if (event->n_generated == 1 && event->logits)
        memcpy(j->logits + (j->n_rows - 1) * l->vocab, event->logits, l->vocab * sizeof(float));
    if (j->n_greedy < l->greedy_wanted) j->greedy[j->n_greedy++] = event->id;
    return true;
}

static mica_status check_end(const job_list *l, const cli_session *s, mica_error *err) {
    if (l->finish == MICA_FINISH_LENGTH) return MICA_STATUS_OK;
    if (l->finish == MICA_FINISH_CANCELLED)
        return mica_fail(err, MICA_STATUS_CANCELLED, "interrupted");
    if (l->finish == MICA_FINISH_CONTEXT)
        return mica_fail(err, MICA_STATUS_CONTEXT_FULL,
                         "%zu ids and %zu greedy ids, the context has %lld", l->running->ids.count,
                         l->greedy_wanted, (long long)mica_engine_context(s->engine));
    if (err && l->error.message[0])
        *err = l->error;
    else
        mica_fail(err, MICA_STATUS_INTERNAL, "the request ended without a result");
    return l->error.status ? l->error.status : MICA_STATUS_INTERNAL;
}

static mica_status run_job(job_list *l, job *j, cli_session *s, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    bool all = s->options->all_positions;
    mica_ticket ticket = 0;
    l->running = j;
    l->finish = MICA_FINISH_NONE;
    MICA_TRY(allocate_job(l, j, all, err));
    mica_request request = {
        .struct_bytes = sizeof request,
        .ids = j->ids.ids,
        .n_ids = j->ids.count,
        .max_tokens = l->greedy_wanted > 1 ? (int64_t)l->greedy_wanted : 1,
        .on_event = take_event,
        .on_prompt_logits = all ? take_prompt_logits : NULL,
        .context = l,
    };
    MICA_TRY(mica_engine_submit(s->engine, &request, &ticket, err));
    MICA_TRY(cli_session_run_engine(s, ticket, err));
    MICA_TRY(check_end(l, s, err));
done:
    return st;
}

static mica_status run_jobs(job_list *l, cli_session *s, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    for (size_t i = 0; i < l->count && st == MICA_STATUS_OK; i++) {
        st = run_job(l, &l->jobs[i], s, err);
        if (st != MICA_STATUS_OK && st != MICA_STATUS_CANCELLED)
            mica_fail_prefix(err, st, "line %zu", i);
    }
    return st;
}

/* ---- output ---- */

static mica_status write_tensors(const job_list *l, const cli_session *s, const char *path,
                                 mica_error *err) {
    size_t n = 0;
    mica_tensor_data *tensors = calloc(l->count * 2, sizeof *tensors);
    char(*names)[NAME_BYTES] = calloc(l->count * 2, NAME_BYTES);
    mica_status st = MICA_STATUS_OK;
    if (!tensors || !names) st = mica_fail(err, MICA_STATUS_OUT_OF_MEMORY, "out of memory: names");
    MICA_TRY(st);
    for (size_t i = 0; i < l->count; i++) {
        const job *j = &l->jobs[i];
        mica_format(names[n], NAME_BYTES, "logits.%zu", i);
        bool all = s->options->all_positions;
        tensors[n] = (mica_tensor_data){
            .name = names[n], .dtype = MICA_DTYPE_F32, .rank = all ? 2 : 1, .data = j->logits};
        if (all) tensors[n].dims[0] = (int64_t)j->n_rows;
        tensors[n++].dims[all ? 1 : 0] = (int64_t)l->vocab;
        if (l->greedy_wanted == 0) continue;
        mica_format(names[n], NAME_BYTES, "greedy.%zu", i);
        tensors[n] = (mica_tensor_data){.name = names[n],
                                        .dtype = MICA_DTYPE_I32,
                                        .rank = 1,
                                        .dims = {(int64_t)j->n_greedy},
                                        .data = j->greedy};
        n++;
    }
    MICA_TRY(mica_safetensors_write(s->runtime, path, tensors, n, err));
done:
    free(tensors);
    free(names);
    return st;
}

int cmd_logits(const cli_options *o) {
    mica_status st = MICA_STATUS_OK;
    mica_error err = {0};
    cli_session session = {0};
    job_list list = {.greedy_wanted = (size_t)o->greedy.value};
    mica_model_info info = {0};
    MICA_TRY(read_jobs(&list, o->arguments[1], &err));
    MICA_TRY(cli_session_open(&session, o, &err));
    MICA_TRY(cli_session_open_model(&session, false, &err));
    mica_model_get_info(session.model, &info);
    list.vocab = (size_t)info.vocab_size;
    int64_t context = needed_context(&list);
    if (o->context.is_set || context > info.context_max) context = 0;
    MICA_TRY(cli_session_open_engine(&session, context, &err));
    MICA_TRY(run_jobs(&list, &session, &err));
    MICA_TRY(write_tensors(&list, &session, o->arguments[2], &err));
done:
    cli_session_close(&session);
    free_jobs(&list);
    return st == MICA_STATUS_OK ? CLI_OK : cli_fail_error(&err);
}
