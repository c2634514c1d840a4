/* The inner loop of conversions. A chunk is a number of rows: its sources are read on the calling
 * thread, its rows are turned on all threads, each by way of f32, and its outputs are written on
 * the calling thread. What a row decodes to afterwards is held against what it was. */
#include "format/convert_stream.h"
#include <math.h>
#include <stdatomic.h>
#include <string.h>
#include "base/error.h"
#include "kernel/quant_block.h"

enum {
    CHUNK_BYTES =
        4 << 20, /* of f32 values: several fit the caches' last level beside their results */
    COPY_BYTES = 8 << 20,
};

/* A source tensor: of a file, or made whole from others. */
typedef struct source {
    const mica_checkpoint_tensor *tensor;
    uint8_t *whole;    /* NULL: read from the file piece by piece */
    uint8_t *chunk;    /* room for row_bytes * chunk rows; NULL with whole */
    const uint8_t *at; /* the rows of this chunk */
    uint64_t row_bytes;
} source;

/* What a worker found; on lines of their own. */
typedef struct worker_state {
    convert_errors errors;
    float *row; /* [2, k] f32: before, after */
    uint8_t padding[64];
} worker_state;

typedef enum row_fault { ROW_FINE = 0, ROW_NOT_FINITE, ROW_TOO_LARGE } row_fault;

typedef struct stream {
    const mica_host *host;
    mica_checkpoint *checkpoint;
    const convert_unit *unit;
    mica_thread_pool *pool;
    mica_safetensors_writer *writer;
    const convert_progress *progress;
    convert_errors *errors;
    int64_t rows, k;
    int64_t chunk_rows;
    int64_t first, n; /* rows of this chunk */
    source sources[CONVERT_PARTS];
    uint8_t *outputs[CONVERT_PARTS]; /* of this chunk */
    uint64_t output_row_bytes[CONVERT_PARTS];
    worker_state *workers;
    _Atomic int fault; /* row_fault: the first that any worker met */
    _Atomic int64_t fault_row;
} stream;

void convert_errors_add(convert_errors *a, const convert_errors *b) {
    a->n += b->n;
    a->value_max = b->value_max > a->value_max ? b->value_max : a->value_max;
    a->error_max = b->error_max > a->error_max ? b->error_max : a->error_max;
    a->error_squares += b->error_squares;
}

static mica_status report(const stream *s, uint64_t bytes, mica_error *err) {
    if (s->progress->take(s->progress->context, bytes)) return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_CANCELLED, "converting was cancelled");
}

/* ---- sources ---- */

static mica_status read_whole(stream *s, source *from, mica_error *err) {
    size_t bytes = (size_t)from->tensor->bytes;
    if (bytes != from->tensor->bytes) return mica_fail_memory(err, SIZE_MAX, from->tensor->name);
    from->whole = mica_alloc_aligned(s->host->allocator, bytes, 64);
    if (!from->whole) return mica_fail_memory(err, bytes, from->tensor->name);
    return mica_checkpoint_read_tensor(s->checkpoint, from->tensor, 0, from->whole, bytes, err);
}

static mica_status open_source(stream *s, source *from, mica_error *err) {
    if (from->tensor->recipe) return read_whole(s, from, err);
    size_t bytes = (size_t)(from->row_bytes * (uint64_t)s->chunk_rows);
    from->chunk = mica_alloc_aligned(s->host->allocator, bytes ? bytes : 1, 64);
    return from->chunk ? MICA_STATUS_OK : mica_fail_memory(err, bytes, from->tensor->name);
}

static mica_status fetch(stream *s, source *from, mica_error *err) {
    uint64_t offset = from->row_bytes * (uint64_t)s->first;
    from->at = from->whole ? from->whole + offset : from->chunk;
    if (from->whole) return MICA_STATUS_OK;
    return mica_checkpoint_read_tensor(s->checkpoint, from->tensor, offset, from->chunk,
                                       (size_t)(from->row_bytes * (uint64_t)s->n), err);
}

