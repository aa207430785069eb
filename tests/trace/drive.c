/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that a host asks of a thaw-vmm, asked of real ones, with the guest of tests/hostile: a boot,
 *a pause, snapshots, what is read of their files, and a restore in each mode.
 *
 *	drive VMM GUEST
 *
 * Exit status: 0 all went well, 1 it did not.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/vmm_client.h"
#include "lib/error.h"
#include "lib/fd.h"

#define MEMORY_MIB 256u /* an index of several kilobytes */
#define ROOM_MIB   512u
#define DRIVE_SIZE (2u << 20)
#define REQUEST_MS 60000u
#define GUEST_US   300000

enum { STATE, INDEX, FRAMES, IMAGE, WORKING_SET, FILES };

/* What all machines here are made of. */
static struct {
	const char *vmm, *guest;
	int kvm, userfaultfd, drive, null, listener;
} host;

static int file_new(void)
{
	return memfd_create("file", MFD_CLOEXEC);
}

static int ask(struct thaw_vmm *vmm, Thaw__Vmm__Request *request, const int *fds, size_t count,
	       Thaw__Vmm__Reply__BodyCase want, struct thaw_error *err)
{
	int rc = thaw_vmm_call(vmm, request, fds, count, want, REQUEST_MS, NULL, err);

	return rc < 0 ? thaw_error_wrap(err, "request %d", (int)request->body_case) : 0;
}

/* One that has an empty body. */
static int ask_plainly(struct thaw_vmm *vmm, Thaw__Vmm__Request__BodyCase what,
		       Thaw__Vmm__Reply__BodyCase want, struct thaw_error *err)
{
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__Ping body = THAW__VMM__PING__INIT;

	request.body_case = what;
	request.ping = &body;
	return ask(vmm, &request, NULL, 0, want, err);
}

static int create(struct thaw_vmm *vmm, bool in_two, bool huge_pages, struct thaw_error *err)
{
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__Create body = THAW__VMM__CREATE__INIT;
	Thaw__Vmm__Drive block = THAW__VMM__DRIVE__INIT, mapped = THAW__VMM__DRIVE__INIT;
	Thaw__Vmm__Drive *drives[] = {&block, &mapped};
	const int fds[] = {host.kvm, host.drive, host.null, host.userfaultfd};

	block.kind = THAW__VMM__DRIVE__KIND__BLOCK;
	block.writable = true;
	block.fd = 2;
	mapped.fd = 3;
	body.kvm_fd = 1;
	body.vcpus = 2;
	body.memory_mib = MEMORY_MIB;
	body.userfaultfd_fd = 4;
	body.huge_pages = huge_pages;
	body.devices_later = in_two;
	body.pmem_mib = in_two ? ROOM_MIB : 0;
	request.body_case = THAW__VMM__REQUEST__BODY_CREATE;
	request.create = &body;
	if (in_two) {
		int rc = ask(vmm, &request, fds, 4, THAW__VMM__REPLY__BODY_CREATE, err);
		if (rc < 0)
			return rc;
		request.body_case = THAW__VMM__REQUEST__BODY_ATTACH;
	}
	/* A descriptor is of one use. */
	const int all[] = {host.kvm,  host.drive,       host.drive,
			   host.null, host.userfaultfd, host.listener};
	body.serial_fd = 4;
	body.userfaultfd_fd = 5;
	body.vsock_listener_fd = 6;
	body.n_drives = 2;
	body.drives = drives;
	body.vsock_cid = 3;
	body.rng = true;
	return ask(vmm, &request, all, 6, THAW__VMM__REPLY__BODY_CREATE, err);
}

