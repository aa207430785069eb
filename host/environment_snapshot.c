/* SPDX-License-Identifier: Apache-2.0 */
/* The end of an environment's first life: frozen and saved. */
#include <errno.h>
#include <time.h>

#include "host/environment.h"
#include "host/timeouts.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"

/* A guest that used less than this share of a CPU for one look after another is at rest. */
#define REST_LOOK_MS     50
#define REST_LOOKS       2
#define REST_SHARE       0.08
#define REST_PATIENCE_MS 5000

/* CPU time of a process of ours, all threads, guest code too; 0 when it cannot be told. */
static uint64_t process_cpu_ns(pid_t pid)
{
	struct timespec used;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) < 0)
		return 0;
	return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

/* The agent is to be saved while it waits for a connection, not while it still takes leave of
 * ours: every clone would have to do the rest of that first. There is nothing that could tell us
 * so, as the connection is closed; but a guest with nothing to do is quiet. */
static void environment_await_rest(struct thaw_environment *environment)
{
	const struct timespec look = {.tv_nsec = REST_LOOK_MS * 1000000L};
	uint64_t deadline = thaw_deadline(REST_PATIENCE_MS);
	unsigned int calm = 0;

	if (environment->vmm.pid <= 0)
		return;
	while (calm < REST_LOOKS && thaw_deadline_left(deadline) > 0) {
		uint64_t cpu = process_cpu_ns(environment->vmm.pid);
		uint64_t wall = thaw_monotonic_ns();
		nanosleep(&look, NULL);
		cpu = process_cpu_ns(environment->vmm.pid) - cpu;
		wall = thaw_monotonic_ns() - wall;
		calm = (double)cpu < REST_SHARE * (double)wall ? calm + 1 : 0;
	}
}

static int environment_prepare(struct thaw_environment *environment, struct thaw_error *err)
{
	Thaw__Agent__HostMessage message = THAW__AGENT__HOST_MESSAGE__INIT;
	Thaw__Agent__PrepareSnapshot prepare = THAW__AGENT__PREPARE_SNAPSHOT__INIT;
	uint32_t seq;

	environment->phases.last = thaw_monotonic_ns();
	/* Caches are kept: what is in them are the names and mappings a clone needs at once. Files
	 * themselves are not, on drives with DAX. */
	message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_PREPARE_SNAPSHOT;
	message.prepare_snapshot = &prepare;
	int rc = thaw_agent_send(&environment->agent, &message, &seq, err);
	if (rc == 0)
		rc = thaw_agent_receive(&environment->agent, seq,
					THAW__AGENT__GUEST_MESSAGE__BODY_SNAPSHOT_READY,
					thaw_deadline(THAW_TIMEOUT_PREPARE), NULL, err);
	if (rc < 0)
		return thaw_error_wrap(err, "freezing the function");
	thaw_agent_close(&environment->agent);
	environment_await_rest(environment);
	thaw_phases_mark(&environment->phases, "freeze");
	return 0;
}

int thaw_environment_snapshot(struct thaw_environment *environment,
			      const struct thaw_snapshot_files *files, Thaw__Vmm__Reply **done,
			      struct thaw_error *err)
{
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__Snapshot snapshot = THAW__VMM__SNAPSHOT__INIT;
	int fds[4] = {files->state, files->index, files->frames, files->image};

	int rc = environment_prepare(environment, err);
	if (rc < 0)
		return rc;
	rc = thaw_environment_pause(environment, err);
	if (rc < 0)
		return rc;
	snapshot.state_fd = 1;
	snapshot.index_fd = 2;
	snapshot.frames_fd = 3;
	snapshot.image_fd = files->image >= 0 ? 4 : 0;
	request.body_case = THAW__VMM__REQUEST__BODY_SNAPSHOT;
	request.snapshot = &snapshot;
	rc = thaw_vmm_call(&environment->vmm, &request, fds, files->image >= 0 ? 4 : 3,
			   THAW__VMM__REPLY__BODY_SNAPSHOT, THAW_TIMEOUT_MEMORY, done, err);
	if (rc < 0)
		return rc;
	thaw_phases_mark(&environment->phases, "save");
	return 0;
}

int thaw_environment_save_working_set(struct thaw_environment *environment, int fd,
				      struct thaw_error *err)
{
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__SaveWorkingSet save = THAW__VMM__SAVE_WORKING_SET__INIT;

	int rc = thaw_environment_pause(environment, err);
	save.working_set_fd = 1;
	request.body_case = THAW__VMM__REQUEST__BODY_SAVE_WORKING_SET;
	request.save_working_set = &save;
	if (rc == 0)
		rc = thaw_vmm_call(&environment->vmm, &request, &fd, 1, THAW__VMM__REPLY__BODY_DONE,
				   THAW_TIMEOUT_REQUEST, NULL, err);
	return rc < 0 ? thaw_error_wrap(err, "saving the working set") : 0;
}
