/* What the machine lends to this process: cores, memory, clock. Declared in thread_pool.h. On Linux
 * the limits of the control groups (versions 1 and 2) are read from their files; a group's parents
 * limit it as well, so all levels up to the root of the mount are asked. */
#include "base/thread_pool.h"
#include <math.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include "base/str.h"

void mica_thread_yield(void) { sched_yield(); }

double mica_clock_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void mica_memory_advise_large(void *memory, size_t bytes) {
#ifdef MADV_HUGEPAGE
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)memory + page - 1) & ~(page - 1);
    uintptr_t end = ((uintptr_t)memory + bytes) & ~(page - 1);
    if (begin < end) madvise((void *)begin, (size_t)(end - begin), MADV_HUGEPAGE);
#else
    (void)memory, (void)bytes;
#endif
}

uint64_t mica_memory_resident_peak(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0 || usage.ru_maxrss < 0) return 0;
#ifdef __APPLE__
    return (uint64_t)usage.ru_maxrss;
#else
    return (uint64_t)usage.ru_maxrss * 1024;
#endif
}

#ifdef __APPLE__
#include <mach/mach.h>
#include <sys/sysctl.h>

int mica_cores_available(void) {
    int n = 0;
    size_t bytes = sizeof n;
    if (sysctlbyname("hw.logicalcpu", &n, &bytes, NULL, 0) != 0 || n < 1) return 1;
    return n;
}

uint64_t mica_memory_available(void) {
    vm_statistics64_data_t statistics;
    mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
    mach_port_t self = mach_host_self();
    kern_return_t result =
        host_statistics64(self, HOST_VM_INFO64, (host_info64_t)&statistics, &count);
    mach_port_deallocate(mach_task_self(), self);
    if (result != KERN_SUCCESS) return 0;
    /* Inactive and purgeable pages are given up without swapping what is in use. */
    uint64_t pages =
        (uint64_t)statistics.free_count + statistics.inactive_count + statistics.purgeable_count;
    return pages * (uint64_t)vm_kernel_page_size;
}

uint64_t mica_memory_resident(void) {
    struct mach_task_basic_info info;
    mach_msg_type_number_t count = MACH_TASK_BASIC_INFO_COUNT;
    kern_return_t result =
        task_info(mach_task_self(), MACH_TASK_BASIC_INFO, (task_info_t)&info, &count);
    return result == KERN_SUCCESS ? info.resident_size : 0;
}

#else
#include <fcntl.h>
#include <sched.h>

enum {
    TEXT_BYTES = 8192,
    PATH_BYTES = 4096 + 256,
};

/* A small system file as text; false when it is not there. */
static bool read_text(const char *path, char out[TEXT_BYTES]) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    size_t bytes = 0;
    for (;;) {
        ssize_t n = read(fd, out + bytes, TEXT_BYTES - 1 - bytes);
        if (n <= 0) break;
        bytes += (size_t)n;
    }
    close(fd);
    out[bytes] = '\0';
    return bytes > 0;
}

/* The number behind "name" at the begin of a line; 0 when there is none. */
static uint64_t number_of_line(const char *text, const char *name) {
    size_t bytes = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (strncmp(line, name, bytes) == 0) return strtoull(line + bytes, NULL, 10);
    }
    return 0;
}

/* The group of this process for a controller ("" = version 2), out of /proc/self/cgroup, whose
 * lines read "4:cpu,cpuacct:/path". */
static bool find_group(const char *controller, char out[PATH_BYTES]) {
    char text[TEXT_BYTES];
    if (!read_text("/proc/self/cgroup", text)) return false;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *names = strchr(line, ':');
        char *path = names ? strchr(names + 1, ':') : NULL;
        if (!path) continue;
        *path++ = '\0';
        names++;
        if (!*controller != !*names) continue;
        char padded[256], wanted[64];
        mica_format(padded, sizeof padded, ",%s,", names);
        mica_format(wanted, sizeof wanted, ",%s,", controller);
        if (*controller && !strstr(padded, wanted)) continue;
        mica_format(out, PATH_BYTES, "%s", path);
        return true;
    }
    return false;
}

/* Calls read_limit for the group and each of its parents; returns the smallest limit. In a
 * container the path is often one of the host that is not mounted here: then only those levels
 * that exist count, the last being the mount itself. */
