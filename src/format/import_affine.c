/* Linears whose weights are unsigned integers with a scale and a zero point for each group of
 * columns: w = (q - z) * s. MLX's affine form of it is scale = s and bias = -z * s. With a 16-bit
 * scale that product is exact in f32 (11 + 5 or 8 + 9 bits), and so is every step of decoding; in
 * 16 bits it is exact for a z that is a power of two, as all of a symmetric format are. So
 * symmetric modules keep the type of their scales and others get f32. */
#include <math.h>
#include <string.h>
#include "base/checked.h"
#include "base/error.h"
#include "format/import_parts.h"
#include "kernel/quant_block.h"

/* Nibble of a word of AWQ that holds column i of its eight. */
static const int awq_nibble[8] = {0, 4, 1, 5, 2, 6, 3, 7};

enum { BLOCK_WORDS = 16 }; /* of an output row: a cache line */

static const import_affine *context(const mica_checkpoint_recipe *recipe) {
    return recipe->context;
}

/* ---- groups ---- */

void import_affine_set_group(import_affine *a, int64_t group_size) {
    a->group = group_size == MICA_CONFIG_QUANT_WHOLE_ROW || group_size > a->k ? a->k : group_size;
    a->groups = (a->k + a->group - 1) / a->group;
}

/* The largest group of MLX's that no group of the file cuts through, or 0. */
static int64_t target_group(const import_affine *a) {
    for (int64_t target = 128; target >= 32; target /= 2)
        if (a->group % target == 0 && a->k % target == 0) return target;
    return 0;
}

mica_status import_affine_check_order(import_job *job, const import_affine *a, bool *is_in_order,
                                      mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    size_t bytes;
    *is_in_order = true;
    if (!a->g_idx) return MICA_STATUS_OK;
    if (!mica_u64_to_size(a->g_idx->bytes, &bytes))
        return mica_fail_memory(err, SIZE_MAX, a->g_idx->name);
    uint8_t *data = mica_alloc(job->host->allocator, bytes);
    if (!data) return mica_fail_memory(err, bytes, a->g_idx->name);
    MICA_TRY(mica_checkpoint_read_tensor(job->checkpoint, a->g_idx, 0, data, bytes, err));
    for (int64_t column = 0; column < a->k; column++) {
        uint32_t g = mica_load_u32(data + 4 * column);
        MICA_REQUIRE(g < (uint64_t)a->groups, MICA_STATUS_FORMAT,
                     "%s: column %lld is of group %d, expected 0 to %lld", a->g_idx->name,
                     (long long)column, (int)g, (long long)a->groups - 1);
        if (g != (uint64_t)(column / a->group)) *is_in_order = false;
    }
done:
    mica_free(job->host->allocator, data);
    return st;
}

/* ---- contents ---- */

static int scale_kind(mica_safetensors_dtype dtype) {
    return dtype == MICA_SAFETENSORS_F32   ? MICA_KIND_F32
           : dtype == MICA_SAFETENSORS_F16 ? MICA_KIND_F16
                                           : MICA_KIND_BF16;
}

static float load_scale(const import_affine *a, const uint8_t *scales, int64_t row, int64_t group) {
    int64_t i = a->is_by_row ? row * a->groups + group : group * a->n + row;
    return mica_kind_load(scale_kind(a->scales->dtype), scales, i);
}

static int load_zero(const import_affine *a, const uint8_t *zeros, int64_t row, int64_t group) {
    int64_t bit = row * a->bits;
    const uint8_t *word = zeros + 4 * (group * (a->n / 8) + row / 8);
    int shift = (int)(bit % 32);
    uint64_t pair;
    switch (a->zeros_kind) {
    case IMPORT_ZEROS_AWQ:
        return (int)(mica_load_u32(word) >> (4 * awq_nibble[row % 8]) & 15u);
    case IMPORT_ZEROS_GPTQ:
        return (int)(mica_load_u32(word) >> (4 * (row % 8)) & 15u);
    case IMPORT_ZEROS_STREAM:
        word = zeros + 4 * (bit / 32 * a->groups + group);
        pair = mica_load_u32(word);
        if (shift + a->bits > 32) pair |= (uint64_t)mica_load_u32(word + 4 * a->groups) << 32;
        return (int)(pair >> shift & ((1u << a->bits) - 1u));
    case IMPORT_ZEROS_MIDDLE:
        break;
    }
    return 1 << (a->bits - 1);
}

