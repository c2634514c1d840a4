/* Choosing the next token from one row of logits. Everything here is defined to the bit, so that
 * the same logits, parameters, seed and position give the same token on every machine.
 *
 * Definitions, in the order of application; l = logits, f32:
 *   1. NaN counts as -inf. Ids >= n are never chosen (the caller cuts rows without a token).
 *   2. Penalties, for each id that occurs c > 0 times in the history:
 *      l = l > 0 ? l / repeat : l * repeat;  l = l - presence - frequency * c.
 *   3. temperature 0: the first largest l. Otherwise l = l / temperature.
 *   4. top_k: the k largest, ties broken by the lower id.
 *   5. p = exp(l - max l), f32 by mica_exp; sums in f64 in the order of descending (l, -id).
 *      top_p: the shortest prefix of that order whose sum reaches top_p times the sum of all.
 *   6. min_p: those with p >= min_p * max p.
 *   7. u = 53 bits of Philox4x32-10 with key = seed and counter = {position, 0}, divided by 2^53;
 *      the first id (in the order of 5) whose running sum exceeds u * sum.
 *      With top_k, top_p and min_p all off the order of 5 and 7 is that of the ids.
 * Source of Philox: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3". */
#pragma once
#include "mica/engine.h"

/* Four words of random bits. */
void mica_philox(uint64_t key, uint64_t counter_low, uint64_t counter_high, uint32_t out[4]);

/* mica_sample is in mica/engine.h; it returns -1 when every logit is -inf or NaN, or n < 1. Where
 * the largest l is infinite after step 3, it is taken without a draw. min_p above 1 counts as 1. */
