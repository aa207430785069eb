/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One execution environment: a microVM with its agent, from its start to its end.
 *
 *	cold    spawn, create, boot, connect, configure, init
 *	restore spawn, create, restore, resume
 *	invoke  as often as wanted, one at a time
 *	freeze  prepare, pause, save; the microVM is not used any more afterwards
 *
 * Every step's time is in `phases`. One thread uses an environment, and the thread that started it
 * must outlive it (vmm_client.h). Descriptors in a thaw_machine are borrowed.
 */
#ifndef THAW_HOST_ENVIRONMENT_H
#define THAW_HOST_ENVIRONMENT_H

#include "host/agent_client.h"
#include "host/function.h"
#include "host/phases.h"
#include "host/stop.h"
#include "host/vmm_client.h"

struct thaw_host;
struct thaw_shells;

#define THAW_REQUEST_ID_TEXT 37 /* a UUID and a 0 */

/* What may be done at once, and how quickly that grows again; a size of 0: without limit. */
struct thaw_rate {
	uint64_t size;
	uint64_t per_second;
};

struct thaw_rate_limit {
	struct thaw_rate bytes;
	struct thaw_rate operations; /* frames, or requests of a drive */
};

/* A guest's network: what is behind its only network device. Which addresses it has is the same
 * for all (host/network/guest.h). */
struct thaw_network {
	int tap; /* of the host: IFF_TAP | IFF_NO_PI, non-blocking; only one microVM may have it */
	struct thaw_rate_limit to_guest, from_guest;
	/* Cold only: IPv4 addresses for /etc/resolv.conf; a snapshot's clones keep them. */
	const char *const *nameservers;
	size_t nameserver_count; /* at most THAW_NAMESERVERS_MAX */
};

#define THAW_NAMESERVERS_MAX 3

/* What a microVM is made of. */
struct thaw_machine {
	int kernel;                         /* cold only */
	int initramfs;                      /* cold only */
	int root;                           /* erofs images: pmem drives, in this order */
	int code;                           /* at /var/task */
	int layers;                         /* at /opt; -1: the function has none */
	int tmp;                            /* the writable drive behind /tmp */
	int serial;                         /* where the console goes; -1: no console */
	const struct thaw_network *network; /* borrowed until it has started; NULL: none */
	struct thaw_rate_limit tmp_limit;   /* of the drive behind /tmp */
	Thaw__Vmm__CpuTemplate cpu_template;
	bool snap_start;          /* cold: the runtime is to wait in restore/next after init */
	bool provisioned;         /* cold: what the function is told of its initialisation */
	uint32_t init_timeout_ms; /* cold; 0: Lambda's 10 s */
};

#define THAW_MACHINE_NONE                                                                          \
	{                                                                                          \
		.kernel = -1, .initramfs = -1, .root = -1, .code = -1, .layers = -1, .tmp = -1,    \
		.serial = -1                                                                       \
	}

/* A snapshot's files; -1: absent. */
struct thaw_snapshot_files {
	int state, index, frames, image, working_set;
};

#define THAW_SNAPSHOT_FILES_NONE                                                                   \
	{                                                                                          \
		-1, -1, -1, -1, -1                                                                 \
	}

struct thaw_restore_options {
	Thaw__Vmm__RestoreMode mode;
	bool direct; /* uring: `image` was opened with O_DIRECT */
	bool record; /* uffd: remember which pages are touched */
};

/* One event for a handler. */
struct thaw_invocation {
	char request_id[THAW_REQUEST_ID_TEXT];
	const uint8_t *event;
	size_t event_size;
	/* As they are handed to the runtime; NULL: the function's own ARN, and none of the others.
	 */
	const char *function_arn;
	const char *trace_id;
	const char *client_context;
	const char *cognito_identity;
};

struct thaw_result {
	Thaw__Agent__Outcome outcome;
	const uint8_t *response; /* or the error document; the agent client's, until the next use */
	size_t response_size;
	char error_type[128];
	uint64_t duration_us;
	uint64_t init_duration_us; /* when the runtime had to be started anew */
	uint64_t max_memory_kib;
};

