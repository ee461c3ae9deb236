/* Loaded into a member before the C library, so that flushes can fail and the wall clock can jump.
 *
 * TORTURE_CONTROL names a file of five little-endian 64-bit numbers that this shares with the program that tortures; see
 * preload.rs. Without it nothing is changed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct control {
    int64_t clock_offset_ns;
    int64_t flushes_to_fail;
    int64_t flushes_failed;
    int64_t flushes_seen;
    int64_t clock_reads;
};

static struct control *control;

__attribute__((constructor)) static void map_control(void) {
    const char *path = getenv("TORTURE_CONTROL");
    if (!path) return;
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0) return;
    void *mapped = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED) control = mapped;
}

/* Whether this flush is to fail. */
static int fails(void) {
    if (!control) return 0;
    __atomic_add_fetch(&control->flushes_seen, 1, __ATOMIC_SEQ_CST);
    int64_t left = __atomic_load_n(&control->flushes_to_fail, __ATOMIC_SEQ_CST);
    while (left > 0) {
        if (__atomic_compare_exchange_n(&control->flushes_to_fail, &left, left - 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
            __atomic_add_fetch(&control->flushes_failed, 1, __ATOMIC_SEQ_CST);
            errno = EIO;
            return 1;
        }
    }
    return 0;
}

int fdatasync(int file) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return fails() ? -1 : real(file);
}

int fsync(int file) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return fails() ? -1 : real(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (failed || !control || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return failed;
    __atomic_add_fetch(&control->clock_reads, 1, __ATOMIC_RELAXED);
    int64_t offset = __atomic_load_n(&control->clock_offset_ns, __ATOMIC_RELAXED);
    int64_t nanoseconds = now->tv_nsec + offset % 1000000000;
    now->tv_sec += offset / 1000000000;
    if (nanoseconds < 0) { nanoseconds += 1000000000; now->tv_sec -= 1; }
    if (nanoseconds >= 1000000000) { nanoseconds -= 1000000000; now->tv_sec += 1; }
    now->tv_nsec = nanoseconds;
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &precise)) return -1;
    if (now) { now->tv_sec = precise.tv_sec; now->tv_usec = precise.tv_nsec / 1000; }
    return 0;
}

time_t time(time_t *out) {
    struct timespec precise;
    if (clock_gettime(CLOCK_REALTIME, &precise)) return (time_t)-1;
    if (out) *out = precise.tv_sec;
    return precise.tv_sec;
}