static int boot(struct thaw_vmm *vmm, const char *scenario, struct thaw_error *err)
{
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__Boot body = THAW__VMM__BOOT__INIT;
	cleanup_close int kernel = open(host.guest, O_RDONLY | O_CLOEXEC);
	char line[64];

	if (kernel < 0)
		return thaw_error_errno(err, errno, "%s", host.guest);
	snprintf(line, sizeof(line), "scenario=%s", scenario);
	body.kernel_fd = 1;
	body.command_line = line;
	request.body_case = THAW__VMM__REQUEST__BODY_BOOT;
	request.boot = &body;
	return ask(vmm, &request, &kernel, 1, THAW__VMM__REPLY__BODY_DONE, err);
}

/* A connection while the guest runs, and one by the listener. */
static int visit(struct thaw_vmm *vmm, struct thaw_error *err)
{
	static const char greeting[] = "CONNECT 1024\nhello";
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__VsockAttach body = THAW__VMM__VSOCK_ATTACH__INIT;
	struct sockaddr_un address;
	socklen_t size = sizeof(address);
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return thaw_error_errno(err, errno, "a connection");
	cleanup_close int ours = pair[0];
	cleanup_close int theirs = pair[1];
	cleanup_close int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (write(ours, greeting, sizeof(greeting) - 1) < 0 || client < 0 ||
	    getsockname(host.listener, (struct sockaddr *)&address, &size) < 0 ||
	    connect(client, (struct sockaddr *)&address, size) < 0)
		return thaw_error_errno(err, errno, "a connection");
	body.fd = 1;
	request.body_case = THAW__VMM__REQUEST__BODY_VSOCK_ATTACH;
	request.vsock_attach = &body;
	int rc = ask(vmm, &request, &theirs, 1, THAW__VMM__REPLY__BODY_DONE, err);
	usleep(GUEST_US);
	return rc;
}

static int snapshot(struct thaw_vmm *vmm, int files[FILES], struct thaw_error *err)
{
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__Snapshot body = THAW__VMM__SNAPSHOT__INIT;

	for (int i = 0; i < FILES; i++) {
		thaw_cleanup_close(&files[i]);
		files[i] = file_new();
	}
	body.state_fd = 1;
	body.index_fd = 2;
	body.frames_fd = 3;
	body.image_fd = 4;
	request.body_case = THAW__VMM__REQUEST__BODY_SNAPSHOT;
	request.snapshot = &body;
	return ask(vmm, &request, files, 4, THAW__VMM__REPLY__BODY_SNAPSHOT, err);
}

static int restore(struct thaw_vmm *vmm, const int files[FILES], Thaw__Vmm__RestoreMode mode,
		   bool record, struct thaw_error *err)
{
	static const char greeting[] = "CONNECT 1024\nhello";
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__Restore body = THAW__VMM__RESTORE__INIT;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return thaw_error_errno(err, errno, "a connection");
	cleanup_close int ours = pair[0];
	cleanup_close int theirs = pair[1];
	if (write(ours, greeting, sizeof(greeting) - 1) < 0)
		return thaw_error_errno(err, errno, "a greeting");
	const int fds[] = {files[STATE],  files[INDEX],       files[IMAGE],
			   files[FRAMES], files[WORKING_SET], theirs};
	body.state_fd = 1;
	body.index_fd = 2;
	if (mode == THAW__VMM__RESTORE_MODE__RESTORE_MODE_EAGER)
		body.frames_fd = 4;
	else
		body.image_fd = 3;
	if (mode == THAW__VMM__RESTORE_MODE__RESTORE_MODE_UFFD && !record)
		body.working_set_fd = 5;
	body.mode = mode;
	body.record = record;
	body.vsock_fd = 6;
	request.body_case = THAW__VMM__REQUEST__BODY_RESTORE;
	request.restore = &body;
	return ask(vmm, &request, fds, 6, THAW__VMM__REPLY__BODY_RESTORE, err);
}

static int save_working_set(struct thaw_vmm *vmm, const int files[FILES], struct thaw_error *err)
{
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__SaveWorkingSet body = THAW__VMM__SAVE_WORKING_SET__INIT;

	body.working_set_fd = 1;
	request.body_case = THAW__VMM__REQUEST__BODY_SAVE_WORKING_SET;
	request.save_working_set = &body;
	return ask(vmm, &request, &files[WORKING_SET], 1, THAW__VMM__REPLY__BODY_DONE, err);
}

