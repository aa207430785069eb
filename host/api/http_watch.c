/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watch over connections. libmicrohttpd's own timeout starts anew with each byte, which is
 * what a slow client wants; here each phase has a time as a whole. A thread looks at all
 * connections a few times within the shortest of the times, and asks the kernel what has moved
 * (TCP_INFO). A connection is ended by shutdown(2) alone: its descriptor stays libmicrohttpd's.
 */
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>

#include "host/api/http_internal.h"
#include "lib/clock.h"
#include "lib/error.h"

#define NS_PER_MS    1000000u
#define WATCH_EVENTS 64
#define WATCH_WAKE   UINT64_MAX

static void address_key(const struct sockaddr *address, uint8_t key[16])
{
	memset(key, 0, 16);
	if (address && address->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)address;
		key[10] = key[11] = 0xff;
		memcpy(key + 12, &in->sin_addr, 4);
	} else if (address && address->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in = (const void *)address;
		/* One client has a whole /64; a mapped IPv4 address is one of its own. */
		memcpy(key, &in->sin6_addr, IN6_IS_ADDR_V4MAPPED(&in->sin6_addr) ? 16 : 8);
	}
}

/* Seeded, so that nobody can choose addresses that share a bucket. */
static struct http_address **address_find(struct thaw_http_server *server, const uint8_t key[16])
{
	uint64_t hash = server->seed;

	for (int i = 0; i < 16; i++)
		hash = (hash ^ key[i]) * 0x9e3779b97f4a7c15u;
	struct http_address **at = &server->buckets[(hash >> 32) & (server->bucket_count - 1)];
	while (*at && memcmp((*at)->key, key, 16) != 0)
		at = &(*at)->next;
	return at;
}

static void address_release(struct thaw_http_server *server, struct http_address *address)
{
	if (!address || --address->count)
		return;
	struct http_address **at = address_find(server, address->key);
	*at = address->next;
	free(address);
}

enum MHD_Result http_watch_admit(void *opaque, const struct sockaddr *address, socklen_t size)
{
	struct thaw_http_server *server = opaque;
	unsigned int most = server->config.connections_per_address;
	uint8_t key[16];

	(void)size;
	address_key(address, key);
	pthread_mutex_lock(&server->lock);
	struct http_address *known = *address_find(server, key);
	bool full = most && known && known->count >= most;
	server->figures.turned_away += full;
	pthread_mutex_unlock(&server->lock);
	return full || atomic_load(&server->stopping) ? MHD_NO : MHD_YES;
}

static void connection_info(int fd, struct tcp_info *info)
{
	socklen_t size = sizeof(*info);

	memset(info, 0, sizeof(*info));
	getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &size);
}

static void connection_phase(struct http_connection *c, enum http_phase phase)
{
	struct tcp_info info;

	c->phase = phase;
	c->since = c->seen_ns = thaw_monotonic_ns();
	c->first_ns = 0;
	c->moved = 0;
	c->busy_ns = 0;
	c->base = 0;
	if (phase == HTTP_PHASE_IDLE || phase == HTTP_PHASE_SEND || phase == HTTP_PHASE_STREAM) {
		connection_info(c->fd, &info);
		c->base =
			phase == HTTP_PHASE_IDLE ? info.tcpi_bytes_received : info.tcpi_bytes_acked;
	}
}

static void connection_open(struct thaw_http_server *server, struct MHD_Connection *mhd,
			    void **context)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
	int fd = info ? info->connect_fd : -1;
	uint8_t key[16];

	info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	address_key(info ? info->client_addr : NULL, key);
	pthread_mutex_lock(&server->lock);
	struct http_address **at = address_find(server, key);
	if (!*at) {
		*at = calloc(1, sizeof(**at));
		if (*at)
			memcpy((*at)->key, key, sizeof(key));
	}
	unsigned int slot = server->first_free;
	*context = NULL;
	if (slot == server->slots || !*at || fd < 0) {
		shutdown(fd, SHUT_RDWR);
	} else {
		struct http_connection *c = &server->connections[slot];
		server->first_free = c->next_free;
		c->fd = fd;
		c->generation++;
		c->address = *at;
		c->address->count++;
		c->exchange = NULL;
		c->left = false;
		connection_phase(c, HTTP_PHASE_FIRST);
		struct epoll_event event = {.events = EPOLLRDHUP | EPOLLET,
					    .data.u64 = (uint64_t)c->generation << 32 | slot};
		if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
			shutdown(fd, SHUT_RDWR);
		server->figures.connections++;
		server->figures.accepted++;
		*context = c;
	}
	if (*at && !(*at)->count) {
		struct http_address *empty = *at;
		*at = empty->next;
		free(empty);
	}
	pthread_mutex_unlock(&server->lock);
}

