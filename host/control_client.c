/* SPDX-License-Identifier: Apache-2.0 */
#include "host/control_client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "lib/error.h"
#include "lib/fd.h"

int thaw_control_address(const char *data, struct sockaddr_un *address, int *dir,
			 struct thaw_error *err)
{
	*dir = open(data, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*dir < 0)
		return thaw_error_errno(err, errno, "opening \"%s\"", data);
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s", *dir,
		 THAW_CONTROL_SOCKET);
	return 0;
}

json_t *thaw_control_receive(int fd, struct thaw_error *err)
{
	size_t size = 0, space = 4096;
	char *line = malloc(space);
	json_t *value = NULL;
	json_error_t fault;

	while (line) {
		ssize_t n = read(fd, line + size, space - size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		char *end = memchr(line + size, '\n', (size_t)n);
		size += (size_t)n;
		if (end) {
			value = json_loadb(line, (size_t)(end - line), 0, &fault);
			if (!value)
				thaw_error_set(err, EPROTO, "not JSON: %s", fault.text);
			free(line);
			return value;
		}
		if (size < space)
			continue;
		char *more = space < THAW_CONTROL_LINE_MAX ? realloc(line, space *= 2) : NULL;
		if (!more)
			break;
		line = more;
	}
	free(line);
	thaw_error_set(err, EPROTO, "the other end closed, was too slow or said too much");
	return NULL;
}

int thaw_control_send(int fd, const json_t *value, struct thaw_error *err)
{
	char *text = json_dumps(value, JSON_COMPACT);

	if (!text)
		return thaw_error_errno(err, ENOMEM, "a message");
	size_t size = strlen(text);
	text[size] = '\n'; /* in place of the 0 byte */
	int rc = 0;
	for (size_t done = 0; rc == 0 && done < size + 1;) {
		ssize_t n = send(fd, text + done, size + 1 - done, MSG_NOSIGNAL);
		if (n > 0)
			done += (size_t)n;
		else if (errno != EINTR)
			rc = thaw_error_errno(err, errno, "writing");
	}
	explicit_bzero(text, size); /* keys pass here */
	free(text);
	return rc;
}

json_t *thaw_control_ask(const char *data, const json_t *request, struct thaw_error *err)
{
	const struct timeval limit = {.tv_sec = THAW_CONTROL_WAIT_S};
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cleanup_close int dir = -1;
	struct sockaddr_un address;

	int rc = fd < 0 ? thaw_error_errno(err, errno, "a socket")
			: thaw_control_address(data, &address, &dir, err);
	if (rc < 0)
		return NULL;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int code = errno == ECONNREFUSED ? ENOENT : errno;
		thaw_error_errno(err, code, "no thawd answers in \"%s\"", data);
		return NULL;
	}
	if (thaw_control_send(fd, request, err) < 0)
		return NULL;
	return thaw_control_receive(fd, err);
}
