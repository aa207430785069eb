/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host that says anything: packets with descriptors of all kinds, to the control socket. There
 * is no KVM behind any of them, so that no machine comes to be; what needs none is carried out.
 *
 *	packets, each of:
 *	byte 0          how many descriptors (mod 9)
 *	a byte each     which (see `descriptor`)
 *	2 bytes         the packet's size, little-endian
 *	the packet
 *
 * Files have the rest of the input as their content. Every packet gets one answer, of its own id
 *where it has one, and no descriptor stays behind.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "proto/vmm.pb-c.h"
#include "vmm/control.h"
#include "vmm/loop.h"

#define DESCRIPTORS_MAX 8u
#define PACKET_MAX      65536u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

struct input {
	const uint8_t *data;
	size_t size;
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	thaw_log_setup("fuzz", THAW_LOG_OFF, false, STDERR_FILENO);
	return 0;
}

static uint8_t next_byte(struct input *in)
{
	if (!in->size)
		return 0;
	in->size--;
	return *in->data++;
}

static int file_of(const struct input *in)
{
	int fd = memfd_create("input", MFD_CLOEXEC);

	if (fd < 0 || write(fd, in->data, in->size) != (ssize_t)in->size)
		abort();
	return fd;
}

/* One end is enough: nobody writes to the other. */
static int descriptor(uint8_t kind, const struct input *in)
{
	int pair[2], fd = -1;

	switch (kind % 7) {
	case 0:
		return file_of(in);
	case 1:
		fd = memfd_create("empty", MFD_CLOEXEC);
		break;
	case 2:
		fd = eventfd(0, EFD_CLOEXEC);
		break;
	case 3:
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		break;
	case 4:
		fd = open("/", O_RDONLY | O_CLOEXEC);
		break;
	case 5:
		if (pipe2(pair, O_CLOEXEC) == 0) {
			close(pair[1]);
			fd = pair[0];
		}
		break;
	default:
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0) {
			close(pair[1]);
			fd = pair[0];
		}
	}
	if (fd < 0)
		abort();
	return fd;
}

/* The number that the next descriptor will have: it tells whether any has stayed. */
static int next_descriptor(void)
{
	int fd = eventfd(0, EFD_CLOEXEC);

	if (fd < 0)
		abort();
	close(fd);
	return fd;
}

/* There is one answer, and it is to this packet. */
static void check_answer(int socket, const uint8_t *packet, size_t size)
{
	static uint8_t data[PACKET_MAX];
	Thaw__Vmm__Request *request = thaw__vmm__request__unpack(NULL, size, packet);
	ssize_t n = recv(socket, data, sizeof(data), MSG_DONTWAIT);

	if (n <= 0)
		abort();
	Thaw__Vmm__Reply *reply = thaw__vmm__reply__unpack(NULL, (size_t)n, data);
	if (!reply || reply->id != (request ? request->id : 0) ||
	    recv(socket, data, sizeof(data), MSG_DONTWAIT) >= 0)
		abort();
	/* Without KVM there is never a machine. */
	if (reply->body_case != THAW__VMM__REPLY__BODY_FAILURE &&
	    reply->body_case != THAW__VMM__REPLY__BODY_DONE &&
	    reply->body_case != THAW__VMM__REPLY__BODY_INSPECT)
		abort();
	if (reply->body_case == THAW__VMM__REPLY__BODY_FAILURE &&
	    (reply->failure->code <= 0 || !reply->failure->message[0]))
		abort();
	thaw__vmm__reply__free_unpacked(reply, NULL);
	if (request)
		thaw__vmm__request__free_unpacked(request, NULL);
}

static void send_packet(struct input *in, int socket, struct thaw_loop *loop)
{
	int fds[DESCRIPTORS_MAX];
	unsigned int count = next_byte(in) % (DESCRIPTORS_MAX + 1);
	uint8_t kinds[DESCRIPTORS_MAX];

	for (unsigned int i = 0; i < count; i++)
		kinds[i] = next_byte(in);
	size_t size = next_byte(in);
	size |= (size_t)next_byte(in) << 8;
	if (size > in->size)
		size = in->size;
	const uint8_t *packet = in->data;
	in->data += size;
	in->size -= size;
	for (unsigned int i = 0; i < count; i++)
		fds[i] = descriptor(kinds[i], in);
	/* An empty packet is how a socket's end looks: not sent. */
	bool sent = size && thaw_send_fds(socket, packet, size, fds, count) == 0;
	for (unsigned int i = 0; i < count; i++)
		close(fds[i]);
	if (!sent)
		return;
	if (thaw_loop_turn(loop, 1000) != 1)
		abort();
	if (!loop->stop)
		check_answer(socket, packet, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct thaw_control *control;
	struct thaw_loop loop;
	struct thaw_error err;
	int pair[2], before = next_descriptor();

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 ||
	    thaw_loop_create(&loop, &err) < 0 ||
	    thaw_control_create(&control, pair[1], &loop, &err) < 0)
		abort();
	for (unsigned int i = 0; in.size && i < 16 && !loop.stop; i++)
		send_packet(&in, pair[0], &loop);
	thaw_control_destroy(control);
	thaw_loop_destroy(&loop);
	close(pair[0]);
	close(pair[1]);
	if (next_descriptor() != before)
		abort();
	return 0;
}