static double smallest_limit(const char *mount, const char *controller,
                             double (*read_limit)(const char *folder)) {
    char group[PATH_BYTES], folder[PATH_BYTES + 64];
    double smallest = INFINITY;
    if (!find_group(controller, group)) return smallest;
    for (;;) {
        size_t bytes = strlen(group);
        if (bytes > 0 && group[bytes - 1] == '/') group[bytes - 1] = '\0';
        mica_format(folder, sizeof folder, "%s%s", mount, group);
        double limit = read_limit(folder);
        if (limit < smallest) smallest = limit;
        char *slash = strrchr(group, '/');
        if (!slash) return smallest;
        *slash = '\0';
    }
}

static bool read_in(const char *folder, const char *name, char out[TEXT_BYTES]) {
    char path[PATH_BYTES + 128];
    if (mica_format(path, sizeof path, "%s/%s", folder, name) >= sizeof path) return false;
    return read_text(path, out);
}

static double cores_v2(const char *folder) {
    char text[TEXT_BYTES], *rest;
    if (!read_in(folder, "cpu.max", text) || strncmp(text, "max", 3) == 0) return INFINITY;
    double quota = (double)strtoull(text, &rest, 10);
    double period = (double)strtoull(rest, NULL, 10);
    return quota > 0 && period > 0 ? quota / period : INFINITY;
}

static double cores_v1(const char *folder) {
    char quota[TEXT_BYTES], period[TEXT_BYTES];
    if (!read_in(folder, "cpu.cfs_quota_us", quota)) return INFINITY;
    if (!read_in(folder, "cpu.cfs_period_us", period)) return INFINITY;
    double allowed = (double)strtoll(quota, NULL, 10);
    double whole = (double)strtoll(period, NULL, 10);
    return allowed > 0 && whole > 0 ? allowed / whole : INFINITY;
}

/* Limit less use, where cached file pages that can be dropped do not count as use. */
static double memory_left(const char *folder, const char *limit_name, const char *used_name,
                          const char *cache_name) {
    char text[TEXT_BYTES];
    if (!read_in(folder, limit_name, text) || strncmp(text, "max", 3) == 0) return INFINITY;
    uint64_t limit = strtoull(text, NULL, 10);
    if (limit > (uint64_t)1 << 60) return INFINITY; /* version 1 writes "none" as a huge number */
    if (!read_in(folder, used_name, text)) return INFINITY;
    uint64_t used = strtoull(text, NULL, 10);
    uint64_t cache = read_in(folder, "memory.stat", text) ? number_of_line(text, cache_name) : 0;
    used = used > cache ? used - cache : 0;
    return limit > used ? (double)(limit - used) : 0;
}

static double memory_v2(const char *folder) {
    return memory_left(folder, "memory.max", "memory.current", "inactive_file ");
}

static double memory_v1(const char *folder) {
    return memory_left(folder, "memory.limit_in_bytes", "memory.usage_in_bytes",
                       "total_inactive_file ");
}

static int cores_of_affinity(void) {
    cpu_set_t sets[16]; /* 16,384 processors: a set that is too small makes the call fail */
    if (sched_getaffinity(0, sizeof sets, sets) == 0) {
        int n = CPU_COUNT_S(sizeof sets, sets);
        if (n > 0) return n;
    }
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 && n < 1 << 20 ? (int)n : 1;
}

int mica_cores_available(void) {
    double cores = cores_of_affinity();
    cores = fmin(cores, smallest_limit("/sys/fs/cgroup", "", cores_v2));
    cores = fmin(cores, smallest_limit("/sys/fs/cgroup/cpu", "cpu", cores_v1));
    /* Part of a core is none: a throttled thread holds up all others at every barrier. */
    return cores < 1 ? 1 : (int)cores;
}

uint64_t mica_memory_available(void) {
    char text[TEXT_BYTES];
    if (!read_text("/proc/meminfo", text)) return 0;
    double bytes = (double)number_of_line(text, "MemAvailable:") * 1024;
    if (bytes == 0) return 0;
    bytes = fmin(bytes, smallest_limit("/sys/fs/cgroup", "", memory_v2));
    bytes = fmin(bytes, smallest_limit("/sys/fs/cgroup/memory", "memory", memory_v1));
    return bytes < 1 ? 1 : (uint64_t)bytes; /* 0 would say that it is not known */
}

uint64_t mica_memory_resident(void) {
    char text[TEXT_BYTES], *rest;
    if (!read_text("/proc/self/statm", text)) return 0;
    strtoull(text, &rest, 10);
    uint64_t pages = strtoull(rest, NULL, 10);
    long page_bytes = sysconf(_SC_PAGESIZE);
    return page_bytes > 0 ? pages * (uint64_t)page_bytes : 0;
}
#endif