static void connection_close(struct thaw_http_server *server, struct http_connection *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&server->lock);
	epoll_ctl(server->epoll, EPOLL_CTL_DEL, c->fd, NULL);
	address_release(server, c->address);
	c->phase = HTTP_PHASE_NONE;
	c->fd = -1;
	c->exchange = NULL;
	c->next_free = server->first_free;
	server->first_free = (unsigned int)(c - server->connections);
	server->figures.connections--;
	pthread_cond_broadcast(&server->changed);
	pthread_mutex_unlock(&server->lock);
}

void http_watch_notify(void *opaque, struct MHD_Connection *mhd, void **context,
		       enum MHD_ConnectionNotificationCode code)
{
	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		connection_open(opaque, mhd, context);
	} else {
		connection_close(opaque, *context);
		*context = NULL;
	}
}

void http_watch_phase(struct http_exchange *exchange, enum http_phase phase)
{
	struct thaw_http_server *server = exchange->server;
	struct http_connection *c = exchange->connection;
	if (!c)
		return;
	pthread_mutex_lock(&server->lock);
	connection_phase(c, phase);
	c->exchange = phase == HTTP_PHASE_IDLE ? NULL : exchange;
	bool left = c->left && phase == HTTP_PHASE_WAIT;
	if (phase == HTTP_PHASE_IDLE && atomic_load(&server->stopping))
		shutdown(c->fd, SHUT_RD); /* no next request */
	pthread_mutex_unlock(&server->lock);
	if (left) {
		/* It left before its request was whole: nobody has asked to be told yet. */
		pthread_mutex_lock(&exchange->lock);
		exchange->left = true;
		pthread_mutex_unlock(&exchange->lock);
	}
}

void http_watch_moved(struct http_exchange *exchange, size_t size)
{
	if (!exchange->connection)
		return;
	pthread_mutex_lock(&exchange->server->lock);
	exchange->connection->moved += size;
	pthread_mutex_unlock(&exchange->server->lock);
}

unsigned int http_watch_end(struct thaw_http_server *server, bool all)
{
	unsigned int open = 0;

	pthread_mutex_lock(&server->lock);
	for (unsigned int i = 0; i < server->slots; i++) {
		struct http_connection *c = &server->connections[i];
		if (c->phase == HTTP_PHASE_NONE)
			continue;
		open++;
		if (all || c->phase == HTTP_PHASE_FIRST || c->phase == HTTP_PHASE_IDLE)
			shutdown(c->fd, SHUT_RDWR);
	}
	pthread_mutex_unlock(&server->lock);
	return open;
}

/* Too slow: `moved` bytes in `ns`. */
static bool is_slow(const struct thaw_http_config *config, uint64_t ns, uint64_t moved)
{
	uint64_t allowed = (uint64_t)config->grace_ms * NS_PER_MS;
	uint64_t ns_per_kib = UINT64_C(1024) * 1000000000u / config->rate_min;

	return ns > allowed && (ns - allowed) / ns_per_kib > moved / 1024;
}

static bool head_overdue(struct thaw_http_server *server, struct http_connection *c, uint64_t now,
			 bool *begun)
{
	const struct thaw_http_config *config = &server->config;
	uint64_t idle_ns = (uint64_t)config->idle_ms * NS_PER_MS;
	uint64_t head_ns = (uint64_t)config->head_ms * NS_PER_MS;
	struct tcp_info info;

	connection_info(c->fd, &info);
	*begun = info.tcpi_bytes_received > c->base;
	if (c->phase == HTTP_PHASE_FIRST)
		return now - c->since > head_ns;
	if (*begun && !c->first_ns)
		c->first_ns = now;
	if (c->first_ns)
		return now - c->first_ns > head_ns;
	/* Nearly full: those that only keep a place make room. */
	if (server->figures.connections > server->slots / 8 * 7)
		idle_ns /= 16;
	return now - c->since > idle_ns;
}

/* Whether the client has used up its time. `*begun`: it is in the middle of a request. */
static bool connection_overdue(struct thaw_http_server *server, struct http_connection *c,
			       uint64_t now, bool *begun)
{
	struct tcp_info info;

	*begun = false;
	switch (c->phase) {
	case HTTP_PHASE_FIRST:
	case HTTP_PHASE_IDLE:
		return head_overdue(server, c, now, begun);
	case HTTP_PHASE_BODY:
		*begun = true;
		return is_slow(&server->config, now - c->since, c->moved);
	case HTTP_PHASE_SEND:
		connection_info(c->fd, &info);
		return is_slow(&server->config, now - c->since, info.tcpi_bytes_acked - c->base);
	case HTTP_PHASE_STREAM:
		connection_info(c->fd, &info);
		if (info.tcpi_notsent_bytes || info.tcpi_unacked)
			c->busy_ns += now - c->seen_ns;
		c->seen_ns = now;
		return is_slow(&server->config, c->busy_ns, info.tcpi_bytes_acked - c->base);
	default:
		return false;
	}
}

