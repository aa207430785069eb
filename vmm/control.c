/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "proto/vmm.pb-c.h"
#include "vmm/loop.h"
#include "vmm/machine.h"
#include "vmm/snapshot/state.h"

#define REQUEST_MAX (64u << 10)
#define REPLY_MAX   (64u << 10)

/* A guest may write to the mark port as often as it likes; the host hears of so many. */
#define MARKS_MAX 64u

struct thaw_control {
	struct thaw_loop *loop;
	struct thaw_source source;
	struct thaw_machine *machine;
	unsigned int marks;
	uint8_t request[REQUEST_MAX];
};

/* One packet; the kernel keeps packets of several threads apart. */
static void control_send(struct thaw_control *c, const Thaw__Vmm__Reply *reply, int flags)
{
	uint8_t data[REPLY_MAX];
	size_t size = thaw__vmm__reply__get_packed_size(reply);

	if (size > sizeof(data)) {
		thaw_log(THAW_LOG_ERROR, "a reply of %zu bytes is too long", size);
		return;
	}
	thaw__vmm__reply__pack(reply, data);
	/* A host that is gone closes the socket, which ends the loop. */
	if (send(c->source.fd, data, size, MSG_NOSIGNAL | flags) < 0)
		thaw_log(THAW_LOG_DEBUG, "sending a reply: %s", strerror(errno));
}

static void control_fail(struct thaw_control *c, uint32_t id, const struct thaw_error *err)
{
	Thaw__Vmm__Failure failure = THAW__VMM__FAILURE__INIT;
	Thaw__Vmm__Reply reply = THAW__VMM__REPLY__INIT;

	failure.code = err->code;
	failure.message = (char *)err->message;
	reply.id = id;
	reply.body_case = THAW__VMM__REPLY__BODY_FAILURE;
	reply.failure = &failure;
	control_send(c, &reply, 0);
}

/* --- events, from vCPU threads --- */

static void control_mark(void *opaque, uint8_t value, uint64_t since_first_run_ns)
{
	struct thaw_control *c = opaque;
	Thaw__Vmm__Mark mark = THAW__VMM__MARK__INIT;
	Thaw__Vmm__Reply reply = THAW__VMM__REPLY__INIT;

	if (c->marks == MARKS_MAX) /* under the device lock, as every bus access */
		return;
	c->marks++;
	mark.value = value;
	mark.ns = since_first_run_ns;
	reply.body_case = THAW__VMM__REPLY__BODY_MARK;
	reply.mark = &mark;
	control_send(c, &reply, MSG_DONTWAIT);
}

static void control_stopped(void *opaque, enum thaw_stop_reason reason, const char *message)
{
	Thaw__Vmm__Stopped stopped = THAW__VMM__STOPPED__INIT;
	Thaw__Vmm__Reply reply = THAW__VMM__REPLY__INIT;

	stopped.reason = (Thaw__Vmm__Stopped__Reason)reason;
	stopped.message = (char *)message;
	reply.body_case = THAW__VMM__REPLY__BODY_STOPPED;
	reply.stopped = &stopped;
	control_send(opaque, &reply, 0);
}

/* --- requests --- */

/* What a reply is made of; lives while it is sent. */
struct reply_parts {
	Thaw__Vmm__Reply reply;
	Thaw__Vmm__Done done;
	Thaw__Vmm__CreateDone create;
	Thaw__Vmm__RestoreDone restore;
	Thaw__Vmm__SnapshotDone snapshot;
	Thaw__Vmm__Snapshot__Shape shape;
	char *device_names[32];
	Thaw__Vmm__Step steps[THAW_STEPS_MAX];
	Thaw__Vmm__Step *step_list[THAW_STEPS_MAX];
	Thaw__Vmm__Statistics statistics;
	struct thaw_machine_statistics numbers;
	Thaw__Vmm__Count counts[THAW_EXIT_REASONS + 1];
	Thaw__Vmm__Count *count_list[THAW_EXIT_REASONS + 1];
	Thaw__Vmm__Mapping mappings[16];
	Thaw__Vmm__Mapping *mapping_list[16];
	Thaw__Snapshot__State *state; /* owned: what the shape's names point into */
	struct thaw_index index;      /* owned */
};

static size_t parts_steps(struct reply_parts *p, const struct thaw_steps *steps)
{
	for (size_t i = 0; i < steps->count; i++) {
		thaw__vmm__step__init(&p->steps[i]);
		p->steps[i].name = (char *)steps->step[i].name;
		p->steps[i].ns = steps->step[i].ns;
		p->step_list[i] = &p->steps[i];
	}
	return steps->count;
}

