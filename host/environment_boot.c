/* SPDX-License-Identifier: Apache-2.0 */
/* The cold start: kernel, agent, mounts, init. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/environment_internal.h"
#include "host/network/guest.h"
#include "host/timeouts.h"
#include "lib/clock.h"
#include "lib/error.h"

#define MARK_ENTERED 0x01 /* the agent has begun */
#define MARK_LISTENS 0x02 /* and can be connected to */

/* The silent boot: what each word saves is in docs/guest-kernel.md. */
#define COMMAND_LINE                                                                               \
	"quiet loglevel=0 panic=-1 reboot=k random.trust_cpu=on noreplace-smp rootfstype=ramfs"
#define COMMAND_LINE_CONSOLE                                                                       \
	"console=ttyS0 loglevel=7 panic=-1 reboot=k random.trust_cpu=on noreplace-smp "            \
	"rootfstype=ramfs"

static int environment_load_kernel(struct thaw_environment *environment,
				   const struct thaw_machine *machine, struct thaw_error *err)
{
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__Boot boot = THAW__VMM__BOOT__INIT;
	struct attachments fds = {.count = 0};

	boot.kernel_fd = environment_attach(&fds, machine->kernel);
	boot.initrd_fd = environment_attach(&fds, machine->initramfs);
	boot.command_line = (char *)(machine->serial >= 0 ? COMMAND_LINE_CONSOLE : COMMAND_LINE);
	request.body_case = THAW__VMM__REQUEST__BODY_BOOT;
	request.boot = &boot;
	int rc = thaw_vmm_call(&environment->vmm, &request, fds.fd, fds.count,
			       THAW__VMM__REPLY__BODY_DONE, THAW_TIMEOUT_REQUEST, NULL, err);
	if (rc < 0)
		return thaw_error_wrap(err, "loading the kernel");
	thaw_phases_mark(&environment->phases, "load");
	return 0;
}

static int environment_connect(struct thaw_environment *environment, struct thaw_error *err)
{
	Thaw__Vmm__Request request = THAW__VMM__REQUEST__INIT;
	Thaw__Vmm__VsockAttach vsock = THAW__VMM__VSOCK_ATTACH__INIT;
	struct attachments fds = {.count = 0};
	cleanup_close int theirs = -1;

	int rc = environment_open_agent(environment, &theirs, err);
	if (rc < 0)
		return rc;
	vsock.fd = environment_attach(&fds, theirs);
	request.body_case = THAW__VMM__REQUEST__BODY_VSOCK_ATTACH;
	request.vsock_attach = &vsock;
	rc = thaw_vmm_call(&environment->vmm, &request, fds.fd, fds.count,
			   THAW__VMM__REPLY__BODY_DONE, THAW_TIMEOUT_REQUEST, NULL, err);
	/* Ours must be the only descriptors left, or the end of the stream would never come. */
	thaw_cleanup_close(&theirs);
	theirs = -1;
	if (rc == 0)
		rc = thaw_agent_wait_greeting(
			&environment->agent,
			thaw_deadline(environment_patience(environment, THAW_TIMEOUT_AGENT)), err);
	if (rc < 0)
		return thaw_error_wrap(err, "connecting to the agent");
	thaw_phases_mark(&environment->phases, "connect");
	return 0;
}

/* What the function sees of itself. Texts live in the caller's frame. */
struct function_texts {
	char arn[THAW_FUNCTION_ARN_MAX];
	char log_group[96];
	char execution_env[64];
};

static int environment_fill_function(const struct thaw_environment *environment,
				     const struct thaw_machine *machine,
				     struct function_texts *texts, Thaw__Agent__Function *out,
				     Thaw__Agent__Variable **variables,
				     Thaw__Agent__Variable *storage)
{
	const struct thaw_function *function = environment->function;

	thaw_function_arn(function, texts->arn);
	snprintf(texts->log_group, sizeof(texts->log_group), "/aws/lambda/%s", function->name);
	snprintf(texts->execution_env, sizeof(texts->execution_env), "AWS_Lambda_%s",
		 function->runtime);
	out->name = (char *)function->name;
	out->version = (char *)function->version;
	out->arn = texts->arn;
	out->handler = (char *)function->handler;
	out->memory_mib = function->memory_mib;
	out->region = (char *)function->region;
	out->log_group = texts->log_group;
	out->log_stream = (char *)environment->log_stream;
	out->execution_env = texts->execution_env;
	out->initialization_type = (char *)(machine->snap_start    ? "snap-start"
					    : machine->provisioned ? "provisioned-concurrency"
								   : "on-demand");
	for (size_t i = 0; i < function->variable_count; i++) {
		thaw__agent__variable__init(&storage[i]);
		storage[i].name = function->variables[i].name;
		storage[i].value = function->variables[i].value;
		variables[i] = &storage[i];
	}
	out->n_environment = function->variable_count;
	out->environment = variables;
	return 0;
}

