/* The reference goes ahead by one turn, the other follows; each of its rows meets the one that is
 * held. One turn is one step of an engine. */
#include "eval_run.h"
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "base/error.h"
#include "interrupt.h"
#include "sigbus.h"

#define VALUES_FIRST 4096

mica_status cli_eval_run_init(cli_eval_run *r, int64_t vocab, mica_error *err) {
    size_t count = 0, bytes = 0;
    r->vocab = vocab;
    if (r->n_sides < 2) return MICA_STATUS_OK;
    if (!mica_mul_size((size_t)vocab, CLI_EVAL_BLOCK, &count) ||
        !mica_mul_size(count, sizeof *r->rows, &bytes))
        return mica_fail(err, MICA_STATUS_LIMIT, "%d rows of %lld logits", CLI_EVAL_BLOCK,
                         (long long)vocab);
    r->rows = malloc(bytes);
    return r->rows ? MICA_STATUS_OK : mica_fail_memory(err, bytes, "logits of the reference");
}

void cli_eval_result_deinit(cli_eval_result *r) {
    free(r->divergences);
    *r = (cli_eval_result){0};
}

void cli_eval_run_deinit(cli_eval_run *r) {
    for (size_t i = 0; i < 2; i++) mica_engine_destroy(&r->sides[i].engine);
    cli_eval_result_deinit(&r->result);
    free(r->rows);
    *r = (cli_eval_run){0};
}

/* ---- rows ---- */

static mica_status keep_divergence(cli_eval_result *r, double value, mica_error *err) {
    size_t n = (size_t)r->divergence.n;
    if (n == r->divergences_capacity) {
        size_t capacity = n ? n * 2 : VALUES_FIRST;
        double *grown = realloc(r->divergences, capacity * sizeof *grown);
        if (!grown) return mica_fail_memory(err, capacity * sizeof *grown, "divergences");
        r->divergences = grown;
        r->divergences_capacity = capacity;
    }
    r->divergences[n] = value;
    cli_mean_add(&r->divergence, value);
    return MICA_STATUS_OK;
}

static mica_status measure(const cli_eval_run *r, const float *logits, int64_t position,
                           cli_row *out, mica_error *err) {
    if (cli_row_measure(logits, (size_t)r->vocab, out)) return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_FORMAT, "the logits at position %lld are not all numbers",
                     (long long)position);
}

static mica_status score(cli_eval_run *r, int64_t position, const float *logits, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    size_t id = (size_t)r->chunk->ids[position + 1];
    cli_row row, reference;
    MICA_TRY(measure(r, logits, position, &row, err));
    double nll = cli_row_nll(&row, logits, id);
    if (r->n_sides < 2) {
        cli_mean_add(&r->result.nll[0], nll);
        return st;
    }
    const float *held = r->rows + (size_t)(position % CLI_EVAL_BLOCK) * (size_t)r->vocab;
    MICA_TRY(measure(r, held, position, &reference, err));
    double nll_reference = cli_row_nll(&reference, held, id);
    double value = cli_row_divergence(&reference, held, &row, logits, (size_t)r->vocab);
    MICA_TRY(keep_divergence(&r->result, value, err));
    cli_mean_add(&r->result.nll[0], nll_reference);
    cli_mean_add(&r->result.nll[1], nll);
    cli_mean_add(&r->result.change, nll - nll_reference);
    r->result.n_same_top += row.top == reference.top;
done:
    return st;
}

static bool is_scored(const cli_eval_run *r, int64_t position) {
    return position + 1 >= r->chunk->first_scored && position + 1 < r->chunk->count;
}

/* Rows of the reference, when there is another model to compare with. */
static void hold_row(void *context, int64_t position, const float *logits) {
    cli_eval_run *r = context;
    r->sides[0].n_rows = position + 1;
    if (!is_scored(r, position)) return;
    memcpy(r->rows + (size_t)(position % CLI_EVAL_BLOCK) * (size_t)r->vocab, logits,
           (size_t)r->vocab * sizeof *logits);
}

/* Rows of the last side. */
static void score_row(void *context, int64_t position, const float *logits) {
    cli_eval_run *r = context;
    r->sides[r->n_sides - 1].n_rows = position + 1;
    if (!is_scored(r, position) || r->error.status != MICA_STATUS_OK) return;
    int64_t ahead = r->n_sides > 1 ? r->sides[0].n_rows - position : 1;
    if (ahead < 1 || ahead > CLI_EVAL_BLOCK)
        mica_fail(&r->error, MICA_STATUS_INTERNAL, "position %lld: the reference is at %lld",
                  (long long)position, (long long)r->sides[0].n_rows);
    else
        score(r, position, logits, &r->error);
}

/* ---- a chunk ---- */

static bool take_event(void *context, const mica_event *event) {
    cli_eval_side *side = context;
    if (event->finish != MICA_FINISH_NONE) side->finish = event->finish;
    if (event->error) side->error = *event->error;
    return true;
}

/* The callbacks of a request share one context, so events carry the run, too. */
static bool take_event_first(void *context, const mica_event *event) {
    return take_event(&((cli_eval_run *)context)->sides[0], event);
}

static bool take_event_second(void *context, const mica_event *event) {
    return take_event(&((cli_eval_run *)context)->sides[1], event);
}

static mica_status submit(cli_eval_run *r, size_t i, mica_error *err) {
    mica_ticket ticket = 0;
    cli_eval_side *side = &r->sides[i];
    side->n_rows = 0;
    side->finish = MICA_FINISH_NONE;
    side->error = (mica_error){0};
    mica_request request = {
        .struct_bytes = sizeof request,
        .ids = r->chunk->ids,
        .n_ids = (size_t)(r->chunk->count - 1),
        .max_tokens = 1,
        .on_event = i == 0 ? take_event_first : take_event_second,
        .on_prompt_logits = i + 1 == r->n_sides ? score_row : hold_row,
        .context = r,
    };
    return mica_engine_submit(side->engine, &request, &ticket, err);
}

/* The side whose turn it is: the one that is behind, at a tie the reference; NULL at the end. */
static cli_eval_side *next_side(cli_eval_run *r) {
    cli_eval_side *next = NULL;
    for (size_t i = 0; i < r->n_sides; i++) {
        cli_eval_side *side = &r->sides[i];
        if (mica_engine_is_busy(side->engine) && (!next || side->n_rows < next->n_rows))
            next = side;
    }
    return next;
}

static mica_status check_end(const cli_eval_side *side, mica_error *err) {
    if (side->finish == MICA_FINISH_LENGTH) return MICA_STATUS_OK;
    if (side->error.status == MICA_STATUS_OK)
        return mica_fail(err, MICA_STATUS_INTERNAL, "a run ended early");
    if (err) *err = side->error;
    return side->error.status;
}

mica_status cli_eval_run_chunk(cli_eval_run *r, const cli_chunk *chunk, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    r->chunk = chunk;
    for (size_t i = 0; i < r->n_sides; i++) MICA_TRY(submit(r, i, err));
    for (cli_eval_side *side = next_side(r); side; side = next_side(r)) {
        MICA_REQUIRE(!cli_interrupt_is_requested(), MICA_STATUS_CANCELLED, "interrupted");
        MICA_TRY(mica_engine_step(side->engine, err));
        MICA_TRY(cli_sigbus_check(err));
        if (r->error.status != MICA_STATUS_OK && err) *err = r->error;
        MICA_TRY(r->error.status);
    }
    for (size_t i = 0; i < r->n_sides; i++) MICA_TRY(check_end(&r->sides[i], err));
done:
    return st;
}
