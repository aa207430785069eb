/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A runtime that checks floating point across everything that happens to a guest. Two processes
 * compute the same blocks over and over, each under a rounding mode of its own (in the x87 control
 * word and in MXCSR), with live values in the x87 stack and in SSE registers, and compare every
 * block bit for bit with what was computed once at the start. With every block they copy some
 * memory to pages that are not there yet: memcpy holds the first bytes in the widest registers it
 * finds while the kernel brings in one page after the other. They go on while the guest is frozen,
 * saved, restored and invoked. An event waits a while and is answered with how many blocks were
 * done before and after, and how many were wrong. The handler's name is the number of rounds of a
 * block: enough for some milliseconds, so that a snapshot falls into the midst of one.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WORKERS 2
#define COPY    65536

struct block {
	double sse2[4];
	float sse[4];
	uint8_t x87[4][10];
};

struct worker {
	_Atomic uint64_t blocks;
	_Atomic uint64_t errors;
	_Atomic uint64_t words; /* control words that were not the worker's own */
};

struct shared {
	struct worker worker[WORKERS];
};

static uint16_t x87_control(void)
{
	uint16_t word;

	__asm__ volatile("fnstcw %0" : "=m"(word));
	return word;
}

static uint32_t sse_control(void)
{
	uint32_t word;

	__asm__ volatile("stmxcsr %0" : "=m"(word));
	return word;
}

/* Rounding up or down, with all exceptions masked. */
static void set_rounding(unsigned int mode)
{
	uint16_t x87 = 0x037f | (uint16_t)(mode << 10);
	uint32_t sse = 0x1f80 | mode << 13;

	__asm__ volatile("fldcw %0" : : "m"(x87));
	__asm__ volatile("ldmxcsr %0" : : "m"(sse));
}

/* Every value depends on all rounds before it, and chaotically so: a bit that is lost once is in
 * all of them. The loop has no calls: its twelve values stay in registers. */
static __attribute__((noinline)) void compute(struct block *out, int rounds)
{
	long double a = 0.1L, b = 0.3L, c = 0.7L, d = 0.9L;
	double p = 0.11, q = 0.31, r = 0.71, s = 0.91;
	float t = 0.12f, u = 0.32f, v = 0.72f, w = 0.92f;

	for (int i = 0; i < rounds; i++) {
		a = 3.9L * a * (1.0L - a);
		p = 3.9 * p * (1.0 - p);
		t = 3.9f * t * (1.0f - t);
		b = 3.8L * b * (1.0L - b);
		q = 3.8 * q * (1.0 - q);
		u = 3.8f * u * (1.0f - u);
		c = 3.7L * c * (1.0L - c);
		r = 3.7 * r * (1.0 - r);
		v = 3.7f * v * (1.0f - v);
		d = (d + a * c) / (1.0L + b);
		s = (s + p * r) / (1.0 + q);
		w = (w + t * v) / (1.0f + u);
	}
	memset(out, 0, sizeof(*out));
	out->sse2[0] = p;
	out->sse2[1] = q;
	out->sse2[2] = r;
	out->sse2[3] = s;
	out->sse[0] = t;
	out->sse[1] = u;
	out->sse[2] = v;
	out->sse[3] = w;
	memcpy(out->x87[0], &a, 10);
	memcpy(out->x87[1], &b, 10);
	memcpy(out->x87[2], &c, 10);
	memcpy(out->x87[3], &d, 10);
}

/* Every worker's and every block's bytes are others. */
static int copies_well(unsigned int mode, uint64_t block)
{
	static uint64_t source[COPY / sizeof(uint64_t)];

	for (size_t i = 0; i < COPY / sizeof(uint64_t); i++)
		source[i] = (uint64_t)mode << 60 | block << 32 | i;
	uint8_t *pages =
		mmap(NULL, COPY + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED)
		_exit(3);
	memcpy(pages + 7 * block % 4096, source, COPY);
	int well = memcmp(pages + 7 * block % 4096, source, COPY) == 0;
	munmap(pages, COPY + 4096);
	return well;
}