/* The drives as the guest finds them: its /dev/pmemN are numbered without gaps. Texts live in the
 * caller's frame. */
#define MOUNTS_MAX 3
struct mount_texts {
	char device[MOUNTS_MAX][16];
	Thaw__Agent__Mount mounts[MOUNTS_MAX];
	Thaw__Agent__Mount *list[MOUNTS_MAX];
};

static void environment_fill_mounts(const struct thaw_machine *machine, struct mount_texts *texts,
				    Thaw__Agent__Configure *configure)
{
	const struct {
		int drive;
		const char *target;
	} places[MOUNTS_MAX] = {
		{machine->root, "/"},
		{machine->code, "/var/task"},
		{machine->layers, "/opt"},
	};
	size_t count = 0;

	for (size_t i = 0; i < MOUNTS_MAX; i++) {
		if (places[i].drive < 0)
			continue;
		Thaw__Agent__Mount *mount = &texts->mounts[count];
		thaw__agent__mount__init(mount);
		snprintf(texts->device[count], sizeof(texts->device[count]), "/dev/pmem%zu", count);
		mount->device = texts->device[count];
		mount->target = (char *)places[i].target;
		mount->type = (char *)"erofs";
		mount->dax = true;
		texts->list[count++] = mount;
	}
	configure->mounts = texts->list;
	configure->n_mounts = count;
}

/* The guest's addresses, as its agent is told of them. */
struct network_texts {
	Thaw__Agent__Network network;
	uint8_t gateway_mac[THAW_GUEST_MAC_SIZE];
	char *nameservers[THAW_NAMESERVERS_MAX];
};

static void environment_fill_network(const struct thaw_network *network,
				     struct network_texts *texts, Thaw__Agent__Configure *configure)
{
	static const uint8_t gateway_mac[] = THAW_GUEST_GATEWAY_MAC;
	Thaw__Agent__Network *out = &texts->network;

	thaw__agent__network__init(out);
	memcpy(texts->gateway_mac, gateway_mac, sizeof(gateway_mac));
	out->address = (char *)THAW_GUEST_ADDRESS;
	out->prefix_length = THAW_GUEST_PREFIX;
	out->gateway = (char *)THAW_GUEST_GATEWAY;
	out->gateway_mac.data = texts->gateway_mac;
	out->gateway_mac.len = sizeof(texts->gateway_mac);
	out->mtu = THAW_GUEST_MTU;
	for (size_t i = 0; i < network->nameserver_count && i < THAW_NAMESERVERS_MAX; i++)
		texts->nameservers[out->n_nameservers++] = (char *)network->nameservers[i];
	out->nameservers = texts->nameservers;
	configure->network = out;
}

