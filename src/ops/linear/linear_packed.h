/* Where codes of fewer than 8 bits lie in a packed row: constants for the vector loads of
 * the vector files. */
#pragma once

/* Control bytes of a shuffle that puts the two bytes which hold code i into a 32-bit lane. */
#define LINEAR_TWO_BYTES(i, bits)                                                                  \
    (int)(0x80800000u | (unsigned)((i) * (bits) / 8 + 1) << 8 | (unsigned)((i) * (bits) / 8))
/* The code's lowest bit in them. */
#define LINEAR_SHIFT(i, bits) ((i) * (bits) % 8)
#define LINEAR_EACH_OF_8(set, value, bits)                                                         \
    set(value(0, bits), value(1, bits), value(2, bits), value(3, bits), value(4, bits),            \
        value(5, bits), value(6, bits), value(7, bits))