static int pause_guest(struct thaw_vmm *vmm, struct thaw_error *err)
{
	return ask_plainly(vmm, THAW__VMM__REQUEST__BODY_PAUSE, THAW__VMM__REPLY__BODY_DONE, err);
}

/* Lets it end by itself: all is taken down. */
static int end(struct thaw_vmm *vmm, struct thaw_error *err)
{
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__Shutdown body = THAW__VMM__SHUTDOWN__INIT;
	struct pollfd process = {.fd = vmm->pidfd, .events = POLLIN};
	siginfo_t info = {0};
	uint32_t id;

	request.body_case = THAW__VMM__REQUEST__BODY_SHUTDOWN;
	request.shutdown = &body;
	int rc = thaw_vmm_send(vmm, &request, NULL, 0, &id, err);
	if (rc == 0 && poll(&process, 1, REQUEST_MS) <= 0)
		rc = thaw_error_set(err, ETIMEDOUT, "thaw-vmm does not end");
	if (rc == 0 && (waitid(P_PIDFD, (id_t)vmm->pidfd, &info, WEXITED | WNOWAIT) < 0 ||
			info.si_code != CLD_EXITED || info.si_status != 0))
		rc = thaw_error_set(err, EIO, "thaw-vmm ended badly: %d", info.si_status);
	thaw_vmm_close(vmm);
	return rc;
}

/* --- what is done --- */

/* Boots, and saves; the guest goes on, and is saved again. */
static int first_life(int files[FILES], struct thaw_error *err)
{
	struct thaw_vmm vmm;
	int rc = thaw_vmm_spawn(&vmm, host.vmm, err);

	if (rc == 0)
		rc = create(&vmm, false, true, err);
	if (rc == 0)
		rc = boot(&vmm, "nothing", err);
	if (rc == 0)
		rc = visit(&vmm, err);
	usleep(GUEST_US);
	if (rc == 0)
		rc = pause_guest(&vmm, err);
	if (rc == 0)
		rc = snapshot(&vmm, files, err);
	if (rc == 0)
		rc = ask_plainly(&vmm, THAW__VMM__REQUEST__BODY_RESUME, THAW__VMM__REPLY__BODY_DONE,
				 err);
	if (rc == 0)
		rc = ask_plainly(&vmm, THAW__VMM__REQUEST__BODY_GET_STATISTICS,
				 THAW__VMM__REPLY__BODY_STATISTICS, err);
	if (rc == 0)
		rc = pause_guest(&vmm, err);
	if (rc == 0)
		rc = snapshot(&vmm, files, err);
	return rc < 0 ? (thaw_vmm_close(&vmm), rc) : end(&vmm, err);
}

/* Made, and never used. */
static int no_life(struct thaw_error *err)
{
	struct thaw_vmm vmm;
	int rc = thaw_vmm_spawn(&vmm, host.vmm, err);

	if (rc == 0)
		rc = create(&vmm, true, false, err);
	return rc < 0 ? (thaw_vmm_close(&vmm), rc) : end(&vmm, err);
}

/* With record, the working set is saved; without, the machine restored on demand is. */
static int another_life(int files[FILES], Thaw__Vmm__RestoreMode mode, bool record,
			struct thaw_error *err)
{
	bool demand = mode == THAW__VMM__RESTORE_MODE__RESTORE_MODE_UFFD;
	struct thaw_vmm vmm;
	int rc = thaw_vmm_spawn(&vmm, host.vmm, err);

