/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a host's requests must look like. The host is the one who owns the guest, but its values
 * become environment variables and HTTP header lines of the handler, and many came from a client.
 */
#ifndef THAW_AGENT_REQUEST_H
#define THAW_AGENT_REQUEST_H

#include "proto/agent.pb-c.h"

struct thaw_error;

#define THAW_PAYLOAD_PART_MAX (512u * 1024) /* of an event, in one message */

/* 0, or -EINVAL (-EMSGSIZE for an event over 6 MB) with the reason. */
int thaw_request_check_function(const Thaw__Agent__Function *function, struct thaw_error *err);
int thaw_request_check_invoke(const Thaw__Agent__Invoke *invoke, struct thaw_error *err);

#endif
