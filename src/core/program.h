/* A short program over one element: what pass `fuse` makes of a chain of elementwise ops. Registers
 * are f32. Registers 0..2 are the inputs' elements, 3..6 constants, 7 + i is the result of
 * instruction i; the last result is the output. Values that the chain rounds to f16 or bf16 on the
 * way are rounded by an instruction, so the program gives the bits of the chain. */
#pragma once
#include "core/graph.h"

#define MICA_PROGRAM_INPUTS_MAX 3
#define MICA_PROGRAM_CONSTANTS_MAX 4
#define MICA_PROGRAM_CODE_MAX 12
#define MICA_PROGRAM_CONSTANT_0 MICA_PROGRAM_INPUTS_MAX
#define MICA_PROGRAM_RESULT_0 (MICA_PROGRAM_INPUTS_MAX + MICA_PROGRAM_CONSTANTS_MAX)
#define MICA_PROGRAM_REGISTERS (MICA_PROGRAM_RESULT_0 + MICA_PROGRAM_CODE_MAX)

/* Instruction codes: UNARY + mica_unary_kind and BINARY + mica_binary_kind, without NOT,
 * comparisons and bit operations; and the two roundings, which say the output's dtype when they
 * come last. */
enum {
    MICA_PROGRAM_UNARY = 0,
    MICA_PROGRAM_BINARY = 64,
    MICA_PROGRAM_ROUND_F16 = 128,
    MICA_PROGRAM_ROUND_BF16 = 129,
};

/* a, b: registers that are known before; b is 0 where there is one operand. */
typedef struct mica_program_instruction {
    uint8_t code, a, b;
} mica_program_instruction;

typedef struct mica_program_params {
    float constants[MICA_PROGRAM_CONSTANTS_MAX];
    uint8_t code_bytes; /* 3 an instruction */
    mica_program_instruction code[MICA_PROGRAM_CODE_MAX];
} mica_program_params;

/* Instructions of one operand. */
static inline bool mica_program_is_unary(uint8_t code) {
    return code < MICA_PROGRAM_BINARY || code >= MICA_PROGRAM_ROUND_F16;
}
