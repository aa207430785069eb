/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/json_check.h"
#include "host/statistics.h"
#include "lib/error.h"
#include "lib/fd.h"

static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;
static bool line_open; /* the last log did not end its line; under `output` */

void tool_output_lock(void)
{
	pthread_mutex_lock(&output);
}

void tool_output_unlock(void)
{
	pthread_mutex_unlock(&output);
}

int tool_option(struct tool *tool, int argc, char **argv, const char *shorts,
		const struct option *options, const char *help)
{
	char own[64];

	/* "+": a command's options end at its first argument only where it says so. ":": a
	 * missing value is told apart. */
	snprintf(own, sizeof(own), ":%s", shorts);
	opterr = 0;
	for (;;) {
		int option = getopt_long(argc, argv, own, options, NULL);
		switch (option) {
		case -1:
			return TOOL_DONE;
		case TOOL_OPTION_STATE:
			tool->state = optarg;
			break;
		case TOOL_OPTION_VERBOSE:
			tool->verbose = true;
			break;
		case TOOL_OPTION_JSON:
			tool->json = true;
			break;
		case TOOL_OPTION_HELP:
			fputs(help, stdout);
			tool->helped = true;
			return TOOL_ERROR;
		case ':':
			tool_usage("%s: \"%s\" wants a value", argv[0], argv[optind - 1]);
			return TOOL_ERROR;
		case '?':
			if (optopt && optopt < 256)
				tool_usage("%s: unknown option \"-%c\" (see --help)", argv[0],
					   optopt);
			else
				tool_usage("%s: unknown option \"%s\" (see --help)", argv[0],
					   argv[optind - 1]);
			return TOOL_ERROR;
		default:
			return option;
		}
	}
}

int tool_usage(const char *format, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	thaw_text_printable(text);
	fprintf(stderr, "thaw: %s\n", text);
	return TOOL_USAGE;
}

int tool_fail(int code, const struct thaw_error *err)
{
	tool_output_lock();
	if (line_open)
		fputc('\n', stderr);
	line_open = false;
	fprintf(stderr, "thaw: %s\n", err->message);
	tool_output_unlock();
	/* Space and devices are the host's, whatever was being done. */
	if (err->code == ENOSPC || err->code == EDQUOT || err->code == ENOMEM)
		return TOOL_HOST;
	return code;
}

void tool_progress(void *context, const char *text)
{
	const struct tool *tool = context;

	if (tool->verbose || isatty(STDERR_FILENO))
		fprintf(stderr, "thaw: %s ...\n", text);
}

bool tool_number(const char *option, const char *text, int64_t low, int64_t high, int64_t *value)
{
	char *end;

	errno = 0;
	long long number = strtoll(text, &end, 10);
	if (end == text || *end || errno || number < low || number > high) {
		tool_usage("%s is a whole number from %lld to %lld, not \"%s\"", option,
			   (long long)low, (long long)high, text);
		return false;
	}
	*value = number;
	return true;
}

/* Reads to the end, but not more than one byte beyond the limit. */
static int read_stream(int fd, uint8_t **data, size_t *size)
{
	size_t space = 65536, used = 0;
	uint8_t *buffer = malloc(space);

	while (buffer) {
		if (used == space) {
			space = space * 2 > THAW_PAYLOAD_MAX + 1 ? THAW_PAYLOAD_MAX + 1 : space * 2;
			uint8_t *more = realloc(buffer, space);
			if (!more)
				break;
			buffer = more;
		}
		ssize_t n = read(fd, buffer + used, space - used);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int code = errno;
			free(buffer);
			return -code;
		}
		used += (size_t)n;
		if (n == 0 || used > THAW_PAYLOAD_MAX) {
			*data = buffer;
			*size = used;
			return 0;
		}
	}
	free(buffer);
	return -ENOMEM;
}

int tool_read_event(const char *path, uint8_t **event, size_t *size)
{
	const char *name = strcmp(path, "-") == 0 ? "standard input" : path;
	struct thaw_error err = {0};
	cleanup_close int fd = -1;
	cleanup_free uint8_t *data = NULL;

	if (strcmp(path, "-") == 0)
		fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	else
		fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return tool_usage("the event \"%s\": %s", name, strerror(errno));
	int rc = read_stream(fd, &data, size);
	if (rc < 0)
		return tool_usage("the event \"%s\": %s", name, strerror(-rc));
	if (*size > THAW_PAYLOAD_MAX)
		return tool_usage("the event \"%s\" is larger than the %u bytes allowed", name,
				  THAW_PAYLOAD_MAX);
	if (thaw_json_check(data, *size, &err) < 0)
		return tool_usage("the event \"%s\" is not JSON: %s", name, err.message);
	*event = data;
	data = NULL;
	return 0;
}

