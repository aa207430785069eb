/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/error.h"
#include "lib/fd.h"

#define PREFIX_MIN 8u
#define PREFIX_MAX 30u
#define MTU_MIN    576u  /* RFC 791: what every host must take */
#define MTU_MAX    9000u /* what the device takes is its own to tell */

/* Interfaces are numbered in the order they were made; lo is one of them. */
#define INDEX_MAX      16
#define DEVICE_WAIT_MS 20000u
#define DEVICE_LOOK_MS 5u

/* In the initramfs, which is memory, and where nothing of the image can reach it. */
#define RESOLVER_FILE "/resolv.conf"

/* --- what the host says --- */

static int check_address(const char *what, const char *text, struct in_addr *out,
			 struct thaw_error *err)
{
	uint32_t value;

	if (inet_pton(AF_INET, text, out) != 1)
		return thaw_error_set(err, EINVAL, "network: %s \"%.64s\" is no IPv4 address", what,
				      text);
	value = ntohl(out->s_addr);
	if (value >> 24 == 0 || value >> 24 == 127 || value >> 24 >= 224)
		return thaw_error_set(err, EINVAL, "network: %s %s is not of one host", what, text);
	return 0;
}

/* Neither the network's own address nor that of all in it. */
static bool is_host_of(struct in_addr address, struct in_addr netmask)
{
	uint32_t rest = ntohl(address.s_addr & ~netmask.s_addr), all = ntohl(~netmask.s_addr);

	return rest != 0 && rest != all;
}

static int check_nameservers(const Thaw__Agent__Network *from, struct thaw_network *network,
			     struct thaw_error *err)
{
	struct in_addr address;
	char text[INET_ADDRSTRLEN];
	size_t used = 0;

	if (from->n_nameservers > THAW_NAMESERVERS_MAX)
		return thaw_error_set(err, EINVAL, "network: %zu nameservers, more than %d",
				      from->n_nameservers, THAW_NAMESERVERS_MAX);
	for (size_t i = 0; i < from->n_nameservers; i++) {
		int rc = check_address("the nameserver", from->nameservers[i], &address, err);
		if (rc < 0)
			return rc;
		inet_ntop(AF_INET, &address, text, sizeof(text));
		used += (size_t)snprintf(network->resolver + used, sizeof(network->resolver) - used,
					 "nameserver %s\n", text);
	}
	return 0;
}

int thaw_network_check(const Thaw__Agent__Network *from, struct thaw_network *network,
		       struct thaw_error *err)
{
	static const uint8_t none[6];

	*network = (struct thaw_network){.mtu = from->mtu};
	int rc = check_address("the address", from->address, &network->address, err);
	if (rc == 0)
		rc = check_address("the gateway", from->gateway, &network->gateway, err);
	if (rc < 0)
		return rc;
	if (from->prefix_length < PREFIX_MIN || from->prefix_length > PREFIX_MAX)
		return thaw_error_set(err, EINVAL, "network: a prefix of %u bits is not %u..%u",
				      from->prefix_length, PREFIX_MIN, PREFIX_MAX);
	network->netmask.s_addr = htonl(~0u << (32 - from->prefix_length));
	if (((network->address.s_addr ^ network->gateway.s_addr) & network->netmask.s_addr) ||
	    network->address.s_addr == network->gateway.s_addr ||
	    !is_host_of(network->address, network->netmask) ||
	    !is_host_of(network->gateway, network->netmask))
		return thaw_error_set(err, EINVAL,
				      "network: %s/%u and the gateway %s are not two of a network",
				      from->address, from->prefix_length, from->gateway);
	if (from->gateway_mac.len != sizeof(network->gateway_mac) ||
	    (from->gateway_mac.data[0] & 1) ||
	    memcmp(from->gateway_mac.data, none, sizeof(none)) == 0)
		return thaw_error_set(err, EINVAL,
				      "network: the gateway has no unicast MAC address");
	memcpy(network->gateway_mac, from->gateway_mac.data, sizeof(network->gateway_mac));
	if (from->mtu < MTU_MIN || from->mtu > MTU_MAX)
		return thaw_error_set(err, EINVAL, "network: an MTU of %u is not %u..%u", from->mtu,
				      MTU_MIN, MTU_MAX);
	return check_nameservers(from, network, err);
}

/* --- the device --- */

/* How many network devices there are; `name` is the last one's. */
static unsigned int count_devices(int fd, char name[IFNAMSIZ])
{
	unsigned int count = 0;

	for (int index = 1; index <= INDEX_MAX; index++) {
		struct ifreq request = {.ifr_ifindex = index};
		if (ioctl(fd, SIOCGIFNAME, &request) < 0 ||
		    ioctl(fd, SIOCGIFHWADDR, &request) < 0 ||
		    request.ifr_hwaddr.sa_family != ARPHRD_ETHER)
			continue;
		memcpy(name, request.ifr_name, IFNAMSIZ);
		count++;
	}
	return count;
}