static void parts_created(struct thaw_control *c, struct reply_parts *p,
			  const struct thaw_steps *steps)
{
	thaw__vmm__create_done__init(&p->create);
	p->create.cpu_template = (Thaw__Vmm__CpuTemplate)thaw_machine_cpu_template(c->machine);
	p->create.software_kvm = thaw_machine_software_kvm(c->machine);
	p->create.n_steps = parts_steps(p, steps);
	p->create.steps = p->step_list;
	p->reply.body_case = THAW__VMM__REPLY__BODY_CREATE;
	p->reply.create = &p->create;
}

static int do_create(struct thaw_control *c, const Thaw__Vmm__Create *request, struct thaw_fds *fds,
		     struct reply_parts *p, struct thaw_error *err)
{
	const struct thaw_machine_events events = {control_mark, control_stopped, c};
	struct thaw_steps steps;

	if (c->machine)
		return thaw_error_set(err, EBUSY, "there is a machine already");
	thaw_steps_start(&steps);
	int rc = thaw_machine_create(&c->machine, c->loop, &events, request, fds, &steps, err);
	if (rc < 0)
		return rc;
	parts_created(c, p, &steps);
	return 0;
}

static int do_attach(struct thaw_control *c, const Thaw__Vmm__Create *request, struct thaw_fds *fds,
		     struct reply_parts *p, struct thaw_error *err)
{
	struct thaw_steps steps;

	thaw_steps_start(&steps);
	int rc = thaw_machine_attach(c->machine, request, fds, &steps, err);
	if (rc < 0)
		return rc;
	parts_created(c, p, &steps);
	return 0;
}

static int do_restore(struct thaw_control *c, const Thaw__Vmm__Restore *request,
		      struct thaw_fds *fds, struct reply_parts *p, struct thaw_error *err)
{
	struct thaw_load_result result;
	struct thaw_steps steps;

	thaw_steps_start(&steps);
	int rc = thaw_machine_restore(c->machine, request, fds, &steps, &result, err);
	if (rc < 0)
		return thaw_error_wrap(err, "restoring");
	thaw__vmm__restore_done__init(&p->restore);
	p->restore.n_steps = parts_steps(p, &steps);
	p->restore.steps = p->step_list;
	p->restore.pages_loaded = result.pages_loaded;
	p->restore.bytes_read = result.bytes_read;
	p->reply.body_case = THAW__VMM__REPLY__BODY_RESTORE;
	p->reply.restore = &p->restore;
	return 0;
}

static void parts_shape_index(struct reply_parts *p)
{
	p->shape.format = THAW_STATE_VERSION;
	p->shape.pages = p->index.pages;
	p->shape.zero_pages = p->index.zero_pages;
	p->shape.frames = p->index.frame_count;
	p->shape.stored_bytes = p->index.frames_size;
}

static int do_snapshot(struct thaw_control *c, const Thaw__Vmm__Snapshot *request,
		       struct thaw_fds *fds, struct reply_parts *p, struct thaw_error *err)
{
	struct thaw_steps steps;

	thaw_steps_start(&steps);
	int rc = thaw_machine_snapshot(c->machine, request, fds, &p->index, &steps, err);
	if (rc < 0)
		return thaw_error_wrap(err, "saving the machine");
	thaw__vmm__snapshot_done__init(&p->snapshot);
	thaw__vmm__snapshot__shape__init(&p->shape);
	parts_shape_index(p);
	p->shape.cpu_template = (Thaw__Vmm__CpuTemplate)thaw_machine_cpu_template(c->machine);
	p->snapshot.shape = &p->shape;
	p->snapshot.n_steps = parts_steps(p, &steps);
	p->snapshot.steps = p->step_list;
	p->reply.body_case = THAW__VMM__REPLY__BODY_SNAPSHOT;
	p->reply.snapshot = &p->snapshot;
	return 0;
}

static int do_materialise(const Thaw__Vmm__Materialise *request, struct thaw_fds *fds,
			  struct thaw_error *err)
{
	cleanup_close int index_fd = thaw_fds_take(fds, request->index_fd, "index", err);
	cleanup_close int frames_fd = thaw_fds_take(fds, request->frames_fd, "frames", err);
	cleanup_close int image_fd = thaw_fds_take(fds, request->image_fd, "image", err);
	struct thaw_index index;
	int rc;

	if (index_fd < 0 || frames_fd < 0 || image_fd < 0)
		return -EBADF;
	rc = thaw_index_read(index_fd, &index, err);
	if (rc < 0)
		return rc;
	rc = thaw_image_materialise(&index, frames_fd, image_fd, err);
	thaw_index_clear(&index);
	return rc;
}

