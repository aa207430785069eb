/* SPDX-License-Identifier: Apache-2.0 */
#include "host/daemon/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/control_client.h"
#include "host/daemon/admin.h"
#include "host/daemon/keys.h"
#include "host/daemon/service.h"
#include "host/daemon/top.h"
#include "lib/error.h"
#include "lib/fd.h"
#include "lib/log.h"

#define BACKLOG 16
#define WAIT_S  5 /* for a client's request */

struct thaw_control {
	struct thaw_service *service;
	pthread_t thread;
	int listener;
	int end[2]; /* closing its writing end ends the thread */
};

static bool client_may(int fd)
{
	struct ucred who;
	socklen_t size = sizeof(who);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 &&
	       (who.uid == 0 || who.uid == geteuid());
}

static json_t *control_perform(struct thaw_control *control, const json_t *request)
{
	struct thaw_service *service = control->service;
	const struct thaw_admin admin = {.store = service->store, .keyring = service->keyring};
	const char *what = json_string_value(json_object_get(request, "do"));
	struct thaw_error err = {0};
	bool changed;

	if (what && strcmp(what, "top") == 0)
		return thaw_top(service);
	json_t *answer = thaw_admin_perform(&admin, request, &changed);
	if (changed && thaw_keys_reload(service->keys, &err) < 0)
		thaw_log(THAW_LOG_ERROR, "access keys: %s", err.message);
	return answer;
}

static void control_serve(struct thaw_control *control, int fd)
{
	const struct timeval limit = {.tv_sec = WAIT_S};
	struct thaw_error err = {0};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (!client_may(fd))
		return;
	json_t *request = thaw_control_receive(fd, &err);
	json_t *answer = request ? control_perform(control, request)
				 : json_pack("{s:s}", "error", err.message);
	thaw_control_send(fd, answer, &err);
	json_decref(request);
	json_decref(answer);
}

static void *control_thread(void *opaque)
{
	struct thaw_control *control = opaque;
	struct pollfd fds[2] = {
		{.fd = control->end[0], .events = POLLIN},
		{.fd = control->listener, .events = POLLIN},
	};

	while (poll(fds, 2, -1) >= 0 || errno == EINTR) {
		if (fds[0].revents)
			break;
		cleanup_close int fd = accept4(control->listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			control_serve(control, fd);
	}
	return NULL;
}

/* The store's lock says that no other daemon is here: a socket that is there is a dead one's. */
static int control_listen(struct thaw_control *control, const char *data, struct thaw_error *err)
{
	cleanup_close int dir = -1;
	struct sockaddr_un address;

	int rc = thaw_control_address(data, &address, &dir, err);
	if (rc < 0)
		return rc;
	unlinkat(dir, THAW_CONTROL_SOCKET, 0);
	control->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (control->listener < 0 ||
	    bind(control->listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    fchmodat(dir, THAW_CONTROL_SOCKET, 0600, 0) < 0 ||
	    listen(control->listener, BACKLOG) < 0)
		return thaw_error_errno(err, errno, "the control socket");
	return 0;
}

struct thaw_control *thaw_control_start(struct thaw_service *service, struct thaw_error *err)
{
	struct thaw_control *control = calloc(1, sizeof(*control));

	if (!control) {
		thaw_error_errno(err, ENOMEM, "the control socket");
		return NULL;
	}
	*control = (struct thaw_control){.service = service, .listener = -1, .end = {-1, -1}};
	int rc = control_listen(control, service->config->data, err);
	if (rc == 0 && pipe2(control->end, O_CLOEXEC) < 0)
		rc = thaw_error_errno(err, errno, "the control socket");
	if (rc == 0) {
		rc = pthread_create(&control->thread, NULL, control_thread, control);
		if (rc)
			thaw_error_errno(err, rc, "starting a thread");
	}
	if (rc == 0)
		return control;
	thaw_cleanup_close(&control->listener);
	thaw_cleanup_close(&control->end[0]);
	thaw_cleanup_close(&control->end[1]);
	free(control);
	return NULL;
}

void thaw_control_stop(struct thaw_control *control)
{
	if (!control)
		return;
	thaw_cleanup_close(&control->end[1]);
	pthread_join(control->thread, NULL);
	thaw_cleanup_close(&control->end[0]);
	thaw_cleanup_close(&control->listener);
	free(control);
}