/* The zero point of a group, or a complaint about what stands for it. */
static mica_status take_zero(const import_affine *a, const uint8_t *zeros, int64_t row,
                             int64_t group, int *out, mica_error *err) {
    int zero = load_zero(a, zeros, row, group), middle = 1 << (a->bits - 1);
    bool is_stored = a->zeros_kind != IMPORT_ZEROS_MIDDLE;
    /* Programs differ in what 15 + 1 is: 16, or 0 and perhaps a carry. */
    if (is_stored && zero + a->zero_add >= 1 << a->bits)
        return mica_fail(err, MICA_STATUS_FORMAT,
                         "%s: row %lld, group %lld: zero point %d + %d has no place in %d bits",
                         a->zeros->name, (long long)row, (long long)group, zero, a->zero_add,
                         a->bits);
    if (is_stored) zero += a->zero_add;
    if (a->is_symmetric && zero != middle)
        return mica_fail(err, MICA_STATUS_FORMAT,
                         "%s: row %lld, group %lld: zero point %d, but a symmetric format has %d",
                         a->zeros->name, (long long)row, (long long)group, zero, middle);
    *out = zero;
    return MICA_STATUS_OK;
}

static mica_status fail_scale(const import_affine *a, int64_t row, int64_t group, float scale,
                              mica_error *err) {
    return mica_fail(err, MICA_STATUS_FORMAT,
                     "%s: row %lld, group %lld: a scale of %g is out of range", a->scales->name,
                     (long long)row, (long long)group, (double)scale);
}

/* Writes element i; false when a finite value does not stay finite. */
static bool store(int kind, uint8_t *out, int64_t i, float v) {
    uint16_t half = kind == MICA_KIND_F16 ? mica_f16_from_f32(v) : mica_bf16_from_f32(v);
    if (kind == MICA_KIND_F32) {
        memcpy(out + 4 * i, &v, sizeof v);
        return isfinite(v);
    }
    memcpy(out + 2 * i, &half, sizeof half);
    return isfinite(kind == MICA_KIND_F16 ? mica_f32_from_f16(half) : mica_f32_from_bf16(half));
}

/* ---- recipes ---- */

/* out[j] nibble i = in[i] nibble j, by swapping blocks of 4, 2 and 1 nibbles. */
static void transpose_nibbles(uint32_t w[8]) {
    static const uint32_t masks[3] = {0x0000FFFFu, 0x00FF00FFu, 0x0F0F0F0Fu};
    for (int step = 0, side = 4; step < 3; step++, side /= 2)
        for (int i = 0; i < 8; i++) {
            if (i & side) continue;
            uint32_t t = (w[i] >> (4 * side) ^ w[i + side]) & masks[step];
            w[i + side] ^= t;
            w[i] ^= t << (4 * side);
        }
}

mica_status import_make_codes_awq(const mica_checkpoint_recipe *recipe,
                                  const mica_checkpoint_tensor *tensor, const uint8_t *const *data,
                                  uint8_t *out, mica_error *err) {
    (void)tensor, (void)err;
    const import_affine *a = context(recipe);
    int64_t n_words = a->n / 8, k_words = a->k / 8;
    for (int64_t begin = 0; begin < k_words; begin += BLOCK_WORDS) {
        int64_t end = begin + BLOCK_WORDS < k_words ? begin + BLOCK_WORDS : k_words;
        for (int64_t c = 0; c < n_words; c++)
            for (int64_t r = begin; r < end; r++) {
                uint32_t w[8];
                for (int i = 0; i < 8; i++)
                    w[i] = mica_load_u32(data[0] + 4 * ((8 * r + i) * n_words + c));
                transpose_nibbles(w);
                for (int i = 0; i < 8; i++)
                    memcpy(out + 4 * ((8 * c + i) * k_words + r), &w[awq_nibble[i]], 4);
            }
    }
    return MICA_STATUS_OK;
}

