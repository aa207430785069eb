/* SPDX-License-Identifier: Apache-2.0 */
/* Making a snapshot: a cold boot, init, freeze, save; then, with an event, one clone of it that
 * shows which pages an invocation touches. */
#ifndef THAW_HOST_SNAPSHOT_CREATE_H
#define THAW_HOST_SNAPSHOT_CREATE_H

#include "host/cold.h"
#include "host/environment.h"
#include "host/manifest.h"

struct thaw_host;
struct thaw_snapshot;

struct thaw_snapshot_plan {
	const char *name;
	bool force;    /* take the place of one of that name */
	bool no_image; /* leave the raw image to the first restore */
	const struct thaw_function *function;
	struct thaw_cold_code code;
	const char *kernel;                 /* NULL: Thaw's own */
	int serial;                         /* -1: none */
	const struct thaw_network *network; /* for the machine, and for what records; NULL: none */
	uint32_t init_timeout_ms;           /* 0: 120 s */
	Thaw__Vmm__CpuTemplate cpu_template;
	const uint8_t *event; /* JSON, or NULL: no working set is recorded */
	size_t event_size;
	struct thaw_stop *stop; /* by which another thread gives it up (-ECANCELED); or NULL */
	thaw_agent_log_fn *log;
	void *log_context;
	void (*progress)(void *context, const char *text); /* may be NULL */
	void *progress_context;
};

/* Nothing is left behind on failure. *function_failed: the reason lies in the function (its init
 * failed), whose error document is the message. `manifest` (not NULL) is the caller's to clear. */
int thaw_snapshot_create(const struct thaw_host *host, const struct thaw_snapshot_plan *plan,
			 struct thaw_manifest *manifest, bool *function_failed,
			 struct thaw_error *err);

/* Restores a snapshot in mode uffd, lets it answer `event`, and writes the pages touched into the
 * empty file `fd`. */
int thaw_snapshot_record(const struct thaw_host *host, const struct thaw_machine *machine,
			 const struct thaw_snapshot_files *files,
			 const struct thaw_function *function, const uint8_t *event,
			 size_t event_size, int fd, struct thaw_error *err);

/* As record, for a snapshot in the store: its working_set is replaced. */
int thaw_snapshot_record_again(const struct thaw_host *host, struct thaw_snapshot *snapshot,
			       const struct thaw_network *network, const uint8_t *event,
			       size_t event_size, struct thaw_error *err);

#endif
