/* SPDX-License-Identifier: Apache-2.0 */
#include "host/daemon/network.h"

#include <errno.h>
#include <sys/stat.h>

#include "host/daemon/service.h"
#include "host/forwarding.h"
#include "host/network/guest.h"
#include "host/network/slots.h"
#include "lib/error.h"

#define RESOLV_CONF "/etc/resolv.conf"

static const char *const nameservers[] = THAW_GUEST_NAMESERVERS;

/* What egress cannot do without, and what is not ours to change: told at once, not as packets that
 * come to nothing. */
static int check_forwarding(const struct thaw_networks *networks, struct thaw_error *err)
{
	if (!thaw_networks_find(networks, THAW_SUBNET_EGRESS) || networks->uplink_count ||
	    thaw_forwarding_count() > 0)
		return 0;
	return thaw_error_set(err, EINVAL,
			      "egress: no interface of this host forwards IPv4, and "
			      "network-uplink names none that may for functions");
}

int thaw_network_start(struct thaw_service *service, struct thaw_error *err)
{
	struct stat st;

	service->networks = service->config->networks;
	if (!service->networks.count)
		return 0;
	if (fstat(service->host.state.root, &st) < 0)
		return thaw_error_errno(err, errno, "the data directory");
	thaw_networks_identify(&service->networks, st.st_dev, st.st_ino);
	int rc = thaw_networks_read_resolv(&service->networks, RESOLV_CONF, err);
	if (rc == 0)
		rc = check_forwarding(&service->networks, err);
	if (rc < 0)
		return rc;
	service->slots = thaw_slots_new(&service->networks, service->config->network_slots, err);
	return service->slots ? 0 : -err->code;
}

void thaw_network_expect(struct thaw_service *service, const char *name)
{
	const struct thaw_subnet *subnet = thaw_networks_find(&service->networks, name);

	if (subnet)
		thaw_slots_expect(service->slots, subnet);
}

/* A second's worth at once. */
static struct thaw_rate rate(uint64_t per_second)
{
	return (struct thaw_rate){.size = per_second, .per_second = per_second};
}

struct thaw_rate_limit thaw_network_tmp_limit(const struct thaw_service *service)
{
	return (struct thaw_rate_limit){
		.bytes = rate(service->config->tmp_bytes),
		.operations = rate(service->config->tmp_operations),
	};
}

int thaw_attachment_make(struct thaw_service *service, const char *name,
			 struct thaw_attachment *attachment, struct thaw_error *err)
{
	const struct thaw_subnet *subnet = thaw_networks_find(&service->networks, name);
	const struct thaw_rate_limit limit = {
		.bytes = rate(service->config->network_bytes),
		.operations = rate(service->config->network_packets),
	};

	*attachment = (struct thaw_attachment)THAW_ATTACHMENT_NONE;
	if (!*name)
		return 0;
	if (!subnet)
		return thaw_error_set(err, ENOTSUP, "this host has no network \"%s\" any more",
				      name);
	int rc = thaw_slots_take(service->slots, subnet, &attachment->slot, err);
	if (rc < 0)
		return rc;
	attachment->network = (struct thaw_network){
		.tap = attachment->slot.tap,
		.to_guest = limit,
		.from_guest = limit,
		.nameservers = nameservers,
		.nameserver_count = sizeof(nameservers) / sizeof(nameservers[0]),
	};
	return 0;
}

const struct thaw_network *thaw_attachment_network(const struct thaw_attachment *attachment)
{
	return attachment->slot.tap < 0 ? NULL : &attachment->network;
}

void thaw_attachment_drop(struct thaw_service *service, struct thaw_attachment *attachment)
{
	thaw_slots_return(service->slots, &attachment->slot);
}
