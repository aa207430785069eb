/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of a thaw-vmm process: starting it, requests and replies (proto/vmm.proto), and
 * its end. One thread at a time uses a client, and the thread that spawned it must outlive it (the
 * kernel kills thaw-vmm when that thread ends).
 *
 * thaw-vmm runs a hostile guest and may have been taken over by it: sizes, ids and kinds of what
 * it says are checked, and no wait is without a deadline.
 */
#ifndef THAW_HOST_VMM_CLIENT_H
#define THAW_HOST_VMM_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "host/cgroup.h"
#include "proto/vmm.pb-c.h"

struct thaw_error;

#define THAW_VMM_PACKET_MAX  65536
#define THAW_VMM_PENDING_MAX 4

struct thaw_vmm {
	pid_t pid; /* 0: none */
	int pidfd;
	int socket;
	uint32_t next_id;
	struct { /* requests not yet answered, or answered and not yet asked for */
		uint32_t id;
		Thaw__Vmm__Reply *reply;
	} pending[THAW_VMM_PENDING_MAX];
	bool marked[256];
	uint64_t mark_ns[256]; /* since the first KVM_RUN */
	bool stopped;
	char stop_message[512];
	uint8_t *packet;
	uint32_t user; /* of those that are allotted; 0: none */
	struct thaw_cgroup cgroup;
};

#define THAW_VMM_NONE                                                                              \
	{                                                                                          \
		.pidfd = -1, .socket = -1                                                          \
	}

/* Starts `path` with one end of a SOCK_SEQPACKET pair as descriptor 3, /dev/null as 0 and 1,
 * standard error shared, and nothing else. -ENOENT, -EACCES, ... */
int thaw_vmm_spawn(struct thaw_vmm *vmm, const char *path, struct thaw_error *err);

/* The same, born into a control group of its own with these limits; vmm->cgroup has it, and it goes
 * with the process. `cgroups` of NULL: as thaw_vmm_spawn. */
int thaw_vmm_spawn_in(struct thaw_vmm *vmm, const char *path, struct thaw_cgroups *cgroups,
		      const struct thaw_cgroup_limits *limits, struct thaw_error *err);

#define THAW_JAIL_USERS 65536u

struct thaw_jail {
	enum { THAW_JAIL_WHERE_POSSIBLE, THAW_JAIL_ALWAYS, THAW_JAIL_NEVER } when;
	/* Each is the lowest of THAW_JAIL_USERS from here that no living thaw-vmm of this process
	 * has; 0: it is told by its process id (vmm/jail.h). */
	uint32_t first_user;
};

/* How thaw-vmms are jailed that this process starts from now on; before the first. */
void thaw_vmm_jail(const struct thaw_jail *jail);

/* Whether a thaw-vmm that we start has a jail (vmm/jail.h): it takes the capabilities of root.
 * Without them it runs as we do, and has the filter of system calls alone. */
bool thaw_vmm_jails(void);

/* As spawn, over a socket that is connected already (its ownership passes). For tests. */
int thaw_vmm_adopt(struct thaw_vmm *vmm, int socket, pid_t pid, struct thaw_error *err);

/* Kills and reaps the process and frees everything. Safe on THAW_VMM_NONE. */
void thaw_vmm_close(struct thaw_vmm *vmm);

/* Sends `request` (its id is set here) with descriptors, which stay the caller's. The answer is
 * taken with thaw_vmm_receive under *id; up to THAW_VMM_PENDING_MAX may be under way. */
int thaw_vmm_send(struct thaw_vmm *vmm, Thaw__Vmm__Request *request, const int *fds, size_t count,
		  uint32_t *id, struct thaw_error *err);

/* Waits for the answer to `id`. On 0 the caller owns *reply, whose body is `want`
 * (thaw__vmm__reply__free_unpacked(reply, NULL)); reply may be NULL. A Failure becomes an error
 * with its code and message. -EPIPE: the process is gone; -ETIMEDOUT; -EPROTO; -ECANCELED: the
 * guest has stopped. */
int thaw_vmm_receive(struct thaw_vmm *vmm, uint32_t id, Thaw__Vmm__Reply__BodyCase want,
		     uint64_t deadline, Thaw__Vmm__Reply **reply, struct thaw_error *err);

/* Send and receive. */
int thaw_vmm_call(struct thaw_vmm *vmm, Thaw__Vmm__Request *request, const int *fds, size_t count,
		  Thaw__Vmm__Reply__BodyCase want, uint32_t timeout_ms, Thaw__Vmm__Reply **reply,
		  struct thaw_error *err);

/* Waits until the guest has written `mark`. *at_ns (may be NULL): since its first KVM_RUN. */
int thaw_vmm_wait_mark(struct thaw_vmm *vmm, uint8_t mark, uint64_t deadline, uint64_t *at_ns,
		       struct thaw_error *err);

/* Takes in what has arrived, without waiting: for loops that watch vmm->socket beside other
 * descriptors. Negative when the process is gone, the guest has stopped, or nonsense came. */
int thaw_vmm_pump(struct thaw_vmm *vmm, struct thaw_error *err);

#endif