/* Byte scales that no file may have. */
static mica_status check_scales(const stream *s, int part, const source *from, mica_error *err) {
    int mode = s->unit->from.mode;
    bool is_e8m0 = mode == MICA_QUANT_MXFP4 || mode == MICA_QUANT_MXFP8;
    if (part != 1 || mode == MICA_QUANT_NONE || mode == MICA_QUANT_AFFINE) return MICA_STATUS_OK;
    uint64_t bytes = from->row_bytes * (uint64_t)s->n;
    return is_e8m0 ? mica_checkpoint_check_e8m0(from->tensor->name, from->at, bytes, err)
                   : mica_checkpoint_check_e4m3(from->tensor->name, from->at, bytes, err);
}

/* ---- rows ---- */

static int kind_of(mica_dtype dtype) {
    return dtype == MICA_DTYPE_F32    ? MICA_KIND_F32
           : dtype == MICA_DTYPE_F16  ? MICA_KIND_F16
           : dtype == MICA_DTYPE_BF16 ? MICA_KIND_BF16
                                      : MICA_KIND_U8;
}

static mica_quant_desc describe(mica_quant quant) {
    return (mica_quant_desc){.mode = quant.mode,
                             .bits = quant.bits,
                             .group = quant.group,
                             .scale_kind = (uint8_t)kind_of(quant.scale_dtype)};
}

static void store_floats(int kind, const float *in, int64_t n, uint8_t *out) {
    if (kind == MICA_KIND_F32) memcpy(out, in, (size_t)n * sizeof *in);
    for (int64_t i = 0; i < n && kind != MICA_KIND_F32; i++) {
        uint16_t h = kind == MICA_KIND_BF16 ? mica_bf16_from_f32(in[i]) : mica_f16_from_f32(in[i]);
        memcpy(out + 2 * i, &h, sizeof h);
    }
}

static void load_floats(int kind, const uint8_t *in, int64_t n, float *out) {
    for (int64_t i = 0; i < n; i++) out[i] = mica_kind_load(kind, in, i);
}

/* Row `row` of the chunk as it was. */
static void load_row(const stream *s, int64_t row, int64_t k, float *out) {
    const convert_unit *u = s->unit;
    const uint8_t *at[CONVERT_PARTS] = {0};
    for (int i = 0; i < u->n_sources; i++)
        if (s->sources[i].at) at[i] = s->sources[i].at + (uint64_t)row * s->sources[i].row_bytes;
    if (u->from.mode == MICA_QUANT_NONE) {
        load_floats(kind_of(u->from_dtype), at[0], k, out);
        return;
    }
    if (u->from.mode == MICA_QUANT_NVFP4_SCALED) /* one factor a matrix, all of them at hand */
        at[2] = s->sources[2].whole + 4 * (uint64_t)((s->first + row) / u->matrix_rows);
    mica_quant_decode_row(describe(u->from), at[0], at[1], at[2], k, out);
}

/* Values that get another float type first: the new type's own. */
static void round_row(mica_dtype dtype, float *row, int64_t k) {
    if (dtype == MICA_DTYPE_BF16)
        for (int64_t i = 0; i < k; i++) row[i] = mica_f32_from_bf16(mica_bf16_from_f32(row[i]));
    if (dtype == MICA_DTYPE_F16)
        for (int64_t i = 0; i < k; i++) row[i] = mica_f32_from_f16(mica_f16_from_f32(row[i]));
}

/* Stores the row, and puts into it what is read back. */
static void store_row(const stream *s, int64_t row, int64_t k, float *values) {
    const convert_unit *u = s->unit;
    uint8_t *at[CONVERT_PARTS] = {0};
    for (int i = 0; i < u->n_outputs; i++)
        at[i] = s->outputs[i] + (uint64_t)row * s->output_row_bytes[i];
    round_row(u->to_dtype, values, k);
    if (u->to.mode == MICA_QUANT_NONE) {
        store_floats(kind_of(u->to_dtype), values, k, at[0]);
        return;
    }
    mica_quant_encode_row(describe(u->to), values, k, at[0], at[1], at[2]);
    mica_quant_decode_row(describe(u->to), at[0], at[1], at[2], k, values);
}

