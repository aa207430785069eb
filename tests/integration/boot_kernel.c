/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boots any kernel under thaw-vmm, without an agent: what the guest writes to its serial console
 * goes to standard output, marks, exits and the end to standard error.
 *
 *	boot_kernel [-m MIB] [-c VCPUS] [-t SECONDS] [-a COMMAND LINE] [-i INITRD] VMM KERNEL
 *
 * Exit status: 0 the guest reset itself, 1 anything else, 2 wrong use, 124 it did not in time.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/vmm_client.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"

#define REQUEST_MS 60000u

struct options {
	unsigned int memory_mib, vcpus, seconds;
	const char *append, *initrd, *vmm, *kernel;
};

static int create(struct thaw_vmm *vmm, const struct options *o, int kvm, int console,
		  struct thaw_error *err)
{
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__Create body = THAW__VMM__CREATE__INIT;
	Thaw__Vmm__Reply *reply;
	const int fds[] = {kvm, console};

	body.kvm_fd = 1;
	body.serial_fd = 2;
	body.vcpus = o->vcpus;
	body.memory_mib = o->memory_mib;
	body.vsock_cid = 3;
	body.rng = true;
	request.body_case = THAW__VMM__REQUEST__BODY_CREATE;
	request.create = &body;
	int rc = thaw_vmm_call(vmm, &request, fds, 2, THAW__VMM__REPLY__BODY_CREATE, REQUEST_MS,
			       &reply, err);
	if (rc < 0)
		return rc;
	fprintf(stderr, "created: %s KVM\n", reply->create->software_kvm ? "software" : "hardware");
	thaw__vmm__reply__free_unpacked(reply, NULL);
	return 0;
}

static int boot(struct thaw_vmm *vmm, const struct options *o, struct thaw_error *err)
{
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__Boot body = THAW__VMM__BOOT__INIT;
	cleanup_close int kernel = open(o->kernel, O_RDONLY | O_CLOEXEC);
	cleanup_close int initrd = o->initrd ? open(o->initrd, O_RDONLY | O_CLOEXEC) : -1;
	const int fds[] = {kernel, initrd};

	if (kernel < 0 || (o->initrd && initrd < 0))
		return thaw_error_set(err, ENOENT, "the kernel or the initrd cannot be opened");
	body.kernel_fd = 1;
	body.initrd_fd = o->initrd ? 2 : 0;
	body.command_line = (char *)o->append;
	request.body_case = THAW__VMM__REQUEST__BODY_BOOT;
	request.boot = &body;
	return thaw_vmm_call(vmm, &request, fds, o->initrd ? 2 : 1, THAW__VMM__REPLY__BODY_DONE,
			     REQUEST_MS, NULL, err);
}

/* 0 when the guest has reset itself. */
static int wait_for_end(struct thaw_vmm *vmm, unsigned int seconds)
{
	uint64_t end = thaw_monotonic_ns() + seconds * UINT64_C(1000000000);
	struct thaw_error err = {0};

	while (!vmm->stopped) {
		uint64_t now = thaw_monotonic_ns();
		struct pollfd watch = {.fd = vmm->socket, .events = POLLIN};
		if (now >= end) {
			fprintf(stderr, "still running after %u s\n", seconds);
			return 124;
		}
		if (poll(&watch, 1, (int)((end - now) / 1000000 + 1)) > 0 &&
		    thaw_vmm_pump(vmm, &err) < 0 && !vmm->stopped) {
			fprintf(stderr, "%s\n", err.message);
			return 1;
		}
	}
	for (int i = 0; i < 256; i++) {
		if (vmm->marked[i])
			fprintf(stderr, "mark 0x%02x after %llu ms\n", i,
				(unsigned long long)vmm->mark_ns[i] / 1000000);
	}
	fprintf(stderr, "stopped: %s\n", vmm->stop_message);
	return strstr(vmm->stop_message, "reset itself") ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct options o = {.memory_mib = 256, .vcpus = 1, .seconds = 120, .append = ""};
	struct thaw_vmm vmm = THAW_VMM_NONE;
	struct thaw_error err = {0};
	int option;

	while ((option = getopt(argc, argv, "m:c:t:a:i:")) != -1) {
		switch (option) {
		case 'm':
			o.memory_mib = (unsigned int)atoi(optarg);
			break;
		case 'c':
			o.vcpus = (unsigned int)atoi(optarg);
			break;
		case 't':
			o.seconds = (unsigned int)atoi(optarg);
			break;
		case 'a':
			o.append = optarg;
			break;
		case 'i':
			o.initrd = optarg;
			break;
		default:
			return 2;
		}
	}
	if (argc - optind != 2)
		return 2;
	o.vmm = argv[optind];
	o.kernel = argv[optind + 1];
	cleanup_close int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0) {
		perror("/dev/kvm");
		return 1;
	}
	int status = 1;
	if (thaw_vmm_spawn(&vmm, o.vmm, &err) < 0 ||
	    create(&vmm, &o, kvm, STDOUT_FILENO, &err) < 0 || boot(&vmm, &o, &err) < 0)
		fprintf(stderr, "%s\n", err.message);
	else
		status = wait_for_end(&vmm, o.seconds);
	thaw_vmm_close(&vmm);
	return status;
}
