/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the hostile guest once, and tells what became of thaw-vmm:
 *
 *	harness VMM GUEST SCENARIO SECONDS
 *
 * Lines of "key value" on standard output; the guest's console, line by line, as "console". What a
 * line means, and which values will do, is test_hostile.py's affair. Exit status: 0 when thaw-vmm
 * could be started, whatever came then.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/timeouts.h"
#include "host/vmm_client.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"

#define MEMORY_MIB   64u
#define READ_ONLY    (1ull << 30) /* the first drive; as the guest has it */
#define WRITABLE     (4ull << 20)
#define MAPPED       (2ull << 20)
#define PATTERN_SIZE (1u << 20)
#define CONSOLE_MAX  (256u << 10)
#define KEPT         16u /* connections of the guest that we neither read nor close */
#define REQUEST_MS   60000u
#define SETTLE_MS    100
#define WATCH_MS     250

enum { MARK_DONE = 0x20, MARK_WELL, MARK_UNWELL };

static uint8_t mac[] = {2, 0, 0, 0, 0, 2};

struct run {
	struct thaw_vmm vmm;
	int read_only, writable, mapped;
	int console, listener, forward;
	int client;    /* a connection of the host's to a port that nobody serves */
	int wire, tap; /* the network device's: our end, and its */
	bool flooding; /* until the thread is to end */
	uint64_t frames, spoofed;
	int kept[KEPT];
	unsigned int kept_count;
	char text[CONSOLE_MAX];
	size_t text_size;
	uint64_t slowest_ns;
	char stopped[512];
};

/* Nothing that a guest writes may make a line of ours. */
static void console_print(struct run *r)
{
	r->text[r->text_size] = 0;
	for (char *line = r->text, *end; *line; line = end) {
		end = line + strcspn(line, "\n");
		if (*end)
			*end++ = 0;
		thaw_text_printable(line);
		printf("console %.200s\n", line);
	}
}

/* --- files --- */

static int drive_make(const char *name, uint64_t size, struct thaw_error *err)
{
	cleanup_close int fd = memfd_create(name, MFD_CLOEXEC);
	char pattern[4096];

	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = "Testdisk"[i % 8];
	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		return thaw_error_errno(err, errno, "making a drive");
	for (unsigned int at = 0; at < PATTERN_SIZE; at += sizeof(pattern)) {
		if (pwrite(fd, pattern, sizeof(pattern), at) != (ssize_t)sizeof(pattern))
			return thaw_error_errno(err, errno, "filling a drive");
	}
	return thaw_fd_take(&fd);
}

static bool drive_unchanged(int fd, uint64_t size)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != size ||
	    st.st_blocks != PATTERN_SIZE / 512)
		return false;
	for (unsigned int at = 0; at < PATTERN_SIZE; at += 8) {
		char word[8];
		if (pread(fd, word, 8, at) != 8 || memcmp(word, "Testdisk", 8) != 0)
			return false;
	}
	return true;
}

/* --- what the process takes --- */

static unsigned int descriptors(pid_t pid)
{
	char path[64];
	unsigned int count = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	DIR *folder = opendir(path);
	while (folder && readdir(folder))
		count++;
	if (folder)
		closedir(folder);
	return count;
}

/* Processor time so far, in ms: of the I/O thread alone, which is the first, or of all. */
static uint64_t cpu_ms(pid_t pid, bool all)
{
	char path[64], text[1024];
	unsigned long user, kernel;

	snprintf(path, sizeof(path), all ? "/proc/%d/stat" : "/proc/%d/task/%d/stat", pid, pid);
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return 0;
	text[n] = 0;
	const char *fields = strrchr(text, ')');
	if (!fields || sscanf(fields, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
			      &user, &kernel) != 2)
		return 0;
	return (user + kernel) * 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
}

