/* What instruction sets this processor and system offer. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* MICA_CPU_* bits (core/cpu.h). */
uint32_t mica_cpu_features_detect(void);
/* The bits that remain at a level: "scalar", "avx2", "avx512", "neon"; UINT32_MAX is returned for
 * a name that is none of them. */
uint32_t mica_cpu_features_of_level(const char *level);
/* "scalar", "avx2", "avx512" or (on ARM) "neon". */
const char *mica_cpu_features_level(uint32_t features);
/* "avx2 avx512 avx512_vnni" */
void mica_cpu_features_format(uint32_t features, char *out, size_t bytes);
/* The processor's own name. */
void mica_cpu_name(char *out, size_t bytes);
