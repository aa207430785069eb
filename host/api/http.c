/* SPDX-License-Identifier: Apache-2.0 */
#include "host/api/http.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host/api/http_internal.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"

/* Of a connection's memory, what parsed headers take beside their text. */
#define POOL_EXTRA      (48u << 10)
#define THREAD_STACK    (512u << 10)
#define BACKLOG         1024
#define ACCEPT_AGAIN_MS 50
#define FORCED_MS       5000 /* for the server's own threads to see that all is over */
#define CLOSED_MS       200  /* for connections to close by themselves before they are closed */

void thaw_http_config_init(struct thaw_http_config *config)
{
	*config = (struct thaw_http_config){
		.address = "127.0.0.1",
		.threads = 4,
		.connections = 4096,
		.connections_per_address = 1024,
		.head_ms = 10000,
		.idle_ms = 60000,
		.grace_ms = 10000,
		.rate_min = 16u << 10,
		.head_max = 64u << 10,
		.body_max = 1u << 20,
		.body_total = 512u << 20,
		.discard_max = 64u << 20,
		.stream_max = 256u << 10,
	};
}

static int config_check(const struct thaw_http_config *config, struct thaw_error *err)
{
	if (!config->address || !config->hooks.handle)
		return thaw_error_set(err, EINVAL, "the server wants an address and a handler");
	if (!config->threads || config->threads > 256 || config->connections < config->threads ||
	    config->connections > 1000000)
		return thaw_error_set(err, EINVAL, "%u threads for %u connections", config->threads,
				      config->connections);
	if (!config->head_ms || !config->idle_ms || !config->grace_ms || !config->rate_min ||
	    !config->stream_max || config->head_max < 1024 || config->head_max > 1u << 20)
		return thaw_error_set(err, EINVAL, "a limit of the HTTP server is out of range");
	return 0;
}

static void cleanup_addrinfo(struct addrinfo **info)
{
	if (*info)
		freeaddrinfo(*info);
}

static int server_listen(struct thaw_http_server *server, struct thaw_error *err)
{
	const struct thaw_http_config *config = &server->config;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
	__attribute__((cleanup(cleanup_addrinfo))) struct addrinfo *found = NULL;
	struct sockaddr_storage bound;
	socklen_t size = sizeof(bound);
	char port[8];
	int on = 1, off = 0;

	snprintf(port, sizeof(port), "%u", config->port);
	if (getaddrinfo(config->address, port, &hints, &found) != 0)
		return thaw_error_set(err, EINVAL, "\"%s\" is no address to listen on",
				      config->address);
	cleanup_close int fd =
		socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return thaw_error_errno(err, errno, "making a socket");
	if (found->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0 ||
	    getsockname(fd, (struct sockaddr *)&bound, &size) < 0)
		return thaw_error_errno(err, errno, "listening on %s port %u", config->address,
					config->port);
	server->port =
		ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
						  : ((struct sockaddr_in *)&bound)->sin_port);
	server->listener = thaw_fd_take(&fd);
	return 0;
}

/* Paths and queries stay as they were sent: what decodes them is strict (route.h). */
static size_t server_keep_escapes(void *opaque, struct MHD_Connection *mhd, char *text)
{
	(void)opaque;
	(void)mhd;
	return strlen(text);
}

__attribute__((format(printf, 2, 0))) static void server_log(void *opaque, const char *format,
							     va_list ap)
{
	char text[512];

	(void)opaque;
	vsnprintf(text, sizeof(text), format, ap);
	thaw_text_printable(text);
	thaw_log(THAW_LOG_DEBUG, "http: %s", text);
	/* No descriptor for a thread's first connection: it would ask for one again at once, and go
	 * on so. There is nothing else for this thread to do meanwhile. */
	if (strstr(format, "FIRST connection"))
		nanosleep(&(struct timespec){.tv_nsec = ACCEPT_AGAIN_MS * 1000000L}, NULL);
}

