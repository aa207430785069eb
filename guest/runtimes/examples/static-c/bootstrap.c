/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A custom runtime in C, with the C library only: build it static and put it into the function's
 * folder as `bootstrap`.
 *
 *	cc -O2 -static -o bootstrap bootstrap.c
 *
 * It answers every event with what it was sent and how often it has been called.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define API "/2018-06-01/runtime/invocation/"

/* One response of the Runtime API, whole in memory. */
struct response {
	char *data;
	size_t size;
	char *body;
	size_t body_size;
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* AWS_LAMBDA_RUNTIME_API is ADDRESS:PORT. */
static int connect_api(void)
{
	const char *api = getenv("AWS_LAMBDA_RUNTIME_API");
	struct sockaddr_in address = {.sin_family = AF_INET};
	char host[64];
	unsigned int port;

	if (!api || sscanf(api, "%63[^:]:%u", host, &port) != 2 || port > 65535 ||
	    inet_pton(AF_INET, host, &address.sin_addr) != 1) {
		fprintf(stderr, "AWS_LAMBDA_RUNTIME_API is not ADDRESS:PORT\n");
		exit(1);
	}
	address.sin_port = htons((unsigned short)port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die("connecting to the Runtime API");
	return fd;
}

static void send_all(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t n = write(fd, data, size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			die("writing to the Runtime API");
		data += n;
		size -= (size_t)n;
	}
}

/* The value of a header into `value`; an empty one when it is not there. */
static void find_header(const struct response *r, const char *name, char *value, size_t space)
{
	size_t length = strlen(name);

	value[0] = 0;
	for (const char *line = strchr(r->data, '\n'); line && line + 1 < r->body;
	     line = strchr(line + 1, '\n')) {
		line++;
		if (strncasecmp(line, name, length) == 0 && line[length] == ':') {
			const char *from = line + length + 1;
			from += strspn(from, " ");
			size_t size = strcspn(from, "\r\n");
			if (size < space) {
				memcpy(value, from, size);
				value[size] = 0;
			}
			return;
		}
		line--;
	}
}

/* Reads until the head is there, and then as much as it promises. */
static void read_response(int fd, struct response *r)
{
	size_t space = 65536;
	size_t wanted = 0;

	r->data = malloc(space + 1);
	r->size = 0;
	r->body = NULL;
	while (!r->body || r->size < wanted) {
		if (r->size == space)
			space *= 2;
		if (wanted > space)
			space = wanted;
		r->data = realloc(r->data, space + 1);
		if (!r->data)
			die("memory");
		ssize_t n = read(fd, r->data + r->size, space - r->size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			die("reading from the Runtime API");
		r->size += (size_t)n;
		r->data[r->size] = 0;
		char *end = strstr(r->data, "\r\n\r\n");
		if (!end)
			continue;
		char length[32];
		r->body = end + 4;
		find_header(r, "Content-Length", length, sizeof(length));
		r->body_size = strtoul(length, NULL, 10);
		wanted = (size_t)(r->body - r->data) + r->body_size;
	}
}

int main(void)
{
	int fd = connect_api();

	for (unsigned long calls = 1;; calls++) {
		static const char next[] = "GET " API "next HTTP/1.1\r\nHost: runtime\r\n\r\n";
		struct response event, receipt;
		char id[128], head[512], before[64];

		send_all(fd, next, sizeof(next) - 1);
		read_response(fd, &event);
		find_header(&event, "Lambda-Runtime-Aws-Request-Id", id, sizeof(id));
		int prefix = snprintf(before, sizeof(before), "{\"calls\":%lu,\"event\":", calls);
		int n = snprintf(head, sizeof(head),
				 "POST " API "%s/response HTTP/1.1\r\nHost: runtime\r\n"
				 "Content-Length: %zu\r\n\r\n%s",
				 id, (size_t)prefix + event.body_size + 1, before);
		send_all(fd, head, (size_t)n);
		send_all(fd, event.body, event.body_size);
		send_all(fd, "}", 1);
		read_response(fd, &receipt);
		free(event.data);
		free(receipt.data);
	}
}
