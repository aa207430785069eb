/* SPDX-License-Identifier: Apache-2.0 */
#include "host/snapshot_create.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "host/host.h"
#include "host/snapshot_store.h"
#include "host/tmp_drive.h"
#include "lib/error.h"
#include "lib/fd.h"

/* Lambda gives the init before a snapshot as long as the function may run; this is enough. */
#define CREATE_INIT_TIMEOUT_MS 120000

/* Everything under way. */
struct create {
	const struct thaw_host *host;
	const struct thaw_snapshot_plan *plan;
	struct thaw_cold cold;
	struct thaw_environment environment;
	struct thaw_workdir work;
	struct thaw_snapshot_files files; /* in `work` */
	int tmp;                          /* tmp.img, in `work` */
	struct thaw_manifest *manifest;
};

static void create_progress(const struct create *c, const char *text)
{
	if (c->plan->progress)
		c->plan->progress(c->plan->progress_context, text);
}

static int create_file(struct create *c, const char *name, int *fd, struct thaw_error *err)
{
	*fd = openat(c->work.fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (*fd < 0)
		return thaw_error_errno(err, errno, "making the snapshot's file \"%s\"", name);
	return 0;
}

static int create_text(struct create *c, const char *name, const void *text, size_t size,
		       struct thaw_error *err)
{
	cleanup_close int fd = -1;
	int rc = create_file(c, name, &fd, err);

	if (rc == 0 && (rc = thaw_write_full(fd, text, size)) < 0)
		rc = thaw_error_errno(err, -rc, "writing the snapshot's file \"%s\"", name);
	return rc;
}

static int create_size(int fd, uint64_t *size, struct thaw_error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return thaw_error_errno(err, errno, "the snapshot's files");
	*size = (uint64_t)st.st_size;
	return 0;
}

static int create_boot(struct create *c, bool *function_failed, struct thaw_error *err)
{
	struct thaw_environment *environment = &c->environment;

	c->cold.machine.serial = c->plan->serial;
	c->cold.machine.network = c->plan->network;
	c->cold.machine.cpu_template = c->plan->cpu_template;
	c->cold.machine.snap_start = true;
	c->cold.machine.init_timeout_ms =
		c->plan->init_timeout_ms ? c->plan->init_timeout_ms : CREATE_INIT_TIMEOUT_MS;
	environment->log = c->plan->log;
	environment->log_context = c->plan->log_context;
	environment->stop = c->plan->stop;
	create_progress(c, "booting");
	int rc = thaw_environment_boot(environment, &c->cold.machine, err);
	if (rc < 0)
		return rc;
	if (environment->start_outcome != THAW__AGENT__OUTCOME__OUTCOME_OK) {
		*function_failed = true;
		return thaw_error_set(err, EREMOTEIO, "the function's init failed: %s",
				      environment->start_error);
	}
	return 0;
}

static int create_save(struct create *c, struct thaw_error *err)
{
	struct thaw_manifest *manifest = c->manifest;
	Thaw__Vmm__Reply *done;

	create_progress(c, "freezing");
	int rc = create_file(c, "state", &c->files.state, err);
	if (rc == 0)
		rc = create_file(c, "index", &c->files.index, err);
	if (rc == 0)
		rc = create_file(c, "frames", &c->files.frames, err);
	if (rc == 0 && !c->plan->no_image)
		rc = create_file(c, "image.raw", &c->files.image, err);
	if (rc == 0)
		rc = create_file(c, "tmp.img", &c->tmp, err);
	if (rc == 0)
		rc = thaw_environment_snapshot(&c->environment, &c->files, &done, err);
	if (rc < 0)
		return rc;
	if (done->snapshot->shape) {
		manifest->pages = done->snapshot->shape->pages;
		manifest->zero_pages = done->snapshot->shape->zero_pages;
		manifest->frames = done->snapshot->shape->frames;
	}
	for (size_t i = 0; i < done->snapshot->n_steps; i++) {
		char name[THAW_PHASE_NAME_MAX];
		snprintf(name, sizeof(name), "save %s",
			 done->snapshot->steps[i]->name ? done->snapshot->steps[i]->name : "");
		thaw_phases_add(&c->environment.phases, name, done->snapshot->steps[i]->ns);
	}
	thaw__vmm__reply__free_unpacked(done, NULL);
	/* The machine is paused and its file systems synced: /tmp is what the guest believes. */
	rc = thaw_copy_sparse(c->cold.machine.tmp, c->tmp, err);
	if (rc < 0)
		return thaw_error_wrap(err, "keeping /tmp");
	if (!c->plan->no_image && fchmod(c->files.image, 0400) < 0)
		return thaw_error_errno(err, errno, "the memory image");
	return 0;
}

/* The last of all: what is in the directory now is this host's. */
static int create_seal(struct create *c, struct thaw_error *err)
{
	const struct thaw_state *state = &c->host->state;
	struct thaw_seal seal;

	int rc = thaw_snapshot_seal(state, c->work.fd, c->plan->name, &seal, err);
	if (rc == 0)
		rc = thaw_seal_write(&seal, c->work.fd, THAW_SNAPSHOT_SEAL, state->key, err);
	if (rc == 0 && !c->plan->no_image)
		rc = thaw_snapshot_note_image(state, c->work.fd, &seal, err);
	return rc;
}

/* The drive in the cache and the one in the snapshot are one file: a link costs nothing, and
 * the cache may be emptied at any time. */
static int create_link(struct create *c, const char *digest, int drive, const char *name,
		       struct thaw_error *err)
{
	char cached[THAW_DIGEST_TEXT + 8];

	snprintf(cached, sizeof(cached), "%s.erofs", digest);
	if (linkat(c->host->state.code, cached, c->work.fd, name, 0) == 0)
		return 0;
	if (errno != ENOENT && errno != EMLINK)
		return thaw_error_errno(err, errno, "keeping the code");
	cleanup_close int fd = -1;
	int rc = create_file(c, name, &fd, err);
	return rc < 0 ? rc : thaw_copy_sparse(drive, fd, err);
}

static int create_link_drives(struct create *c, struct thaw_error *err)
{
	const struct thaw_cold *cold = &c->cold;

	int rc = create_link(c, cold->code_digest, cold->machine.code, "code.erofs", err);
	if (rc == 0 && cold->machine.layers >= 0)
		rc = create_link(c, cold->layers_digest, cold->machine.layers, "layers.erofs", err);
	return rc;
}

static int create_manifest(struct create *c, struct thaw_error *err)
{
	const struct thaw_function *function = c->plan->function;
	struct thaw_manifest *m = c->manifest;
	time_t now = time(NULL);
	struct tm utc;

	gmtime_r(&now, &utc);
	snprintf(m->name, sizeof(m->name), "%s", c->plan->name);
	strftime(m->created, sizeof(m->created), "%Y-%m-%dT%H:%M:%SZ", &utc);
	snprintf(m->thaw, sizeof(m->thaw), "%s", THAW_VERSION);
	m->cpu_template = (uint32_t)c->environment.cpu_template;
	m->software_kvm = c->environment.software_kvm;
	m->network = c->plan->network != NULL;
	m->init_us = c->environment.start_duration_us;
	m->phases = c->environment.phases;
	strcpy(m->code_digest, c->cold.code_digest);
	strcpy(m->layers_digest, c->cold.layers_digest);
	int rc = thaw_function_copy(&m->function, function, err);
	if (rc == 0)
		rc = thaw_digest_file_cached(&c->host->state, c->cold.machine.root, m->root_digest,
					     err);
	if (rc == 0)
		rc = thaw_digest_file_cached(&c->host->state, c->cold.machine.kernel,
					     m->kernel_digest, err);
	if (rc == 0)
		rc = thaw_digest_file_cached(&c->host->state, c->cold.machine.initramfs,
					     m->initramfs_digest, err);
	if (rc == 0)
		rc = thaw_digest_file_cached(&c->host->state, c->cold.machine.code,
					     m->code_drive_digest, err);
	if (rc == 0 && c->cold.machine.layers >= 0)
		rc = thaw_digest_file_cached(&c->host->state, c->cold.machine.layers,
					     m->layers_drive_digest, err);
	if (rc == 0)
		rc = thaw_digest_sparse(c->tmp, m->tmp_drive_digest, err);
	if (rc == 0)
		rc = create_size(c->files.state, &m->state_size, err);
	if (rc == 0)
		rc = create_size(c->files.index, &m->index_size, err);
	if (rc == 0)
		rc = create_size(c->files.frames, &m->frames_size, err);
	if (rc == 0)
		rc = create_size(c->tmp, &m->tmp_size, err);
	if (rc < 0)
		return rc;
	cleanup_free char *text = thaw_manifest_format(m);
	if (!text)
		return thaw_error_errno(err, ENOMEM, "the manifest");
	rc = create_text(c, "manifest.json", text, strlen(text), err);
	if (rc == 0 && c->plan->event)
		rc = create_text(c, "event.json", c->plan->event, c->plan->event_size, err);
	return rc;
}

int thaw_snapshot_record(const struct thaw_host *host, const struct thaw_machine *machine,
			 const struct thaw_snapshot_files *files,
			 const struct thaw_function *function, const uint8_t *event,
			 size_t event_size, int fd, struct thaw_error *err)
{
	const struct thaw_restore_options options = {
		.mode = THAW__VMM__RESTORE_MODE__RESTORE_MODE_UFFD, .record = true};
	struct thaw_invocation invocation = {.event = event, .event_size = event_size};
	struct thaw_environment environment;
	struct thaw_result result;

	thaw_request_id_make(invocation.request_id);
	thaw_environment_init(&environment, host, function);
	int rc = thaw_environment_restore(&environment, machine, files, &options, &invocation, err);
	if (rc == 0)
		rc = thaw_environment_invoke(&environment, &invocation, &result, err);
	if (rc == 0)
		rc = thaw_environment_save_working_set(&environment, fd, err);
	thaw_environment_close(&environment);
	return rc < 0 ? thaw_error_wrap(err, "recording the working set") : 0;
}

static int create_record(struct create *c, struct thaw_error *err)
{
	struct thaw_machine machine = c->cold.machine;
	cleanup_close int fd = -1, tmp = -1;

	if (!c->plan->event || c->plan->no_image || c->host->userfaultfd < 0)
		return 0;
	create_progress(c, "recording the working set");
	int rc = thaw_tmp_drive_copy(&c->host->state, c->tmp, &tmp, err);
	if (rc == 0)
		rc = create_file(c, "working_set", &fd, err);
	if (rc < 0)
		return rc;
	machine.tmp = tmp;
	machine.serial = -1;
	machine.cpu_template = c->environment.cpu_template;
	rc = thaw_snapshot_record(c->host, &machine, &c->files, c->plan->function, c->plan->event,
				  c->plan->event_size, fd, err);
	return rc;
}

static int create_all(struct create *c, bool *function_failed, struct thaw_error *err)
{
	int rc = thaw_cold_open(&c->cold, c->host, c->plan->function, &c->plan->code,
				c->plan->kernel, err);

	/* What clones have mapped is named in the manifest. */
	if (rc == 0 &&
	    (!*c->cold.code_digest || (c->cold.machine.layers >= 0 && !*c->cold.layers_digest)))
		rc = thaw_error_set(err, EINVAL, "the drives of the code have no names");
	if (rc == 0)
		rc = create_boot(c, function_failed, err);
	if (rc == 0)
		rc = thaw_workdir_make(&c->work, &c->host->state, err);
	if (rc == 0)
		rc = create_save(c, err);
	if (rc == 0)
		rc = create_link_drives(c, err);
	if (rc == 0)
		rc = create_manifest(c, err);
	if (rc == 0)
		rc = thaw_stop_check(c->plan->stop, err);
	/* The first machine's memory is not wanted beside its clone's. */
	thaw_environment_close(&c->environment);
	if (rc == 0)
		rc = create_record(c, err);
	if (rc == 0)
		rc = create_seal(c, err);
	if (rc == 0)
		rc = thaw_workdir_publish(&c->work, c->host->state.snapshots, c->plan->name,
					  c->plan->force, err);
	return rc;
}

int thaw_snapshot_create(const struct thaw_host *host, const struct thaw_snapshot_plan *plan,
			 struct thaw_manifest *manifest, bool *function_failed,
			 struct thaw_error *err)
{
	struct create c = {
		.host = host,
		.plan = plan,
		.cold = THAW_COLD_NONE,
		.work = THAW_WORKDIR_NONE,
		.files = THAW_SNAPSHOT_FILES_NONE,
		.tmp = -1,
		.manifest = manifest,
	};

	*function_failed = false;
	thaw_manifest_init(manifest);
	int rc = thaw_snapshot_check_name(plan->name, err);
	if (rc < 0)
		return rc;
	if (!plan->force && thaw_snapshot_exists(&host->state, plan->name))
		return thaw_error_set(
			err, EEXIST, "there is a snapshot \"%s\" already (--force takes its place)",
			plan->name);
	thaw_environment_init(&c.environment, host, plan->function);
	rc = create_all(&c, function_failed, err);
	thaw_environment_close(&c.environment);
	/* What failed because of that tells of sockets. */
	if (rc < 0)
		rc = thaw_stop_check(plan->stop, err) < 0 ? -ECANCELED : rc;
	thaw_workdir_drop(&c.work);
	thaw_cold_close(&c.cold);
	thaw_cleanup_close(&c.files.state);
	thaw_cleanup_close(&c.files.index);
	thaw_cleanup_close(&c.files.frames);
	thaw_cleanup_close(&c.files.image);
	thaw_cleanup_close(&c.tmp);
	if (rc < 0) {
		thaw_manifest_clear(manifest);
		return thaw_error_wrap(err, "making snapshot \"%s\"", plan->name);
	}
	return 0;
}

int thaw_snapshot_record_again(const struct thaw_host *host, struct thaw_snapshot *snapshot,
			       const struct thaw_network *network, const uint8_t *event,
			       size_t event_size, struct thaw_error *err)
{
	struct thaw_machine machine = THAW_MACHINE_NONE;
	struct thaw_workdir work = THAW_WORKDIR_NONE;
	cleanup_close int fd = -1, tmp = -1, root = -1;

	int rc = thaw_snapshot_check_network(snapshot, network, err);
	if (rc == 0)
		rc = thaw_snapshot_open_image(snapshot, host, NULL, err);
	if (rc == 0)
		rc = thaw_snapshot_open_root(snapshot, host, &root, err);
	if (rc == 0)
		rc = thaw_tmp_drive_copy(&host->state, snapshot->tmp, &tmp, err);
	if (rc == 0)
		rc = thaw_workdir_make(&work, &host->state, err);
	if (rc < 0)
		return rc;
	machine.root = root;
	machine.code = snapshot->code;
	machine.layers = snapshot->layers;
	machine.tmp = tmp;
	machine.network = network;
	machine.cpu_template = snapshot->manifest.cpu_template;
	fd = openat(work.fd, "working_set", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		rc = thaw_error_errno(err, errno, "making a file for the working set");
	if (rc == 0)
		rc = thaw_snapshot_record(host, &machine, &snapshot->files,
					  &snapshot->manifest.function, event, event_size, fd, err);
	if (rc == 0)
		rc = thaw_snapshot_put_working_set(&host->state, snapshot, &work, &fd, err);
	thaw_workdir_drop(&work);
	return rc;
}
