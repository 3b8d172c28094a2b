/* What newlib wants of a system. Ringlet has no files, no processes and no heap: everything answers
 * with an error, and the console is written by lib/log.c. */
#include "lib/assert.h"
#include "lib/log.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/types.h>

#undef errno
extern int errno;

void *sbrk(ptrdiff_t increment);
int write(int file, const char *bytes, int count);
int read(int file, char *bytes, int count);
int close(int file);
off_t lseek(int file, off_t offset, int whence);
int fstat(int file, struct stat *status);
int isatty(int file);
int kill(int process, int signal);
int getpid(void);
_Noreturn void _exit(int status);

void *sbrk(ptrdiff_t increment) {
    (void)increment;
    errno = ENOMEM;
    return (void *)-1;
}

int write(int file, const char *bytes, int count) {
    (void)file;
    log_bytes(bytes, (size_t)count);
    return count;
}

int read(int file, char *bytes, int count) {
    (void)file, (void)bytes, (void)count;
    return 0;
}

int close(int file) {
    (void)file;
    errno = EBADF;
    return -1;
}

off_t lseek(int file, off_t offset, int whence) {
    (void)file, (void)offset, (void)whence;
    errno = ESPIPE;
    return -1;
}

int fstat(int file, struct stat *status) {
    (void)file;
    status->st_mode = S_IFCHR;
    return 0;
}

int isatty(int file) {
    (void)file;
    return 1;
}

int kill(int process, int signal) {
    (void)process, (void)signal;
    errno = EINVAL;
    return -1;
}

int getpid(void) {
    return 1;
}

_Noreturn void _exit(int status) {
    (void)status;
    assert_fail("the C library gave up", __FILE__, __LINE__);
}
