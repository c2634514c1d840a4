/* Imported models from end to end: the linears of a golden llama, quantised and packed here as
 * other programs do, against the plain model that holds the values which those stand for. */
#include <math.h>
#include "format/checkpoint.h"
#include "format/safetensors_writer.h"
#include "kernel/quant_block.h"
#include "model_test.h"
#include "test_folder.h"

#define GOLDEN MICA_SOURCE_DIR "/tests/data/golden/llama"
#define GROUP 32
#define N_REPLY 24

typedef enum packing { PLAIN, AWQ, GPTQ, GPTQ_SHUFFLED, COMPRESSED } packing;

static const char *const quant_configs[] = {
    [PLAIN] = "",
    [AWQ] = "\"quantization_config\":{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":32,"
            "\"zero_point\":true,\"version\":\"gemm\",\"modules_to_not_convert\":[\"lm_head\"]},",
    [GPTQ] = "\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":32,"
             "\"sym\":false,\"desc_act\":false,\"checkpoint_format\":\"gptq\"},",
    [GPTQ_SHUFFLED] = "\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4,"
                      "\"group_size\":32,\"sym\":false,\"desc_act\":true},",
    [COMPRESSED] = "\"quantization_config\":{\"quant_method\":\"compressed-tensors\","
                   "\"format\":\"pack-quantized\",\"ignore\":[\"lm_head\"],\"config_groups\":{"
                   "\"group_0\":{\"weights\":{\"num_bits\":4,\"type\":\"int\",\"symmetric\":false,"
                   "\"strategy\":\"group\",\"group_size\":32}}}},",
};

/* A linear as integers: w[r, c] = (q[r, c] - z[r, g]) * s[r, g], g = group_of(c). */
typedef struct linear {
    char path[128];
    int n, k, groups;
    bool is_shuffled;
    uint8_t *q;  /* [n, k] */
    uint8_t *z;  /* [n, groups], 1 to 15 */
    uint16_t *s; /* [n, groups], f16 */
} linear;

/* Tensors of a file, and what they point to. */
typedef struct file_items {
    mica_safetensors_item items[512];
    void *memory[512];
    char names[512][160];
    size_t n;
} file_items;

static void *add_item(file_items *f, const char *path, const char *suffix,
                      mica_safetensors_dtype dtype, int64_t rows, int64_t columns) {
    uint64_t bytes;
    mica_safetensors_item *item = &f->items[f->n];
    assert_true(f->n < 512);
    snprintf(f->names[f->n], sizeof f->names[0], "%s%s", path, suffix);
    *item =
        (mica_safetensors_item){f->names[f->n], dtype, {columns ? 2 : 1, {rows, columns}}, NULL};
    assert_int_equal(mica_safetensors_tensor_bytes(dtype, &item->shape, &bytes), 0);
    void *data = calloc(1, (size_t)bytes);
    assert_non_null(data);
    item->data = f->memory[f->n++] = data;
    return data;
}

/* Groups of neighbours, or every third column in one. */
static int group_of(const linear *l, int column) {
    return l->is_shuffled ? column % l->groups : column / GROUP;
}

static void quantize(linear *l, const float *w) {
    for (int r = 0; r < l->n; r++)
        for (int g = 0; g < l->groups; g++) {
            float low = 0, high = 0;
            for (int c = 0; c < l->k; c++)
                if (group_of(l, c) == g) {
                    low = fminf(low, w[r * l->k + c]);
                    high = fmaxf(high, w[r * l->k + c]);
                }
            uint16_t half = mica_f16_from_f32((high - low) / 14);
            float s = mica_f32_from_f16(half), z = rintf(-low / s);
            z = z < 1 ? 1 : z > 15 ? 15 : z;
            l->s[r * l->groups + g] = half;
            l->z[r * l->groups + g] = (uint8_t)z;
            for (int c = 0; c < l->k; c++) {
                float q = rintf(w[r * l->k + c] / s) + z;
                if (group_of(l, c) == g)
                    l->q[r * l->k + c] = (uint8_t)(q < 0 ? 0 : q > 15 ? 15 : q);
            }
        }
}

static void put(uint32_t *words, int64_t word, int nibble, unsigned code) {
    words[word] |= (uint32_t)code << (4 * nibble);
}