/* Resident KiB of thaw-vmm less the guest's memory and drives. */
static uint64_t own_kib(pid_t pid, const Thaw__Vmm__Statistics *statistics)
{
	char path[64], line[512];
	uint64_t sum = 0, start = 0, end, kib;
	bool counts = true;

	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	FILE *file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2) {
			counts = true;
			for (size_t i = 0; i < statistics->n_mappings; i++) {
				const Thaw__Vmm__Mapping *m = statistics->mappings[i];
				if (start >= m->address && start < m->address + m->size)
					counts = false;
			}
		} else if (counts && sscanf(line, "Rss: %lu kB", &kib) == 1) {
			sum += kib;
		}
	}
	if (file)
		fclose(file);
	return sum;
}

/* --- thaw-vmm --- */

/* A guest that stops is no reason not to ask further. */
static void note_stop(struct run *r)
{
	if (!r->vmm.stopped)
		return;
	snprintf(r->stopped, sizeof(r->stopped), "%s", r->vmm.stop_message);
	r->vmm.stopped = false;
}

static int ask(struct run *r, Thaw__Vmm__Request__BodyCase what, Thaw__Vmm__Reply__BodyCase want,
	       Thaw__Vmm__Reply **reply, struct thaw_error *err)
{
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__GetStatistics statistics = THAW__VMM__GET_STATISTICS__INIT;
	uint64_t began = thaw_monotonic_ns(), deadline = thaw_deadline(REQUEST_MS);
	uint32_t id;
	int rc;

	/* All of these have empty bodies: one stands for the others. */
	request.body_case = what;
	request.get_statistics = &statistics;
	rc = thaw_vmm_send(&r->vmm, &request, NULL, 0, &id, err);
	if (rc < 0)
		return rc;
	do {
		rc = thaw_vmm_receive(&r->vmm, id, want, deadline, reply, err);
		note_stop(r);
	} while (rc == -ECANCELED);
	uint64_t took = thaw_monotonic_ns() - began;
	if (took > r->slowest_ns)
		r->slowest_ns = took;
	return rc;
}

static int ask_statistics(struct run *r, Thaw__Vmm__Reply **reply, struct thaw_error *err)
{
	return ask(r, THAW__VMM__REQUEST__BODY_GET_STATISTICS, THAW__VMM__REPLY__BODY_STATISTICS,
		   reply, err);
}

static int create(struct run *r, int kvm, int console, int listener, int forward,
		  struct thaw_error *err)
{
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__Create body = THAW__VMM__CREATE__INIT;
	Thaw__Vmm__Drive drive[3] = {THAW__VMM__DRIVE__INIT, THAW__VMM__DRIVE__INIT,
				     THAW__VMM__DRIVE__INIT};
	Thaw__Vmm__Drive *drives[] = {&drive[0], &drive[1], &drive[2]};
	/* The read-only drive's descriptor could be written to: it is thaw-vmm that must not. */
	const int fds[] = {kvm,     r->read_only, r->writable, r->mapped,
			   console, listener,     forward,     r->tap};
	Thaw__Vmm__Network network = THAW__VMM__NETWORK__INIT;
	Thaw__Vmm__RateLimit limit = THAW__VMM__RATE_LIMIT__INIT;
	Thaw__Vmm__TokenBucket bytes = THAW__VMM__TOKEN_BUCKET__INIT;
	Thaw__Vmm__TokenBucket packets = THAW__VMM__TOKEN_BUCKET__INIT;

	drive[0].kind = drive[1].kind = THAW__VMM__DRIVE__KIND__BLOCK;
	drive[1].writable = true;
	drive[2].kind = THAW__VMM__DRIVE__KIND__PMEM;
	for (unsigned int i = 0; i < 3; i++)
		drive[i].fd = 2 + i;
	/* Limits that a flood runs into, and nothing else does. */
	bytes.size = 1 << 20;
	bytes.per_second = 32 << 20;
	packets.size = 1000;
	packets.per_second = 20000;
	limit.bytes = &bytes;
	limit.operations = &packets;
	network.tap_fd = 8;
	network.mac.data = mac;
	network.mac.len = sizeof(mac);
	network.to_guest = network.from_guest = &limit;
	body.network = &network;
	body.kvm_fd = 1;
	body.n_drives = 3;
	body.drives = drives;
	body.serial_fd = 5;
	body.vsock_listener_fd = 6;
	body.vsock_forward_fd = 7;
	body.vcpus = 2;
	body.memory_mib = MEMORY_MIB;
	body.vsock_cid = 3;
	body.rng = true;
	request.body_case = THAW__VMM__REQUEST__BODY_CREATE;
	request.create = &body;
	return thaw_vmm_call(&r->vmm, &request, fds, 8, THAW__VMM__REPLY__BODY_CREATE, REQUEST_MS,
			     NULL, err);
}

