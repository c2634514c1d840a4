/* Folders and colours from environment variables and from where the program lies. */
#include "environment.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __APPLE__
#include <mach-o/dyld.h>
#endif
#include "base/file.h"

/* NULL when unset or empty. */
static const char *variable(const char *name) {
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

static const char *join(char *out, size_t capacity, const char *folder, const char *rest) {
    return mica_format(out, capacity, "%s/%s", folder, rest) < capacity ? out : NULL;
}

const char *cli_environment_cache(const char *option, char *out, size_t capacity) {
    const char *value = NULL;
    if (option) return option;
    if ((value = variable("HF_HUB_CACHE"))) return value;
    if ((value = variable("HUGGINGFACE_HUB_CACHE"))) return value;
    if ((value = variable("HF_HOME"))) return join(out, capacity, value, "hub");
    if ((value = variable("XDG_CACHE_HOME"))) return join(out, capacity, value, "huggingface/hub");
    if ((value = variable("HOME"))) return join(out, capacity, value, ".cache/huggingface/hub");
    return NULL;
}

const char *cli_environment_kernels(char *out, size_t capacity) {
    const char *value = NULL;
    if ((value = variable("XDG_CACHE_HOME"))) return join(out, capacity, value, "mica/kernels.txt");
    if ((value = variable("HOME"))) return join(out, capacity, value, ".cache/mica/kernels.txt");
    return NULL;
}

/* The folder of this program's file; false when the system does not say. */
static bool find_program_folder(char out[MICA_PATH_BYTES_MAX]) {
#ifdef __APPLE__
    uint32_t capacity = MICA_PATH_BYTES_MAX;
    if (_NSGetExecutablePath(out, &capacity) != 0) return false;
#else
    ssize_t n = readlink("/proc/self/exe", out, MICA_PATH_BYTES_MAX - 1);
    if (n <= 0) return false;
    out[n] = '\0';
#endif
    char *slash = strrchr(out, '/');
    if (!slash) return false;
    *slash = '\0';
    return true;
}

const char *cli_environment_demo(char *out, size_t capacity) {
    const char *named = variable("MICA_DEMO");
    char folder[MICA_PATH_BYTES_MAX];
    if (named) return named;
    /* Installed in <prefix>/bin, or built in <source>/build/<name>/cli. */
    static const char *const places[] = {"../share/mica/models/demo", "../../../models/demo"};
    if (find_program_folder(folder))
        for (size_t i = 0; i < sizeof places / sizeof *places; i++)
            if (join(out, capacity, folder, places[i]) &&
                mica_path_kind_of(out) == MICA_PATH_FOLDER)
                return out;
#ifdef MICA_DEMO_FOLDER
    static const char *const known[] = {MICA_DEMO_FOLDER};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (mica_path_kind_of(known[i]) == MICA_PATH_FOLDER) return known[i];
#endif
    return NULL;
}

bool cli_environment_has_colour(void) { return isatty(STDOUT_FILENO) && !variable("NO_COLOR"); }
