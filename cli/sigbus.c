/* The SIGBUS handler. Only faults of file mappings are taken (BUS_ADRERR: no such place in the
 * file); anything else goes to the default action. */
#include "sigbus.h"
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/error.h"

static volatile sig_atomic_t happened;
static uintptr_t page_bytes;

static void fall_back(int number) {
    signal(number, SIG_DFL); /* the faulting access is repeated and ends the program */
}

static void take_signal(int number, siginfo_t *info, void *context) {
    (void)context;
    if (info->si_code != BUS_ADRERR || page_bytes == 0) {
        fall_back(number);
        return;
    }
    void *page = (void *)((uintptr_t)info->si_addr & ~(page_bytes - 1));
    void *zeros = mmap(page, page_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (zeros == MAP_FAILED)
        fall_back(number);
    else
        happened = 1;
}

void cli_sigbus_install(void) {
    struct sigaction action = {.sa_sigaction = take_signal, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    sigaction(SIGBUS, &action, NULL);
}

bool cli_sigbus_happened(void) { return happened != 0; }

mica_status cli_sigbus_check(mica_error *err) {
    if (!happened) return MICA_STATUS_OK;
    return mica_fail(err, MICA_STATUS_IO,
                     "a model file became shorter or unreadable while it was in use");
}
