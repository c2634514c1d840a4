/* The MLX layout of each family: a table of families, and a function per kind of tensor that
 * changes. Every change only moves bytes, so that values stay what they are. */
#include "format/mlx_layout.h"
#include <string.h>
#include "base/error.h"
#include "format/checkpoint_rewrite.h"

enum {
    NAME_BYTES = MICA_SAFETENSORS_NAME_BYTES_MAX + 1,
    TILE = 32, /* of transposes: two tiles of floats fit the first cache */
};

typedef struct layout {
    mica_checkpoint *checkpoint;
    const mica_config *config;
    mica_checkpoint_rewrite list;
} layout;

/* Adds what one tensor of the old list becomes; *is_done stays false for one that is kept. */
typedef mica_status (*layout_function)(layout *l, const mica_checkpoint_tensor *tensor,
                                       bool *is_done, mica_error *err);

/* ---- moving bytes ---- */

/* The sources one after another, all of one size. */
static mica_status stack(const mica_checkpoint_recipe *recipe, const mica_checkpoint_tensor *tensor,
                         const uint8_t *const *data, uint8_t *out, mica_error *err) {
    (void)tensor, (void)err;
    for (size_t i = 0; i < recipe->n_sources; i++) {
        size_t bytes = (size_t)recipe->sources[i]->bytes;
        if (bytes > 0) memcpy(out, data[i], bytes);
        out += bytes;
    }
    return MICA_STATUS_OK;
}

/* Every second row, from the first or the second one on. params: row bytes, first row. */
enum { PARAM_ROW_BYTES, PARAM_FIRST_ROW };
static mica_status take_rows(const mica_checkpoint_recipe *recipe,
                             const mica_checkpoint_tensor *tensor, const uint8_t *const *data,
                             uint8_t *out, mica_error *err) {
    (void)err;
    size_t row = (size_t)recipe->params[PARAM_ROW_BYTES];
    const uint8_t *from = data[0] + (size_t)recipe->params[PARAM_FIRST_ROW] * row;
    for (size_t at = 0; at < (size_t)tensor->bytes; at += row, from += 2 * row)
        memcpy(out + at, from, row);
    return MICA_STATUS_OK;
}

/* One tile of a transpose: out[r][c] = in[c][r * step], both by their row bytes. */
static void turn_tile(const uint8_t *in, size_t in_row, size_t step, uint8_t *out, size_t out_row,
                      int64_t rows, int64_t columns, size_t item) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++) {
            const uint8_t *from = in + (size_t)c * in_row + (size_t)r * step * item;
            uint8_t *to = out + (size_t)r * out_row + (size_t)c * item;
            if (item == 2)
                memcpy(to, from, 2);
            else
                memcpy(to, from, 4);
        }
}

/* [e, k, columns] to [e, n, k]: out[i][r][c] = in[i][c][first + step * r]. */
enum { PARAM_COLUMNS, PARAM_FIRST, PARAM_STEP };
static mica_status turn(const mica_checkpoint_recipe *recipe, const mica_checkpoint_tensor *tensor,
                        const uint8_t *const *data, uint8_t *out, mica_error *err) {
    (void)err;
    const int64_t *dims = tensor->shape.dims;
    size_t item = (size_t)mica_safetensors_dtype_bits(tensor->dtype) / 8;
    size_t in_row = (size_t)recipe->params[PARAM_COLUMNS] * item;
    size_t out_row = (size_t)dims[2] * item, step = (size_t)recipe->params[PARAM_STEP];
    for (int64_t i = 0; i < dims[0]; i++) {
        const uint8_t *from = data[0] + (size_t)i * (size_t)dims[2] * in_row +
                              (size_t)recipe->params[PARAM_FIRST] * item;
        uint8_t *to = out + (size_t)i * (size_t)dims[1] * out_row;
        for (int64_t r = 0; r < dims[1]; r += TILE)
            for (int64_t c = 0; c < dims[2]; c += TILE)
                turn_tile(from + (size_t)c * in_row + (size_t)r * step * item, in_row, step,
                          to + (size_t)r * out_row + (size_t)c * item, out_row,
                          dims[1] - r < TILE ? dims[1] - r : TILE,
                          dims[2] - c < TILE ? dims[2] - c : TILE, item);
    }
    return MICA_STATUS_OK;
}

