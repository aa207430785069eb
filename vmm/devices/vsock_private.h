/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the three files of the vsock device share:
 *
 *	vsock.c             the device: queues, packets to and from connections, save and restore
 *	vsock_connection.c  one connection: its states, credit, and the moving of bytes
 *	vsock_host.c        how connections come to be: listener, greeting, forward socket
 *
 * Packets to the guest need buffers that the guest may not have made available. Therefore nobody
 * sends: a connection notes what it `wants` to tell and lines up in `pending`, and thaw_vsock_pump
 * fills buffers from the line as long as there are any.
 */
#ifndef THAW_VMM_DEVICES_VSOCK_PRIVATE_H
#define THAW_VMM_DEVICES_VSOCK_PRIVATE_H

#include <sys/queue.h>
#include <linux/virtio_vsock.h>

#include "vmm/devices/vsock.h"
#include "vmm/loop.h"

enum vsock_queue { VSOCK_QUEUE_RX, VSOCK_QUEUE_TX, VSOCK_QUEUE_EVENT, VSOCK_QUEUES };

#define VSOCK_HOST_CID   2u
#define VSOCK_PACKET_MAX 65536u
/* What a guest may send ahead of a host program that does not read. */
#define VSOCK_BUFFER_SIZE (256u * 1024)
#define VSOCK_HASH_SIZE   256u
/* Refusals that wait for a buffer. While they are this many, no packet is taken from the guest. */
#define VSOCK_REPLIES_MAX 64u
/* "CONNECT 4294967295\n" */
#define VSOCK_GREETING_MAX 20u

#define VSOCK_SHUTDOWN_BOTH (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)

enum vsock_state {
	VSOCK_GREETING,  /* reads "CONNECT <port>\n"; the guest knows nothing of it */
	VSOCK_WAITING,   /* REQUEST is wanted and not given yet; nor here */
	VSOCK_REQUESTED, /* REQUEST given */
	VSOCK_OPEN,
	VSOCK_FLUSHING, /* the guest is gone; its last bytes are still on their way to the host */
	VSOCK_DEAD,     /* only its RST has to be told */
	VSOCK_RETIRED,  /* freed, but for its memory */
};

/* What a connection wants to tell the guest, in the order of the telling. */
enum vsock_want {
	VSOCK_WANT_RST = 1,
	VSOCK_WANT_REQUEST = 2,
	VSOCK_WANT_RESPONSE = 4,
	VSOCK_WANT_DATA = 8, /* the host socket has bytes, or its end */
	VSOCK_WANT_SHUTDOWN = 16,
	VSOCK_WANT_CREDIT = 32,
};

struct vsock_connection {
	struct thaw_vsock *vsock;
	LIST_ENTRY(vsock_connection) all;
	LIST_ENTRY(vsock_connection) hash;  /* when `hashed` */
	TAILQ_ENTRY(vsock_connection) line; /* when wants is not 0 */
	bool hashed;
	enum vsock_state state;
	unsigned int wants;
	uint32_t host_port, guest_port;

	/* The host's end; fd is -1 when it is closed. Not watched any more after a hang-up, which
	 * epoll would tell again and again: then reads are driven by the guest alone. */
	struct thaw_source source;
	bool hung_up;
	bool host_eof; /* nothing more comes from the host */
	char greeting[VSOCK_GREETING_MAX];
	unsigned int greeting_size;

	/* Credit (5.10.6.3); counters wrap. */
	uint32_t tx_count;       /* bytes given to the guest */
	uint32_t peer_buf_alloc; /* as the guest last said */
	uint32_t peer_fwd_count;
	uint32_t rx_count;  /* bytes taken from the guest */
	uint32_t fwd_count; /* of them, passed on to the host */
	uint32_t fwd_told;  /* fwd_count as the guest last heard */

	uint32_t shutdown;       /* flags told, or wanted to be told, to the guest */
	uint32_t guest_shutdown; /* flags the guest has told */

	/* rx_count - fwd_count bytes that the host socket did not take yet, from `buffer_start` on;
	 * VSOCK_BUFFER_SIZE of room, NULL while empty. */
	uint8_t *buffer;
	uint32_t buffer_start;
};