static void add_columns(file_items *f, const linear *l, bool is_awq) {
    static const int order[8] = {0, 4, 1, 5, 2, 6, 3, 7};
    uint32_t *codes = is_awq
                          ? add_item(f, l->path, ".qweight", MICA_SAFETENSORS_I32, l->k, l->n / 8)
                          : add_item(f, l->path, ".qweight", MICA_SAFETENSORS_I32, l->k / 8, l->n);
    uint32_t *zeros = add_item(f, l->path, ".qzeros", MICA_SAFETENSORS_I32, l->groups, l->n / 8);
    uint16_t *scales = add_item(f, l->path, ".scales", MICA_SAFETENSORS_F16, l->groups, l->n);
    for (int r = 0; r < l->n; r++) {
        for (int c = 0; c < l->k; c++) {
            unsigned q = l->q[r * l->k + c];
            if (is_awq)
                put(codes, c * (l->n / 8) + r / 8, order[r % 8], q);
            else
                put(codes, c / 8 * l->n + r, c % 8, q);
        }
        for (int g = 0; g < l->groups; g++) {
            unsigned z = l->z[r * l->groups + g];
            put(zeros, g * (l->n / 8) + r / 8, is_awq ? order[r % 8] : r % 8, is_awq ? z : z - 1);
            scales[g * l->n + r] = l->s[r * l->groups + g];
        }
    }
    if (is_awq) return;
    int32_t *index = add_item(f, l->path, ".g_idx", MICA_SAFETENSORS_I32, l->k, 0);
    for (int c = 0; c < l->k; c++) index[c] = group_of(l, c);
}

static void add_compressed(file_items *f, const linear *l) {
    uint32_t *codes = add_item(f, l->path, ".weight_packed", MICA_SAFETENSORS_I32, l->n, l->k / 8);
    uint32_t *zeros =
        add_item(f, l->path, ".weight_zero_point", MICA_SAFETENSORS_I32, l->n / 8, l->groups);
    uint16_t *scales = add_item(f, l->path, ".weight_scale", MICA_SAFETENSORS_F16, l->n, l->groups);
    int64_t *shape = add_item(f, l->path, ".weight_shape", MICA_SAFETENSORS_I64, 2, 0);
    shape[0] = l->n;
    shape[1] = l->k;
    memcpy(scales, l->s, (size_t)(l->n * l->groups) * 2);
    for (int r = 0; r < l->n; r++) {
        for (int c = 0; c < l->k; c++)
            put(codes, r * (l->k / 8) + c / 8, c % 8, l->q[r * l->k + c]);
        for (int g = 0; g < l->groups; g++)
            put(zeros, r / 8 * l->groups + g, r % 8, l->z[r * l->groups + g]);
    }
}

/* The values; those that are going to be dequantised are rounded to f16 as the import does. */
static void add_plain(file_items *f, const linear *l) {
    float *out = add_item(f, l->path, ".weight", MICA_SAFETENSORS_F32, l->n, l->k);
    for (int r = 0; r < l->n; r++)
        for (int c = 0; c < l->k; c++) {
            int i = r * l->groups + group_of(l, c);
            float w = (float)(l->q[r * l->k + c] - l->z[i]) * mica_f32_from_f16(l->s[i]);
            *out++ = l->is_shuffled ? mica_f32_from_f16(mica_f16_from_f32(w)) : w;
        }
}

static void add_linear(file_items *f, const mica_checkpoint_tensor *t, const uint8_t *data,
                       packing p, bool is_shuffled) {
    linear l = {.n = (int)t->shape.dims[0], .k = (int)t->shape.dims[1]};
    size_t count = (size_t)l.n * (size_t)l.k;
    l.groups = l.k / GROUP;
    l.is_shuffled = is_shuffled;
    snprintf(l.path, sizeof l.path, "%.*s", (int)(t->name_bytes - strlen(".weight")), t->name);
    float *w = malloc(count * sizeof *w);
    l.q = malloc(count);
    l.z = malloc(count / GROUP);
    l.s = malloc(count / GROUP * sizeof *l.s);
    for (size_t i = 0; i < count; i++) w[i] = mica_kind_load(MICA_KIND_BF16, data, (int64_t)i);
    assert_int_equal(t->dtype, MICA_SAFETENSORS_BF16);
    quantize(&l, w);
    if (p == PLAIN)
        add_plain(f, &l);
    else if (p == COMPRESSED)
        add_compressed(f, &l);
    else
        add_columns(f, &l, p == AWQ);
    free(w), free(l.q), free(l.z), free(l.s);
}

