/* Records what a program does to the files below $POWER_ROOT, in order, with the bytes it writes.
 *
 * Preloaded into the real program: what SQLite and Python ask of the C library is what is seen. One
 * record per call that succeeded: a letter, then lengths and bytes (see replay.py). Written under one
 * lock, so the order is that in which the calls returned.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define FDS 4096
static char *names[FDS]; /* of open files below the root, relative to it */
static char root[PATH_MAX];
static size_t root_length;
static int record_fd = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static ssize_t (*real_write)(int, const void *, size_t);

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void start(void) {
  const char *below = getenv("POWER_ROOT"), *record = getenv("POWER_RECORD");
  real_write = REAL(write);
  if (!below || !record || !realpath(below, root)) return;
  root_length = strlen(root);
  record_fd = REAL(open)(record, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static const char *inside(int folder, const char *path, char *full) {
  if (record_fd < 0 || !path) return NULL;
  if (path[0] == '/') snprintf(full, PATH_MAX, "%s", path);
  else if (folder == AT_FDCWD) {
    char here[PATH_MAX];
    if (!getcwd(here, sizeof here)) return NULL;
    snprintf(full, PATH_MAX, "%s/%s", here, path);
  } else if (folder >= 0 && folder < FDS && names[folder])
    snprintf(full, PATH_MAX, "%s/%s/%s", root, names[folder], path);
  else return NULL;
  if (strncmp(full, root, root_length) || (full[root_length] && full[root_length] != '/')) return NULL;
  const char *rest = full + root_length;
  while (*rest == '/') rest++;
  return rest;
}

static void put(char kind, const char *first, const char *second, int64_t offset, const void *data, uint32_t size) {
  uint32_t one = strlen(first), two = second ? strlen(second) : 0;
  char head[1 + 4 + 4 + 8 + 4];
  head[0] = kind;
  memcpy(head + 1, &one, 4);
  memcpy(head + 5, &two, 4);
  memcpy(head + 9, &offset, 8);
  memcpy(head + 17, &size, 4);
  struct iovec parts[4] = {{head, sizeof head}, {(void *)first, one}, {(void *)second, two}, {(void *)data, size}};
  int saved = errno;
  ssize_t total = sizeof head + one + two + size;
  if (REAL(writev)(record_fd, parts, 4) != total) abort();
  errno = saved;
}

#define LOCKED(...) do { pthread_mutex_lock(&lock); __VA_ARGS__; pthread_mutex_unlock(&lock); } while (0)

static int opened(int fd, int folder, const char *path, int flags, int was_there) {
  char full[PATH_MAX];
  const char *name = inside(folder, path, full);
  if (fd < 0 || fd >= FDS) return fd;
  LOCKED(
    free(names[fd]);
    names[fd] = name ? strdup(name) : NULL;
    if (name && (flags & O_CREAT) && !was_there) put('C', name, NULL, 0, NULL, 0);
    if (name && (flags & O_TRUNC) && was_there) put('T', name, NULL, 0, NULL, 0));
  return fd;
}

static int is_there(int folder, const char *path) {
  struct stat found;
  int saved = errno, there = fstatat(folder, path, &found, 0) == 0;
  errno = saved;
  return there;
}

#define OPEN(name)                                                                                  \
  int name(const char *path, int flags, ...) {                                                      \
    va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more);          \
    int there = is_there(AT_FDCWD, path);                                                           \
    return opened(REAL(name)(path, flags, mode), AT_FDCWD, path, flags, there);                     \
  }
OPEN(open)
OPEN(open64)
#define OPENAT(name)                                                                                \
  int name(int folder, const char *path, int flags, ...) {                                          \
    va_list more; va_start(more, flags); mode_t mode = va_arg(more, mode_t); va_end(more);          \
    int there = is_there(folder, path);                                                             \
    return opened(REAL(name)(folder, path, flags, mode), folder, path, flags, there);               \
  }
OPENAT(openat)
OPENAT(openat64)

int close(int fd) {
  if (fd >= 0 && fd < FDS && names[fd]) LOCKED(free(names[fd]); names[fd] = NULL);
  return REAL(close)(fd);
}

static int is_ours(int fd) { return record_fd >= 0 && fd >= 0 && fd < FDS && names[fd] && fd != record_fd; }

ssize_t write(int fd, const void *data, size_t size) {
  if (!is_ours(fd)) return real_write(fd, data, size);
  pthread_mutex_lock(&lock);
  off_t at = fcntl(fd, F_GETFL) & O_APPEND ? lseek(fd, 0, SEEK_END) : lseek(fd, 0, SEEK_CUR);
  ssize_t done = real_write(fd, data, size);
  if (done > 0) put('W', names[fd], NULL, at, data, done);
  pthread_mutex_unlock(&lock);
  return done;
}

#define PWRITE(name, type)                                                                          \
  ssize_t name(int fd, const void *data, size_t size, type at) {                                    \
    if (!is_ours(fd)) return REAL(name)(fd, data, size, at);                                        \
    pthread_mutex_lock(&lock);                                                                      \
    ssize_t done = REAL(name)(fd, data, size, at);                                                  \
    if (done > 0) put('W', names[fd], NULL, at, data, done);                                        \
    pthread_mutex_unlock(&lock);                                                                    \
    return done;                                                                                    \
  }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

/* Whole copies inside the kernel: refused, so that the caller falls back to read and write. */
ssize_t sendfile(int to, int from, off_t *at, size_t size) {
  ssize_t (*real)(int, int, off_t *, size_t) = dlsym(RTLD_NEXT, "sendfile");
  if (is_ours(to)) { errno = EINVAL; return -1; }
  return real(to, from, at, size);
}
ssize_t copy_file_range(int from, off64_t *a, int to, off64_t *b, size_t size, unsigned flags) {
  if (is_ours(to)) { errno = EXDEV; return -1; }
  return REAL(copy_file_range)(from, a, to, b, size, flags);
}

#define TRUNCATE(name, type)                                                                        \
  int name(int fd, type size) {                                                                     \
    int done = REAL(name)(fd, size);                                                                \
    if (done == 0 && is_ours(fd)) LOCKED(put('T', names[fd], NULL, size, NULL, 0));                  \
    return done;                                                                                    \
  }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define SYNC(name)                                                                                  \
  int name(int fd) {                                                                                \
    int done = REAL(name)(fd);                                                                      \
    if (done == 0 && is_ours(fd)) LOCKED(put('S', names[fd], NULL, 0, NULL, 0));                     \
    return done;                                                                                    \
  }
SYNC(fsync)
SYNC(fdatasync)

/* The call and its record are one step: else another thread could use a new name before it is known. */
static int moved(int done, char kind, int one, const char *from, int two, const char *to) {
  char a[PATH_MAX], b[PATH_MAX];
  const char *first = inside(one, from, a), *second = inside(two, to, b);
  if (done == 0 && first && second) put(kind, first, second, 0, NULL, 0);
  return done;
}
static int named(int done, char kind, int folder, const char *path) {
  char full[PATH_MAX];
  const char *name = inside(folder, path, full);
  if (done == 0 && name) put(kind, name, NULL, 0, NULL, 0);
  return done;
}
#define STEP(call) int done; LOCKED(done = call); return done
int rename(const char *from, const char *to) { STEP(moved(REAL(rename)(from, to), 'R', AT_FDCWD, from, AT_FDCWD, to)); }
int renameat(int a, const char *from, int b, const char *to) { STEP(moved(REAL(renameat)(a, from, b, to), 'R', a, from, b, to)); }
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) { STEP(moved(REAL(renameat2)(a, from, b, to, flags), 'R', a, from, b, to)); }
int link(const char *from, const char *to) { STEP(moved(REAL(link)(from, to), 'L', AT_FDCWD, from, AT_FDCWD, to)); }
int linkat(int a, const char *from, int b, const char *to, int flags) { STEP(moved(REAL(linkat)(a, from, b, to, flags), 'L', a, from, b, to)); }
int unlink(const char *path) { STEP(named(REAL(unlink)(path), 'U', AT_FDCWD, path)); }
int unlinkat(int folder, const char *path, int flags) { STEP(named(REAL(unlinkat)(folder, path, flags), flags & AT_REMOVEDIR ? 'X' : 'U', folder, path)); }
int mkdir(const char *path, mode_t mode) { STEP(named(REAL(mkdir)(path, mode), 'D', AT_FDCWD, path)); }
int mkdirat(int folder, const char *path, mode_t mode) { STEP(named(REAL(mkdirat)(folder, path, mode), 'D', folder, path)); }
int rmdir(const char *path) { STEP(named(REAL(rmdir)(path), 'X', AT_FDCWD, path)); }
