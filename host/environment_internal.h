/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of an environment share: environment.c has it, the cold and the restored start
 * (environment_boot.c, environment_restore.c) use it. */
#ifndef THAW_HOST_ENVIRONMENT_INTERNAL_H
#define THAW_HOST_ENVIRONMENT_INTERNAL_H

#include "host/environment.h"
#include "lib/fd.h"

struct thaw_error;

#define ENVIRONMENT_ENTROPY 64 /* bytes for a guest's pool */

/* Descriptors of a request, numbered from 1 as proto/vmm.proto has them. */
struct attachments {
	int fd[THAW_FDS_MAX];
	size_t count;
};

/* The number of `fd` in the list; 0 (none) for -1. */
uint32_t environment_attach(struct attachments *list, int fd);

int environment_random(void *out, size_t size, struct thaw_error *err);
/* YYYY/MM/DD/[VERSION]<32 hexadecimal digits>: a new one for the environment. */
int environment_name_log_stream(struct thaw_environment *environment, struct thaw_error *err);

/* How long to wait for a guest's own work, where `ms` would do on hardware. */
uint32_t environment_patience(const struct thaw_environment *environment, uint32_t ms);

/* Takes thaw-vmm's account of its steps. */
void environment_steps(struct thaw_phases *phases, Thaw__Vmm__Step **steps, size_t count);

/* Starts thaw-vmm, or takes one in waiting, and the clock of the phases. */
int environment_spawn(struct thaw_environment *environment, const struct thaw_machine *machine,
		      struct thaw_error *err);

/* Asks for the machine, or for what one in waiting lacks, and waits for it. */
int environment_create(struct thaw_environment *environment, const struct thaw_machine *machine,
		       struct thaw_error *err);

/* The conversation with the agent begins on our end of a pair; *theirs is for thaw-vmm. */
int environment_open_agent(struct thaw_environment *environment, int *theirs,
			   struct thaw_error *err);

int environment_send_invoke(struct thaw_environment *environment,
			    const struct thaw_invocation *invocation, uint32_t *seq,
			    struct thaw_error *err);

/* A duration that the guest tells, of something that began after `since_ns` (CLOCK_MONOTONIC): no
 * more than has passed. */
uint64_t environment_believe_us(uint64_t told_us, uint64_t since_ns);

/* Keeps what init, or a restore, came to. */
int environment_note_start(struct thaw_environment *environment, Thaw__Agent__Outcome outcome,
			   const ProtobufCBinaryData *document, uint64_t duration_us,
			   struct thaw_error *err);

#endif
