/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/telemetry/logs_internal.h"
#include "lib/clock.h"
#include "lib/error.h"
#include "lib/fd.h"

#define BUFFER_FULL (64u << 10) /* goes to the file before the invocation ends */
#define BUFFER_KEPT 4096u       /* by an environment that is idle */
#define NS_PER_S    UINT64_C(1000000000)
/* Who follows a log sees what an invocation prints while it still runs; not more often than this.
 */
#define FOLLOW_NS (NS_PER_S / 4)

struct buffer {
	char *data;
	size_t size, space;
};

/* A line that has no end yet. */
struct line {
	struct buffer text;
	char request_id[THAW_LOG_REQUEST_MAX + 1];
	bool begun; /* of a cut line: what follows may be nothing but its line feed */
	bool cut;
};

struct thaw_log_stream {
	struct thaw_logs *logs;
	struct thaw_log_file file;
	struct line lines[THAW_LOG_KINDS];
	struct buffer out;
	uint64_t out_records;
	uint64_t written_ns; /* when the buffer was written last */
	/* The rate: a bucket of `burst` bytes that fills with `rate` a second. */
	int64_t tokens; /* below 0: a debt */
	uint64_t filled_ns;
	uint64_t dropped_bytes; /* since the last record that told */
	uint64_t lost_records;
};

/* --- buffers ------------------------------------------------------------------------------- */

static bool buffer_reserve(struct buffer *buffer, size_t more)
{
	size_t space = buffer->space ? buffer->space : 256;

	if (more <= buffer->space - buffer->size)
		return true;
	while (space - buffer->size < more)
		space *= 2;
	char *data = realloc(buffer->data, space);
	if (!data)
		return false;
	buffer->data = data;
	buffer->space = space;
	return true;
}

/* Empties it; many environments are idle for long, so what is large goes. */
static void buffer_clear(struct buffer *buffer)
{
	buffer->size = 0;
	if (buffer->space > BUFFER_KEPT) {
		free(buffer->data);
		*buffer = (struct buffer){0};
	}
}

/* --- records ------------------------------------------------------------------------------- */

static void stream_lose(struct thaw_log_stream *stream, uint64_t records)
{
	stream->lost_records += records;
	atomic_fetch_add_explicit(&stream->logs->lost_records, records, memory_order_relaxed);
}

/* Forms a record at the end of the buffer. */
static bool record_add(struct buffer *out, enum thaw_log_kind kind, const char *request_id,
		       const void *text, size_t size)
{
	if (!buffer_reserve(out, THAW_LOG_HEAD_MAX + THAW_LOG_CLEAN * size + 1))
		return false;
	char *to = out->data + out->size;
	to += thaw_log_head_format(to, (int64_t)(thaw_realtime_ns() / 1000000), request_id, kind);
	to += thaw_log_text_clean(to, text, size);
	*to++ = '\n';
	out->size = (size_t)(to - out->data);
	return true;
}

/* Writes what is in the buffer. What is lost is told before what is written next. */
static void stream_write_out(struct thaw_log_stream *stream)
{
	struct thaw_logs *logs = stream->logs;
	struct buffer *out = &stream->out;
	char text[96];

	if (stream->lost_records && out->size) {
		struct buffer note = {0};
		int n = snprintf(text, sizeof(text), "[%llu records of logs were lost here]",
				 (unsigned long long)stream->lost_records);
		if (record_add(&note, THAW_LOG_KIND_PLATFORM, NULL, text, (size_t)n) &&
		    thaw_log_file_append(&stream->file, note.data, note.size) == 0)
			stream->lost_records = 0;
		free(note.data);
	}
	if (out->size && thaw_log_file_append(&stream->file, out->data, out->size) < 0) {
		stream_lose(stream, stream->out_records);
	} else {
		atomic_fetch_add_explicit(&logs->records, stream->out_records,
					  memory_order_relaxed);
		atomic_fetch_add_explicit(&logs->bytes, out->size, memory_order_relaxed);
	}
	stream->out_records = 0;
	stream->written_ns = thaw_monotonic_ns();
	out->size = 0;
}

