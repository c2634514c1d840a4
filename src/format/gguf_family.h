/* Architectures of GGUF files, and what their tensors are called elsewhere: one row a family, one
 * row a role (gguf_family.c). The names are those that llama.cpp's converter writes. */
#pragma once
#include "format/gguf.h"

/* name        general.architecture; prefix of its keys
 * bit         of the rows that concern it
 * permutes    rows of q and k stand in the order of interleaved rotations
 * has_shifted_norms   norms hold 1 + w */
typedef struct mica_gguf_family {
    const char *name;
    const char *model_type;
    const char *architecture; /* config.json architectures[0] */
    uint32_t bit;
    bool permutes;
    bool has_shifted_norms;
} mica_gguf_family;

enum {
    MICA_GGUF_LLAMA = 1 << 0,
    MICA_GGUF_QWEN2 = 1 << 1,
    MICA_GGUF_QWEN3 = 1 << 2,
    MICA_GGUF_QWEN3_MOE = 1 << 3,
    MICA_GGUF_GEMMA3 = 1 << 4,
    MICA_GGUF_GPT_OSS = 1 << 5,
    MICA_GGUF_PHI3 = 1 << 6,
    MICA_GGUF_OLMO2 = 1 << 7,
    MICA_GGUF_GRANITE = 1 << 8,
    MICA_GGUF_SMOLLM3 = 1 << 9,
};

typedef enum mica_gguf_role {
    MICA_GGUF_ROLE_MATRIX,  /* may be quantised */
    MICA_GGUF_ROLE_EXPERTS, /* [experts, n, k]; may be quantised */
    MICA_GGUF_ROLE_QUERY,   /* matrix or bias whose rows may be permuted */
    MICA_GGUF_ROLE_KEY,
    MICA_GGUF_ROLE_PLAIN, /* never quantised */
    MICA_GGUF_ROLE_NORM,  /* the same, perhaps shifted */
    MICA_GGUF_ROLE_NONE,  /* no weight: tables that the configuration takes */
} mica_gguf_role;

/* Errors: UNSUPPORTED for an architecture that is not in the table, FORMAT where the key is
 * missing. */
mica_status mica_gguf_family_of(const mica_gguf *g, const mica_gguf_family **out, mica_error *err);
/* The name of a tensor in the layout of mica and MLX, and its role. false: the family has no place
 * for it. out: MICA_SAFETENSORS_NAME_BYTES_MAX + 1 bytes. */
bool mica_gguf_map_name(const mica_gguf_family *family, const char *name, char *out,
                        mica_gguf_role *role);
