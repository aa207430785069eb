/* SPDX-License-Identifier: Apache-2.0 */
/* The microVM of an environment: made from nothing, or from one in waiting. */
#include <errno.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "host/environment_internal.h"
#include "host/host.h"
#include "host/kvm_kind.h"
#include "host/network/guest.h"
#include "host/private_copies.h"
#include "host/shells.h"
#include "host/timeouts.h"
#include "lib/error.h"

/* thaw-vmm beside its guest's memory, and what kernel and KVM keep for each page of that (tables of
 * two kinds, and who maps it: 0.6 %). */
#define VMM_OVERHEAD_MIB(guest_mib) (32u + (guest_mib) / 64)
/* Its threads, of which io_uring has some too. */
#define VMM_THREADS_MAX 64

#define GUEST_CID      3
#define MACHINE_DRIVES 4
#define PMEM_SECTION   (128ull << 20)
#define PMEM_ROUND     (64ull << 20)

/* From the first mapped drive's address to the last one's end: each begins at a section of the
 * guest's memory map (vmm/machine_internal.h). Rounded, so that functions alike share their shells.
 */
static uint32_t machine_room_mib(const struct thaw_machine *machine)
{
	const int drives[] = {machine->root, machine->code, machine->layers};
	uint64_t end = 0;
	struct stat st;

	for (size_t i = 0; i < sizeof(drives) / sizeof(drives[0]); i++) {
		if (drives[i] < 0 || fstat(drives[i], &st) < 0)
			continue;
		end = (end + PMEM_SECTION - 1) & ~(uint64_t)(PMEM_SECTION - 1);
		end += (uint64_t)st.st_size;
	}
	return (uint32_t)((end + PMEM_ROUND - 1) / PMEM_ROUND * (PMEM_ROUND >> 20));
}

struct thaw_shell_shape thaw_shell_shape(const struct thaw_function *function,
					 const struct thaw_machine *machine)
{
	return (struct thaw_shell_shape){
		.vcpus = thaw_function_vcpus(function),
		.memory_mib = thaw_function_guest_mib(function),
		.pmem_mib = machine_room_mib(machine),
		.cpu_template = machine->cpu_template,
	};
}

struct limit {
	Thaw__Vmm__RateLimit limit;
	Thaw__Vmm__TokenBucket bytes, operations;
};

/* What a microVM is made of, in the messages for thaw-vmm: its body, and its devices. */
struct creation {
	Thaw__Vmm__Request request;
	Thaw__Vmm__Create create;
	struct attachments fds;
	Thaw__Vmm__Drive drives[MACHINE_DRIVES];
	Thaw__Vmm__Drive *list[MACHINE_DRIVES];
	Thaw__Vmm__Network network;
	uint8_t mac[THAW_GUEST_MAC_SIZE];
	struct limit tmp, to_guest, from_guest;
};

static void creation_init(struct creation *c)
{
	thaw__vmm__request__init(&c->request);
	thaw__vmm__create__init(&c->create);
	c->fds.count = 0;
	c->request.body_case = THAW__VMM__REQUEST__BODY_CREATE;
	c->request.create = &c->create;
}

static Thaw__Vmm__TokenBucket *limit_bucket(Thaw__Vmm__TokenBucket *bucket,
					    const struct thaw_rate *rate)
{
	thaw__vmm__token_bucket__init(bucket);
	bucket->size = rate->size;
	bucket->per_second = rate->per_second;
	return rate->size ? bucket : NULL;
}

static Thaw__Vmm__RateLimit *limit_fill(struct limit *limit, const struct thaw_rate_limit *from)
{
	thaw__vmm__rate_limit__init(&limit->limit);
	limit->limit.bytes = limit_bucket(&limit->bytes, &from->bytes);
	limit->limit.operations = limit_bucket(&limit->operations, &from->operations);
	return limit->limit.bytes || limit->limit.operations ? &limit->limit : NULL;
}

/* With a header of the kernel's before each frame, a guest would write it. A descriptor of another
 * kind has none. */
static int network_check(const struct thaw_network *network, struct thaw_error *err)
{
	const short wanted = IFF_TAP | IFF_NO_PI;
	struct ifreq request = {0};

	if (ioctl(network->tap, TUNGETIFF, &request) == 0 &&
	    (request.ifr_flags & (IFF_TUN | IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)) != wanted)
		return thaw_error_set(err, EINVAL, "the tap \"%.*s\" has headers of the kernel's",
				      IFNAMSIZ, request.ifr_name);
	return 0;
}