static int verify_run(void *opaque, uint64_t first, const uint8_t *data, uint64_t count,
		      struct thaw_error *err)
{
	(void)opaque;
	(void)first;
	(void)data;
	(void)count;
	(void)err;
	return 0;
}

static int do_inspect(const Thaw__Vmm__Inspect *request, struct thaw_fds *fds,
		      struct reply_parts *p, struct thaw_error *err)
{
	cleanup_close int state_fd = thaw_fds_take(fds, request->state_fd, "state", err);
	cleanup_close int index_fd = thaw_fds_take(fds, request->index_fd, "index", err);
	int rc;

	if (state_fd < 0 || index_fd < 0)
		return -EBADF;
	rc = thaw_state_read(state_fd, &p->state, err);
	if (rc == 0)
		rc = thaw_index_read(index_fd, &p->index, err);
	if (rc < 0)
		return rc;
	if (p->state->memory_index != p->index.checksum)
		return thaw_error_set(err, EBADMSG,
				      "state and memory index are not of one snapshot");
	if (request->frames_fd) {
		cleanup_close int frames_fd = thaw_fds_take(fds, request->frames_fd, "frames", err);
		rc = frames_fd < 0 ? frames_fd
				   : thaw_frames_read(&p->index, frames_fd, verify_run, NULL, err);
		if (rc < 0)
			return rc;
	}
	thaw__vmm__snapshot__shape__init(&p->shape);
	if (request->working_set_fd) {
		struct thaw_working_set set;
		cleanup_close int set_fd =
			thaw_fds_take(fds, request->working_set_fd, "working set", err);
		rc = set_fd < 0 ? set_fd
				: thaw_working_set_read(&set, p->index.checksum, p->index.pages,
							set_fd, err);
		if (rc < 0)
			return rc;
		p->shape.working_set_pages = set.count;
		thaw_working_set_clear(&set);
	}
	parts_shape_index(p);
	p->shape.vcpus = p->state->vcpus;
	p->shape.memory_mib = p->state->memory_mib;
	p->shape.cpu_template = (Thaw__Vmm__CpuTemplate)p->state->cpu_template;
	for (size_t i = 0; i < p->state->n_devices && i < 32; i++)
		p->device_names[p->shape.n_devices++] = p->state->devices[i]->kind;
	p->shape.devices = p->device_names;
	p->reply.body_case = THAW__VMM__REPLY__BODY_INSPECT;
	p->reply.inspect = &p->shape;
	return 0;
}

static int do_statistics(struct thaw_control *c, struct reply_parts *p)
{
	struct thaw_machine_statistics *n = &p->numbers;
	Thaw__Vmm__Statistics *s = &p->statistics;
	struct rusage usage;

	thaw_machine_statistics(c->machine, n);
	getrusage(RUSAGE_SELF, &usage);
	thaw__vmm__statistics__init(s);
	for (size_t i = 0; i < n->exit_count; i++) {
		thaw__vmm__count__init(&p->counts[i]);
		p->counts[i].name = (char *)n->exits[i].name;
		p->counts[i].value = n->exits[i].value;
		p->count_list[i] = &p->counts[i];
	}
	for (size_t i = 0; i < n->mapping_count; i++) {
		thaw__vmm__mapping__init(&p->mappings[i]);
		p->mappings[i].name = (char *)n->mappings[i].name;
		p->mappings[i].address = n->mappings[i].address;
		p->mappings[i].size = n->mappings[i].size;
		p->mapping_list[i] = &p->mappings[i];
	}
	s->n_exits = n->exit_count;
	s->exits = p->count_list;
	s->n_mappings = n->mapping_count;
	s->mappings = p->mapping_list;
	s->guest_ns = n->guest_ns;
	s->minor_faults = (uint64_t)usage.ru_minflt;
	s->major_faults = (uint64_t)usage.ru_majflt;
	s->uffd_faults = n->uffd_faults;
	s->pages_loaded = n->pages_loaded;
	s->bytes_read = n->bytes_read;
	s->bytes_written = n->bytes_written;
	s->vsock_rx_bytes = n->vsock_rx_bytes;
	s->vsock_tx_bytes = n->vsock_tx_bytes;
	s->net_rx_bytes = n->net.rx_bytes;
	s->net_rx_packets = n->net.rx_packets;
	s->net_tx_bytes = n->net.tx_bytes;
	s->net_tx_packets = n->net.tx_packets;
	s->net_dropped = n->net.dropped;
	s->first_run_ns = n->first_run_ns;
	p->reply.body_case = THAW__VMM__REPLY__BODY_STATISTICS;
	p->reply.statistics = s;
	return 0;
}