void tool_log_newline(FILE *file)
{
	tool_output_lock();
	if (line_open)
		fputc('\n', file);
	line_open = false;
	tool_output_unlock();
}

void tool_log(void *context, Thaw__Agent__Log__Source source, const uint8_t *data, size_t size,
	      uint64_t dropped)
{
	FILE *file = context;
	bool terminal = isatty(fileno(file));

	(void)source;
	tool_output_lock();
	if (dropped)
		fprintf(file, "%s[%llu bytes of logs were lost here]\n", line_open ? "\n" : "",
			(unsigned long long)dropped);
	if (terminal) {
		/* A handler's text must not drive a person's terminal. U+0080 to U+009F are the
		 * control characters that begin with 0xc2; it may have come with the piece before.
		 */
		static uint8_t last;
		for (size_t i = 0; i < size; i++) {
			uint8_t c = data[i];
			bool bad = (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f ||
				   (last == 0xc2 && c >= 0x80 && c <= 0x9f);
			fputc(bad ? '?' : c, file);
			last = c;
		}
	} else {
		fwrite(data, 1, size, file);
	}
	if (size)
		line_open = data[size - 1] != '\n';
	fflush(file);
	tool_output_unlock();
}

json_t *tool_phases_json(const struct thaw_phases *phases)
{
	json_t *list = json_array();

	for (size_t i = 0; i < phases->count; i++)
		json_array_append_new(list, json_pack("{s:s, s:I}", "name", phases->item[i].name,
						      "ns", (json_int_t)phases->item[i].ns));
	return list;
}

json_t *tool_statistics_json(const struct thaw_statistics *s)
{
	json_t *exits = json_object();

	for (size_t i = 0; i < s->exit_count; i++)
		json_object_set_new(exits, s->exits[i].name,
				    json_integer((json_int_t)s->exits[i].value));
	return json_pack(
		"{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:{s:I, s:I, s:I, s:I, "
		"s:I}, s:I, s:I, s:I, s:I}",
		"exits", exits, "exits_total", (json_int_t)s->exits_total, "guest_ns",
		(json_int_t)s->guest_ns, "minor_faults", (json_int_t)s->minor_faults,
		"major_faults", (json_int_t)s->major_faults, "uffd_faults",
		(json_int_t)s->uffd_faults, "pages_loaded", (json_int_t)s->pages_loaded,
		"bytes_read", (json_int_t)s->bytes_read, "bytes_written",
		(json_int_t)s->bytes_written, "vsock_rx_bytes", (json_int_t)s->vsock_rx_bytes,
		"vsock_tx_bytes", (json_int_t)s->vsock_tx_bytes, "network", "rx_bytes",
		(json_int_t)s->net_rx_bytes, "rx_packets", (json_int_t)s->net_rx_packets,
		"tx_bytes", (json_int_t)s->net_tx_bytes, "tx_packets",
		(json_int_t)s->net_tx_packets, "dropped", (json_int_t)s->net_dropped, "memory_kib",
		(json_int_t)s->memory_kib, "memory_private_kib", (json_int_t)s->memory_private_kib,
		"drives_kib", (json_int_t)s->drives_kib, "own_kib", (json_int_t)s->own_kib);
}

void tool_print_json(json_t *value)
{
	char *text = json_dumps(value, JSON_INDENT(2));

	puts(text ? text : "null");
	free(text);
	json_decref(value);
}

const char *tool_size(char text[32], uint64_t bytes)
{
	if (bytes >= 1ull << 30)
		snprintf(text, 32, "%.1f GiB", (double)bytes / (1ull << 30));
	else if (bytes >= 1ull << 20)
		snprintf(text, 32, "%.1f MiB", (double)bytes / (1ull << 20));
	else if (bytes >= 1ull << 10)
		snprintf(text, 32, "%.1f KiB", (double)bytes / (1ull << 10));
	else
		snprintf(text, 32, "%llu B", (unsigned long long)bytes);
	return text;
}
