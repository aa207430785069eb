/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the Node.js runtime share: it is taken from the build directory, where its
 * native part lies beside it, and run by Debian's /usr/bin/node.
 */
#ifndef THAW_TESTS_AGENT_NODEJS_H
#define THAW_TESTS_AGENT_NODEJS_H

#include <jansson.h>

#include "tests/unit/agent_harness.h"

/* An agent with nothing in its task root and nothing configured. */
void agent_nodejs_open(struct agent_harness *harness);
/* The same with the files of tests/unit/functions/nodejs, configured and initialised. */
void agent_nodejs_start(struct agent_harness *harness, const char *handler);
/* As agent_nodejs_start, with this file alone as app.js, in a snapshot environment. */
void agent_nodejs_start_copied(struct agent_harness *harness, const char *text,
			       bool awaits_restore);

void agent_nodejs_invoke(struct agent_harness *harness, const char *event,
			 struct agent_result *result);
/* One invocation with this outcome; the payload as JSON, the caller's. */
json_t *agent_nodejs_invoke_for(struct agent_harness *harness, const char *event,
				Thaw__Agent__Outcome outcome);
void agent_nodejs_expect_error(struct agent_harness *harness, const char *event, const char *type,
			       const char *message);
void agent_nodejs_field(const json_t *object, const char *name, const char *value);

#endif