static int attach(struct run *r, struct thaw_error *err)
{
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__VsockAttach body = THAW__VMM__VSOCK_ATTACH__INIT;
	static const char greeting[] = "CONNECT 1024\nhello";
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return thaw_error_errno(err, errno, "making a connection");
	cleanup_close int theirs = pair[1];
	r->client = pair[0];
	if (write(r->client, greeting, sizeof(greeting) - 1) < 0)
		return thaw_error_errno(err, errno, "greeting");
	body.fd = 1;
	request.body_case = THAW__VMM__REQUEST__BODY_VSOCK_ATTACH;
	request.vsock_attach = &body;
	return thaw_vmm_call(&r->vmm, &request, &theirs, 1, THAW__VMM__REPLY__BODY_DONE, REQUEST_MS,
			     NULL, err);
}

static int boot(struct run *r, const char *guest, const char *scenario, struct thaw_error *err)
{
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__Boot body = THAW__VMM__BOOT__INIT;
	cleanup_close int kernel = open(guest, O_RDONLY | O_CLOEXEC);
	char line[128];

	if (kernel < 0)
		return thaw_error_errno(err, errno, "%s", guest);
	snprintf(line, sizeof(line), "scenario=%s", scenario);
	body.kernel_fd = 1;
	body.command_line = line;
	request.body_case = THAW__VMM__REQUEST__BODY_BOOT;
	request.boot = &body;
	return thaw_vmm_call(&r->vmm, &request, &kernel, 1, THAW__VMM__REPLY__BODY_DONE, REQUEST_MS,
			     NULL, err);
}

static int listener_make(struct thaw_error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* Bound to a name that the kernel chooses (unix(7), autobind). */
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)) < 0 ||
	    listen(fd, 16) < 0)
		return thaw_error_errno(err, errno, "making a listener");
	return thaw_fd_take(&fd);
}

static int start(struct run *r, const char *vmm, struct thaw_error *err)
{
	int console[2], forward[2], wire[2];
	int rc = r->read_only = drive_make("read-only", READ_ONLY, err);

	if (rc >= 0)
		rc = r->writable = drive_make("writable", WRITABLE, err);
	if (rc >= 0)
		rc = r->mapped = drive_make("mapped", MAPPED, err);
	if (rc >= 0)
		rc = r->listener = listener_make(err);
	if (rc < 0)
		return rc;
	if (pipe2(console, O_CLOEXEC) < 0)
		return thaw_error_errno(err, errno, "making a pipe");
	cleanup_close int console_in = console[1];
	r->console = console[0];
	if (fcntl(r->console, F_SETFL, O_NONBLOCK) < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, forward) < 0)
		return thaw_error_errno(err, errno, "making a socket");
	cleanup_close int forward_in = forward[1];
	r->forward = forward[0];
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, wire) < 0)
		return thaw_error_errno(err, errno, "making a wire");
	r->wire = wire[0];
	r->tap = wire[1];
	cleanup_close int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		return thaw_error_errno(err, errno, "/dev/kvm");
	rc = thaw_vmm_spawn(&r->vmm, vmm, err);
	if (rc == 0)
		rc = create(r, kvm, console_in, r->listener, forward_in, err);
	return rc == 0 ? attach(r, err) : rc;
}

/* --- while it runs --- */

static void console_read(struct run *r)
{
	for (;;) {
		size_t room = sizeof(r->text) - 1 - r->text_size;
		char waste[4096];
		ssize_t n = read(r->console, room ? r->text + r->text_size : waste,
				 room ? room : sizeof(waste));
		if (n <= 0)
			return;
		if (room)
			r->text_size += (size_t)n;
	}
}

/* As a hostile neighbour of the guest's: frames of all sizes, as many as it takes, all the time.
 * What the guest sends may come from nobody but itself. */
