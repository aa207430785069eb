/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A custom runtime that breaks when it is told to, and starts quickly again: by the events "exit",
 * "hang" and "kill". All others it prints, and answers with what the Runtime API's headers
 * said and how many events this process has had.
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define API   "/2018-06-01/runtime/invocation/"
#define SPACE 16384

static int api_connect(void)
{
	const char *api = getenv("AWS_LAMBDA_RUNTIME_API");
	struct sockaddr_in to = {.sin_family = AF_INET};
	char host[64];
	unsigned int port;

	if (!api || sscanf(api, "%63[^:]:%u", host, &port) != 2 ||
	    inet_pton(AF_INET, host, &to.sin_addr) != 1)
		exit(10);
	to.sin_port = htons((unsigned short)port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		exit(11);
	return fd;
}

/* The value of a header, or "". */
static void find_header(const char *head, const char *name, char value[512])
{
	size_t length = strlen(name);

	value[0] = 0;
	for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
		if (strncasecmp(line + 2, name, length) == 0 && line[2 + length] == ':') {
			sscanf(line + 2 + length + 1, " %511[^\r]", value);
			return;
		}
	}
}

/* Sends a request and reads the whole answer; where its body begins. */
static char *api_call(int fd, const char *request, char answer[SPACE])
{
	size_t used = 0, wanted = SPACE;
	char *body = NULL, length[512];

	if (write(fd, request, strlen(request)) != (ssize_t)strlen(request))
		exit(12);
	while (used < wanted) {
		ssize_t n = read(fd, answer + used, SPACE - 1 - used);
		if (n <= 0)
			exit(13);
		used += (size_t)n;
		answer[used] = 0;
		body = strstr(answer, "\r\n\r\n");
		if (!body)
			continue;
		body += 4;
		find_header(answer, "Content-Length", length);
		wanted = (size_t)(body - answer) + strtoul(length, NULL, 10);
	}
	return body;
}

/* As a string of JSON: the headers' values have nothing but '"' and '\' to be escaped. */
static void quote(const char *text, char out[1024])
{
	*out++ = '"';
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			*out++ = '\\';
		*out++ = *text;
	}
	strcpy(out, "\"");
}

int main(void)
{
	static char event[SPACE], receipt[SPACE], request[SPACE], body[SPACE / 2];
	int fd = api_connect();

	for (unsigned long calls = 1;; calls++) {
		char id[512], trace[512], context[512], trace_text[1024], context_text[1024];
		char *what =
			api_call(fd, "GET " API "next HTTP/1.1\r\nHost: runtime\r\n\r\n", event);
		find_header(event, "Lambda-Runtime-Aws-Request-Id", id);
		find_header(event, "Lambda-Runtime-Trace-Id", trace);
		find_header(event, "Lambda-Runtime-Client-Context", context);
		if (strcmp(what, "\"exit\"") == 0)
			_exit(7);
		if (strcmp(what, "\"hang\"") == 0)
			sleep(1000);
		if (strcmp(what, "\"kill\"") == 0)
			raise(SIGKILL);
		printf("%s\n", what);
		fflush(stdout);
		quote(trace, trace_text);
		quote(context, context_text);
		snprintf(body, sizeof(body), "{\"calls\":%lu,\"trace\":%s,\"context\":%s}", calls,
			 trace_text, context_text);
		snprintf(request, sizeof(request),
			 "POST " API "%s/response HTTP/1.1\r\nHost: runtime\r\n"
			 "Content-Length: %zu\r\n\r\n%s",
			 id, strlen(body), body);
		api_call(fd, request, receipt);
	}
}