static int environment_configure(struct thaw_environment *environment,
				 const struct thaw_machine *machine, struct thaw_error *err)
{
	Thaw__Agent__HostMessage message = THAW__AGENT__HOST_MESSAGE__INIT;
	Thaw__Agent__Configure configure = THAW__AGENT__CONFIGURE__INIT;
	Thaw__Agent__Function function = THAW__AGENT__FUNCTION__INIT;
	Thaw__Agent__Tmp tmp = THAW__AGENT__TMP__INIT;
	size_t count = environment->function->variable_count;
	cleanup_free Thaw__Agent__Variable *storage = calloc(count + 1, sizeof(*storage));
	cleanup_free Thaw__Agent__Variable **variables = calloc(count + 1, sizeof(*variables));
	struct function_texts texts;
	struct mount_texts mounts;
	struct network_texts network;
	uint32_t seq;

	if (!storage || !variables)
		return thaw_error_errno(err, ENOMEM, "configuring the agent");
	int rc = environment_name_log_stream(environment, err);
	if (rc < 0)
		return rc;
	environment_fill_mounts(machine, &mounts, &configure);
	tmp.device = (char *)(machine->tmp >= 0 ? "/dev/vda" : "");
	tmp.size_mib = environment->function->ephemeral_mib;
	configure.tmp = &tmp;
	environment_fill_function(environment, machine, &texts, &function, variables, storage);
	configure.function = &function;
	if (machine->network)
		environment_fill_network(machine->network, &network, &configure);
	/* No entropy: the guest has had its seed from setup_data, and the kernel has wiped it. What
	 * comes by vsock would stay in the kernel's buffers, and be in the snapshot. */
	configure.wall_clock_ns = thaw_realtime_ns();
	message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_CONFIGURE;
	message.configure = &configure;
	rc = thaw_agent_send(&environment->agent, &message, &seq, err);
	if (rc == 0)
		rc = thaw_agent_receive(
			&environment->agent, seq, THAW__AGENT__GUEST_MESSAGE__BODY_CONFIGURED,
			thaw_deadline(environment_patience(environment, THAW_TIMEOUT_AGENT)), NULL,
			err);
	if (rc < 0)
		return thaw_error_wrap(err, "configuring the guest");
	thaw_phases_mark(&environment->phases, "configure");
	return 0;
}

static int environment_start_runtime(struct thaw_environment *environment,
				     const struct thaw_machine *machine, struct thaw_error *err)
{
	Thaw__Agent__HostMessage message = THAW__AGENT__HOST_MESSAGE__INIT;
	Thaw__Agent__Init init = THAW__AGENT__INIT__INIT;
	Thaw__Agent__GuestMessage *answer;
	uint32_t seq;

	init.timeout_ms = thaw_timeout_ms(environment_patience(
		environment,
		machine->init_timeout_ms ? machine->init_timeout_ms : THAW_TIMEOUT_INIT));
	message.body_case = THAW__AGENT__HOST_MESSAGE__BODY_INIT;
	message.init = &init;
	uint64_t began = thaw_monotonic_ns();
	int rc = thaw_agent_send(&environment->agent, &message, &seq, err);
	uint64_t deadline =
		began + (uint64_t)init.timeout_ms * 1000000u +
		thaw_timeout_ms(environment_patience(environment, THAW_TIMEOUT_GRACE)) * 1000000ull;
	if (rc == 0)
		rc = thaw_agent_receive(&environment->agent, seq,
					THAW__AGENT__GUEST_MESSAGE__BODY_INIT_DONE, deadline,
					&answer, err);
	if (rc < 0)
		return thaw_error_wrap(err, "starting the runtime");
	thaw_phases_mark(&environment->phases, "init");
	rc = environment_note_start(
		environment, answer->init_done->outcome, &answer->init_done->error_json,
		environment_believe_us(answer->init_done->duration_us, began), err);
	thaw__agent__guest_message__free_unpacked(answer, NULL);
	return rc;
}

int thaw_environment_boot(struct thaw_environment *environment, const struct thaw_machine *machine,
			  struct thaw_error *err)
{
	uint64_t deadline;

	int rc = environment_spawn(environment, machine, err);
	if (rc == 0)
		rc = environment_create(environment, machine, err);
	if (rc == 0)
		rc = environment_load_kernel(environment, machine, err);
	if (rc < 0)
		return rc;
	deadline = thaw_deadline(THAW_TIMEOUT_BOOT);
	rc = thaw_vmm_wait_mark(&environment->vmm, MARK_ENTERED, deadline, NULL, err);
	if (rc < 0)
		return thaw_error_wrap(err, "booting the guest");
	thaw_phases_mark(&environment->phases, "kernel");
	rc = thaw_vmm_wait_mark(&environment->vmm, MARK_LISTENS, deadline, NULL, err);
	if (rc < 0)
		return thaw_error_wrap(err, "booting the guest");
	thaw_phases_mark(&environment->phases, "agent");
	rc = environment_connect(environment, err);
	if (rc == 0)
		rc = environment_configure(environment, machine, err);
	if (rc == 0)
		rc = environment_start_runtime(environment, machine, err);
	environment->restore_ready_ns = thaw_monotonic_ns();
	return rc;
}