static void creation_add_network(struct creation *c, const struct thaw_network *network)
{
	static const uint8_t mac[] = THAW_GUEST_MAC;

	thaw__vmm__network__init(&c->network);
	memcpy(c->mac, mac, sizeof(c->mac));
	c->network.tap_fd = environment_attach(&c->fds, network->tap);
	c->network.mac.data = c->mac;
	c->network.mac.len = sizeof(c->mac);
	c->network.to_guest = limit_fill(&c->to_guest, &network->to_guest);
	c->network.from_guest = limit_fill(&c->from_guest, &network->from_guest);
	c->create.network = &c->network;
}

static void creation_add_devices(struct creation *c, const struct thaw_machine *machine)
{
	const int sources[MACHINE_DRIVES] = {machine->root, machine->code, machine->layers,
					     machine->tmp};

	c->create.vsock_cid = GUEST_CID;
	c->create.rng = true;
	c->create.serial_fd = environment_attach(&c->fds, machine->serial);
	for (size_t i = 0; i < MACHINE_DRIVES; i++) {
		bool writable = i == MACHINE_DRIVES - 1;
		if (sources[i] < 0)
			continue;
		Thaw__Vmm__Drive *drive = &c->drives[c->create.n_drives];
		thaw__vmm__drive__init(drive);
		drive->kind =
			writable ? THAW__VMM__DRIVE__KIND__BLOCK : THAW__VMM__DRIVE__KIND__PMEM;
		drive->writable = writable;
		if (writable)
			drive->limit = limit_fill(&c->tmp, &machine->tmp_limit);
		drive->fd = environment_attach(&c->fds, sources[i]);
		c->list[c->create.n_drives++] = drive;
	}
	c->create.drives = c->list;
	if (machine->network)
		creation_add_network(c, machine->network);
}

static void creation_add_body(struct creation *c, const struct thaw_host *host,
			      const struct thaw_shell_shape *shape)
{
	c->create.kvm_fd = environment_attach(&c->fds, host->kvm);
	c->create.vcpus = shape->vcpus;
	c->create.memory_mib = shape->memory_mib;
	c->create.cpu_template = shape->cpu_template;
	c->create.kvm_kind = thaw_kvm_kind_remembered(host);
	c->create.userfaultfd_fd = environment_attach(&c->fds, host->userfaultfd);
}

/* All limits but that of CPU time, which is for whoever is invoked: a start has what there is. */
static int machine_spawn(struct thaw_vmm *vmm, const struct thaw_host *host,
			 const struct thaw_shell_shape *shape, struct thaw_error *err)
{
	const struct thaw_cgroup_limits limits = {
		.memory = (uint64_t)(shape->memory_mib + VMM_OVERHEAD_MIB(shape->memory_mib)) << 20,
		.pids = VMM_THREADS_MAX,
		.disk_bytes = host->disk_bytes,
		.disk_operations = host->disk_operations,
	};

	return thaw_vmm_spawn_in(vmm, host->paths.vmm, host->cgroups, &limits, err);
}

int thaw_shell_make(const struct thaw_host *host, const struct thaw_shell_shape *shape,
		    struct thaw_shell *shell, struct thaw_error *err)
{
	Thaw__Vmm__Reply *reply;
	struct creation c;
	uint32_t id;

	shell->vmm = (struct thaw_vmm)THAW_VMM_NONE;
	shell->shape = *shape;
	int rc = machine_spawn(&shell->vmm, host, shape, err);
	if (rc < 0)
		return rc;
	creation_init(&c);
	creation_add_body(&c, host, shape);
	c.create.devices_later = true;
	c.create.pmem_mib = shape->pmem_mib;
	bool kind_known = c.create.kvm_kind != THAW__VMM__KVM_KIND__KVM_KIND_UNKNOWN;
	rc = thaw_vmm_send(&shell->vmm, &c.request, c.fds.fd, c.fds.count, &id, err);
	if (rc == 0)
		rc = thaw_vmm_receive(&shell->vmm, id, THAW__VMM__REPLY__BODY_CREATE,
				      thaw_deadline(THAW_TIMEOUT_REQUEST), &reply, err);
	if (rc < 0) {
		thaw_vmm_close(&shell->vmm);
		return thaw_error_wrap(err, "making a microVM in waiting");
	}
	shell->cpu_template = reply->create->cpu_template;
	shell->software_kvm = reply->create->software_kvm;
	thaw__vmm__reply__free_unpacked(reply, NULL);
	if (!kind_known)
		thaw_kvm_kind_remember(host, shell->software_kvm);
	return 0;
}