/* How long the record is on the disk. */
static size_t stream_record(struct thaw_log_stream *stream, enum thaw_log_kind kind,
			    const char *request_id, const void *text, size_t size)
{
	size_t before = stream->out.size, grown = 0;

	if (record_add(&stream->out, kind, request_id, text, size)) {
		grown = stream->out.size - before;
		stream->out_records++;
	} else {
		stream_lose(stream, 1);
	}
	if (stream->out.size >= BUFFER_FULL)
		stream_write_out(stream);
	return grown;
}

/* --- the rate ------------------------------------------------------------------------------ */

static void rate_fill(struct thaw_log_stream *stream)
{
	const struct thaw_logs_config *config = &stream->logs->config;
	uint64_t now = thaw_monotonic_ns(), passed = now - stream->filled_ns;
	double earned = (double)passed * (double)config->rate / (double)NS_PER_S;

	if (earned < 1)
		return;
	stream->filled_ns = now;
	int64_t burst = (int64_t)config->burst;
	stream->tokens = earned >= (double)(burst - stream->tokens)
				 ? burst
				 : stream->tokens + (int64_t)earned;
}

/* How long what it has to tell is on the disk. */
static size_t stream_tell_dropped(struct thaw_log_stream *stream)
{
	char text[128];

	if (!stream->dropped_bytes)
		return 0;
	int n = snprintf(text, sizeof(text),
			 "[%llu bytes of logs were dropped here: more than %llu bytes per second]",
			 (unsigned long long)stream->dropped_bytes,
			 (unsigned long long)stream->logs->config.rate);
	stream->dropped_bytes = 0;
	return stream_record(stream, THAW_LOG_KIND_PLATFORM, NULL, text, (size_t)n);
}

/* --- lines --------------------------------------------------------------------------------- */

static void line_record(struct thaw_log_stream *stream, enum thaw_log_kind kind,
			const char *request_id, const uint8_t *text, size_t size)
{
	if (kind == THAW_LOG_KIND_PLATFORM) {
		stream_record(stream, kind, request_id, text, size);
		return;
	}
	rate_fill(stream);
	if (stream->tokens < (int64_t)size) {
		stream->dropped_bytes += size + 1;
		atomic_fetch_add_explicit(&stream->logs->dropped_bytes, size + 1,
					  memory_order_relaxed);
		return;
	}
	/* In the order of things: what was dropped came before this. What both take of the disk
	 * counts, not what was printed: an empty line is all head, and a control character four.
	 * That may make a debt. */
	stream->tokens -= (int64_t)stream_tell_dropped(stream);
	stream->tokens -= (int64_t)stream_record(stream, kind, request_id, text, size);
}

/* The line in hand is a record; `end`: it ends here, else it goes on in the next one. */
static void line_finish(struct thaw_log_stream *stream, enum thaw_log_kind kind, bool end)
{
	struct line *line = &stream->lines[kind];
	const uint8_t *text = (const uint8_t *)line->text.data;
	size_t size = line->text.size, rest = 0;

	if (!end) {
		size = thaw_log_text_whole(text, size);
		rest = line->text.size - size;
	} else if (size && text[size - 1] == '\r') {
		size--;
	}
	/* A line cut at its very end leaves nothing to tell. */
	if (size || !line->cut)
		line_record(stream, kind, line->request_id, text, size);
	if (rest)
		memmove(line->text.data, line->text.data + size, rest);
	line->text.size = rest;
	line->cut = !end;
	line->begun = !end;
}

static void line_add(struct thaw_log_stream *stream, enum thaw_log_kind kind,
		     const char *request_id, const uint8_t *data, size_t size)
{
	struct line *line = &stream->lines[kind];

	if (!line->begun) {
		snprintf(line->request_id, sizeof(line->request_id), "%s",
			 request_id ? request_id : "");
		line->begun = true;
	}
	if (!size)
		return;
	if (!buffer_reserve(&line->text, size)) {
		stream_lose(stream, 1);
		return;
	}
	memcpy(line->text.data + line->text.size, data, size);
	line->text.size += size;
}

