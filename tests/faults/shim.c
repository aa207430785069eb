/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LD_PRELOAD: calls of the C library that fail, dawdle, stop the process or kill it, at the n-th of
 * a kind from the moment the test says so. What is to happen stands in a file that the test has
 * mapped too (THAW_FAULTS names it), and may be changed while the program runs; without it the shim
 * does nothing. A wrapped call that is no fault is passed on as it came.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Kinds of calls; faults.py has the same. */
enum {
	CALL_OPEN = 1 << 0,   /* of a file, whatever for */
	CALL_READ = 1 << 1,   /* read, pread */
	CALL_WRITE = 1 << 2,  /* write, pwrite */
	CALL_SYNC = 1 << 3,   /* fsync, fdatasync, syncfs */
	CALL_SIZE = 1 << 4,   /* ftruncate, fallocate */
	CALL_NAME = 1 << 5,   /* renames, links, directories made, names removed */
	CALL_SOCKET = 1 << 6, /* a new socket, pair, epoll set */
	CALL_ACCEPT = 1 << 7,
	CALL_MESSAGE = 1 << 8, /* sendmsg, recvmsg */
	CALL_THREAD = 1 << 9,
	CALL_MEMORY = 1 << 10, /* malloc, calloc, realloc */
};

struct orders {
	_Atomic uint32_t calls;   /* kinds that count; 0: nothing happens */
	_Atomic uint32_t first;   /* the fault is at this one, from 1 (0: only count) */
	_Atomic uint32_t times;   /* and at so many that follow, this one too */
	_Atomic int32_t code;     /* the errno that it fails with; 0: it does not fail */
	_Atomic int32_t signal;   /* to the process, before the call */
	_Atomic uint32_t wait_ms; /* before the call */
	_Atomic uint32_t seen, hit;
	_Atomic int64_t shift_s; /* the wall clock is so far ahead */
	char path[64];           /* only of files in whose path this is; "": all */
};

static struct orders *orders;
static _Thread_local int inside;

__attribute__((constructor)) static void shim_begin(void)
{
	const char *path = getenv("THAW_FAULTS");
	int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;

	if (fd < 0)
		return;
	void *map = mmap(NULL, sizeof(*orders), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map != MAP_FAILED)
		orders = map;
}

static int path_matches(int fd, const char *path)
{
	char link[32], found[256] = "";

	if (!orders->path[0])
		return 1;
	if (path)
		return strstr(path, orders->path) != NULL;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = syscall(SYS_readlink, link, found, sizeof(found) - 1);
	return n > 0 && strstr(found, orders->path) != NULL;
}

/* Whether the call is to fail, with errno set. */
static int fault(uint32_t call, int fd, const char *path)
{
	if (!orders || inside || !(atomic_load(&orders->calls) & call))
		return 0;
	inside = 1;
	int matches = path_matches(fd, path);
	inside = 0;
	if (!matches)
		return 0;
	uint32_t number = atomic_fetch_add(&orders->seen, 1) + 1,
		 first = atomic_load(&orders->first);
	if (!first || number < first || number - first >= atomic_load(&orders->times))
		return 0;
	atomic_fetch_add(&orders->hit, 1);
	int32_t sent = atomic_load(&orders->signal), code = atomic_load(&orders->code);
	uint32_t wait_ms = atomic_load(&orders->wait_ms);
	if (sent)
		syscall(SYS_kill, (int)syscall(SYS_getpid), sent);
	if (wait_ms) {
		const struct timespec time = {.tv_sec = wait_ms / 1000,
					      .tv_nsec = (long)(wait_ms % 1000) * 1000000};
		nanosleep(&time, NULL);
	}
	errno = code;
	return code != 0;
}

/* The function that the program would have had. */
#define NEXT(name)                                                                                 \
	static __typeof__(name) *next;                                                             \
	if (!next)                                                                                 \
	next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

#define WRAP(call, fd, path, type, name, parameters, arguments)                                    \
	__attribute__((visibility("default"))) type name parameters                                \
	{                                                                                          \
		NEXT(name);                                                                        \
		if (fault(call, fd, path))                                                         \
			return (type)-1;                                                           \
		return next arguments;                                                             \
	}

WRAP(CALL_READ, fd, NULL, ssize_t, read, (int fd, void *data, size_t size), (fd, data, size))
WRAP(CALL_READ, fd, NULL, ssize_t, pread, (int fd, void *data, size_t size, off_t at),
     (fd, data, size, at))
WRAP(CALL_READ, fd, NULL, ssize_t, pread64, (int fd, void *data, size_t size, off64_t at),
     (fd, data, size, at))
WRAP(CALL_WRITE, fd, NULL, ssize_t, write, (int fd, const void *data, size_t size),
     (fd, data, size))
WRAP(CALL_WRITE, fd, NULL, ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at),
     (fd, data, size, at))
WRAP(CALL_WRITE, fd, NULL, ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at),
     (fd, data, size, at))
