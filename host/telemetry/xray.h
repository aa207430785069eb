/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header X-Amzn-Trace-Id of AWS X-Ray, by which callers hand a trace on:
 *
 *	Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1
 *
 * Fields stand in any order, each once; those of other names (Self, Lineage) are passed over. The
 * 32 hex digits of Root are the trace id of OpenTelemetry, the 16 of Parent a span id.
 */
#ifndef THAW_HOST_TELEMETRY_XRAY_H
#define THAW_HOST_TELEMETRY_XRAY_H

#define THAW_TRACE_ID_TEXT 33 /* hex digits and a 0 */
#define THAW_SPAN_ID_TEXT  17
#define THAW_XRAY_TEXT     75  /* of a header that is written here, with its 0 */
#define THAW_XRAY_MAX      256 /* bytes of a header that is read */

enum thaw_xray_sampled {
	THAW_XRAY_UNDECIDED, /* no Sampled, or "?": the caller leaves it to us */
	THAW_XRAY_NOT_SAMPLED,
	THAW_XRAY_SAMPLED,
};

struct thaw_xray {
	char trace[THAW_TRACE_ID_TEXT]; /* lower case */
	char parent[THAW_SPAN_ID_TEXT]; /* lower case; "": none */
	enum thaw_xray_sampled sampled;
};

/* -EINVAL when it is no such header, which leaves *xray as it was: no Root, one of another
 * version, digits too many or too few, ids of zeros only (which OpenTelemetry forbids), a field
 * twice, more than THAW_XRAY_MAX bytes. */
int thaw_xray_parse(const char *text, struct thaw_xray *xray);

/* A new trace that begins now, without a parent and undecided. */
void thaw_xray_new(struct thaw_xray *xray);

void thaw_span_id_make(char text[THAW_SPAN_ID_TEXT]);

/* Root, Parent (if there is one) and Sampled (if it is decided). */
void thaw_xray_format(const struct thaw_xray *xray, char text[THAW_XRAY_TEXT]);

#endif
