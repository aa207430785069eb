/* SPDX-License-Identifier: Apache-2.0 */
#include "host/network/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/if.h>
#include <linux/ip.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "lib/error.h"
#include "lib/fd.h"

#define MESSAGE_MAX 8192
#define LINK_MAX    32768 /* an interface with all its figures */

#define WAIT_MS      2000
#define WAIT_STEP_US 100

/* One request, in the making. */
struct message {
	_Alignas(struct nlmsghdr) char buffer[MESSAGE_MAX];
	struct nlmsghdr *head;
};

int thaw_netlink_open(struct thaw_netlink *netlink, struct thaw_error *err)
{
	const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	const int on = 1;

	*netlink = (struct thaw_netlink){
		.fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE),
	};
	/* Connected: only the kernel is heard. It says more, and does not send requests back. */
	if (netlink->fd < 0 ||
	    connect(netlink->fd, (const struct sockaddr *)&kernel, sizeof(kernel)) < 0 ||
	    setsockopt(netlink->fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on)) < 0 ||
	    setsockopt(netlink->fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on)) < 0) {
		int rc = thaw_error_errno(err, errno, "opening a netlink socket");
		thaw_netlink_close(netlink);
		return rc;
	}
	return 0;
}

void thaw_netlink_close(struct thaw_netlink *netlink)
{
	thaw_cleanup_close(&netlink->fd);
	netlink->fd = -1;
}

static void *message_begin(struct message *message, uint16_t type, uint16_t flags, size_t size)
{
	message->head = mnl_nlmsg_put_header(message->buffer);
	message->head->nlmsg_type = type;
	message->head->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
	return mnl_nlmsg_put_extra_header(message->head, size);
}

/* What the kernel says beside the number (NETLINK_EXT_ACK), or "". */
static const char *answer_text(const struct nlmsghdr *head)
{
	const struct nlattr *attribute;

	if (!(head->nlmsg_flags & NLM_F_ACK_TLVS))
		return "";
	mnl_attr_for_each(attribute, head, sizeof(struct nlmsgerr))
	{
		if (mnl_attr_get_type(attribute) == NLMSGERR_ATTR_MSG &&
		    mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) == 0)
			return mnl_attr_get_str(attribute);
	}
	return "";
}