/* Compares a row before and after. A value that is not finite may be cast, but not quantised. */
static row_fault compare_row(const float *before, const float *after, int64_t k, bool is_quantized,
                             convert_errors *errors) {
    double squares = 0;
    float value_max = 0, error_max = 0;
    for (int64_t i = 0; i < k; i++) {
        if (!isfinite(before[i])) {
            if (is_quantized) return ROW_NOT_FINITE;
            continue;
        }
        if (!isfinite(after[i])) return ROW_TOO_LARGE;
        float value = fabsf(before[i]), error = fabsf(after[i] - before[i]);
        value_max = value > value_max ? value : value_max;
        error_max = error > error_max ? error : error_max;
        squares += (double)error * (double)error;
    }
    convert_errors_add(errors, &(convert_errors){(uint64_t)k, value_max, error_max, squares});
    return ROW_FINE;
}

static void turn_rows(void *context, int worker, int n_workers) {
    stream *s = context;
    worker_state *state = &s->workers[worker];
    float *before = state->row, *after = state->row + s->k;
    int64_t begin = s->n * worker / n_workers, end = s->n * (worker + 1) / n_workers;
    for (int64_t row = begin; row < end; row++) {
        load_row(s, row, s->k, before);
        memcpy(after, before, (size_t)s->k * sizeof *after);
        store_row(s, row, s->k, after);
        row_fault fault =
            compare_row(before, after, s->k, s->unit->to.mode != MICA_QUANT_NONE, &state->errors);
        int none = ROW_FINE;
        if (fault != ROW_FINE && atomic_compare_exchange_strong(&s->fault, &none, (int)fault))
            atomic_store(&s->fault_row, s->first + row);
    }
}

static mica_status check_fault(const stream *s, mica_error *err) {
    int fault = atomic_load(&s->fault);
    if (fault == ROW_FINE) return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_FORMAT, "%s: row %lld %s", s->unit->path,
                     (long long)atomic_load(&s->fault_row),
                     fault == ROW_NOT_FINITE
                         ? "holds a value that is not finite: it cannot be quantised"
                         : "holds a value that is too large for the new type");
}

/* ---- one unit ---- */

static void lay_out(stream *s) {
    const convert_unit *u = s->unit;
    s->rows = u->rows;
    s->k = u->k;
    for (int i = 0; i < u->n_sources; i++) {
        s->sources[i].tensor = u->sources[i];
        s->sources[i].row_bytes = s->rows > 0 ? u->sources[i]->bytes / (uint64_t)s->rows : 0;
    }
    for (int i = 0; i < u->n_outputs; i++)
        s->output_row_bytes[i] = s->rows > 0 ? u->outputs[i].bytes / (uint64_t)s->rows : 0;
    s->chunk_rows = s->k > 0 ? CHUNK_BYTES / 4 / s->k : 0;
    if (s->chunk_rows < 1) s->chunk_rows = 1;
    if (s->chunk_rows > s->rows) s->chunk_rows = s->rows;
}

static mica_status open_stream(stream *s, mica_error *err) {
    const mica_allocator *a = s->host->allocator;
    const convert_unit *u = s->unit;
    int n_workers = mica_thread_pool_size(s->pool);
    size_t row_bytes = (size_t)s->k * 2 * sizeof(float);
    for (int i = 0; i < u->n_sources; i++) {
        bool is_factor = i == 2 && u->from.mode == MICA_QUANT_NVFP4_SCALED;
        mica_status st =
            is_factor ? read_whole(s, &s->sources[i], err) : open_source(s, &s->sources[i], err);
        if (st != MICA_STATUS_OK) return st;
    }
    for (int i = 0; i < u->n_outputs; i++) {
        size_t bytes = (size_t)(s->output_row_bytes[i] * (uint64_t)s->chunk_rows);
        s->outputs[i] = mica_alloc_aligned(a, bytes ? bytes : 1, 64);
        if (!s->outputs[i]) return mica_fail_memory(err, bytes, u->outputs[i].name);
    }
    s->workers = MICA_NEW_ARRAY(a, worker_state, (size_t)n_workers);
    if (!s->workers) return mica_fail_memory(err, sizeof *s->workers, u->path);
    for (int i = 0; i < n_workers; i++) {
        s->workers[i].row = mica_alloc(a, row_bytes);
        if (!s->workers[i].row) return mica_fail_memory(err, row_bytes, u->path);
    }
    return MICA_STATUS_OK;
}

