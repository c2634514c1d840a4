/* Instruction sets by cpuid and xgetbv: a set counts only when the system saves its registers. */
#include "backend/cpu/cpu_features.h"
#include <stdio.h>
#include <string.h>
#include "core/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

static uint64_t read_xcr0(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static int bit(uint32_t word, int index) { return (int)(word >> index & 1u); }

/* Linux saves tiles only for processes that ask (arch_prctl(2), ARCH_REQ_XCOMP_PERM of XTILEDATA);
 * the permission then holds for all threads and for good. */
static int may_use_tiles(void) {
#if defined(__linux__)
    return syscall(SYS_arch_prctl, 0x1023, 18) == 0;
#else
    return 0;
#endif
}

uint32_t mica_cpu_features_detect(void) {
    uint32_t a, b, c, d, features = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    int has_fma = bit(c, 12), has_xsave = bit(c, 27), has_f16c = bit(c, 29);
    if (!has_xsave) return 0;
    uint64_t xcr0 = read_xcr0();
    uint32_t a7, b7, c7, d7, a71 = 0, unused;
    if (!__get_cpuid_count(7, 0, &a7, &b7, &c7, &d7)) return 0;
    if (a7 >= 1) __get_cpuid_count(7, 1, &a71, &unused, &c, &d);
    int saves_ymm = (xcr0 & 0x6u) == 0x6u, saves_zmm = (xcr0 & 0xE6u) == 0xE6u;
    int saves_tiles = (xcr0 & 0x60000u) == 0x60000u;
    if (saves_ymm && has_fma && has_f16c && bit(b7, 5) && bit(b7, 8)) features |= MICA_CPU_AVX2;
    if (!(features & MICA_CPU_AVX2) || !saves_zmm) return features;
    /* F, DQ, BW, VL */
    if (!bit(b7, 16) || !bit(b7, 17) || !bit(b7, 30) || !bit(b7, 31)) return features;
    features |= MICA_CPU_AVX512;
    if (bit(c7, 11)) features |= MICA_CPU_AVX512_VNNI;
    if (bit(a71, 5)) features |= MICA_CPU_AVX512_BF16;
    if (saves_tiles && bit(d7, 22) && bit(d7, 24) && bit(d7, 25) && may_use_tiles())
        features |= MICA_CPU_AMX;
    return features;
}

void mica_cpu_name(char *out, size_t bytes) {
    uint32_t words[12] = {0};
    for (uint32_t i = 0; i < 3; i++)
        if (!__get_cpuid(0x80000002u + i, &words[4 * i], &words[4 * i + 1], &words[4 * i + 2],
                         &words[4 * i + 3]))
            break;
    char text[sizeof words + 1] = {0};
    memcpy(text, words, sizeof words);
    size_t start = strspn(text, " ");
    snprintf(out, bytes, "%s", text[start] ? text + start : "x86-64");
}
#elif defined(__aarch64__)
#if defined(__APPLE__)
#include <sys/sysctl.h>

static int has_dot_product(void) {
    int value = 0;
    size_t bytes = sizeof value;
    return !sysctlbyname("hw.optional.arm.FEAT_DotProd", &value, &bytes, NULL, 0) && value;
}
#elif defined(__linux__)
#include <sys/auxv.h>

static int has_dot_product(void) { return getauxval(AT_HWCAP) >> 20 & 1; } /* HWCAP_ASIMDDP */
#else
static int has_dot_product(void) { return 0; }
#endif

uint32_t mica_cpu_features_detect(void) {
    return MICA_CPU_NEON | (has_dot_product() ? (uint32_t)MICA_CPU_NEON_DOT : 0);
}

void mica_cpu_name(char *out, size_t bytes) { snprintf(out, bytes, "aarch64"); }
#else
uint32_t mica_cpu_features_detect(void) { return 0; }

void mica_cpu_name(char *out, size_t bytes) { snprintf(out, bytes, "cpu"); }
#endif

static const struct {
    const char *name;
    uint32_t bits;
} levels[] = {
    {"scalar", 0},
    {"avx2", MICA_CPU_AVX2},
    {"avx512", MICA_CPU_AVX2 | MICA_CPU_AVX512 | MICA_CPU_AVX512_VNNI | MICA_CPU_AVX512_BF16},
    {"amx",
     MICA_CPU_AVX2 | MICA_CPU_AVX512 | MICA_CPU_AVX512_VNNI | MICA_CPU_AVX512_BF16 | MICA_CPU_AMX},
    {"neon", MICA_CPU_NEON | MICA_CPU_NEON_DOT},
};

uint32_t mica_cpu_features_of_level(const char *level) {
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (strcmp(levels[i].name, level) == 0) return levels[i].bits;
    return UINT32_MAX;
}

const char *mica_cpu_features_level(uint32_t features) {
    if (features & MICA_CPU_AMX) return "amx";
    if (features & MICA_CPU_AVX512) return "avx512";
    if (features & MICA_CPU_AVX2) return "avx2";
    return features & MICA_CPU_NEON ? "neon" : "scalar";
}

void mica_cpu_features_format(uint32_t features, char *out, size_t bytes) {
    static const char *const names[] = {"avx2", "avx512", "avx512_vnni", "avx512_bf16",
                                        "amx",  "neon",   "neon_dot"};
    size_t n = 0;
    out[0] = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (features >> i & 1u && n < bytes)
            n += (size_t)snprintf(out + n, bytes - n, n ? " %s" : "%s", names[i]);
}