/* Sends it, and waits for what answers it. */
static int message_exchange(struct thaw_netlink *netlink, struct message *message, char *answer,
			    size_t size, const char *what, struct thaw_error *err)
{
	const struct nlmsghdr *head = (const struct nlmsghdr *)answer;

	message->head->nlmsg_seq = ++netlink->sequence;
	if (send(netlink->fd, message->head, message->head->nlmsg_len, 0) < 0)
		return thaw_error_errno(err, errno, "%s", what);
	for (;;) {
		ssize_t n = recv(netlink->fd, answer, size, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return thaw_error_errno(err, errno, "%s", what);
		if (!mnl_nlmsg_ok(head, (int)n))
			return thaw_error_errno(err, EPROTO, "%s", what);
		if (head->nlmsg_seq == netlink->sequence)
			return 0;
	}
}

static int message_send(struct thaw_netlink *netlink, struct message *message, const char *what,
			struct thaw_error *err)
{
	_Alignas(struct nlmsghdr) char answer[MESSAGE_MAX];
	const struct nlmsghdr *head = (const struct nlmsghdr *)answer;

	int rc = message_exchange(netlink, message, answer, sizeof(answer), what, err);
	if (rc < 0)
		return rc;
	if (head->nlmsg_type != NLMSG_ERROR)
		return thaw_error_errno(err, EPROTO, "%s", what);
	const struct nlmsgerr *result = mnl_nlmsg_get_payload(head);
	if (result->error == 0)
		return 0;
	const char *text = answer_text(head);
	return thaw_error_errno(err, -result->error, "%s%s%s%s", what, *text ? " (" : "", text,
				*text ? ")" : "");
}

int thaw_netlink_index(const struct thaw_netlink *netlink, const char *name, struct thaw_error *err)
{
	struct ifreq request = {0};

	if (strlen(name) >= sizeof(request.ifr_name))
		return thaw_error_errno(err, ENODEV, "interface \"%s\"", name);
	strcpy(request.ifr_name, name);
	if (ioctl(netlink->fd, SIOCGIFINDEX, &request) < 0)
		return thaw_error_errno(err, errno, "interface \"%s\"", name);
	return request.ifr_ifindex;
}

int thaw_netlink_add_veth(struct thaw_netlink *netlink, const char *name,
			  const uint8_t mac[THAW_LINK_ADDRESS], const char *peer,
			  const uint8_t peer_mac[THAW_LINK_ADDRESS], int peer_namespace,
			  struct thaw_error *err)
{
	struct message m;
	struct ifinfomsg *info =
		message_begin(&m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(*info));

	info->ifi_family = AF_UNSPEC;
	mnl_attr_put_strz(m.head, IFLA_IFNAME, name);
	mnl_attr_put(m.head, IFLA_ADDRESS, THAW_LINK_ADDRESS, mac);
	struct nlattr *link = mnl_attr_nest_start(m.head, IFLA_LINKINFO);
	mnl_attr_put_strz(m.head, IFLA_INFO_KIND, "veth");
	struct nlattr *data = mnl_attr_nest_start(m.head, IFLA_INFO_DATA);
	struct nlattr *nest = mnl_attr_nest_start(m.head, VETH_INFO_PEER);
	mnl_nlmsg_put_extra_header(m.head, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(m.head, IFLA_IFNAME, peer);
	mnl_attr_put(m.head, IFLA_ADDRESS, THAW_LINK_ADDRESS, peer_mac);
	mnl_attr_put_u32(m.head, IFLA_NET_NS_FD, (uint32_t)peer_namespace);
	mnl_attr_nest_end(m.head, nest);
	mnl_attr_nest_end(m.head, data);
	mnl_attr_nest_end(m.head, link);
	return message_send(netlink, &m, "making a pair of interfaces", err);
}

/* IFLA_INET_CONF is an array whose indices are the attributes' types. */
static void put_forwards(struct nlmsghdr *head, bool own)
{
	struct nlattr *families = mnl_attr_nest_start(head, IFLA_AF_SPEC);
	struct nlattr *inet = mnl_attr_nest_start(head, AF_INET);
	struct nlattr *settings = mnl_attr_nest_start(head, IFLA_INET_CONF);

	mnl_attr_put_u32(head, IPV4_DEVCONF_FORWARDING, 1);
	/* Who asks here for another interface's address is not answered. */
	if (own)
		mnl_attr_put_u32(head, IPV4_DEVCONF_ARP_IGNORE, 1);
	mnl_attr_nest_end(head, settings);
	mnl_attr_nest_end(head, inet);
	mnl_attr_nest_end(head, families);
}

static struct ifinfomsg *link_begin(struct message *m, int index)
{
	struct ifinfomsg *info = message_begin(m, RTM_NEWLINK, 0, sizeof(*info));

	info->ifi_family = AF_UNSPEC;
	info->ifi_index = index;
	return info;
}

int thaw_netlink_forward(struct thaw_netlink *netlink, int index, struct thaw_error *err)
{
	struct message m;

	link_begin(&m, index);
	put_forwards(m.head, false);
	return message_send(netlink, &m, "letting an interface forward", err);
}

static int set_no_ipv6(struct thaw_netlink *netlink, int index, struct thaw_error *err)
{
	struct message m;

	link_begin(&m, index);
	struct nlattr *families = mnl_attr_nest_start(m.head, IFLA_AF_SPEC);
	struct nlattr *inet6 = mnl_attr_nest_start(m.head, AF_INET6);
	mnl_attr_put_u8(m.head, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	mnl_attr_nest_end(m.head, inet6);
	mnl_attr_nest_end(m.head, families);
	int rc = message_send(netlink, &m, "keeping IPv6 from an interface", err);
	/* A host without IPv6 has nothing to keep. */
	return rc == -EAFNOSUPPORT ? 0 : rc;
}

static int set_bridge(struct thaw_netlink *netlink, int index, int bridge, struct thaw_error *err)
{
	struct message m;

	link_begin(&m, index);
	mnl_attr_put_u32(m.head, IFLA_MASTER, (uint32_t)bridge);
	int rc = message_send(netlink, &m, "joining the bridge", err);
	if (rc < 0)
		return rc;
	struct ifinfomsg *info = link_begin(&m, index);
	info->ifi_family = AF_BRIDGE;
	struct nlattr *port = mnl_attr_nest_start(m.head, IFLA_PROTINFO);
	mnl_attr_put_u8(m.head, IFLA_BRPORT_ISOLATED, 1);
	/* Ports do not take part in the choice of a tree. */
	mnl_attr_put_u8(m.head, IFLA_BRPORT_GUARD, 1);
	mnl_attr_nest_end(m.head, port);
	m.head->nlmsg_type = RTM_SETLINK;
	return message_send(netlink, &m, "isolating a port of the bridge", err);
}

int thaw_netlink_set(struct thaw_netlink *netlink, int index, const struct thaw_link *link,
		     struct thaw_error *err)
{
	struct message m;
	int rc = 0;

	if (link->no_ipv6)
		rc = set_no_ipv6(netlink, index, err);
	if (rc == 0 && link->bridge)
		rc = set_bridge(netlink, index, link->bridge, err);
	if (rc < 0)
		return rc;
	struct ifinfomsg *info = link_begin(&m, index);
	info->ifi_flags = info->ifi_change = IFF_UP;
	if (link->mac)
		mnl_attr_put(m.head, IFLA_ADDRESS, THAW_LINK_ADDRESS, link->mac);
	if (link->mtu)
		mnl_attr_put_u32(m.head, IFLA_MTU, link->mtu);
	if (link->forwards)
		put_forwards(m.head, true);
	return message_send(netlink, &m, "setting an interface up", err);
}

/* IFLA_OPERSTATE; IF_OPER_UNKNOWN where it is not told. */
static int link_state(struct thaw_netlink *netlink, int index, struct thaw_error *err)
{
	_Alignas(struct nlmsghdr) char answer[LINK_MAX];
	const struct nlmsghdr *head = (const struct nlmsghdr *)answer;
	const struct nlattr *attribute;
	struct message m;

	link_begin(&m, index);
	m.head->nlmsg_type = RTM_GETLINK;
	m.head->nlmsg_flags = NLM_F_REQUEST;
	int rc = message_exchange(netlink, &m, answer, sizeof(answer), "an interface", err);
	if (rc < 0)
		return rc;
	if (head->nlmsg_type != RTM_NEWLINK)
		return thaw_error_errno(err, ENODEV, "an interface");
	mnl_attr_for_each(attribute, head, sizeof(struct ifinfomsg))
	{
		if (mnl_attr_get_type(attribute) == IFLA_OPERSTATE)
			return mnl_attr_get_u8(attribute);
	}
	return IF_OPER_UNKNOWN;
}

int thaw_netlink_wait(struct thaw_netlink *netlink, int index, struct thaw_error *err)
{
	/* Asked for nothing: but whoever notices holds the same lock until all is done. */
	static const struct thaw_link nothing;

	for (unsigned int i = 0; i < WAIT_MS * 1000 / WAIT_STEP_US; i++) {
		int state = link_state(netlink, index, err);
		if (state < 0)
			return state;
		if (state == IF_OPER_UP)
			return thaw_netlink_set(netlink, index, &nothing, err);
		usleep(WAIT_STEP_US);
	}
	return thaw_error_errno(err, ETIMEDOUT, "waiting for an interface");
}

int thaw_netlink_add_address(struct thaw_netlink *netlink, int index, uint32_t address,
			     uint8_t length, struct thaw_error *err)
{
	struct message m;
	struct ifaddrmsg *info =
		message_begin(&m, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(*info));

	info->ifa_family = AF_INET;
	info->ifa_prefixlen = length;
	info->ifa_index = (uint32_t)index;
	mnl_attr_put_u32(m.head, IFA_LOCAL, htonl(address));
	mnl_attr_put_u32(m.head, IFA_ADDRESS, htonl(address));
	return message_send(netlink, &m, "giving an interface an address", err);
}

int thaw_netlink_add_route(struct thaw_netlink *netlink, int index, uint32_t destination,
			   uint8_t length, uint32_t gateway, struct thaw_error *err)
{
	struct message m;
	struct rtmsg *info =
		message_begin(&m, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof(*info));

	info->rtm_family = AF_INET;
	info->rtm_dst_len = length;
	info->rtm_table = RT_TABLE_MAIN;
	info->rtm_protocol = RTPROT_STATIC;
	info->rtm_scope = gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
	info->rtm_type = RTN_UNICAST;
	/* The gateway need not be in a network of the interface's. */
	info->rtm_flags = gateway ? RTNH_F_ONLINK : 0;
	if (length)
		mnl_attr_put_u32(m.head, RTA_DST, htonl(destination));
	if (gateway)
		mnl_attr_put_u32(m.head, RTA_GATEWAY, htonl(gateway));
	mnl_attr_put_u32(m.head, RTA_OIF, (uint32_t)index);
	return message_send(netlink, &m, "adding a route", err);
}

int thaw_netlink_add_neighbour(struct thaw_netlink *netlink, int index, uint32_t address,
			       const uint8_t mac[THAW_LINK_ADDRESS], struct thaw_error *err)
{
	struct message m;
	struct ndmsg *info =
		message_begin(&m, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*info));

	info->ndm_family = AF_INET;
	info->ndm_ifindex = index;
	info->ndm_state = NUD_PERMANENT;
	mnl_attr_put_u32(m.head, NDA_DST, htonl(address));
	mnl_attr_put(m.head, NDA_LLADDR, THAW_LINK_ADDRESS, mac);
	return message_send(netlink, &m, "adding a neighbour", err);
}
