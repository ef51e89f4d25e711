/* SPDX-License-Identifier: Apache-2.0
 *
 * A disk that fails when it is told to: preloaded into a process, it counts the calls that change
 * one folder, and at one of them kills the process or lets the call fail. It can write down every
 * call, data and all, so that what a power cut would leave can be worked out afterwards.
 *
 *     cc -shared -fPIC -o fault_shim.so fault_shim.c
 *     LD_PRELOAD=./fault_shim.so python ...       and from there fault_shim_arm(...)
 *
 * Unarmed, it passes everything on. tests/making/fault_shim.py builds it, arms it and reads what
 * it wrote down; kinds and the layout of a record are the same in both files.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum kind {
    WRITE = 1, SYNC = 2, RENAME = 4, UNLINK = 8, TRUNCATE = 16, CREATE = 32, MKDIR = 64,
    RMDIR = 128, MARK = 256
};

enum action { COUNT, KILL, FAIL };

struct record {
    uint32_t kind;
    int32_t error;      /* 0, or the errno that the call failed with */
    int32_t descriptor; /* -1 where the call has a path */
    uint32_t length;    /* of the data that follow the paths */
    uint64_t inode;
    int64_t offset;     /* of a write; size of a truncated file; number of a mark */
    uint32_t path_length;
    uint32_t target_length;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char folder[PATH_MAX];
static size_t folder_length;
static unsigned kinds;
static long at, counted;
static int armed, action, error_given, lasting, log_descriptor = -1;

/* Arms it for the calls of some kinds below a folder: call number `at_call` (from 1), and with
 * `is_lasting` every one after it, meets its fate. A log descriptor of -1 writes nothing down. */
void fault_shim_arm(const char *below, unsigned of_kinds, long at_call, int with_action, int error,
                    int is_lasting, int log) {
    folder_length = strlen(below);
    memcpy(folder, below, folder_length + 1);
    kinds = of_kinds;
    at = at_call;
    action = with_action;
    error_given = error;
    lasting = is_lasting;
    log_descriptor = log;
    counted = 0;
    armed = 1;
}

/* Ends it; the number of calls that were counted. */
long fault_shim_disarm(void) {
    armed = 0;
    return counted;
}

static int is_inside(const char *path) {
    return !strncmp(path, folder, folder_length) &&
           (path[folder_length] == '/' || path[folder_length] == 0);
}

static int path_of(int descriptor, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_inside(path);
}

static int resolved(int beside, const char *name, char *path) {
    if (name[0] == '/' || beside == AT_FDCWD) {
        snprintf(path, PATH_MAX, "%s", name);
        return is_inside(path);
    }
    if (!path_of(beside, path)) return 0;
    size_t length = strlen(path);
    snprintf(path + length, PATH_MAX - length, "/%s", name);
    return 1;
}

static uint64_t inode_of(const char *path) {
    struct stat found;
    return fstatat(AT_FDCWD, path, &found, AT_SYMLINK_NOFOLLOW) ? 0 : found.st_ino;
}

static uint64_t inode_of_open(int descriptor) {
    struct stat found;
    return fstat(descriptor, &found) ? 0 : found.st_ino;
}

static void note(enum kind kind, int error, int descriptor, uint64_t inode, int64_t offset,
                 const char *path, const char *target, const void *data, size_t length) {
    if (log_descriptor < 0) return;
    struct record head = {kind, error, descriptor, length, inode, offset, strlen(path),
                          strlen(target)};
    size_t size = sizeof head + head.path_length + head.target_length + length;
    char *whole = malloc(size), *next = whole;
    next = mempcpy(next, &head, sizeof head);
    next = mempcpy(next, path, head.path_length);
    next = mempcpy(next, target, head.target_length);
    memcpy(next, data, length);
    if (syscall(SYS_write, log_descriptor, whole, size) != (long)size) abort();
    free(whole);
}

/* Says in the log that everything up to here was acknowledged. */
void fault_shim_mark(long number) {
    pthread_mutex_lock(&lock);
    if (armed) note(MARK, 0, -1, 0, number, "", "", "", 0);
    pthread_mutex_unlock(&lock);
}

/* Counts a call. Returns the errno with which it fails, 0 if it is to be carried out. */
static int fate_of(enum kind kind) {
    if (!(kinds & kind)) return 0;
    counted++;
    if (action == COUNT || counted < at || (counted > at && !lasting)) return 0;
    if (action == KILL) {
        syscall(SYS_kill, getpid(), SIGKILL);
        pause();
    }
    return error_given;
}

#define NEXT(name) static __typeof__(&name) next; if (!next) next = dlsym(RTLD_NEXT, #name)

/* Carries out `call`, unless its fate is to fail, and notes it; `inode` is of after the call. */
#define CARRY_OUT(kind, call, descriptor, inode, offset, path, target, data, length)              \
    pthread_mutex_lock(&lock);                                                                    \
    int error = fate_of(kind);                                                                    \
    __typeof__(call) result = -1;                                                                 \
    if (!error) {                                                                                 \
        result = call;                                                                            \
        error = result < 0 ? errno : 0;                                                           \
    }                                                                                             \
    note(kind, error, descriptor, inode, offset, path, target, data, length);                     \
    pthread_mutex_unlock(&lock);                                                                  \
    if (error) errno = error;                                                                     \
    return result