/* The kernel looks for devices while it already runs us. */
static int find_device(int fd, char name[IFNAMSIZ], struct thaw_error *err)
{
	const struct timespec look = {.tv_nsec = DEVICE_LOOK_MS * 1000000};

	for (unsigned int waited = 0;; waited += DEVICE_LOOK_MS) {
		unsigned int count = count_devices(fd, name);
		if (count == 1)
			return 0;
		if (count > 1)
			return thaw_error_set(err, EINVAL, "%u network devices, and not one",
					      count);
		if (waited >= DEVICE_WAIT_MS)
			return thaw_error_set(err, ENODEV, "there is no network device");
		nanosleep(&look, NULL);
	}
}

/* A kernel without IPv6 has no such file, and needs none. */
static int silence_ipv6(const char *name, struct thaw_error *err)
{
	char path[64 + IFNAMSIZ];

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
	cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || write(fd, "1", 1) != 1)
		return thaw_error_errno(err, errno, "%s: turning IPv6 off", name);
	return 0;
}

static void put_address(struct sockaddr *to, struct in_addr address)
{
	const struct sockaddr_in value = {.sin_family = AF_INET, .sin_addr = address};

	memcpy(to, &value, sizeof(value));
}

static int raise_device(int fd, const char *name, const struct thaw_network *network,
			struct thaw_error *err)
{
	struct ifreq request = {.ifr_mtu = (int)network->mtu};

	memcpy(request.ifr_name, name, IFNAMSIZ);
	if (ioctl(fd, SIOCSIFMTU, &request) < 0)
		return thaw_error_errno(err, errno, "%s: an MTU of %u", name, network->mtu);
	put_address(&request.ifr_addr, network->address);
	if (ioctl(fd, SIOCSIFADDR, &request) < 0)
		return thaw_error_errno(err, errno, "%s: setting its address", name);
	put_address(&request.ifr_netmask, network->netmask);
	if (ioctl(fd, SIOCSIFNETMASK, &request) < 0)
		return thaw_error_errno(err, errno, "%s: setting its netmask", name);
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		return thaw_error_errno(err, errno, "%s: raising it", name);
	return 0;
}

static int add_gateway(int fd, const char *name, const struct thaw_network *network,
		       struct thaw_error *err)
{
	struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY, .rt_dev = (char *)name};
	struct arpreq neighbour = {.arp_flags = ATF_PERM | ATF_COM};

	put_address(&neighbour.arp_pa, network->gateway);
	neighbour.arp_ha.sa_family = ARPHRD_ETHER;
	memcpy(neighbour.arp_ha.sa_data, network->gateway_mac, sizeof(network->gateway_mac));
	memcpy(neighbour.arp_dev, name, IFNAMSIZ);
	if (ioctl(fd, SIOCSARP, &neighbour) < 0)
		return thaw_error_errno(err, errno, "%s: the gateway's MAC address", name);
	put_address(&route.rt_dst, (struct in_addr){INADDR_ANY});
	put_address(&route.rt_genmask, (struct in_addr){INADDR_ANY});
	put_address(&route.rt_gateway, network->gateway);
	if (ioctl(fd, SIOCADDRT, &route) < 0)
		return thaw_error_errno(err, errno, "%s: the route to the gateway", name);
	return 0;
}

/* --- the resolver --- */

/* The image cannot be written: its file is covered. No link of the image is followed. */
static int place_resolver(const char *root, const char *text, struct thaw_error *err)
{
	const unsigned long flags = MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
	char path[PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s/etc", root);
	if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return thaw_error_set(err, ENOTDIR, "the image has no /etc");
	snprintf(path, sizeof(path), "%s/etc/resolv.conf", root);
	if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return thaw_error_set(err, ENOENT, "the image has no /etc/resolv.conf");
	cleanup_close int fd =
		open(RESOLVER_FILE, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0444);
	int rc = fd < 0 ? -errno : thaw_write_full(fd, text, strlen(text));
	if (rc < 0)
		return thaw_error_errno(err, -rc, "writing " RESOLVER_FILE);
	if (mount(RESOLVER_FILE, path, NULL, MS_BIND, NULL) < 0 ||
	    mount(NULL, path, NULL, MS_REMOUNT | flags, NULL) < 0)
		return thaw_error_errno(err, errno, "mounting /etc/resolv.conf");
	return 0;
}

int thaw_network_apply(const struct thaw_network *network, const char *root, struct thaw_error *err)
{
	cleanup_close int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char name[IFNAMSIZ];

	if (fd < 0)
		return thaw_error_errno(err, errno, "the network");
	int rc = find_device(fd, name, err);
	if (rc == 0)
		rc = silence_ipv6(name, err);
	if (rc == 0)
		rc = raise_device(fd, name, network, err);
	if (rc == 0)
		rc = add_gateway(fd, name, network, err);
	if (rc == 0 && *network->resolver)
		rc = place_resolver(root, network->resolver, err);
	return rc;
}
