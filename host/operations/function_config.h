/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of a function: from a request's body into the JSON that the store keeps (its
 * members are named as in the API, defaults are filled in), and from there into what an execution
 * environment needs.
 *
 * What this host does not have is refused, not passed over: containers' images, other processors,
 * file systems, customers' keys, signed code.
 */
#ifndef THAW_HOST_OPERATIONS_FUNCTION_CONFIG_H
#define THAW_HOST_OPERATIONS_FUNCTION_CONFIG_H

#include <jansson.h>
#include <stdbool.h>

#include "host/function.h"

struct thaw_paths;
struct thaw_request;

#define THAW_LAYERS_MAX 5

/* Reads the members of the request's body into `config`, over what is there. With `create` the
 * defaults come first and required members must be there. Faults go into the request. */
void thaw_config_merge(struct thaw_request *request, json_t *config, bool create);

/* "PublishedVersions" was asked for. */
bool thaw_config_snap_start(const json_t *config);

/* Text of a member, or NULL. */
const char *thaw_config_text(const json_t *config, const char *name);

/* All of it but name, version and owner. -EINVAL with what is wrong: only a database of another
 * making can be. */
int thaw_config_function(const json_t *config, struct thaw_function *function,
			 struct thaw_error *err);

/* The members of FunctionConfiguration that the stored configuration has, into `out`. */
void thaw_config_render(const json_t *config, json_t *out);

#endif