static void *flood(void *context)
{
	struct run *r = context;
	uint8_t frame[2048];

	for (unsigned int n = 0; __atomic_load_n(&r->flooding, __ATOMIC_RELAXED); n++) {
		ssize_t size;
		memset(frame, 0xff, sizeof(frame));
		for (unsigned int i = 0; i < 32; i++) {
			if (write(r->wire, frame, (n * 37 + i * 61) % sizeof(frame)) < 0)
				break;
		}
		while ((size = read(r->wire, frame, sizeof(frame))) > 0) {
			r->frames++;
			if (size < 14 || size > 1514 || memcmp(frame + 6, mac, sizeof(mac)) != 0)
				r->spoofed++;
		}
		usleep(1000);
	}
	return NULL;
}

/* Some connections are kept and never read, the others closed at once. */
static void forward_read(struct run *r)
{
	for (;;) {
		int fds[THAW_FDS_MAX];
		size_t count = 0;
		char text[32];
		if (thaw_recv_fds(r->forward, text, sizeof(text), fds, &count) <= 0)
			return;
		for (size_t i = 0; i < count; i++) {
			if (r->kept_count < KEPT)
				r->kept[r->kept_count++] = fds[i];
			else
				close(fds[i]);
		}
	}
}

static bool said(struct run *r, const char *word)
{
	r->text[r->text_size] = 0;
	/* The guest's own line, though a flood may have come before it. */
	return strstr(r->text, word) != NULL;
}

/* Stops it in the middle of whatever it does, and lets it go on. A guest that has come to its end
 * cannot be paused. */
static int pause_and_resume(struct run *r, struct thaw_error *err)
{
	int rc = ask(r, THAW__VMM__REQUEST__BODY_PAUSE, THAW__VMM__REPLY__BODY_DONE, NULL, err);

	if (rc == 0)
		rc = ask(r, THAW__VMM__REQUEST__BODY_RESUME, THAW__VMM__REPLY__BODY_DONE, NULL,
			 err);
	if (rc == -EINVAL) {
		struct thaw_error none;
		thaw_vmm_pump(&r->vmm, &none);
		note_stop(r);
		if (r->stopped[0])
			return 0;
	}
	return rc < 0 ? thaw_error_wrap(err, "pausing") : 0;
}

/* Until the guest is through, has stopped, or the time is up. Asks and pauses all the while. */
static int watch(struct run *r, unsigned int seconds, const char **outcome, struct thaw_error *err)
{
	uint64_t end = thaw_monotonic_ns() + seconds * UINT64_C(1000000000);

	*outcome = "timeout";
	while (thaw_monotonic_ns() < end) {
		Thaw__Vmm__Reply *reply = NULL;
		struct pollfd files[] = {{.fd = r->console, .events = POLLIN},
					 {.fd = r->forward, .events = POLLIN}};
		poll(files, 2, 20);
		console_read(r);
		forward_read(r);
		int rc = ask_statistics(r, &reply, err);
		if (rc == 0) {
			thaw__vmm__reply__free_unpacked(reply, NULL);
			rc = r->stopped[0] ? 0 : pause_and_resume(r, err);
		}
		if (rc < 0)
			return rc;
		if (r->stopped[0])
			*outcome = "stopped";
		else if (r->vmm.marked[MARK_UNWELL] || said(r, "unwell\n"))
			*outcome = "unwell";
		else if (r->vmm.marked[MARK_WELL] || said(r, "\nwell\n"))
			*outcome = "well";
		else if (said(r, "resting\n"))
			*outcome = "resting";
		if (strcmp(*outcome, "timeout") != 0)
			break;
	}
	return 0;
}

static int finish(struct run *r, unsigned int descriptors_before, uint64_t kib_before,
		  struct thaw_error *err)
{
	Thaw__Vmm__Reply *reply = NULL;
	int rc;

