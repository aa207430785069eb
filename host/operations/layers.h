/* SPDX-License-Identifier: Apache-2.0 */
/* What the operations on layers share. */
#ifndef THAW_HOST_OPERATIONS_LAYERS_H
#define THAW_HOST_OPERATIONS_LAYERS_H

#include "host/operations/operation.h"
#include "host/store/layers.h"

/* Reads {LayerName}. */
void thaw_layer_request_name(struct thaw_request *request, struct thaw_layer_name *name);

/* A name may say an account and a region: whether they are the request's. */
bool thaw_layer_is_here(const struct thaw_request *request, const struct thaw_layer_name *name);

/* "arn:aws:lambda:region:account:layer:name", with ":version" unless that is 0. */
void thaw_layer_arn(const struct thaw_request *request, const char *name, int64_t version,
		    char arn[THAW_ARN_TEXT]);

/* A version as clients see it; `whole`: not in a list, so with its content and its layer's ARN. */
json_t *thaw_layer_json(const struct thaw_request *request, const struct thaw_layer_version *layer,
			bool whole);

#endif