/* In debt all that ends before the last line feed is dropped, and not looked at line by line: that
 * would cost us more than it costs a guest to print it. How much of `data` is done with. */
static size_t lines_drop(struct thaw_log_stream *stream, enum thaw_log_kind kind,
			 const uint8_t *data, size_t size)
{
	struct line *line = &stream->lines[kind];

	if (kind == THAW_LOG_KIND_PLATFORM || stream->tokens >= 0)
		return 0;
	rate_fill(stream);
	const uint8_t *feed = stream->tokens < 0 ? memrchr(data, '\n', size) : NULL;
	if (!feed)
		return 0;
	size_t done = (size_t)(feed - data) + 1;
	stream->dropped_bytes += line->text.size + done;
	atomic_fetch_add_explicit(&stream->logs->dropped_bytes, line->text.size + done,
				  memory_order_relaxed);
	line->text.size = 0;
	line->begun = line->cut = false;
	return done;
}

void thaw_log_stream_write(struct thaw_log_stream *stream, enum thaw_log_kind kind,
			   const char *request_id, const uint8_t *data, size_t size)
{
	if (!stream || (unsigned int)kind >= THAW_LOG_KINDS)
		return;
	struct line *line = &stream->lines[kind];
	while (size) {
		size_t done = lines_drop(stream, kind, data, size);
		data += done;
		size -= done;
		if (!size)
			break;
		const uint8_t *feed = memchr(data, '\n', size);
		size_t take = feed ? (size_t)(feed - data) : size;
		size_t room = THAW_LOG_TEXT_MAX - line->text.size;
		bool full = take > room;
		if (full)
			take = room;
		line_add(stream, kind, request_id, data, take);
		data += take;
		size -= take;
		if (full) {
			line_finish(stream, kind, false);
		} else if (feed) {
			line_finish(stream, kind, true);
			data++;
			size--;
		}
	}
	if (kind != THAW_LOG_KIND_PLATFORM && stream->out.size &&
	    thaw_monotonic_ns() > stream->written_ns + FOLLOW_NS)
		stream_write_out(stream);
}

/* --- streams ------------------------------------------------------------------------------- */

struct thaw_log_stream *thaw_log_stream_open(struct thaw_logs *logs, const char *account,
					     const char *function, const char *name,
					     struct thaw_error *err)
{
	if (!thaw_log_name_valid(account) || !thaw_log_name_valid(function)) {
		thaw_error_set(err, EINVAL, "\"%s\" of \"%s\" cannot name a log", function,
			       account);
		return NULL;
	}
	struct thaw_log_stream *stream = calloc(1, sizeof(*stream));
	if (!stream) {
		thaw_error_errno(err, ENOMEM, "opening a log");
		return NULL;
	}
	stream->logs = stream->file.logs = logs;
	stream->file.fd = -1;
	stream->tokens = (int64_t)logs->config.burst;
	stream->filled_ns = stream->written_ns = thaw_monotonic_ns();
	snprintf(stream->file.account, sizeof(stream->file.account), "%s", account);
	snprintf(stream->file.function, sizeof(stream->file.function), "%s", function);
	if (thaw_log_name_file(stream->file.name, name) < 0) {
		thaw_error_set(err, EINVAL, "\"%s\" is not the name of a log stream", name);
		free(stream);
		return NULL;
	}
	return stream;
}

void thaw_log_stream_flush(struct thaw_log_stream *stream)
{
	if (!stream)
		return;
	for (enum thaw_log_kind kind = 0; kind < THAW_LOG_KINDS; kind++) {
		if (stream->lines[kind].begun)
			line_finish(stream, kind, true);
		buffer_clear(&stream->lines[kind].text);
	}
	stream_tell_dropped(stream);
	stream_write_out(stream);
	buffer_clear(&stream->out);
}

void thaw_log_stream_close(struct thaw_log_stream *stream)
{
	if (!stream)
		return;
	thaw_log_stream_flush(stream);
	for (enum thaw_log_kind kind = 0; kind < THAW_LOG_KINDS; kind++)
		free(stream->lines[kind].text.data);
	free(stream->out.data);
	thaw_cleanup_close(&stream->file.fd);
	free(stream);
}