	/* What was under way at the end may end. */
	usleep(SETTLE_MS * 1000);
	uint64_t io = cpu_ms(r->vmm.pid, false), all = cpu_ms(r->vmm.pid, true);
	usleep(WATCH_MS * 1000);
	printf("io-thread-percent %lu\n", (cpu_ms(r->vmm.pid, false) - io) * 100 / WATCH_MS);
	printf("process-percent %lu\n", (cpu_ms(r->vmm.pid, true) - all) * 100 / WATCH_MS);
	rc = ask_statistics(r, &reply, err);
	if (rc < 0)
		return rc;
	printf("descriptors %d\n", (int)descriptors(r->vmm.pid) - (int)descriptors_before);
	printf("own-kib %ld\n", (long)own_kib(r->vmm.pid, reply->statistics) - (long)kib_before);
	thaw__vmm__reply__free_unpacked(reply, NULL);
	return 0;
}

/* How the process ends when it is told to, or has ended by itself. */
static void end(struct run *r)
{
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__Shutdown body = THAW__VMM__SHUTDOWN__INIT;
	struct pollfd process = {.fd = r->vmm.pidfd, .events = POLLIN};
	uint64_t began = thaw_monotonic_ns();
	siginfo_t info = {0};
	struct thaw_error err;
	uint32_t id;

	request.body_case = THAW__VMM__REQUEST__BODY_SHUTDOWN;
	request.shutdown = &body;
	thaw_vmm_send(&r->vmm, &request, NULL, 0, &id, &err);
	if (poll(&process, 1, REQUEST_MS) <= 0) {
		printf("end none\n");
		return;
	}
	waitid(P_PIDFD, (id_t)r->vmm.pidfd, &info, WEXITED | WNOWAIT);
	printf("end %s %d\n", info.si_code == CLD_EXITED ? "exit" : "signal", info.si_status);
	printf("shutdown-ms %lu\n", (thaw_monotonic_ns() - began) / 1000000);
}

static int run(struct run *r, char **arguments, struct thaw_error *err)
{
	Thaw__Vmm__Reply *reply = NULL;
	const char *outcome = "none";
	int rc = ask_statistics(r, &reply, err);

	if (rc < 0)
		return rc;
	unsigned int before = descriptors(r->vmm.pid);
	uint64_t kib = own_kib(r->vmm.pid, reply->statistics);
	thaw__vmm__reply__free_unpacked(reply, NULL);
	rc = boot(r, arguments[2], arguments[3], err);
	note_stop(r);
	/* It may have stopped before we were told that it runs. */
	pthread_t flooder;
	r->flooding = true;
	if (pthread_create(&flooder, NULL, flood, r) != 0)
		return thaw_error_set(err, EAGAIN, "making a thread");
	if (rc == 0 || r->stopped[0])
		rc = watch(r, (unsigned int)atoi(arguments[4]), &outcome, err);
	__atomic_store_n(&r->flooding, false, __ATOMIC_RELAXED);
	pthread_join(flooder, NULL);
	printf("frames %lu\nspoofed %lu\n", r->frames, r->spoofed);
	if (rc == 0)
		rc = finish(r, before, kib, err);
	console_read(r);
	printf("outcome %s\n", outcome);
	return rc;
}

int main(int argc, char **argv)
{
	static struct run r = {.vmm = THAW_VMM_NONE};
	struct rlimit files = {4096, 4096};
	struct thaw_error err = {0};
	struct stat st;

	if (argc != 5)
		return 2;
	setrlimit(RLIMIT_NOFILE, &files);
	signal(SIGPIPE, SIG_IGN);
	if (start(&r, argv[1], &err) < 0) {
		fprintf(stderr, "harness: %s\n", err.message);
		thaw_vmm_close(&r.vmm);
		return 1;
	}
	if (run(&r, argv, &err) < 0)
		printf("failure %s\n", err.message);
	if (r.stopped[0])
		printf("stopped %s\n", r.stopped);
	printf("slowest-ms %lu\n", r.slowest_ns / 1000000);
	end(&r);
	printf("read-only %s\n", drive_unchanged(r.read_only, READ_ONLY) ? "unchanged" : "changed");
	printf("mapped %s\n", drive_unchanged(r.mapped, MAPPED) ? "unchanged" : "changed");
	printf("writable-size %ld\n", fstat(r.writable, &st) < 0 ? -1L : (long)st.st_size);
	console_print(&r);
	thaw_vmm_close(&r.vmm);
	return 0;
}