static _Noreturn void work(struct worker *worker, unsigned int mode, int rounds)
{
	struct block expected, found;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	set_rounding(mode);
	const uint16_t x87 = x87_control();
	const uint32_t sse = sse_control();
	compute(&expected, rounds);
	for (;;) {
		compute(&found, rounds);
		if (memcmp(&expected, &found, sizeof(found)) != 0 ||
		    !copies_well(mode, worker->blocks))
			worker->errors++;
		/* The low six bits of MXCSR are flags, which computing sets. */
		if (x87_control() != x87 || (sse_control() & ~0x3fu) != (sse & ~0x3fu))
			worker->words++;
		worker->blocks++;
	}
}

/* --- the Runtime API, as little of it as is needed --- */

static int api_connect(const char *address)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	char host[64];
	unsigned int port;

	if (sscanf(address, "%63[^:]:%u", host, &port) != 2 || inet_aton(host, &to.sin_addr) == 0)
		return -1;
	to.sin_port = htons((uint16_t)port);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		return -1;
	return fd;
}

/* One request on a connection of its own; the answer's bytes, to its end or to `size`. */
static int api_call(const char *address, const char *request, char *answer, size_t size)
{
	size_t used = 0, length = strlen(request);
	int fd = api_connect(address);

	if (fd < 0)
		return -1;
	if (write(fd, request, length) != (ssize_t)length) {
		close(fd);
		return -1;
	}
	while (used < size - 1) {
		ssize_t n = read(fd, answer + used, size - 1 - used);
		if (n <= 0)
			break;
		used += (size_t)n;
		answer[used] = 0;
		/* Headers are all we want: events are not looked at. */
		if (strstr(answer, "\r\n\r\n"))
			break;
	}
	answer[used] = 0;
	close(fd);
	return used ? 0 : -1;
}

static int find_request_id(const char *answer, char id[64])
{
	const char *at = strcasestr(answer, "\r\nLambda-Runtime-Aws-Request-Id:");

	return at && sscanf(strchr(at, ':') + 1, " %63[0-9a-fA-F-]", id) == 1 ? 0 : -1;
}

static void nap(long ms)
{
	struct timespec left = {ms / 1000, ms % 1000 * 1000000L};

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

static int answer_event(const char *address, struct shared *shared, const char *id)
{
	char body[512], request[1024], answer[2048];
	uint64_t before[WORKERS];
	int used = 0;

	for (int i = 0; i < WORKERS; i++)
		before[i] = shared->worker[i].blocks;
	/* Until each has done some blocks more, however slow it goes: the function's timeout bounds
	 * it. */
	for (int i = 0; i < WORKERS; i++) {
		while (shared->worker[i].blocks < before[i] + 3)
			nap(20);
	}
	for (int i = 0; i < WORKERS; i++)
		used += snprintf(
			body + used, sizeof(body) - (size_t)used,
			"%s{\"before\":%llu,\"after\":%llu,\"errors\":%llu,\"words\":%llu}",
			i ? "," : "[", (unsigned long long)before[i],
			(unsigned long long)shared->worker[i].blocks,
			(unsigned long long)shared->worker[i].errors,
			(unsigned long long)shared->worker[i].words);
	used += snprintf(body + used, sizeof(body) - (size_t)used, "]");
	snprintf(request, sizeof(request),
		 "POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\nHost: %s\r\n"
		 "Content-Length: %d\r\nConnection: close\r\n\r\n%s",
		 id, address, used, body);
	return api_call(address, request, answer, sizeof(answer));
}

int main(void)
{
	const char *address = getenv("AWS_LAMBDA_RUNTIME_API"), *rounds = getenv("_HANDLER");
	char request[256], answer[8192], id[64];
	/* As the SSE control register has it: 1 is down, 2 is up. */
	static const unsigned int modes[WORKERS] = {1, 2};

	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED || !address || !rounds || atoi(rounds) <= 0)
		return 1;
	for (int i = 0; i < WORKERS; i++) {
		if (fork() == 0)
			work(&shared->worker[i], modes[i], atoi(rounds));
	}
	for (int i = 0; i < WORKERS; i++) {
		while (shared->worker[i].blocks < 2)
			nap(5);
	}
	snprintf(request, sizeof(request),
		 "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: %s\r\n\r\n", address);
	for (;;) {
		if (api_call(address, request, answer, sizeof(answer)) < 0 ||
		    find_request_id(answer, id) < 0 || answer_event(address, shared, id) < 0)
			return 2;
	}
}