ssize_t write(int descriptor, const void *data, size_t size) {
    NEXT(write);
    char path[PATH_MAX];
    if (!armed || descriptor == log_descriptor || !path_of(descriptor, path))
        return next(descriptor, data, size);
    off_t offset = lseek(descriptor, 0, SEEK_CUR);
    CARRY_OUT(WRITE, next(descriptor, data, size), descriptor, inode_of_open(descriptor), offset,
              path, "", data, result < 0 ? 0 : result);
}

#define PWRITE(name)                                                                              \
    ssize_t name(int descriptor, const void *data, size_t size, off_t offset) {                   \
        NEXT(name);                                                                               \
        char path[PATH_MAX];                                                                      \
        if (!armed || !path_of(descriptor, path)) return next(descriptor, data, size, offset);    \
        CARRY_OUT(WRITE, next(descriptor, data, size, offset), descriptor,                        \
                  inode_of_open(descriptor), offset, path, "", data, result < 0 ? 0 : result);    \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define SYNCING(name)                                                                             \
    int name(int descriptor) {                                                                    \
        NEXT(name);                                                                               \
        char path[PATH_MAX];                                                                      \
        if (!armed || !path_of(descriptor, path)) return next(descriptor);                        \
        CARRY_OUT(SYNC, next(descriptor), descriptor, inode_of_open(descriptor), 0, path, "", "", \
                  0);                                                                             \
    }
SYNCING(fsync)
SYNCING(fdatasync)

#define TRUNCATING(name)                                                                          \
    int name(int descriptor, off_t size) {                                                        \
        NEXT(name);                                                                               \
        char path[PATH_MAX];                                                                      \
        if (!armed || !path_of(descriptor, path)) return next(descriptor, size);                  \
        CARRY_OUT(TRUNCATE, next(descriptor, size), descriptor, inode_of_open(descriptor), size,  \
                  path, "", "", 0);                                                               \
    }
TRUNCATING(ftruncate)
TRUNCATING(ftruncate64)

static int renaming(int (*next)(const char *, const char *), const char *from, const char *to) {
    uint64_t inode = inode_of(from);
    CARRY_OUT(RENAME, next(from, to), -1, inode, 0, from, to, "", 0);
}

int rename(const char *from, const char *to) {
    NEXT(rename);
    char path[PATH_MAX];
    if (!armed || !resolved(AT_FDCWD, from, path)) return next(from, to);
    return renaming(next, from, to);
}

int unlink(const char *name) {
    NEXT(unlink);
    char path[PATH_MAX];
    if (!armed || !resolved(AT_FDCWD, name, path)) return next(name);
    uint64_t inode = inode_of(path);
    CARRY_OUT(UNLINK, next(name), -1, inode, 0, path, "", "", 0);
}

int unlinkat(int beside, const char *name, int flags) {
    NEXT(unlinkat);
    char path[PATH_MAX];
    if (!armed || !resolved(beside, name, path)) return next(beside, name, flags);
    uint64_t inode = inode_of(path);
    CARRY_OUT(flags & AT_REMOVEDIR ? RMDIR : UNLINK, next(beside, name, flags), -1, inode, 0, path,
              "", "", 0);
}

int rmdir(const char *name) {
    NEXT(rmdir);
    char path[PATH_MAX];
    if (!armed || !resolved(AT_FDCWD, name, path)) return next(name);
    uint64_t inode = inode_of(path);
    CARRY_OUT(RMDIR, next(name), -1, inode, 0, path, "", "", 0);
}

int mkdir(const char *name, mode_t mode) {
    NEXT(mkdir);
    char path[PATH_MAX];
    if (!armed || !resolved(AT_FDCWD, name, path)) return next(name, mode);
    CARRY_OUT(MKDIR, next(name, mode), -1, inode_of(path), 0, path, "", "", 0);
}

typedef int (*opener)(const char *, int, ...);

/* Opening counts where it makes a file, or empties one. */
static int opening(opener next, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    if (!armed || !(flags & (O_CREAT | O_TRUNC)) || !resolved(AT_FDCWD, name, path))
        return next(name, flags, mode);
    int exists = !faccessat(AT_FDCWD, path, F_OK, 0);
    if (exists && !(flags & O_TRUNC)) return next(name, flags, mode);
    CARRY_OUT(exists ? TRUNCATE : CREATE, next(name, flags, mode), -1, inode_of(path), 0, path, "",
              "", 0);
}

#define OPENING(name)                                                                             \
    int name(const char *path, int flags, ...) {                                                  \
        NEXT(name);                                                                               \
        va_list more;                                                                             \
        va_start(more, flags);                                                                    \
        mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;                                 \
        va_end(more);                                                                             \
        return opening(next, path, flags, mode);                                                  \
    }
OPENING(open)
OPENING(open64)