struct thaw_vsock {
	struct thaw_virtio_device *virtio;
	struct thaw_loop *loop;
	struct virtio_vsock_config config;
	struct thaw_source listener; /* fd -1: none */
	int forward_fd;              /* -1: none */

	LIST_HEAD(vsock_list, vsock_connection) all;
	LIST_HEAD(, vsock_connection) hash[VSOCK_HASH_SIZE];
	TAILQ_HEAD(, vsock_connection) pending;
	unsigned int count;
	uint32_t next_port;
	/* The connection whose host event is being handled; NULL once it is freed. */
	struct vsock_connection *current;

	struct virtio_vsock_hdr replies[VSOCK_REPLIES_MAX]; /* a ring */
	unsigned int replies_start, replies_count;
	bool tx_held; /* packets of the guest wait for room in `replies` */
	/* Packets that were taken, and their bytes, since the guest was last told that any were. */
	uint32_t tx_untold, tx_untold_bytes;

	/* A restored guest must have heard that old connections are gone before it hears of new
	 * ones: its reset would take them along. */
	enum { VSOCK_RESET_NONE, VSOCK_RESET_WANTED, VSOCK_RESET_TOLD } reset;
	uint16_t reset_available; /* event buffers left when it was told */

	/* A vCPU that resets the device frees connections while the loop may hold an event of
	 * theirs, waiting for the device lock. So their memory outlives them until a batch of
	 * events later than that: those `retired` when the reaper runs are `passed`, and freed when
	 * it runs next. */
	struct vsock_list retired, passed;
	struct thaw_source reaper; /* an eventfd */

	uint64_t to_guest, from_guest;
};

/* vsock.c */

/* Gives the guest what is wanted. Connections may be freed by it. */
void thaw_vsock_pump(struct thaw_vsock *vsock);

/* Frees the memory of a connection, on no list any more, when nobody can hold it. */
void thaw_vsock_retire(struct thaw_vsock *vsock, struct vsock_connection *connection);

/* vsock_connection.c */

struct vsock_connection *thaw_vsock_connection_new(struct thaw_vsock *vsock, int fd,
						   struct thaw_error *err);
void thaw_vsock_connection_free(struct vsock_connection *connection);
/* Sets the ports, and makes it findable. */
void thaw_vsock_connection_name(struct vsock_connection *connection, uint32_t host_port,
				uint32_t guest_port);
struct vsock_connection *thaw_vsock_connection_find(struct thaw_vsock *vsock, uint32_t host_port,
						    uint32_t guest_port);
void thaw_vsock_connection_want(struct vsock_connection *connection, unsigned int wants);
/* Whether the guest believes in this connection and would go on believing, if nothing were told. */
bool thaw_vsock_connection_alive(const struct vsock_connection *connection);
/* Closes the host's end; the guest gets a RST. */
void thaw_vsock_connection_reset(struct vsock_connection *connection);
/* Notices a host's end that has been closed, where no event has told of it yet. */
void thaw_vsock_connection_poll(struct vsock_connection *connection);
/* Fills `chain` with the next packet that is wanted. Its size; 0: nothing was left to tell, and
 * the connection is out of the line, or freed. */
uint32_t thaw_vsock_connection_send(struct vsock_connection *connection,
				    const struct thaw_chain *chain);
/* A packet of the guest; the payload, header->len bytes, follows the header in `chain`. */
void thaw_vsock_connection_receive(struct vsock_connection *connection,
				   const struct virtio_vsock_hdr *header,
				   const struct thaw_chain *chain);

/* vsock_host.c */

/* EPOLLIN on the listener. */
void thaw_vsock_accept(void *vsock, uint32_t events);
/* Reads what is there of the greeting. May free the connection. */
void thaw_vsock_greet(struct vsock_connection *connection);
/* Says "OK <host port>\n". 0, or a negative errno. */
int thaw_vsock_greeting_answer(const struct vsock_connection *connection);
/* A connection that the guest asks for, handed to the host. NULL: refused. */
struct vsock_connection *thaw_vsock_forward(struct thaw_vsock *vsock, uint32_t host_port,
					    uint32_t guest_port);

#endif