/* The machine with drives that no other account maps. */
static int environment_own_drives(const struct thaw_environment *environment,
				  struct thaw_machine *machine, int copies[MACHINE_DRIVES],
				  struct thaw_error *err)
{
	int *const mapped[] = {&machine->root, &machine->code, &machine->layers};
	int rc = 0;

	for (size_t i = 0; i < sizeof(mapped) / sizeof(mapped[0]) && rc == 0; i++) {
		if (*mapped[i] < 0)
			continue;
		rc = thaw_private_copies_get(environment->host->copies,
					     environment->function->account, *mapped[i], &copies[i],
					     err);
		*mapped[i] = copies[i];
	}
	return rc;
}

static int environment_send_create(struct thaw_environment *environment,
				   const struct thaw_machine *machine, uint32_t *id,
				   struct thaw_error *err)
{
	struct creation c;
	int rc = machine->network ? network_check(machine->network, err) : 0;

	if (rc < 0)
		return rc;
	creation_init(&c);
	if (environment->from_shell) {
		c.request.body_case = THAW__VMM__REQUEST__BODY_ATTACH;
	} else {
		const struct thaw_shell_shape shape =
			thaw_shell_shape(environment->function, machine);
		creation_add_body(&c, environment->host, &shape);
		environment->kvm_known = c.create.kvm_kind != THAW__VMM__KVM_KIND__KVM_KIND_UNKNOWN;
	}
	creation_add_devices(&c, machine);
	return thaw_vmm_send(&environment->vmm, &c.request, c.fds.fd, c.fds.count, id, err);
}

static int environment_created(struct thaw_environment *environment, uint32_t id,
			       struct thaw_error *err)
{
	Thaw__Vmm__Reply *reply;

	int rc = thaw_vmm_receive(&environment->vmm, id, THAW__VMM__REPLY__BODY_CREATE,
				  thaw_deadline(THAW_TIMEOUT_REQUEST), &reply, err);
	if (rc < 0)
		return thaw_error_wrap(err, "making the microVM");
	environment->cpu_template = reply->create->cpu_template;
	environment->software_kvm = reply->create->software_kvm;
	if (!environment->kvm_known)
		thaw_kvm_kind_remember(environment->host, environment->software_kvm);
	environment_steps(&environment->create_steps, reply->create->steps, reply->create->n_steps);
	thaw__vmm__reply__free_unpacked(reply, NULL);
	thaw_phases_mark(&environment->phases, "create");
	return 0;
}

int environment_create(struct thaw_environment *environment, const struct thaw_machine *machine,
		       struct thaw_error *err)
{
	int copies[MACHINE_DRIVES] = {-1, -1, -1, -1};
	struct thaw_machine own = *machine;
	uint32_t id;
	int rc = 0;

	if (environment->host->copies)
		rc = environment_own_drives(environment, &own, copies, err);
	if (rc == 0)
		rc = environment_send_create(environment, &own, &id, err);
	for (size_t i = 0; i < MACHINE_DRIVES; i++)
		thaw_cleanup_close(&copies[i]);
	return rc < 0 ? rc : environment_created(environment, id, err);
}

int environment_spawn(struct thaw_environment *environment, const struct thaw_machine *machine,
		      struct thaw_error *err)
{
	const struct thaw_shell_shape shape = thaw_shell_shape(environment->function, machine);
	struct thaw_shell shell;

	thaw_phases_start(&environment->phases);
	environment->from_shell = thaw_shells_take(environment->shells, &shape, &shell);
	if (environment->from_shell) {
		environment->vmm = shell.vmm;
		environment->kvm_known = true;
	} else {
		int rc = machine_spawn(&environment->vmm, environment->host, &shape, err);
		if (rc < 0)
			return rc;
	}
	thaw_phases_mark(&environment->phases, "spawn");
	return thaw_stop_enter(environment->stop, &environment->stop_entry, environment->vmm.socket,
			       err);
}