static int server_serve(struct thaw_http_server *server, struct thaw_error *err)
{
	const struct thaw_http_config *config = &server->config;

	server->daemon = MHD_start_daemon(
		MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0,
		http_watch_admit, server, http_exchange_step, server, MHD_OPTION_EXTERNAL_LOGGER,
		server_log, server, MHD_OPTION_LISTEN_SOCKET, server->listener,
		MHD_OPTION_THREAD_POOL_SIZE, config->threads > 1 ? config->threads : 0u,
		MHD_OPTION_THREAD_STACK_SIZE, (size_t)THREAD_STACK, MHD_OPTION_CONNECTION_LIMIT,
		config->connections, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		config->head_max + POOL_EXTRA, MHD_OPTION_CONNECTION_TIMEOUT, 0u,
		MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_UNESCAPE_CALLBACK, server_keep_escapes,
		NULL, MHD_OPTION_URI_LOG_CALLBACK, http_exchange_begin, server,
		MHD_OPTION_NOTIFY_COMPLETED, http_exchange_done, server,
		MHD_OPTION_NOTIFY_CONNECTION, http_watch_notify, server, MHD_OPTION_END);
	if (!server->daemon)
		return thaw_error_errno(err, errno ? errno : EIO, "starting the HTTP server");
	return 0;
}

void http_server_unref(struct thaw_http_server *server)
{
	if (atomic_fetch_sub(&server->references, 1) != 1)
		return;
	if (server->listener >= 0)
		close(server->listener);
	if (server->epoll >= 0)
		close(server->epoll);
	if (server->wake >= 0)
		close(server->wake);
	free(server->connections);
	free(server->buckets);
	pthread_cond_destroy(&server->changed);
	pthread_mutex_destroy(&server->lock);
	free(server);
}

int thaw_http_start(const struct thaw_http_config *config, struct thaw_http_server **started,
		    struct thaw_error *err)
{
	pthread_condattr_t attributes;

	*started = NULL;
	int rc = config_check(config, err);
	if (rc < 0)
		return rc;
	struct thaw_http_server *server = calloc(1, sizeof(*server));
	if (!server)
		return thaw_error_set(err, ENOMEM, "no memory for the HTTP server");
	server->config = *config;
	server->listener = server->epoll = server->wake = -1;
	atomic_init(&server->references, 1);
	pthread_mutex_init(&server->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&server->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	rc = server_listen(server, err);
	if (rc == 0)
		rc = http_watch_start(server, err);
	if (rc == 0)
		rc = server_serve(server, err);
	if (rc < 0) {
		http_watch_stop(server);
		http_server_unref(server);
		return rc;
	}
	server->config.address = NULL;
	*started = server;
	return 0;
}

uint16_t thaw_http_port(const struct thaw_http_server *server)
{
	return server->port;
}

void thaw_http_figures(struct thaw_http_server *server, struct thaw_http_figures *figures)
{
	pthread_mutex_lock(&server->lock);
	*figures = server->figures;
	pthread_mutex_unlock(&server->lock);
	figures->body_bytes = atomic_load(&server->body_bytes);
}

/* Waits until no request is under way (with `connections`: until none is open). */
static bool server_wait(struct thaw_http_server *server, unsigned int ms, bool connections)
{
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000 + (until.tv_nsec + (long)(ms % 1000) * 1000000) / 1000000000;
	until.tv_nsec = (until.tv_nsec + (long)(ms % 1000) * 1000000) % 1000000000;
	pthread_mutex_lock(&server->lock);
	while (rc == 0 &&
	       (server->figures.requests || (connections && server->figures.connections)))
		rc = pthread_cond_timedwait(&server->changed, &server->lock, &until);
	pthread_mutex_unlock(&server->lock);
	return rc == 0;
}

void thaw_http_stop(struct thaw_http_server *server, unsigned int grace_ms)
{
	if (!server)
		return;
	atomic_store(&server->stopping, true);
	/* The socket stays open for libmicrohttpd's threads, but refuses from now on. */
	MHD_quiesce_daemon(server->daemon);
	shutdown(server->listener, SHUT_RDWR);
	http_watch_end(server, false);
	if (!server_wait(server, grace_ms, false)) {
		atomic_store(&server->closing, true);
		http_watch_force(server);
		server_wait(server, FORCED_MS, false);
		http_watch_end(server, true);
	}
	/* A connection that is suspended now would be libmicrohttpd's panic; there is none: what
	 * came late was answered in its dispatch. */
	atomic_store(&server->closing, true);
	http_watch_force(server);
	http_watch_end(server, true);
	server_wait(server, CLOSED_MS, true);
	MHD_stop_daemon(server->daemon);
	http_watch_stop(server);
	http_server_unref(server);
}