/* ---- names ---- */

/* Where `part` ends the name, or NULL. */
static const char *find_end(const char *name, const char *part) {
    size_t bytes = strlen(name), part_bytes = strlen(part);
    if (bytes < part_bytes) return NULL;
    const char *at = name + bytes - part_bytes;
    return strcmp(at, part) == 0 ? at : NULL;
}

/* "<name up to end><tail>". False when it is too long for a tensor's name. */
static bool replace_end(char out[NAME_BYTES], const char *name, const char *end, const char *tail) {
    return mica_format(out, NAME_BYTES, "%.*s%s", (int)(end - name), name, tail) < NAME_BYTES;
}

static mica_status fail_name(const char *name, mica_error *err) {
    return mica_fail(err, MICA_STATUS_FORMAT, "%s: the name is too long to be changed", name);
}

static mica_status fail_shape(const mica_checkpoint_tensor *tensor, const char *wanted,
                              mica_error *err) {
    char seen[176];
    return mica_fail(err, MICA_STATUS_FORMAT, "%s: %s %s, expected %s", tensor->name,
                     mica_safetensors_dtype_name(tensor->dtype),
                     mica_shape_format(&tensor->shape, seen), wanted);
}

static bool is_float(const mica_checkpoint_tensor *tensor) {
    return tensor->dtype == MICA_SAFETENSORS_BF16 || tensor->dtype == MICA_SAFETENSORS_F16 ||
           tensor->dtype == MICA_SAFETENSORS_F32;
}

/* ---- gpt_oss ---- */

/* A tensor of the experts that MLX has under another name and shape.
 * end      of the name it has in Hugging Face's files
 * parts    what its name ends in then: both rows of an interleaved pair, or one
 * rank, dtype   that it must have; NONE: floats */
typedef struct expert_row {
    const char *end;
    const char *parts[2];
    int rank;
    mica_safetensors_dtype dtype;
    bool is_turned;
} expert_row;

static const expert_row expert_rows[] = {
    {"gate_up_proj_blocks", {"gate_proj.weight", "up_proj.weight"}, 4, MICA_SAFETENSORS_U8, false},
    {"gate_up_proj_scales", {"gate_proj.scales", "up_proj.scales"}, 3, MICA_SAFETENSORS_U8, false},
    {"gate_up_proj_bias", {"gate_proj.bias", "up_proj.bias"}, 2, MICA_SAFETENSORS_NONE, false},
    {"gate_up_proj", {"gate_proj.weight", "up_proj.weight"}, 3, MICA_SAFETENSORS_NONE, true},
    {"down_proj_blocks", {"down_proj.weight"}, 4, MICA_SAFETENSORS_U8, false},
    {"down_proj_scales", {"down_proj.scales"}, 3, MICA_SAFETENSORS_U8, false},
    {"down_proj_bias", {"down_proj.bias"}, 2, MICA_SAFETENSORS_NONE, false},
    {"down_proj", {"down_proj.weight"}, 3, MICA_SAFETENSORS_NONE, true},
};

static mica_status check_expert_tensor(const expert_row *row, const mica_checkpoint_tensor *tensor,
                                       mica_error *err) {
    const int64_t *dims = tensor->shape.dims;
    bool has_type = row->dtype ? tensor->dtype == row->dtype : is_float(tensor);
    if (!has_type || tensor->shape.rank != row->rank)
        return fail_shape(tensor,
                          row->rank == 4   ? "U8 [experts, rows, blocks, 16]"
                          : row->dtype     ? "U8 [experts, rows, blocks]"
                          : row->is_turned ? "floats [experts, columns, rows]"
                                           : "floats [experts, rows]",
                          err);
    if (row->rank == 4 && dims[3] != 16)
        return fail_shape(tensor, "U8 [experts, rows, blocks, 16]", err);
    int64_t rows = dims[row->is_turned ? 2 : 1];
    if (row->parts[1] && rows % 2 != 0)
        return fail_shape(tensor, "as many gate as up rows, in turn", err);
    return MICA_STATUS_OK;
}