static void close_stream(stream *s) {
    const mica_allocator *a = s->host->allocator;
    for (int i = 0; i < CONVERT_PARTS; i++) {
        mica_free(a, s->sources[i].whole);
        mica_free(a, s->sources[i].chunk);
        mica_free(a, s->outputs[i]);
    }
    for (int i = 0; s->workers && i < mica_thread_pool_size(s->pool); i++) {
        convert_errors_add(s->errors, &s->workers[i].errors);
        mica_free(a, s->workers[i].row);
    }
    mica_free(a, s->workers);
}

static mica_status write_chunk(stream *s, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    for (int i = 0; i < s->unit->n_outputs; i++) {
        uint64_t row = s->output_row_bytes[i];
        MICA_TRY(mica_safetensors_writer_write(s->writer, s->unit->outputs[i].name,
                                               row * (uint64_t)s->first, s->outputs[i],
                                               (size_t)(row * (uint64_t)s->n), err));
        MICA_TRY(report(s, row * (uint64_t)s->n, err));
    }
done:
    return st;
}

static mica_status fetch_checked(stream *s, int part, mica_error *err) {
    bool is_factor = part == 2 && s->unit->from.mode == MICA_QUANT_NVFP4_SCALED;
    if (is_factor) return MICA_STATUS_OK;
    mica_status st = fetch(s, &s->sources[part], err);
    return st == MICA_STATUS_OK ? check_scales(s, part, &s->sources[part], err) : st;
}

static mica_status turn_unit(stream *s, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    lay_out(s);
    MICA_TRY(open_stream(s, err));
    for (; s->first < s->rows; s->first += s->n) {
        s->n = s->rows - s->first < s->chunk_rows ? s->rows - s->first : s->chunk_rows;
        for (int i = 0; i < s->unit->n_sources; i++) MICA_TRY(fetch_checked(s, i, err));
        mica_thread_pool_run(s->pool, turn_rows, s);
        MICA_TRY(check_fault(s, err));
        MICA_TRY(write_chunk(s, err));
    }
done:
    close_stream(s);
    return st;
}

/* ---- copies ---- */

static mica_status copy_part(stream *s, int part, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const convert_output *output = &s->unit->outputs[part];
    source from = {.tensor = s->unit->sources[part], .row_bytes = 1};
    s->chunk_rows = (int64_t)(output->bytes < COPY_BYTES ? output->bytes : COPY_BYTES);
    MICA_TRY(open_source(s, &from, err));
    for (uint64_t at = 0; at < output->bytes; at += (uint64_t)s->n) {
        uint64_t left = output->bytes - at;
        s->first = (int64_t)at;
        s->n = (int64_t)(left < COPY_BYTES ? left : COPY_BYTES);
        MICA_TRY(fetch(s, &from, err));
        MICA_TRY(check_scales(s, part, &from, err));
        MICA_TRY(
            mica_safetensors_writer_write(s->writer, output->name, at, from.at, (size_t)s->n, err));
        MICA_TRY(report(s, (uint64_t)s->n, err));
    }
done:
    mica_free(s->host->allocator, from.whole);
    mica_free(s->host->allocator, from.chunk);
    return st;
}

mica_status convert_unit_run(const mica_host *host, mica_checkpoint *c, const convert_unit *u,
                             mica_thread_pool *pool, mica_safetensors_writer *w,
                             const convert_progress *progress, convert_errors *errors,
                             mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    stream s = {.host = host,
                .checkpoint = c,
                .unit = u,
                .pool = pool,
                .writer = w,
                .progress = progress,
                .errors = errors};
    *errors = (convert_errors){0};
    if (u->kind != CONVERT_COPY) return turn_unit(&s, err);
    for (int i = 0; i < u->n_outputs && st == MICA_STATUS_OK; i++) st = copy_part(&s, i, err);
    return st;
}
