/* SPDX-License-Identifier: Apache-2.0 */
/*
 * thaw-vmm: one process, one microVM. It is told everything over the socket it inherits as
 * descriptor 3, and ends with it.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/error.h"
#include "lib/log.h"
#include "vmm/control.h"
#include "vmm/jail.h"
#include "vmm/loop.h"
#include "vmm/sandbox.h"

#define CONTROL_FD 3

/* The usual 8 MiB would get a huge page at the first touch on hosts that give them unasked:
 * 2 MiB of thaw-vmm's own memory for a few pages of stack. */
#define STACK_SIZE (256u * 1024)

#ifdef __SANITIZE_ADDRESS__
/* At the end it would look for leaks by calls that the sandbox forbids. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}
#endif

static const char usage[] =
	"Usage: thaw-vmm [--log-level LEVEL] [--log-json] [--no-sandbox]\n"
	"\n"
	"Runs one microVM for the program that started it, which speaks to it over a\n"
	"SOCK_SEQPACKET socket on descriptor 3. It is not started by hand: see thaw(1).\n"
	"\n"
	"  --log-level LEVEL  debug, info, warn, error or off (default warn)\n"
	"  --log-json         log lines in JSON\n"
	"  --jail             namespaces, an empty root and a user of its own (wants root)\n"
	"  --jail-user UID    the same, as this user\n"
	"  --no-sandbox       allow every system call (for debugging)\n"
	"  --version          print the version\n";

static int limit_stacks(struct thaw_error *err)
{
	pthread_attr_t attributes;
	int rc = pthread_attr_init(&attributes);

	if (rc == 0) {
		rc = pthread_attr_setstacksize(&attributes, STACK_SIZE);
		if (rc == 0)
			rc = pthread_setattr_default_np(&attributes);
		pthread_attr_destroy(&attributes);
	}
	return rc ? thaw_error_errno(err, rc, "the size of threads' stacks") : 0;
}

static int run(bool jailed, unsigned int user, bool sandboxed, struct thaw_error *err)
{
	struct thaw_loop loop;
	struct thaw_control *control;
	int rc = limit_stacks(err);

	if (rc == 0 && jailed)
		rc = thaw_jail_enter(user, CONTROL_FD, err);
	if (rc == 0)
		rc = thaw_loop_create(&loop, err);
	if (rc < 0)
		return rc;
	rc = thaw_control_create(&control, CONTROL_FD, &loop, err);
	if (rc == 0) {
		if (sandboxed)
			rc = thaw_sandbox_enter(err);
		if (rc == 0)
			rc = thaw_loop_run(&loop, err);
		thaw_control_destroy(control);
	}
	thaw_loop_destroy(&loop);
	return rc;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"log-level", required_argument, NULL, 'l'}, {"log-json", no_argument, NULL, 'j'},
		{"no-sandbox", no_argument, NULL, 's'},      {"jail", no_argument, NULL, 'J'},
		{"jail-user", required_argument, NULL, 'U'}, {"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'v'},         {0},
	};
	enum thaw_log_level level = THAW_LOG_WARN;
	bool json = false, jailed = false, sandboxed = true;
	struct thaw_error err = {0};
	unsigned int user = 0;
	int option, type;
	socklen_t size = sizeof(type);

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'l':
			if (thaw_log_level_parse(optarg, &level) < 0) {
				fprintf(stderr, "thaw-vmm: no such log level: \"%s\"\n", optarg);
				return 2;
			}
			break;
		case 'j':
			json = true;
			break;
		case 'J':
			jailed = true;
			break;
		case 'U':
			jailed = true;
			user = (unsigned int)strtoul(optarg, NULL, 10);
			if (user == 0 || user == UINT_MAX) {
				fprintf(stderr, "thaw-vmm: no such user: \"%s\"\n", optarg);
				return 2;
			}
			break;
		case 's':
			sandboxed = false;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'v':
			puts("thaw-vmm " THAW_VERSION);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	thaw_log_setup("thaw-vmm", level, json, STDERR_FILENO);
	signal(SIGPIPE, SIG_IGN);
	/* One heap: another thread's own would take calls that only the first thread may make. */
	mallopt(M_ARENA_MAX, 1);
	if (getsockopt(CONTROL_FD, SOL_SOCKET, SO_TYPE, &type, &size) < 0 ||
	    type != SOCK_SEQPACKET) {
		fputs("thaw-vmm: descriptor 3 is not a SOCK_SEQPACKET socket: it is started by "
		      "thaw, not by hand\n",
		      stderr);
		return 2;
	}
	if (run(jailed, user, sandboxed, &err) < 0) {
		thaw_log(THAW_LOG_ERROR, "%s", err.message);
		return 1;
	}
	return 0;
}