static void write_config(const test_folder *f, const char *quant) {
    size_t bytes;
    char *text = test_file_read(GOLDEN "/config.json", &bytes);
    char *whole = malloc(bytes + 1024);
    snprintf(whole, bytes + 1024, "{%s%s", quant, strchr(text, '{') + 1);
    test_folder_write_text(f, "config.json", whole);
    free(text), free(whole);
}

/* The golden model with its projections packed. */
static void make_model(test_folder *f, packing p, bool is_shuffled) {
    mica_error err;
    mica_checkpoint *c;
    const uint8_t *data;
    file_items *file = calloc(1, sizeof *file);
    test_folder_make(f);
    write_config(f, quant_configs[p]);
    assert_ok(mica_checkpoint_open(mica_host_default(), GOLDEN, NULL, &c, &err));
    for (size_t i = 0; i < mica_checkpoint_count(c); i++) {
        const mica_checkpoint_tensor *t = mica_checkpoint_at(c, i);
        assert_ok(mica_checkpoint_map_tensor(c, t, &data, &err));
        if (strstr(t->name, "_proj.weight")) {
            add_linear(file, t, data, p, is_shuffled);
            continue;
        }
        void *copy = add_item(file, t->name, "", t->dtype, t->shape.dims[0],
                              t->shape.rank == 2 ? t->shape.dims[1] : 0);
        memcpy(copy, data, (size_t)t->bytes);
    }
    assert_ok(mica_safetensors_write_file(
        mica_host_default(), test_folder_at(f, "model.safetensors"), file->items, file->n, &err));
    for (size_t i = 0; i < file->n; i++) free(file->memory[i]);
    free(file);
    mica_checkpoint_close(&c);
}

static generation *run_folder(const char *folder) {
    model_fixture f;
    int32_t ids[40];
    fixture_options o = {.folder = folder, .mode = MICA_EXACT};
    for (int i = 0; i < 40; i++) ids[i] = (i * 37 + 5) % 512;
    generation *g = calloc(1, sizeof *g);
    g->first_logits = calloc(512, sizeof *g->first_logits);
    fixture_open(&f, &o);
    assert_int_equal(f.vocab, 512);
    generate(&f, ids, 40, N_REPLY, g);
    fixture_close(&f);
    return g;
}

static generation *run_packed(packing p, bool is_shuffled) {
    test_folder f;
    make_model(&f, p, is_shuffled);
    generation *g = run_folder(f.path);
    test_folder_remove(&f);
    return g;
}

static double difference(const generation *a, const generation *b) {
    double worst = 0;
    for (int i = 0; i < 512; i++)
        worst = fmax(worst, fabs((double)a->first_logits[i] - (double)b->first_logits[i]));
    return worst;
}

static void release(generation *g) {
    free(g->first_logits);
    free(g);
}

/* Logits within 1e-4 (sums of codes and of values differ in order) and the same greedy ids. */
static void compare(packing p, const generation *wanted, bool is_shuffled) {
    generation *seen = run_packed(p, is_shuffled);
    double worst = difference(seen, wanted);
    print_message("packing %d: largest difference of logits %.3g\n", (int)p, worst);
    assert_true(worst <= 1e-4);
    assert_int_equal(seen->n, wanted->n);
    assert_memory_equal(seen->ids, wanted->ids, (size_t)seen->n * sizeof *seen->ids);
    release(seen);
}

static void test_packed_models(void **state) {
    /* AWQ, GPTQ and compressed-tensors models answer as the plain model of the same values, and not
     * as the one that was quantised. */
    (void)state;
    generation *plain = run_packed(PLAIN, false), *original = run_folder(GOLDEN);
    assert_int_equal(plain->n, N_REPLY);
    assert_true(difference(plain, original) > 1e-2);
    compare(AWQ, plain, false);
    compare(GPTQ, plain, false);
    compare(COMPRESSED, plain, false);
    release(plain);
    release(original);
}

static void test_shuffled_model(void **state) {
    /* GPTQ with columns out of order is dequantised to the values rounded to f16. */
    (void)state;
    generation *plain = run_packed(PLAIN, true);
    compare(GPTQ_SHUFFLED, plain, true);
    release(plain);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packed_models),
        cmocka_unit_test(test_shuffled_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