/* What part `i` of the tensor looks like: one of n_parts. Blocks of 16 bytes are 4 words. */
static mica_shape expert_shape(const expert_row *row, const mica_checkpoint_tensor *tensor,
                               int n_parts) {
    const int64_t *dims = tensor->shape.dims;
    if (row->rank == 2) return (mica_shape){2, {dims[0], dims[1] / n_parts}};
    if (row->is_turned) return (mica_shape){3, {dims[0], dims[2] / n_parts, dims[1]}};
    return (mica_shape){3, {dims[0], dims[1] / n_parts, row->rank == 4 ? dims[2] * 4 : dims[2]}};
}

static mica_status add_expert_part(layout *l, const expert_row *row,
                                   const mica_checkpoint_tensor *tensor, const char *end, int i,
                                   mica_error *err) {
    char name[NAME_BYTES];
    int n_parts = row->parts[1] ? 2 : 1;
    mica_shape shape = expert_shape(row, tensor, n_parts);
    mica_checkpoint_recipe recipe = {.make = take_rows, .sources = &tensor, .n_sources = 1};
    mica_checkpoint_tensor view = *tensor;
    view.shape = shape;
    if (row->rank == 4) view.dtype = MICA_SAFETENSORS_U32;
    if (!replace_end(name, tensor->name, end, row->parts[i])) return fail_name(tensor->name, err);
    if (row->is_turned) {
        recipe.make = turn;
        recipe.params[PARAM_COLUMNS] = tensor->shape.dims[2];
        recipe.params[PARAM_FIRST] = i;
        recipe.params[PARAM_STEP] = n_parts;
    } else if (n_parts == 2) {
        int64_t rows = tensor->shape.dims[0] * tensor->shape.dims[1];
        recipe.params[PARAM_ROW_BYTES] = rows > 0 ? (int64_t)tensor->bytes / rows : 1;
        recipe.params[PARAM_FIRST_ROW] = i;
    } else {
        return mica_checkpoint_rewrite_rename(&l->list, &view, name, err);
    }
    return mica_checkpoint_rewrite_add(&l->list, name, view.dtype, &shape, &recipe, err);
}

static mica_status split_experts(layout *l, const mica_checkpoint_tensor *tensor, bool *is_done,
                                 mica_error *err) {
    for (size_t i = 0; i < sizeof expert_rows / sizeof *expert_rows; i++) {
        const expert_row *row = &expert_rows[i];
        const char *end = find_end(tensor->name, row->end);
        if (!end || end - tensor->name < 9 || memcmp(end - 9, ".experts.", 9) != 0) continue;
        *is_done = true;
        mica_status st = check_expert_tensor(row, tensor, err);
        for (int part = 0; part < 2 && row->parts[part] && st == MICA_STATUS_OK; part++)
            st = add_expert_part(l, row, tensor, end, part, err);
        return st;
    }
    return MICA_STATUS_OK;
}

/* ---- qwen3_moe ---- */

/* "<prefix>.mlp.experts.<index>.<rest>" */
typedef struct expert_name {
    int prefix_bytes;
    int64_t index;
    const char *rest; /* "up_proj.weight" */
} expert_name;

static bool read_expert_name(const char *name, expert_name *out) {
    static const char middle[] = ".mlp.experts.";
    const char *at = strstr(name, middle);
    if (!at) return false;
    const char *number = at + sizeof middle - 1;
    size_t digits = strspn(number, "0123456789");
    if (number[digits] != '.') return false;
    if (!mica_parse_i64(mica_slice_of(number, digits), &out->index)) return false;
    out->prefix_bytes = (int)(at - name);
    out->rest = number + digits + 1;
    return true;
}

static mica_status find_expert(const layout *l, const mica_checkpoint_tensor *first,
                               const expert_name *parts, int64_t index,
                               const mica_checkpoint_tensor **out, mica_error *err) {
    char name[NAME_BYTES], wanted[176 + 16], shape[176];
    if (mica_format(name, sizeof name, "%.*s.mlp.experts.%lld.%s", parts->prefix_bytes, first->name,
                    (long long)index, parts->rest) >= sizeof name)
        return fail_name(first->name, err);
    *out = mica_checkpoint_find(l->checkpoint, name);
    if (!*out)
        return mica_fail(err, MICA_STATUS_NOT_FOUND, "%s: the tensor is missing, of %lld experts",
                         name, (long long)l->config->num_local_experts);
    if ((*out)->dtype == first->dtype && mica_shape_equal(&(*out)->shape, &first->shape))
        return MICA_STATUS_OK;
    mica_format(wanted, sizeof wanted, "%s %s as expert 0 has",
                mica_safetensors_dtype_name(first->dtype), mica_shape_format(&first->shape, shape));
    return fail_shape(*out, wanted, err);
}