/* The nibbles of a word are eight columns of a row already: words change places. */
mica_status import_make_codes_gptq(const mica_checkpoint_recipe *recipe,
                                   const mica_checkpoint_tensor *tensor, const uint8_t *const *data,
                                   uint8_t *out, mica_error *err) {
    (void)tensor, (void)err;
    const import_affine *a = context(recipe);
    int64_t k_words = a->k / 8;
    for (int64_t begin = 0; begin < k_words; begin += BLOCK_WORDS) {
        int64_t end = begin + BLOCK_WORDS < k_words ? begin + BLOCK_WORDS : k_words;
        for (int64_t row = 0; row < a->n; row++)
            for (int64_t r = begin; r < end; r++)
                memcpy(out + 4 * (row * k_words + r), data[0] + 4 * (r * a->n + row), 4);
    }
    return MICA_STATUS_OK;
}

/* sources: scales. A group of the file may be several of MLX's. */
static mica_status make_scales(const mica_checkpoint_recipe *recipe,
                               const mica_checkpoint_tensor *tensor, const uint8_t *const *data,
                               uint8_t *out, mica_error *err) {
    const import_affine *a = context(recipe);
    int64_t columns = tensor->shape.dims[1], target = a->k / columns;
    int kind = scale_kind(tensor->dtype);
    for (int64_t row = 0; row < a->n; row++)
        for (int64_t j = 0; j < columns; j++) {
            int64_t g = j * target / a->group;
            float scale = load_scale(a, data[0], row, g);
            if (!store(kind, out, row * columns + j, scale))
                return fail_scale(a, row, g, scale, err);
        }
    return MICA_STATUS_OK;
}

/* sources: scales and, where there are any, zero points */
static mica_status make_biases(const mica_checkpoint_recipe *recipe,
                               const mica_checkpoint_tensor *tensor, const uint8_t *const *data,
                               uint8_t *out, mica_error *err) {
    const import_affine *a = context(recipe);
    int64_t columns = tensor->shape.dims[1], target = a->k / columns;
    int kind = scale_kind(tensor->dtype), zero = 0;
    for (int64_t row = 0; row < a->n; row++)
        for (int64_t j = 0; j < columns; j++) {
            int64_t g = j * target / a->group;
            float scale = load_scale(a, data[0], row, g);
            mica_status st = take_zero(a, data[1], row, g, &zero, err);
            if (st != MICA_STATUS_OK) return st;
            if (!store(kind, out, row * columns + j, (float)-zero * scale))
                return fail_scale(a, row, g, scale, err);
        }
    return MICA_STATUS_OK;
}

/* Code `column` of a row of codes, LSB first. */
static int load_code(const uint8_t *row, int64_t column, int bits) {
    int64_t bit = column * bits;
    unsigned pair = row[bit / 8];
    if (bit % 8 + bits > 8) pair |= (unsigned)row[bit / 8 + 1] << 8;
    return (int)(pair >> (bit % 8) & ((1u << bits) - 1u));
}

/* sources: codes [n, words], scales, zero points or codes again, g_idx if there is one */
static mica_status make_dense(const mica_checkpoint_recipe *recipe,
                              const mica_checkpoint_tensor *tensor, const uint8_t *const *data,
                              uint8_t *out, mica_error *err) {
    const import_affine *a = context(recipe);
    int64_t row_bytes = 4 * ((a->k * a->bits + 31) / 32);
    const uint8_t *g_idx = a->g_idx ? data[3] : NULL;
    int kind = scale_kind(tensor->dtype), zero = 0;
    for (int64_t row = 0; row < a->n; row++) {
        const uint8_t *codes = data[0] + row * row_bytes;
        for (int64_t g = 0; g < a->groups; g++) {
            mica_status st = take_zero(a, data[2], row, g, &zero, err);
            if (st != MICA_STATUS_OK) return st;
        }
        for (int64_t column = 0; column < a->k; column++) {
            int64_t g = g_idx ? mica_load_u32(g_idx + 4 * column) : column / a->group;
            if (g >= a->groups) /* the file was changed since it was checked */
                return mica_fail(err, MICA_STATUS_FORMAT, "%s: a group out of range",
                                 a->g_idx->name);
            float scale = load_scale(a, data[1], row, g);
            zero = load_zero(a, data[2], row, g);
            if (a->zeros_kind != IMPORT_ZEROS_MIDDLE) zero += a->zero_add;
            float w = (float)(load_code(codes, column, a->bits) - zero) * scale;
            if (!store(kind, out, row * a->k + column, w)) return fail_scale(a, row, g, scale, err);
        }
    }
    return MICA_STATUS_OK;
}

