/* The register program of core/program.h over one to three float inputs, broadcast. */
#pragma once
#include "core/cpu.h"
#include "core/program.h"
#include "ops/common/tensor_args.h"

static_assert(MICA_PROGRAM_INPUTS_MAX == MICA_ELEMENTWISE_INPUTS_MAX, "inputs are registers 0..2");

/* Worker: a share of the result's elements. */
typedef struct mica_program_args {
    mica_elementwise_args e;
    float constants[MICA_PROGRAM_CONSTANTS_MAX];
    int32_t n_inputs;
    int32_t n_code;
    mica_program_instruction code[MICA_PROGRAM_CODE_MAX];
    uint8_t reserved[4];
} mica_program_args;
static_assert(sizeof(mica_program_args) == 400, "host and device kernels share this layout");

void mica_program_ref(const void *args, const mica_cpu_worker *worker);
void mica_program_avx2(const void *args, const mica_cpu_worker *worker);
void mica_program_neon(const void *args, const mica_cpu_worker *worker);