/* Requests that need a machine. */
static int do_machine(struct thaw_control *c, const Thaw__Vmm__Request *request,
		      struct thaw_fds *fds, struct reply_parts *p, struct thaw_error *err)
{
	if (!c->machine)
		return thaw_error_set(err, EINVAL, "there is no machine yet");
	switch (request->body_case) {
	case THAW__VMM__REQUEST__BODY_ATTACH:
		return do_attach(c, request->attach, fds, p, err);
	case THAW__VMM__REQUEST__BODY_BOOT:
		return thaw_machine_boot(c->machine, request->boot, fds, err);
	case THAW__VMM__REQUEST__BODY_RESTORE:
		return do_restore(c, request->restore, fds, p, err);
	case THAW__VMM__REQUEST__BODY_PAUSE:
		return thaw_machine_pause(c->machine, err);
	case THAW__VMM__REQUEST__BODY_RESUME:
		return thaw_machine_resume(c->machine, err);
	case THAW__VMM__REQUEST__BODY_SNAPSHOT:
		return do_snapshot(c, request->snapshot, fds, p, err);
	case THAW__VMM__REQUEST__BODY_SAVE_WORKING_SET:
		return thaw_machine_save_working_set(c->machine, request->save_working_set, fds,
						     err);
	case THAW__VMM__REQUEST__BODY_VSOCK_ATTACH:
		return thaw_machine_vsock_attach(c->machine, request->vsock_attach, fds, err);
	case THAW__VMM__REQUEST__BODY_GET_STATISTICS:
		return do_statistics(c, p);
	default:
		return thaw_error_set(err, EINVAL, "unknown request %d", (int)request->body_case);
	}
}

static void control_request(struct thaw_control *c, const Thaw__Vmm__Request *request,
			    struct thaw_fds *fds)
{
	struct reply_parts p = {.state = NULL};
	struct thaw_error err = {0};
	int rc = 0;

	thaw__vmm__reply__init(&p.reply);
	thaw__vmm__done__init(&p.done);
	p.reply.id = request->id;
	p.reply.body_case = THAW__VMM__REPLY__BODY_DONE;
	p.reply.done = &p.done;
	switch (request->body_case) {
	case THAW__VMM__REQUEST__BODY_PING:
		break;
	case THAW__VMM__REQUEST__BODY_SHUTDOWN:
		c->loop->stop = true;
		return;
	case THAW__VMM__REQUEST__BODY_CREATE:
		rc = do_create(c, request->create, fds, &p, &err);
		break;
	case THAW__VMM__REQUEST__BODY_MATERIALISE:
		rc = do_materialise(request->materialise, fds, &err);
		break;
	case THAW__VMM__REQUEST__BODY_INSPECT:
		rc = do_inspect(request->inspect, fds, &p, &err);
		break;
	default:
		rc = do_machine(c, request, fds, &p, &err);
	}
	if (rc < 0)
		control_fail(c, request->id, &err);
	else
		control_send(c, &p.reply, 0);
	if (p.state)
		thaw__snapshot__state__free_unpacked(p.state, NULL);
	thaw_index_clear(&p.index);
}

static void control_handle(void *opaque, uint32_t events)
{
	struct thaw_control *c = opaque;
	struct thaw_fds fds = {.count = 0};
	ssize_t n = thaw_recv_fds(c->source.fd, c->request, sizeof(c->request), fds.fd, &fds.count);

	(void)events;
	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		if (n < 0)
			thaw_log(THAW_LOG_ERROR, "control socket: %s", strerror((int)-n));
		c->loop->stop = true;
		return;
	}
	Thaw__Vmm__Request *request = thaw__vmm__request__unpack(NULL, (size_t)n, c->request);
	if (request) {
		control_request(c, request, &fds);
		thaw__vmm__request__free_unpacked(request, NULL);
	} else {
		struct thaw_error err;
		thaw_error_set(&err, EBADMSG, "a request that is not thaw.vmm.Request");
		control_fail(c, 0, &err);
	}
	thaw_fds_close(&fds);
}

int thaw_control_create(struct thaw_control **control, int socket, struct thaw_loop *loop,
			struct thaw_error *err)
{
	struct thaw_control *c = calloc(1, sizeof(*c));

	if (!c)
		return thaw_error_errno(err, ENOMEM, "control socket");
	c->loop = loop;
	c->source = (struct thaw_source){
		.fd = socket,
		.events = EPOLLIN,
		.handle = control_handle,
		.opaque = c,
	};
	int rc = thaw_loop_add(loop, &c->source, err);
	if (rc < 0) {
		free(c);
		return rc;
	}
	*control = c;
	return 0;
}

void thaw_control_destroy(struct thaw_control *control)
{
	thaw_machine_destroy(control->machine);
	thaw_loop_remove(control->loop, &control->source);
	free(control);
}