WRAP(CALL_SYNC, fd, NULL, int, fsync, (int fd), (fd))
WRAP(CALL_SYNC, fd, NULL, int, fdatasync, (int fd), (fd))
WRAP(CALL_SYNC, fd, NULL, int, syncfs, (int fd), (fd))
WRAP(CALL_SIZE, fd, NULL, int, ftruncate, (int fd, off_t size), (fd, size))
WRAP(CALL_SIZE, fd, NULL, int, ftruncate64, (int fd, off64_t size), (fd, size))
WRAP(CALL_SIZE, fd, NULL, int, fallocate, (int fd, int mode, off_t at, off_t size),
     (fd, mode, at, size))
WRAP(CALL_SIZE, fd, NULL, int, fallocate64, (int fd, int mode, off64_t at, off64_t size),
     (fd, mode, at, size))
WRAP(CALL_NAME, from, a, int, renameat, (int from, const char *a, int to, const char *b),
     (from, a, to, b))
WRAP(CALL_NAME, from, a, int, renameat2,
     (int from, const char *a, int to, const char *b, unsigned int flags), (from, a, to, b, flags))
WRAP(CALL_NAME, from, a, int, linkat, (int from, const char *a, int to, const char *b, int flags),
     (from, a, to, b, flags))
WRAP(CALL_NAME, dir, path, int, mkdirat, (int dir, const char *path, mode_t mode),
     (dir, path, mode))
WRAP(CALL_NAME, dir, path, int, unlinkat, (int dir, const char *path, int flags),
     (dir, path, flags))
WRAP(CALL_SOCKET, -1, "", int, socket, (int family, int type, int protocol),
     (family, type, protocol))
WRAP(CALL_SOCKET, -1, "", int, socketpair, (int family, int type, int protocol, int pair[2]),
     (family, type, protocol, pair))
WRAP(CALL_SOCKET, -1, "", int, epoll_create1, (int flags), (flags))
WRAP(CALL_ACCEPT, -1, "", int, accept,
     (int fd, struct sockaddr *restrict address, socklen_t *restrict size), (fd, address, size))
WRAP(CALL_ACCEPT, -1, "", int, accept4,
     (int fd, struct sockaddr *restrict address, socklen_t *restrict size, int flags),
     (fd, address, size, flags))
WRAP(CALL_MESSAGE, -1, "", ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags),
     (fd, message, flags))
WRAP(CALL_MESSAGE, -1, "", ssize_t, recvmsg, (int fd, struct msghdr *message, int flags),
     (fd, message, flags))

#define WRAP_OPEN(name, parameters, arguments, last)                                               \
	__attribute__((visibility("default"))) int name parameters                                 \
	{                                                                                          \
		va_list ap;                                                                        \
		NEXT(name);                                                                        \
		va_start(ap, last);                                                                \
		mode_t mode = last & (O_CREAT | O_TMPFILE) ? (mode_t)va_arg(ap, int) : 0;          \
		va_end(ap);                                                                        \
		return fault(CALL_OPEN, -1, path) ? -1 : next arguments;                           \
	}

WRAP_OPEN(open, (const char *path, int flags, ...), (path, flags, mode), flags)
WRAP_OPEN(open64, (const char *path, int flags, ...), (path, flags, mode), flags)
WRAP_OPEN(openat, (int dir, const char *path, int flags, ...), (dir, path, flags, mode), flags)
WRAP_OPEN(openat64, (int dir, const char *path, int flags, ...), (dir, path, flags, mode), flags)

__attribute__((visibility("default"))) int pthread_create(pthread_t *restrict thread,
							  const pthread_attr_t *restrict attributes,
							  void *(*run)(void *),
							  void *restrict context)
{
	NEXT(pthread_create);
	if (fault(CALL_THREAD, -1, ""))
		return errno;
	return next(thread, attributes, run, context);
}

/* dlsym itself allocates: glibc's own names serve as the next. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);

/* libarchive ends its process when it has no memory (archive_util.c, __archive_errx), or says that
 * the archive is damaged. */
static int memory_fault(void *caller)
{
	Dl_info info;

	if (!orders || inside || !(atomic_load(&orders->calls) & CALL_MEMORY))
		return 0;
	inside = 1;
	int spared = dladdr(caller, &info) && info.dli_fname &&
		     (strstr(info.dli_fname, "libarchive") || strstr(info.dli_fname, "libz."));
	inside = 0;
	return !spared && fault(CALL_MEMORY, -1, "");
}

__attribute__((visibility("default"))) void *malloc(size_t size)
{
	return memory_fault(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

__attribute__((visibility("default"))) void *calloc(size_t count, size_t size)
{
	return memory_fault(__builtin_return_address(0)) ? NULL : __libc_calloc(count, size);
}

__attribute__((visibility("default"))) void *realloc(void *old, size_t size)
{
	return memory_fault(__builtin_return_address(0)) ? NULL : __libc_realloc(old, size);
}

__attribute__((visibility("default"))) int clock_gettime(clockid_t clock, struct timespec *now)
{
	NEXT(clock_gettime);
	int rc = next(clock, now);
	if (rc == 0 && orders && clock == CLOCK_REALTIME)
		now->tv_sec += (time_t)atomic_load(&orders->shift_s);
	return rc;
}

__attribute__((visibility("default"))) time_t time(time_t *out)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (out)
		*out = now.tv_sec;
	return now.tv_sec;
}
