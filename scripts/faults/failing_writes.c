// Makes the n-th change to files below a folder fail, as a full disk or a broken one does. LD_PRELOAD it:
//
//   FAULT_UNDER=/folder FAULT_COUNT=/file FAULT_AT=12 FAULT_KIND=full|broken LD_PRELOAD=failing_writes.so craft ...
//
// full: the n-th write stores half of its bytes; from then on whatever needs room fails with ENOSPC.
// broken: the n-th change alone (a write, flush, rename, link, or a file or folder made) fails with EIO.
// FAULT_COUNT is an 8-byte file that counts the changes of the process and of those it starts. Without FAULT_AT they are counted only.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *folder;
static size_t length;
static _Atomic long *count;
static long failing;
static int isFull;

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
  const char *file = getenv("FAULT_COUNT"), *at = getenv("FAULT_AT"), *kind = getenv("FAULT_KIND");
  folder = getenv("FAULT_UNDER");
  if (!folder || !file) return;
  length = strlen(folder);
  failing = at ? atol(at) : 0;
  isFull = kind && !strcmp(kind, "full");
  int descriptor = NEXT(open)(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor < 0 || NEXT(ftruncate)(descriptor, 8)) abort();
  count = mmap(0, 8, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  close(descriptor);
  if (count == MAP_FAILED) abort();
}

static int isOurs(const char *path) { return count && path && !strncmp(path, folder, length); }

static int isOursOpen(int descriptor) {
  if (!count || descriptor < 3) return 0;
  char link[64], path[PATH_MAX];
  int saved = errno;
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t size = readlink(link, path, sizeof path - 1);
  errno = saved;
  if (size < 0) return 0;
  path[size] = 0;
  return isOurs(path);
}

// Whether this change fails; then errno is set. `needsRoom`: a full disk refuses it.
static int fails(int needsRoom) {
  long n = ++*count;
  if (!failing || n < failing) return 0;
  if (isFull && !needsRoom) return 0;
  if (!isFull && n != failing) return 0;
  errno = isFull ? ENOSPC : EIO;
  return 1;
}

ssize_t write(int descriptor, const void *bytes, size_t size) {
  if (isOursOpen(descriptor) && fails(1)) {
    if (isFull && size > 1 && *count == failing) return NEXT(write)(descriptor, bytes, size / 2);
    return -1;
  }
  return NEXT(write)(descriptor, bytes, size);
}

#define WRITE_AT(name, offset)                                                        \
  ssize_t name(int descriptor, const void *bytes, size_t size, offset position) {     \
    if (isOursOpen(descriptor) && fails(1)) return -1;                                \
    return NEXT(name)(descriptor, bytes, size, position);                             \
  }
WRITE_AT(pwrite, off_t)
WRITE_AT(pwrite64, off64_t)

ssize_t writev(int descriptor, const struct iovec *parts, int number) {
  if (isOursOpen(descriptor) && fails(1)) return -1;
  return NEXT(writev)(descriptor, parts, number);
}

#define ON_DESCRIPTOR(name, needsRoom, parameters, arguments) \
  int name parameters {                                       \
    if (isOursOpen(descriptor) && fails(needsRoom)) return -1; \
    return NEXT(name) arguments;                              \
  }
ON_DESCRIPTOR(fsync, 0, (int descriptor), (descriptor))
ON_DESCRIPTOR(fdatasync, 0, (int descriptor), (descriptor))
ON_DESCRIPTOR(ftruncate, 1, (int descriptor, off_t size), (descriptor, size))
ON_DESCRIPTOR(ftruncate64, 1, (int descriptor, off64_t size), (descriptor, size))

#define ON_PATH(name, needsRoom, parameters, arguments, path) \
  int name parameters {                                       \
    if (isOurs(path) && fails(needsRoom)) return -1;          \
    return NEXT(name) arguments;                              \
  }
ON_PATH(rename, 0, (const char *from, const char *to), (from, to), to)
ON_PATH(renameat, 0, (int f, const char *from, int t, const char *to), (f, from, t, to), to)
ON_PATH(renameat2, 0, (int f, const char *from, int t, const char *to, unsigned flags), (f, from, t, to, flags), to)
ON_PATH(link, 1, (const char *from, const char *to), (from, to), to)
ON_PATH(symlink, 1, (const char *from, const char *to), (from, to), to)
ON_PATH(mkdir, 1, (const char *path, mode_t mode), (path, mode), path)
ON_PATH(mkdirat, 1, (int at, const char *path, mode_t mode), (at, path, mode), path)

#define OPEN(name)                                                                      \
  int name(const char *path, int flags, ...) {                                          \
    va_list rest;                                                                       \
    va_start(rest, flags);                                                              \
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;           \
    va_end(rest);                                                                       \
    if ((flags & O_CREAT) && isOurs(path) && access(path, F_OK) && fails(1)) return -1; \
    return NEXT(name)(path, flags, mode);                                               \
  }
OPEN(open)
OPEN(open64)

#define OPEN_AT(name)                                                                   \
  int name(int at, const char *path, int flags, ...) {                                  \
    va_list rest;                                                                       \
    va_start(rest, flags);                                                              \
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;           \
    va_end(rest);                                                                       \
    if ((flags & O_CREAT) && isOurs(path) && access(path, F_OK) && fails(1)) return -1; \
    return NEXT(name)(at, path, flags, mode);                                           \
  }
OPEN_AT(openat)
OPEN_AT(openat64)