/* ---- lists ---- */

static mica_status add_dense(import_job *job, const char *path, const import_affine *a,
                             mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    mica_shape shape;
    const mica_checkpoint_tensor *codes = a->codes;
    if (a->make_codes) {
        mica_checkpoint_recipe turn = {
            .make = a->make_codes, .sources = &a->codes, .n_sources = 1, .context = a};
        MICA_REQUIRE(mica_shape_make(2, (int64_t[]){a->n, a->k / 8}, &shape), MICA_STATUS_LIMIT,
                     "%s: its shape is too large", path);
        MICA_TRY(mica_checkpoint_rewrite_hidden(&job->rewrite, a->codes->name, MICA_SAFETENSORS_U32,
                                                &shape, &turn, &codes, err));
    }
    const mica_checkpoint_tensor *sources[] = {codes, a->scales, a->zeros ? a->zeros : codes,
                                               a->g_idx};
    mica_checkpoint_recipe recipe = {.make = make_dense,
                                     .sources = sources,
                                     .n_sources = a->g_idx ? 4 : 3,
                                     .context = a,
                                     .note = "dequantised: groups that MLX has not; rounded to the "
                                             "type of the scales"};
    MICA_TRY(import_add(job, path, "weight", a->scales->dtype, 2, (int64_t[]){a->n, a->k}, &recipe,
                        err));
    job->n_dense++;
done:
    return st;
}

static mica_status add_codes(import_job *job, const char *path, const import_affine *a,
                             mica_error *err) {
    const int64_t dims[] = {a->n, a->k * a->bits / 32};
    mica_checkpoint_recipe recipe = {.make = a->make_codes,
                                     .sources = &a->codes,
                                     .n_sources = 1,
                                     .context = a,
                                     .note = "to affine, the same codes: lossless"};
    if (!a->make_codes)
        return import_view(job, a->codes, path, "weight", MICA_SAFETENSORS_U32, 2, dims, err);
    return import_add(job, path, "weight", MICA_SAFETENSORS_U32, 2, dims, &recipe, err);
}

static mica_status add_affine(import_job *job, const char *path, const import_affine *a,
                              int64_t target, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const int64_t dims[] = {a->n, a->k / target};
    bool is_middle = a->is_symmetric || a->zeros_kind == IMPORT_ZEROS_MIDDLE;
    mica_safetensors_dtype dtype = is_middle ? a->scales->dtype : MICA_SAFETENSORS_F32;
    const mica_checkpoint_tensor *sources[] = {a->scales, a->zeros ? a->zeros : a->scales};
    const char *note = a->scales->dtype == MICA_SAFETENSORS_F32 ? "to affine, rounded in f32"
                                                                : "to affine: lossless";
    mica_checkpoint_recipe scales = {
        .make = make_scales, .sources = sources, .n_sources = 1, .context = a, .note = note};
    mica_checkpoint_recipe biases = {
        .make = make_biases, .sources = sources, .n_sources = 2, .context = a, .note = note};
    MICA_TRY(add_codes(job, path, a, err));
    if (a->is_by_row && target == a->group && dtype == a->scales->dtype)
        MICA_TRY(import_view(job, a->scales, path, "scales", dtype, 2, dims, err));
    else
        MICA_TRY(import_add(job, path, "scales", dtype, 2, dims, &scales, err));
    MICA_TRY(import_add(job, path, "biases", dtype, 2, dims, &biases, err));
    MICA_TRY(import_note_quantized(job, path, MICA_QUANT_AFFINE, a->bits, target, err));
done:
    return st;
}

mica_status import_affine_add(import_job *job, const char *path, const import_affine *a,
                              bool is_in_order, mica_error *err) {
    int64_t target = is_in_order ? target_group(a) : 0;
    import_affine *kept = mica_arena_alloc(mica_checkpoint_arena(job->checkpoint), sizeof *kept);
    if (!kept) return mica_fail_memory(err, sizeof *kept, "an import");
    *kept = *a;
    return target ? add_affine(job, path, kept, target, err) : add_dense(job, path, kept, err);
}