	if (rc == 0)
		rc = create(&vmm, true, false, err);
	if (rc == 0)
		rc = restore(&vmm, files, mode, record, err);
	usleep(GUEST_US);
	if (rc == 0)
		rc = ask_plainly(&vmm, THAW__VMM__REQUEST__BODY_GET_STATISTICS,
				 THAW__VMM__REPLY__BODY_STATISTICS, err);
	if (rc == 0 && demand)
		rc = pause_guest(&vmm, err);
	if (rc == 0 && record)
		rc = save_working_set(&vmm, files, err);
	if (rc == 0 && demand && !record)
		rc = snapshot(&vmm, files, err);
	if (rc < 0)
		thaw_error_wrap(err, "mode %d", (int)mode);
	return rc < 0 ? (thaw_vmm_close(&vmm), rc) : end(&vmm, err);
}

/* The files, read by one that has no machine. */
static int look(const int files[FILES], struct thaw_error *err)
{
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__Inspect inspect = THAW__VMM__INSPECT__INIT;
	Thaw__Vmm__Materialise materialise = THAW__VMM__MATERIALISE__INIT;
	cleanup_close int image = file_new();
	struct thaw_vmm vmm;
	int rc = thaw_vmm_spawn(&vmm, host.vmm, err);

	inspect.state_fd = 1;
	inspect.index_fd = 2;
	inspect.frames_fd = 3;
	request.body_case = THAW__VMM__REQUEST__BODY_INSPECT;
	request.inspect = &inspect;
	if (rc == 0)
		rc = ask_plainly(&vmm, THAW__VMM__REQUEST__BODY_PING, THAW__VMM__REPLY__BODY_DONE,
				 err);
	if (rc == 0)
		rc = ask(&vmm, &request, files, 3, THAW__VMM__REPLY__BODY_INSPECT, err);
	const int three[] = {files[INDEX], files[FRAMES], image};
	materialise.index_fd = 1;
	materialise.frames_fd = 2;
	materialise.image_fd = 3;
	request.body_case = THAW__VMM__REQUEST__BODY_MATERIALISE;
	request.materialise = &materialise;
	if (rc == 0)
		rc = ask(&vmm, &request, three, 3, THAW__VMM__REPLY__BODY_DONE, err);
	return rc < 0 ? (thaw_vmm_close(&vmm), rc) : end(&vmm, err);
}

static int drive(int files[FILES], struct thaw_error *err)
{
	int rc = first_life(files, err);

	if (rc == 0)
		rc = no_life(err);
	if (rc == 0)
		rc = look(files, err);
	if (rc == 0)
		rc = another_life(files, THAW__VMM__RESTORE_MODE__RESTORE_MODE_MAP, false, err);
	if (rc == 0)
		rc = another_life(files, THAW__VMM__RESTORE_MODE__RESTORE_MODE_URING, false, err);
	if (rc == 0)
		rc = another_life(files, THAW__VMM__RESTORE_MODE__RESTORE_MODE_EAGER, false, err);
	if (rc == 0)
		rc = another_life(files, THAW__VMM__RESTORE_MODE__RESTORE_MODE_UFFD, true, err);
	if (rc == 0)
		rc = another_life(files, THAW__VMM__RESTORE_MODE__RESTORE_MODE_UFFD, false, err);
	return rc;
}

/* Bound to a name that the kernel chooses (unix(7), autobind). */
static int listener_new(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && (bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)) < 0 ||
			listen(fd, 16) < 0)) {
		close(fd);
		return -1;
	}
	return fd;
}

int main(int argc, char **argv)
{
	int files[FILES] = {-1, -1, -1, -1, -1};
	struct thaw_error err = {0};

	if (argc != 3)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	host.vmm = argv[1];
	host.guest = argv[2];
	host.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	host.userfaultfd = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	host.null = open("/dev/null", O_RDWR | O_CLOEXEC);
	host.drive = file_new();
	host.listener = listener_new();
	if (host.kvm < 0 || host.userfaultfd < 0 || host.null < 0 || host.drive < 0 ||
	    host.listener < 0 || ftruncate(host.drive, DRIVE_SIZE) < 0) {
		perror("drive");
		return 1;
	}
	if (drive(files, &err) < 0) {
		fprintf(stderr, "drive: %s\n", err.message);
		return 1;
	}
	return 0;
}
