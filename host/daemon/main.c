/* SPDX-License-Identifier: Apache-2.0 */
/* thawd: options, the service's life, signals. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/daemon/admin.h"
#include "host/daemon/service.h"
#include "lib/error.h"
#include "lib/log.h"

#define ARENAS 4

static const char usage[] =
	"Usage: thawd [OPTIONS]\n"
	"\n"
	"A function host that speaks the API of AWS Lambda: each execution environment is a\n"
	"microVM of its own. Accounts and their keys are made by `thaw account create NAME`.\n"
	"\n"
	"Options:\n";

static const char notes[] =
	"\n"
	"SIGTERM and SIGINT end it: no new requests, those under way may end. See thawd(8).\n";

/* sd_notify(3): to the socket that systemd gave, if it did. */
static void notify(const char *text)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t size = path ? strlen(path) : 0;

	if (!size || size >= sizeof(address.sun_path) || (*path != '/' && *path != '@'))
		return;
	memcpy(address.sun_path, path, size);
	if (*path == '@')
		address.sun_path[0] = 0;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&address,
	       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size));
	close(fd);
}

/* A descriptor or more for each connection and each environment. */
static void raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* Where clients of this machine reach it. */
static void endpoint_of(const struct thaw_config *config, char *out, size_t size)
{
	const char *address = config->address;
	bool v6 = strchr(address, ':') != NULL;

	if (strcmp(address, "0.0.0.0") == 0)
		address = "127.0.0.1";
	else if (strcmp(address, "::") == 0)
		address = "::1";
	snprintf(out, size, "http://%s%s%s:%u", v6 ? "[" : "", address, v6 ? "]" : "",
		 config->port);
}

static int serve(const struct thaw_config *config)
{
	static struct thaw_service service;
	struct thaw_error err = {0};
	sigset_t wanted;
	int signal_number;

	/* Taken by sigwait alone, whatever threads there will be. */
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGTERM);
	sigaddset(&wanted, SIGINT);
	sigprocmask(SIG_BLOCK, &wanted, NULL);
	signal(SIGPIPE, SIG_IGN);
	raise_limits();
	/* Threads come and go with environments; what each of them once held should not be kept. */
	mallopt(M_ARENA_MAX, ARENAS);
	if (thaw_service_start(&service, config, &err) < 0) {
		fprintf(stderr, "thawd: %s\n", err.message);
		return 1;
	}
	const char *open = strchr(config->address, ':') ? "[" : "", *close = *open ? "]" : "";
	thaw_log(THAW_LOG_INFO,
		 "listening on http://%s%s%s:%u, data in %s, %llu MiB for environments", open,
		 config->address, close, thaw_http_port(service.server), config->data,
		 (unsigned long long)service.memory_mib);
	notify("READY=1");
	sigwait(&wanted, &signal_number);
	notify("STOPPING=1");
	thaw_log(THAW_LOG_INFO, "%s: ending", strsignal(signal_number));
	if (!thaw_service_stop(&service))
		_exit(0);
	return 0;
}

int main(int argc, char *argv[])
{
	struct thaw_config config;
	enum thaw_log_level level;
	struct thaw_error err = {0};
	char endpoint[128];
	int rest;

	int rc = thaw_config_read(&config, argc, argv, &rest, &err);
	switch (rc) {
	case THAW_CONFIG_HELP:
		printf("%s%s%s", usage, thaw_config_help, notes);
		return 0;
	case THAW_CONFIG_VERSION:
		puts("thawd " THAW_VERSION);
		return 0;
	case THAW_CONFIG_COMMAND:
		if (strcmp(argv[rest], "account") != 0) {
			fprintf(stderr, "thawd: \"%s\" is not an option (see --help)\n",
				argv[rest]);
			return 2;
		}
		endpoint_of(&config, endpoint, sizeof(endpoint));
		return thaw_admin_command(config.data, config.region, endpoint, argc - rest,
					  argv + rest);
	case THAW_CONFIG_RUN:
		break;
	default:
		fprintf(stderr, "thawd: %s\n", err.message);
		return 2;
	}
	thaw_log_level_parse(config.log_level, &level);
	thaw_log_setup("thawd", level, config.log_json, STDERR_FILENO);
	return serve(&config);
}
