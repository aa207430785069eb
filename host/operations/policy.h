/* SPDX-License-Identifier: Apache-2.0 */
/* Who else may do something with a function: resource policies, as far as this host asks them. */
#ifndef THAW_HOST_OPERATIONS_POLICY_H
#define THAW_HOST_OPERATIONS_POLICY_H

#include <stdbool.h>
#include <stdint.h>

struct thaw_service;

#define THAW_POLICY_MAX 20480 /* bytes of a policy as it is shown */

/*
 * Whether the policy of the function and qualifier (a version has its own, and so has an alias; ""
 * and "$LATEST" are one) lets `account` do `action` ("lambda:InvokeFunction"). A statement does
 * that when its principal is the account, one of the account's users or roles (who of an account
 * asks, this host cannot tell), or everybody; when its action is this one, "lambda:*" or "*"; and
 * when it has no condition but on the source's account, which is the caller's. What cannot be read
 * does not allow. The owner of a function needs no policy: the caller looks.
 */
bool thaw_policy_allows(struct thaw_service *service, int64_t function_id, const char *qualifier,
			const char *account, const char *action);

#endif