struct thaw_environment {
	const struct thaw_host *host;
	const struct thaw_function *function; /* borrowed; must outlive it */
	struct thaw_vmm vmm;
	struct thaw_agent agent;
	struct thaw_shells *shells; /* set before the start, or NULL: where microVMs wait */
	struct thaw_stop *stop;     /* the same: by which another thread ends it */
	struct thaw_stop_entry stop_entry;
	bool from_shell;
	thaw_agent_log_fn *log; /* set before the start, or NULL */
	void *log_context;
	struct thaw_phases phases;       /* from the start, then every invocation */
	struct thaw_phases create_steps; /* as thaw-vmm reports them */
	struct thaw_phases restore_steps;
	Thaw__Vmm__CpuTemplate cpu_template; /* in force */
	bool software_kvm;
	bool kvm_known; /* thaw-vmm was told which kind it is */
	bool restored;
	char log_stream[64];

	/* Of init (cold) or of the after-restore hooks. */
	Thaw__Agent__Outcome start_outcome;
	char *start_error; /* the error document; owned */
	uint64_t start_duration_us;

	uint64_t restore_asked_ns; /* CLOCK_MONOTONIC: when the restore was asked for */
	uint64_t restore_ready_ns; /* and when the function could take an event */
	uint64_t restore_bytes_read;
	uint64_t restore_pages_loaded;
	uint32_t ahead_seq; /* an Invoke sent with the restore; 0: none */
	/* The restore failed for a reason that lies in the snapshot, not in this host. */
	bool snapshot_refused;
};

/* Before all else. */
void thaw_environment_init(struct thaw_environment *environment, const struct thaw_host *host,
			   const struct thaw_function *function);

/* Kills the microVM and frees everything. */
void thaw_environment_close(struct thaw_environment *environment);

/* Boots, configures and inits. 0 also when init failed: see start_outcome (the next invocation
 * tries again, as Lambda has it). */
int thaw_environment_boot(struct thaw_environment *environment, const struct thaw_machine *machine,
			  struct thaw_error *err);

/* Restores. With `first`, its event is sent at once, behind the resume, so that it waits in the
 * guest for the handler and costs no round trip of its own; the first call of invoke must then be
 * for the same. 0 also when the after-restore hooks failed: see start_outcome. */
int thaw_environment_restore(struct thaw_environment *environment,
			     const struct thaw_machine *machine,
			     const struct thaw_snapshot_files *files,
			     const struct thaw_restore_options *options,
			     const struct thaw_invocation *first, struct thaw_error *err);

/* 0 when there is a result, whatever its outcome; negative: the environment cannot be used. */
int thaw_environment_invoke(struct thaw_environment *environment,
			    const struct thaw_invocation *invocation, struct thaw_result *result,
			    struct thaw_error *err);

/* Stops the virtual processors between two invocations, and lets them run again: what stands still
 * uses no CPU, whatever its handler has left behind. An environment that is invoked must run. */
int thaw_environment_pause(struct thaw_environment *environment, struct thaw_error *err);
int thaw_environment_unpause(struct thaw_environment *environment, struct thaw_error *err);

/* Freezes the runtime and saves the machine into empty files (image: -1 for none). The environment
 * may only be closed afterwards. `done` may be NULL; else the caller frees *done
 * (thaw__vmm__reply__free_unpacked). */
int thaw_environment_snapshot(struct thaw_environment *environment,
			      const struct thaw_snapshot_files *files, Thaw__Vmm__Reply **done,
			      struct thaw_error *err);

/* After a restore with `record` and an invocation: the pages touched go to the empty file `fd`. */
int thaw_environment_save_working_set(struct thaw_environment *environment, int fd,
				      struct thaw_error *err);

/* A new request id: a random UUID. */
void thaw_request_id_make(char text[THAW_REQUEST_ID_TEXT]);

#endif
