/* SPDX-License-Identifier: Apache-2.0 */
/* The start from a snapshot: memory and state, then the agent's resume. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/environment_internal.h"
#include "host/timeouts.h"
#include "lib/clock.h"
#include "lib/error.h"

static int environment_send_resume(struct thaw_environment *environment, uint32_t *seq,
				   struct thaw_error *err)
{
	Thaw__Agent__HostMessage message = THAW__AGENT__HOST_MESSAGE__INIT;
	Thaw__Agent__Resume resume = THAW__AGENT__RESUME__INIT;
	uint8_t entropy[ENVIRONMENT_ENTROPY];

	int rc = environment_name_log_stream(environment, err);
	if (rc == 0)
		rc = environment_random(entropy, sizeof(entropy), err);
	if (rc < 0)
		return rc;
	resume.entropy.data = entropy;
	resume.entropy.len = sizeof(entropy);
	resume.wall_clock_ns = thaw_realtime_ns();
	resume.log_stream = environment->log_stream;
	resume.timeout_ms =
		thaw_timeout_ms(environment_patience(environment, THAW_TIMEOUT_RESTORE));
	message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_RESUME;
	message.resume = &resume;
	rc = thaw_agent_send(&environment->agent, &message, seq, err);
	explicit_bzero(entropy, sizeof(entropy));
	return rc;
}

static int environment_send_restore(struct thaw_environment *environment,
				    const struct thaw_snapshot_files *files,
				    const struct thaw_restore_options *options, int vsock,
				    uint32_t *id, struct thaw_error *err)
{
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__Restore restore = THAW__VMM__RESTORE__INIT;
	struct attachments fds = {.count = 0};

	restore.state_fd = environment_attach(&fds, files->state);
	restore.index_fd = environment_attach(&fds, files->index);
	if (options->mode == THAW__VMM__RESTORE_MODE__RESTORE_MODE_EAGER)
		restore.frames_fd = environment_attach(&fds, files->frames);
	else
		restore.image_fd = environment_attach(&fds, files->image);
	if (options->mode == THAW__VMM__RESTORE_MODE__RESTORE_MODE_UFFD && !options->record)
		restore.working_set_fd = environment_attach(&fds, files->working_set);
	restore.mode = options->mode;
	restore.direct = options->direct;
	restore.record = options->record;
	restore.vsock_fd = environment_attach(&fds, vsock);
	request.body_case = THAW__VMM__REQUEST__BODY_RESTORE;
	request.restore = &restore;
	environment->restore_asked_ns = thaw_monotonic_ns();
	return thaw_vmm_send(&environment->vmm, &request, fds.fd, fds.count, id, err);
}

static int environment_restored(struct thaw_environment *environment, uint32_t id,
				struct thaw_error *err)
{
	Thaw__Vmm__Reply *reply;

	int rc = thaw_vmm_receive(&environment->vmm, id, THAW__VMM__REPLY__BODY_RESTORE,
				  thaw_deadline(THAW_TIMEOUT_MEMORY), &reply, err);
	if (rc < 0) {
		/* What thaw-vmm itself says of the files, against what befell it or the host. */
		environment->snapshot_refused = rc != -EPIPE && rc != -ETIMEDOUT && rc != -EPROTO &&
						rc != -ECANCELED && rc != -ENOMEM &&
						rc != -ENOSPC && rc != -EMFILE && rc != -ENFILE;
		return rc;
	}
	environment_steps(&environment->restore_steps, reply->restore->steps,
			  reply->restore->n_steps);
	environment->restore_bytes_read = reply->restore->bytes_read;
	environment->restore_pages_loaded = reply->restore->pages_loaded;
	environment->restored = true;
	thaw__vmm__reply__free_unpacked(reply, NULL);
	thaw_phases_mark(&environment->phases, "restore");
	return 0;
}

static int environment_resumed(struct thaw_environment *environment, uint32_t seq,
			       struct thaw_error *err)
{
	Thaw__Agent__GuestMessage *answer;
	uint32_t patience =
		environment_patience(environment, THAW_TIMEOUT_RESTORE + THAW_TIMEOUT_GRACE);

	int rc = thaw_agent_receive(&environment->agent, seq,
				    THAW__AGENT__GUEST_MESSAGE__BODY_RESUMED,
				    thaw_deadline(patience), &answer, err);
	if (rc < 0)
		return thaw_error_wrap(err, "resuming the function");
	thaw_phases_mark(&environment->phases, "resume");
	environment->restore_ready_ns = environment->phases.last;
	rc = environment_note_start(
		environment, answer->resumed->outcome, &answer->resumed->error_json,
		environment_believe_us(answer->resumed->duration_us, environment->restore_asked_ns),
		err);
	thaw__agent__guest_message__free_unpacked(answer, NULL);
	return rc;
}

int thaw_environment_restore(struct thaw_environment *environment,
			     const struct thaw_machine *machine,
			     const struct thaw_snapshot_files *files,
			     const struct thaw_restore_options *options,
			     const struct thaw_invocation *first, struct thaw_error *err)
{
	uint32_t restore_id, resume_seq;
	cleanup_close int theirs = -1;

	int rc = environment_spawn(environment, machine, err);
	if (rc == 0)
		rc = environment_create(environment, machine, err);
	/* The connection, the resume and the event are in place before the guest runs again:
	 * it finds them with its first look. */
	if (rc == 0)
		rc = environment_open_agent(environment, &theirs, err);
	if (rc == 0)
		rc = environment_send_resume(environment, &resume_seq, err);
	if (rc == 0 && first)
		rc = environment_send_invoke(environment, first, &environment->ahead_seq, err);
	if (rc == 0)
		rc = thaw_agent_flush(&environment->agent, err);
	if (rc == 0)
		rc = environment_send_restore(environment, files, options, theirs, &restore_id,
					      err);
	if (rc < 0)
		return rc;
	thaw_cleanup_close(&theirs);
	theirs = -1;
	rc = environment_restored(environment, restore_id, err);
	return rc < 0 ? rc : environment_resumed(environment, resume_seq, err);
}