static void watch_times(struct thaw_http_server *server)
{
	static const char late[] = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n"
				   "Connection: close\r\n\r\n";
	bool begun;

	pthread_mutex_lock(&server->lock);
	/* Under the lock: no phase may have begun later than now. */
	uint64_t now = thaw_monotonic_ns();
	for (unsigned int i = 0; i < server->slots; i++) {
		struct http_connection *c = &server->connections[i];
		if (c->phase == HTTP_PHASE_NONE || !connection_overdue(server, c, now, &begun))
			continue;
		/* Nothing of an answer has been sent in these phases. */
		if (begun)
			send(c->fd, late, sizeof(late) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
		shutdown(c->fd, SHUT_RDWR);
		/* Once is enough: libmicrohttpd closes it. */
		c->phase = HTTP_PHASE_WAIT;
		server->figures.cut++;
	}
	pthread_mutex_unlock(&server->lock);
}

static void watch_left(struct thaw_http_server *server, uint64_t data)
{
	unsigned int slot = (unsigned int)(data & UINT32_MAX);
	struct http_exchange *exchange = NULL;

	pthread_mutex_lock(&server->lock);
	struct http_connection *c = &server->connections[slot];
	if (c->phase != HTTP_PHASE_NONE && c->generation == (uint32_t)(data >> 32)) {
		c->left = true;
		exchange = c->exchange;
		if (exchange)
			http_exchange_ref(exchange);
	}
	pthread_mutex_unlock(&server->lock);
	if (exchange) {
		http_exchange_gone(exchange);
		http_exchange_unref(exchange);
	}
}

static unsigned int watch_tick(const struct thaw_http_config *config)
{
	unsigned int tick = config->head_ms;

	if (config->watch_ms)
		return config->watch_ms;
	tick = config->idle_ms < tick ? config->idle_ms : tick;
	tick = (config->grace_ms < tick ? config->grace_ms : tick) / 8;
	return tick < 5 ? 5 : tick > 1000 ? 1000 : tick;
}

static void *watch_run(void *opaque)
{
	struct thaw_http_server *server = opaque;
	unsigned int tick = watch_tick(&server->config);
	uint64_t next = thaw_monotonic_ns() + (uint64_t)tick * NS_PER_MS;
	struct epoll_event events[WATCH_EVENTS];

	for (;;) {
		uint64_t now = thaw_monotonic_ns();
		int wait = now < next ? (int)((next - now) / NS_PER_MS) + 1 : 0;
		int n = epoll_wait(server->epoll, events, WATCH_EVENTS, wait);
		for (int i = 0; i < n; i++) {
			if (events[i].data.u64 == WATCH_WAKE)
				return NULL;
			watch_left(server, events[i].data.u64);
		}
		if (thaw_monotonic_ns() >= next) {
			watch_times(server);
			next = thaw_monotonic_ns() + (uint64_t)tick * NS_PER_MS;
		}
	}
}

int http_watch_start(struct thaw_http_server *server, struct thaw_error *err)
{
	unsigned int buckets = 64;

	while (buckets < server->config.connections)
		buckets *= 2;
	/* Its threads may run over the limit by one each while they close. */
	server->slots = server->config.connections + server->config.threads;
	server->bucket_count = buckets;
	server->connections = calloc(server->slots, sizeof(*server->connections));
	server->buckets = calloc(buckets, sizeof(struct http_address *));
	if (!server->connections || !server->buckets)
		return thaw_error_set(err, ENOMEM, "no memory for %u connections", server->slots);
	for (unsigned int i = 0; i < server->slots; i++)
		server->connections[i].next_free = i + 1;
	server->epoll = epoll_create1(EPOLL_CLOEXEC);
	server->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = WATCH_WAKE};
	if (getrandom(&server->seed, sizeof(server->seed), 0) != sizeof(server->seed) ||
	    server->epoll < 0 || server->wake < 0 ||
	    epoll_ctl(server->epoll, EPOLL_CTL_ADD, server->wake, &event) < 0)
		return thaw_error_errno(err, errno, "watching connections");
	int rc = pthread_create(&server->watch, NULL, watch_run, server);
	if (rc)
		return thaw_error_errno(err, rc, "starting a thread");
	server->watching = true;
	return 0;
}

void http_watch_stop(struct thaw_http_server *server)
{
	if (server->watching) {
		eventfd_write(server->wake, 1);
		pthread_join(server->watch, NULL);
	}
	server->watching = false;
}

void http_watch_force(struct thaw_http_server *server)
{
	for (unsigned int i = 0; i < server->slots; i++) {
		pthread_mutex_lock(&server->lock);
		struct http_exchange *exchange = server->connections[i].exchange;
		if (exchange)
			http_exchange_ref(exchange);
		pthread_mutex_unlock(&server->lock);
		if (exchange) {
			http_exchange_force(exchange);
			http_exchange_unref(exchange);
		}
	}
}
