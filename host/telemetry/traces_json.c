/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spans as OTLP's JSON: protobuf's mapping, but ids as hex digits, enumerations as numbers, and 64
 * bit numbers as decimal text (OTLP specification, "JSON Protobuf Encoding").
 */
#include <inttypes.h>
#include <limits.h>
#include <unistd.h>

#include "host/api/validation.h"
#include "host/telemetry/traces.h"

#define KIND_INTERNAL 1
#define KIND_SERVER   2
#define STATUS_ERROR  2

/* Error types are a guest's: what is not UTF-8 keeps its ASCII. */
static void put_string(FILE *out, const char *text)
{
	bool valid = thaw_utf8_valid(text);

	fputc('"', out);
	for (; *text; text++) {
		uint8_t c = (uint8_t)*text;

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < 0x20)
			fprintf(out, "\\u%04x", c);
		else
			fputc(c >= 0x80 && !valid ? '?' : c, out);
	}
	fputc('"', out);
}

static void put_attribute(FILE *out, bool first, const char *key, const char *value)
{
	fprintf(out, "%s{\"key\":\"%s\",\"value\":{\"stringValue\":", first ? "" : ",", key);
	put_string(out, value);
	fputs("}}", out);
}

struct writer {
	FILE *out;
	const char *region;
	int64_t realtime_ns;
	bool more; /* there is a span before the next */
};

static void put_span(struct writer *writer, const struct thaw_trace *trace, const char *id,
		     const char *parent, int kind, const char *name,
		     const struct thaw_trace_stretch *stretch)
{
	FILE *out = writer->out;

	fprintf(out, "%s{\"traceId\":\"%s\",\"spanId\":\"%s\"", writer->more ? "," : "",
		trace->trace, id);
	if (*parent)
		fprintf(out, ",\"parentSpanId\":\"%s\"", parent);
	fputs(",\"name\":", out);
	put_string(out, name);
	fprintf(out,
		",\"kind\":%d,\"startTimeUnixNano\":\"%" PRIu64 "\",\"endTimeUnixNano\":\"%" PRIu64
		"\"",
		kind, stretch->begin_ns + (uint64_t)writer->realtime_ns,
		stretch->end_ns + (uint64_t)writer->realtime_ns);
	writer->more = true;
}

static void put_child(struct writer *writer, const struct thaw_trace *trace, const char *name,
		      const struct thaw_trace_stretch *stretch)
{
	char id[THAW_SPAN_ID_TEXT];

	if (!stretch->end_ns)
		return;
	thaw_span_id_make(id);
	put_span(writer, trace, id, trace->span, KIND_INTERNAL, name, stretch);
	fputc('}', writer->out);
}

static void put_invocation(struct writer *writer, const struct thaw_trace *trace)
{
	FILE *out = writer->out;

	put_span(writer, trace, trace->span, trace->parent, KIND_SERVER, trace->function,
		 &trace->whole);
	fputs(",\"attributes\":[", out);
	put_attribute(out, true, "faas.name", trace->function);
	put_attribute(out, false, "faas.version", trace->version);
	put_attribute(out, false, "faas.invocation_id", trace->request_id);
	put_attribute(out, false, "faas.trigger", "other");
	put_attribute(out, false, "cloud.account.id", trace->account);
	put_attribute(out, false, "cloud.region", writer->region);
	if (*trace->start_type) {
		put_attribute(out, false, "thaw.start_type", trace->start_type);
		fprintf(out, ",{\"key\":\"faas.coldstart\",\"value\":{\"boolValue\":%s}}",
			trace->cold_start ? "true" : "false");
	}
	if (*trace->error_type)
		put_attribute(out, false, "error.type", trace->error_type);
	fputc(']', out);
	if (*trace->error_type) {
		fprintf(out, ",\"status\":{\"code\":%d,\"message\":", STATUS_ERROR);
		put_string(out, trace->error_type);
		fputc('}', out);
	}
	fputc('}', out);
	put_child(writer, trace, "wait", &trace->wait);
	put_child(writer, trace, trace->restored ? "restore" : "init", &trace->start);
	put_child(writer, trace, "invoke", &trace->invoke);
}

size_t thaw_trace_spans(const struct thaw_trace *trace)
{
	return 1u + (trace->wait.end_ns != 0) + (trace->start.end_ns != 0) +
	       (trace->invoke.end_ns != 0);
}

static void put_resource(FILE *out)
{
	char host[HOST_NAME_MAX + 1] = "";

	gethostname(host, sizeof(host) - 1);
	fputs("\"resource\":{\"attributes\":[", out);
	put_attribute(out, true, "service.name", "thawd");
	put_attribute(out, false, "service.version", THAW_VERSION);
	put_attribute(out, false, "host.name", host);
	fputs("]}", out);
}

bool thaw_traces_write(FILE *out, const char *region, int64_t realtime_ns,
		       const struct thaw_trace *traces, size_t count)
{
	struct writer writer = {.out = out, .region = region, .realtime_ns = realtime_ns};

	fputs("{\"resourceSpans\":[{", out);
	put_resource(out);
	fputs(",\"scopeSpans\":[{\"scope\":{\"name\":\"thawd\",\"version\":\"" THAW_VERSION
	      "\"},\"spans\":[",
	      out);
	for (size_t i = 0; i < count; i++)
		put_invocation(&writer, &traces[i]);
	fputs("]}]}]}", out);
	return !ferror(out);
}