/* The first expert's tensor stands for those of all. */
static mica_status stack_experts(layout *l, const mica_checkpoint_tensor *tensor, bool *is_done,
                                 mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    const mica_checkpoint_tensor **sources;
    int64_t n = l->config->num_local_experts;
    char name[NAME_BYTES];
    expert_name parts;
    mica_shape shape = {tensor->shape.rank + 1, {n}};
    if (!read_expert_name(tensor->name, &parts)) return MICA_STATUS_OK;
    *is_done = true;
    if (parts.index >= n)
        return mica_fail(err, MICA_STATUS_FORMAT, "%s: the config has %lld experts", tensor->name,
                         (long long)n);
    if (parts.index > 0) return find_expert(l, tensor, &parts, 0, &tensor, err);
    if (shape.rank > 3) return fail_shape(tensor, "a matrix", err);
    memcpy(shape.dims + 1, tensor->shape.dims, (size_t)tensor->shape.rank * sizeof *shape.dims);
    sources =
        mica_arena_alloc_array(mica_checkpoint_arena(l->checkpoint), (size_t)n, sizeof *sources);
    MICA_REQUIRE(sources, MICA_STATUS_OUT_OF_MEMORY, "out of memory: %lld experts", (long long)n);
    for (int64_t i = 0; i < n; i++) MICA_TRY(find_expert(l, tensor, &parts, i, &sources[i], err));
    mica_checkpoint_recipe recipe = {.make = stack, .sources = sources, .n_sources = (size_t)n};
    if (mica_format(name, sizeof name, "%.*s.mlp.switch_mlp.%s", parts.prefix_bytes, tensor->name,
                    parts.rest) >= sizeof name)
        st = fail_name(tensor->name, err);
    if (st == MICA_STATUS_OK)
        st = mica_checkpoint_rewrite_add(&l->list, name, tensor->dtype, &shape, &recipe, err);
done:
    return st;
}

/* ---- the table ---- */

typedef struct family_row {
    const char *model_type;
    layout_function change; /* NULL: names stay */
} family_row;

static const family_row families[] = {
    {"gemma3_text", NULL},
    {"gpt_oss", split_experts},
    {"granite", NULL},
    {"llama", NULL},
    {"mistral", NULL},
    {"olmo2", NULL},
    {"phi3", NULL},
    {"qwen2", NULL},
    {"qwen3", NULL},
    {"smollm3", NULL},
    {"qwen3_moe", stack_experts},
};

/* What MLX does not read. */
static bool is_dropped(const mica_config *config, const char *name) {
    if (find_end(name, ".rotary_emb.inv_freq")) return true;
    bool is_tied = config->has.tie_word_embeddings && config->tie_word_embeddings;
    return is_tied && strncmp(name, "lm_head.", 8) == 0;
}

static mica_status rewrite(layout *l, layout_function change, mica_error *err) {
    mica_status st = MICA_STATUS_OK;
    for (size_t i = 0; i < mica_checkpoint_count(l->checkpoint); i++) {
        const mica_checkpoint_tensor *tensor = mica_checkpoint_at(l->checkpoint, i);
        bool is_done = is_dropped(l->config, tensor->name);
        if (!is_done && change) MICA_TRY(change(l, tensor, &is_done, err));
        if (!is_done) MICA_TRY(mica_checkpoint_rewrite_keep(&l->list, tensor, err));
    }
    MICA_TRY(mica_checkpoint_rewrite_commit(&l->list, err));
done:
    return st;
}

mica_status mica_mlx_layout_apply(mica_checkpoint *c, const mica_config *config, mica_error *err) {
    layout l = {.checkpoint = c, .config = config};
    const family_row *row = NULL;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strcmp(config->model_type, families[i].model_type) == 0) row = &families[i];
    if (!row)
        return mica_fail(err, MICA_STATUS_UNSUPPORTED,
                         "model_type \"%s\": its MLX layout is not known", config->model_type);
    mica_checkpoint_rewrite_begin(&l.list, c);
    mica_status st = rewrite(&l, row->change, err);
    mica_checkpoint_rewrite_end(&l.list);
    return st;
}
