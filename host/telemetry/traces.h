/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spans of invocations, posted to a collector by OTLP/HTTP with JSON bodies (OpenTelemetry
 * Protocol 1.x). Each invocation is one span of kind SERVER by the semantic conventions for FaaS,
 * and a child for each stretch of it:
 *
 *	NAME			from its admission to its answer
 *	  wait			until an environment has it
 *	  init or restore	the environment's start, when one was started for it
 *	  invoke		in the guest, as the host sees it
 *
 * Nobody waits for the collector: what has ended goes into a line of bounded length, and what finds
 * it full is dropped and counted. One thread posts what is in line, a batch at a time: when it is
 * large enough, or its first span has waited for a second. As the specification has it, a batch is
 * tried again after 429, 502, 503, 504 and when the collector cannot be reached, with waits that
 * double (or what Retry-After says); after anything else, and in the end, it is given up.
 *
 * thaw_traces_add and thaw_traces_count are safe from any thread.
 */
#ifndef THAW_HOST_TELEMETRY_TRACES_H
#define THAW_HOST_TELEMETRY_TRACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "host/telemetry/xray.h"

struct thaw_error;
struct thaw_traces;

/* CLOCK_MONOTONIC. end_ns 0: there was none. */
struct thaw_trace_stretch {
	uint64_t begin_ns, end_ns;
};

/* One invocation. Texts may be cut, and need not be UTF-8. */
struct thaw_trace {
	char trace[THAW_TRACE_ID_TEXT];
	char parent[THAW_SPAN_ID_TEXT]; /* "": none */
	char span[THAW_SPAN_ID_TEXT];
	char account[13], function[65], version[20];
	char request_id[37];
	char start_type[16];  /* "cold", ...; "": nothing was run */
	char error_type[128]; /* "": it went well */
	bool cold_start;      /* it had to wait for a start */
	bool restored;        /* that start was a restore */
	struct thaw_trace_stretch whole, wait, start, invoke;
};

#define THAW_TRACE_SPANS_MAX 4 /* of one invocation */

size_t thaw_trace_spans(const struct thaw_trace *trace);

/* Numbers of 0 mean those in brackets. */
struct thaw_traces_config {
	const char *url;      /* http(s)://host:port/v1/traces */
	const char *region;   /* cloud.region */
	uint32_t line;        /* invocations that may wait (2048) */
	uint32_t batch_spans; /* (512) */
	uint32_t batch_ms;    /* (1000) */
	uint32_t timeout_ms;  /* of one post (10000) */
	uint32_t backoff_ms;  /* before the first try again (1000) */
	uint32_t tries;       /* (5) */
	uint32_t flush_ms;    /* what is in line at the end may take so long (2000) */
};

/* Spans, ever. */
struct thaw_traces_counts {
	uint64_t exported;
	uint64_t dropped; /* the line was full, or the end came */
	uint64_t failed;  /* the collector refused them, or could not be reached */
};

/* NULL with -EINVAL: the URL is none of http or https; or no memory, no thread. Texts are copied.
 */
struct thaw_traces *thaw_traces_new(const struct thaw_traces_config *config,
				    struct thaw_error *err);

/* Posts what is in line within flush_ms, and frees. NULL is allowed. */
void thaw_traces_free(struct thaw_traces *traces);

/* Never waits for the collector. */
void thaw_traces_add(struct thaw_traces *traces, const struct thaw_trace *trace);

void thaw_traces_count(struct thaw_traces *traces, struct thaw_traces_counts *counts);

/* Whether it is a URL that thaw_traces_new takes. */
bool thaw_traces_url_valid(const char *url);

/* For traces.c and tests: an ExportTraceServiceRequest in OTLP's JSON. Whether all was written;
 * `realtime_ns` is what is added to CLOCK_MONOTONIC for CLOCK_REALTIME. */
bool thaw_traces_write(FILE *out, const char *region, int64_t realtime_ns,
		       const struct thaw_trace *traces, size_t count);

#endif
