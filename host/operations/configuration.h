/* SPDX-License-Identifier: Apache-2.0 */
/* FunctionConfiguration: what clients are told of one version of a function. */
#ifndef THAW_HOST_OPERATIONS_CONFIGURATION_H
#define THAW_HOST_OPERATIONS_CONFIGURATION_H

#include "host/operations/operation.h"

/* `qualifier` is what the ARN ends with; NULL: the version's number, nothing for $LATEST. */
json_t *thaw_configuration_render(const struct thaw_service *service,
				  const struct thaw_function_record *function,
				  const struct thaw_version_record *version, const char *qualifier);

#endif
